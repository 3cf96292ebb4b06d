// SPDX-License-Identifier: Apache-2.0
#ifndef REF_APPEND_H
#define REF_APPEND_H

#include "tests/ref/ref_row.h"

// Writes a row: its values in the row's own order, rounded to f32. Nothing but values and scales is touched.
void ref_append(const ref_row *row, const ref_row_kind *kind, const float *latent, const float *rope);

#endif
