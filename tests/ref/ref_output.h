// SPDX-License-Identifier: Apache-2.0
#ifndef REF_OUTPUT_H
#define REF_OUTPUT_H

#include "tests/ref/ref_matrix.h"

typedef struct ref_output_dims {
    size_t tokens, heads, nope, value;
} ref_output_dims;

// head_values[t][h][v] = W_UV[h][v] · attended[t][h], then out[t][i] = sum o_proj[i][h·value + v] · head_values + bias.
// head_values [tokens][heads·value], out [tokens][o_proj rows], attended [tokens][heads][latent] dense.
void ref_output(double *out, double *head_values, const ref_matrix *kv_b, const ref_matrix *o_proj,
                const float *attended, const ref_output_dims *dims);

#endif
