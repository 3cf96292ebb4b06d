// SPDX-License-Identifier: Apache-2.0
// A whole dense language model of DeepSeek-V2's form, as an application would build it around the library: clmla does
// the attention, and lends its matrix product and norm; embedding, SwiGLU and residuals are the application's kernels.
//
//   x = embedding[token]
//   each layer:  x += MLA(norm(x));  x += down(silu(gate(norm(x))) · up(norm(x)))
//   logits = lm_head(norm(x))
#ifndef TOOLS_MODEL_H
#define TOOLS_MODEL_H

#include "session.h"
#include <stdint.h>

// Most tokens of a step: longer inputs are fed in pieces.
#define MODEL_STEP_TOKENS 256

typedef struct model_layer {
    clmla_layer *attention;
    cl_mem input_norm, post_norm; // [hidden] f32
    clmla_matrix gate, up, down;  // as stored: [intermediate][hidden] twice, [hidden][intermediate]
} model_layer;

typedef struct model {
    const session *session;
    clmla_config config;
    uint32_t vocab_size, intermediate_size;
    bool tied_embeddings; // lm_head is the embedding
    model_layer *layers;  // [config.layer_count]
    cl_mem embedding;     // [vocab][hidden] f32
    cl_mem final_norm;    // [hidden] f32
    clmla_matrix lm_head; // [vocab][hidden]

    clmla_cache *cache;
    clmla_plan *plan;

    cl_program program;
    cl_kernel embed, add, swiglu;
    cl_mem tokens;            // [S] int32, S = MODEL_STEP_TOKENS
    cl_mem x, normed, branch; // [S][hidden]
    cl_mem gate, up;          // [S][intermediate]
    cl_mem logits;            // [S][vocab]
} model;

typedef struct model_cache {
    clmla_row_format format;
    uint32_t page_tokens;
    uint64_t page_count;
    bool keep_tokens; // token ids too: what is saved can then be continued
} model_cache;

// Reads config.json alone: dimensions, and whether this is a model the program can run.
bool model_read_config(model *out, const char *folder, failure *failure);
// Loads the weights and makes cache, plan, kernels and buffers. model_close also undoes a failed one.
bool model_open(model *model, const session *session, const char *folder, const model_cache *cache, failure *failure);
void model_close(model *model);

// Appends `count` tokens, 1 .. MODEL_STEP_TOKENS, to a sequence of the cache and waits for the last `logit_rows` rows
// of logits: logits [logit_rows][vocab].
bool model_step(float *logits, model *model, clmla_sequence sequence, const uint8_t *tokens, uint32_t count,
                uint32_t logit_rows, failure *failure);

// Used by model_open (model_step.c).
bool model_open_kernels(model *model, failure *failure);
void model_close_kernels(model *model);

#endif
