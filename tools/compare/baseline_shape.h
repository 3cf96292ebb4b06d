// SPDX-License-Identifier: Apache-2.0
// Heads of an attention that is not MLA.
#ifndef TOOLS_BASELINE_SHAPE_H
#define TOOLS_BASELINE_SHAPE_H

#include <clmla/clmla.h>

typedef struct baseline_shape {
    uint32_t head_count, kv_head_count; // the first a multiple of the second
    uint32_t key_dim, value_dim;        // multiples of 16
    uint32_t shared_dim;                // key values that all kv heads have in common; 0 = none
    clmla_type type;                    // of cached keys and values: f32, f16 or bf16
    float softmax_scale;
} baseline_shape;

#endif
