// SPDX-License-Identifier: Apache-2.0
// The attention of models of Llama's form (multi-head, grouped-query or multi-query), for comparison with MLA:
// products, rotation and norm by the library, attention itself by the tools' own kernels.
#ifndef TOOLS_MODEL_HEADS_H
#define TOOLS_MODEL_HEADS_H

#include "baseline_attention.h"
#include <cjson/cJSON.h>

typedef struct heads_config {
    uint32_t head_count, kv_head_count, head_dim;
    double rope_theta;
} heads_config;

typedef struct heads_layer {
    clmla_matrix q, k, v,
        o; // [heads * head_dim][hidden], [kv heads * head_dim][hidden] twice, [hidden][heads * head_dim]
    baseline_rows rows;
} heads_layer;

// What all layers share.
typedef struct heads_attention {
    baseline_attention baseline;
    uint32_t capacity;      // tokens of the one sequence there is
    uint32_t length;        // tokens it has
    cl_mem table;           // [capacity][head_dim / 2][2] cosines and sines
    cl_mem q, k, v, output; // [step tokens][heads or kv heads * head_dim]
} heads_attention;

// Whether a config.json is of Llama's form.
bool heads_is_llama(const cJSON *json);
// Reads it: `out` and, of `config`, hidden_size, head_count, layer_count, rms_norm_eps and context_tokens. What would
// change the mathematics in a way that is not here is refused by name.
bool heads_read_config(heads_config *out, clmla_config *config, const cJSON *json, const char *path, failure *failure);

// For a sequence of `capacity` tokens, in steps of up to step_tokens; heads_attention_close also undoes a failed one.
bool heads_attention_open(heads_attention *out, const session *session, const heads_config *config,
                          clmla_row_format format, uint32_t capacity, uint32_t step_tokens, failure *failure);
void heads_attention_close(heads_attention *attention);

// Releases a layer's weights and rows; accepts a half-made one.
void heads_layer_close(heads_layer *layer);

// output [count][hidden] = the layer's attention over `count` new tokens x [count][hidden] and what came before.
// The new tokens are those from attention->length on; the caller moves that when all layers are done.
bool heads_layer_enqueue(heads_attention *attention, const heads_layer *layer, cl_mem x, cl_mem output, uint32_t count,
                         failure *failure);
// Whether `count` more tokens fit.
bool heads_reserve(const heads_attention *attention, uint32_t count, failure *failure);

#endif
