// SPDX-License-Identifier: Apache-2.0
// What a cached token costs in bytes: in each row format, for models as they were published, beside the attentions MLA
// stands instead of.
#ifndef TOOLS_FORMAT_SIZES_H
#define TOOLS_FORMAT_SIZES_H

#include <clmla/clmla.h>

// The row most models have, which bytes and bars are told for.
#define TYPICAL_LATENT 512
#define TYPICAL_ROPE 64

// A published model: the dimensions its cache follows from (clmla/config.h), and its layers with MLA.
typedef struct known_model {
    const char *name;
    uint32_t heads, latent, nope, rope, value, layers;
} known_model;

#define KNOWN_MODEL_COUNT 9
extern const known_model known_models[KNOWN_MODEL_COUNT];

// Bytes of a row with its scales; without what fills up a page of fp8_paged.
uint32_t format_row_bytes(clmla_row_format format, uint32_t latent, uint32_t rope);

// Bytes a token over all layers.
uint64_t format_token_bytes(clmla_row_format format, const known_model *model);

// The same with keys and values of N + R and V 16-bit elements a head, cached for `kv_heads` heads.
uint64_t heads_token_bytes(const known_model *model, uint32_t kv_heads);

enum { BASELINE_MHA, BASELINE_GQA8, BASELINE_MQA, BASELINES };
extern const char *const baseline_names[BASELINES]; // "mha", "gqa8", "mqa"
uint64_t baseline_token_bytes(const known_model *model, int baseline);

// The DeepSeek-V2 paper's own comparison (arXiv 2405.04434): its dense predecessor of 95 layers has 8 groups of 128 +
// 128 elements; DeepSeek-V2 has 60 layers.
#define PAPER_LAYERS 95
#define PAPER_ELEMENTS 194560 // a token
#define PAPER_MLA_LAYERS 60
uint64_t paper_bytes(void); // a token, in 16-bit elements
double paper_ratio(clmla_row_format format);

#endif
