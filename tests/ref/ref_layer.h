// SPDX-License-Identifier: Apache-2.0
// A whole MLA layer in double, the plain way: keys and values of every head are reconstructed from the latent rows,
// then ordinary multi-head attention (DeepSeek-V2, arXiv 2405.04434, section 2.1, without the absorption).
#ifndef REF_LAYER_H
#define REF_LAYER_H

#include "tests/ref/ref_matrix.h"
#include <stdbool.h>

typedef struct ref_layer {
    size_t hidden, heads, latent, q_lora, nope, rope, value; // q_lora 0 = none
    double epsilon, scale;
    bool halves;     // the order of rotary pairs in the weights
    double *q;       // [heads·(nope+rope)][hidden or q_lora]
    double *q_a;     // [q_lora][hidden], with q-LoRA
    double *kv_a;    // [latent+rope][hidden]
    double *kv_b;    // [heads·(nope+value)][latent]
    double *o;       // [hidden][heads·value]
    const float *q_a_norm, *kv_a_norm;
    const float *q_a_bias, *kv_a_bias, *o_bias; // or NULL
} ref_layer;

// The cached row of one token: out [latent + rope], rope part rotated by `table` ([rope/2] {cos, sin}), in the weights'
// order.
void ref_layer_row(double *out, const ref_layer *layer, const float *input, const float *table);

// The output of one token: rows [visible][latent + rope], rope parts in the weights' order. out [hidden].
void ref_layer_token(double *out, const ref_layer *layer, const float *input, const float *table, const double *rows,
                     size_t visible);

#endif
