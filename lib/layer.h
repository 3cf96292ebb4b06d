// SPDX-License-Identifier: Apache-2.0
// A layer's weights as the step uses them. Loaded by layer_load.c and layer_upload.c, used by layer_step.c.
#ifndef LIB_LAYER_H
#define LIB_LAYER_H

#include "lib/context.h"
#include <clmla/layer.h>
#include <clmla/operations.h>

#define LAYER_BUFFERS_MAX 24

struct clmla_layer {
    clmla_context *context;
    clmla_config config; // the whole model's
    clmla_config_values values;
    uint32_t cache_layer;
    uint32_t first_head, head_count; // the range this layer holds

    clmla_matrix q;    // q_proj, or q_b_proj with q-LoRA: [head_count·(N+R)][hidden or q_lora]
    clmla_matrix q_a;  // [q_lora][hidden]; rows 0 without q-LoRA
    clmla_matrix kv_a; // [L+R][hidden]
    clmla_matrix kv_b; // [head_count·(N+V)][L]
    clmla_matrix o;    // [hidden][head_count·V]
    // What the step's input goes through, q_proj or q_a_proj and below it kv_a, as one matrix: q or q_a, and kv_a, are
    // windows of it. rows 0 = the two lie apart, because they differ in type or have biases.
    clmla_matrix joint;
    clmla_buffer q_a_norm, kv_a_norm; // f32

    cl_mem buffers[LAYER_BUFFERS_MAX]; // owns what the matrices point to
    uint32_t buffer_count;
    uint64_t bytes;
};

#endif
