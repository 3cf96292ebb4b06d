// SPDX-License-Identifier: Apache-2.0
#ifndef REF_ROPE_H
#define REF_ROPE_H

#include <stdbool.h>
#include <stddef.h>

// Rotates one head of `dim` values by the angles of one position: table [dim/2][2] = {cos, sin}. Pair i is values
// (2i, 2i+1), or (i, i + dim/2) where `halves` says so.
void ref_rope(double *out, const double *input, const float *table, size_t dim, bool input_halves, bool output_halves);

#endif
