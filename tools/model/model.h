// SPDX-License-Identifier: Apache-2.0
// A whole dense language model of DeepSeek-V2's form, as an application would build it around the library: clmla does
// the attention, and lends its matrix product and norm; embedding, SwiGLU and residuals are the application's kernels.
// For comparison it also runs models of Llama's form, whose attention is the tools' own (model_heads.h).
//
//   x = embedding[token]
//   each layer:  x += attention(norm(x));  x += down(silu(gate(norm(x))) · up(norm(x)))
//   logits = lm_head(norm(x))
#ifndef TOOLS_MODEL_H
#define TOOLS_MODEL_H

#include "model_heads.h"
#include <stdint.h>

// Most tokens of a step: longer inputs are fed in pieces.
#define MODEL_STEP_TOKENS 256

typedef struct model_layer {
    clmla_layer *attention;       // NULL in Llama's form
    heads_layer heads;            // of Llama's form
    cl_mem input_norm, post_norm; // [hidden] f32
    clmla_matrix gate, up, down;  // as stored: [intermediate][hidden] twice, [hidden][intermediate]
} model_layer;

typedef struct model {
    const session *session;
    clmla_config config; // in Llama's form: the fields that are not attention's alone
    heads_config heads;  // of Llama's form; head_count 0 = this is an MLA model
    uint32_t vocab_size, intermediate_size;
    bool tied_embeddings; // lm_head is the embedding
    model_layer *layers;  // [config.layer_count]
    cl_mem embedding;     // [vocab][hidden] f32
    cl_mem final_norm;    // [hidden] f32
    clmla_matrix lm_head; // [vocab][hidden]

    clmla_cache *cache; // MLA
    clmla_plan *plan;
    heads_attention heads_attention; // Llama's form

    cl_program program;
    cl_kernel embed, add, swiglu;
    cl_mem tokens;            // [S] int32, S = MODEL_STEP_TOKENS
    cl_mem x, normed, branch; // [S][hidden]
    cl_mem gate, up;          // [S][intermediate]
    cl_mem logits;            // [S][vocab]
} model;

typedef struct model_cache {
    clmla_row_format format;
    clmla_compute compute; // of attention over a latent cache
    uint32_t page_tokens;
    uint64_t page_count;
    bool keep_tokens; // token ids too: what is saved can then be continued
} model_cache;

// Reads config.json alone: dimensions, and whether this is a model the program can run.
bool model_read_config(model *out, const char *folder, failure *failure);
// Loads the weights and makes cache, plan, kernels and buffers. model_close also undoes a failed one.
bool model_open(model *model, const session *session, const char *folder, const model_cache *cache, failure *failure);
void model_close(model *model);

// Sequences, whichever attention the model has. A model of Llama's form has one at a time.
bool model_sequence_create(clmla_sequence *out, model *model, failure *failure);
bool model_sequence_drop(model *model, clmla_sequence sequence, failure *failure);
// Keeps the first `tokens` tokens.
bool model_sequence_truncate(model *model, clmla_sequence sequence, uint32_t tokens, failure *failure);

// What the cache holds; in Llama's form the one sequence is one page.
clmla_cache_usage model_usage(const model *model);

// Bytes of the cache, and of a token in all layers; what multi-head attention of as many heads and dimensions takes.
typedef struct model_bytes {
    uint64_t cache, token, mha_token;
} model_bytes;
bool model_count_bytes(model_bytes *out, const model *model, clmla_row_format format, failure *failure);

// Appends `count` tokens, 1 .. MODEL_STEP_TOKENS, to a sequence and waits for the last `logit_rows` rows
// of logits: logits [logit_rows][vocab].
bool model_step(float *logits, model *model, clmla_sequence sequence, const uint8_t *tokens, uint32_t count,
                uint32_t logit_rows, failure *failure);

// Any number of tokens, in steps; the logits of the last: logits [vocab], untouched without tokens.
bool model_feed(float *logits, model *model, clmla_sequence sequence, const uint8_t *tokens, uint32_t count,
                failure *failure);

// Used by model_open (model_step.c).
bool model_open_kernels(model *model, failure *failure);
void model_close_kernels(model *model);

#endif
