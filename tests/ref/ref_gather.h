// SPDX-License-Identifier: Apache-2.0
#ifndef REF_GATHER_H
#define REF_GATHER_H

#include "tests/ref/ref_row.h"

// Reads a row: latent then rope values, without rounding but what is f32 by definition (the product of two scales).
void ref_gather(double *out, const ref_row *row, const ref_row_kind *kind);

#endif
