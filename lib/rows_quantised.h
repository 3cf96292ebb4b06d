// SPDX-License-Identifier: Apache-2.0
// Sizes of the quantised row formats' parts (docs/row_formats.md).
#ifndef LIB_ROWS_QUANTISED_H
#define LIB_ROWS_QUANTISED_H

#include <clmla/rows.h>

// Bytes of the part of one row that has so many columns, padding included: a multiple of 4, 0 for no columns and for
// formats that are not quantised.
uint32_t rows_quantised_latent_bytes(clmla_row_format format, uint32_t columns);
uint32_t rows_quantised_rope_bytes(clmla_row_format format, uint32_t columns);

#endif
