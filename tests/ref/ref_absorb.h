// SPDX-License-Identifier: Apache-2.0
#ifndef REF_ABSORB_H
#define REF_ABSORB_H

#include "tests/ref/ref_matrix.h"

// out[l] = sum_n query[n] · W_UK[head][n][l]; kv_b [heads·(nope + value)][latent].
void ref_absorb(double *out, const ref_matrix *kv_b, const float *query, size_t head, size_t nope, size_t value);

#endif
