// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_absorb.h"

void ref_absorb(double *out, const ref_matrix *kv_b, const float *query, size_t head, size_t nope, size_t value) {
    for (size_t l = 0; l < kv_b->columns; l++) out[l] = 0;
    for (size_t n = 0; n < nope; n++)
        for (size_t l = 0; l < kv_b->columns; l++)
            out[l] += (double)query[n] * ref_matrix_value(kv_b, head * (nope + value) + n, l);
}
