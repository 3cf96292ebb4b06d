// SPDX-License-Identifier: Apache-2.0
// The dimensions, rotary embedding and scale of an MLA attention layer, read from a Hugging Face config.json or
// filled by hand. A plain value: copy it, compare it, keep it on the stack.
//
// Letters used in all headers: H heads, L kv_lora_rank, N qk_nope_head_dim, R qk_rope_head_dim, V v_head_dim,
// T query tokens of a step, D = L + R elements of a cached row.
// Paper: DeepSeek-V2 (arXiv 2405.04434), section 2.1; YaRN (arXiv 2309.00071); LongRoPE (arXiv 2402.13753).
#ifndef CLMLA_CONFIG_H
#define CLMLA_CONFIG_H

#include <clmla/status.h>
#include <clmla/types.h>
#include <stdbool.h>

CLMLA_BEGIN

// Limits: beyond them a config is refused with CLMLA_E_LIMIT.
#define CLMLA_MAX_ROPE_DIM 256       // R
#define CLMLA_MAX_DIM 65536          // hidden_size, q_lora_rank, L, N, V each
#define CLMLA_MAX_HEADS 1024         // H
#define CLMLA_MAX_LAYERS 65536       // num_hidden_layers, and of a cache
#define CLMLA_MAX_CONTEXT 2147483647 // tokens of one sequence

typedef enum clmla_rope_type {
    CLMLA_ROPE_DEFAULT = 0, // f_i = theta^(-2i/R)
    CLMLA_ROPE_YARN,        // DeepSeek's form, with mscale and mscale_all_dim
    CLMLA_ROPE_LONGROPE,    // a factor per frequency (MiniCPM3)
    CLMLA_ROPE_NONE         // NoPE: R values take part in the scores and are not rotated
} clmla_rope_type;

typedef struct clmla_config {
    // Dimensions.
    uint32_t hidden_size;
    uint32_t head_count;       // num_attention_heads
    uint32_t layer_count;      // num_hidden_layers; 0 = unknown
    uint32_t kv_lora_rank;     // L
    uint32_t q_lora_rank;      // 0 = no q-LoRA: q_proj is one matrix
    uint32_t qk_nope_head_dim; // N
    uint32_t qk_rope_head_dim; // R, even; 0 = none
    uint32_t v_head_dim;       // V
    bool attention_bias;       // bias on q_a_proj, kv_a_proj_with_mqa and o_proj

    // Epsilons. Hugging Face's q_a_layernorm and kv_a_layernorm use 1e-6 whatever rms_norm_eps says, and so does
    // clmla: latent_norm_eps is 1e-6 after loading and is the caller's to change. rms_norm_eps is for the model's own
    // norms.
    float latent_norm_eps;
    float rms_norm_eps;

    // Rotary embedding.
    clmla_rope_type rope_type;
    clmla_rope_order rope_order; // how the weights' rotary rows pair up (rope_interleave); also the default for a cache
    double rope_theta;
    uint32_t context_tokens; // longest context this model will be run with; max_position_embeddings after loading
    uint32_t rope_original_context;          // original_max_position_embeddings
    double rope_factor;                      // YaRN; 1 = unscaled
    double rope_beta_fast, rope_beta_slow;   // YaRN; 32 and 1 when the file has none
    double rope_mscale, rope_mscale_all_dim; // YaRN; 1 and 0 when the file has none, as DeepSeek's own code reads it
    double rope_attention_factor; // multiplies cos and sin; 0 = derived (YaRN: g(mscale)/g(mscale_all_dim), LongRoPE:
                                  // its formula)
    bool rope_yarn_no_truncate;   // YaRN: leave the correction range unrounded ("truncate": false)
    float rope_short_factor[CLMLA_MAX_ROPE_DIM / 2]; // LongRoPE: used while context_tokens <= rope_original_context
    float rope_long_factor[CLMLA_MAX_ROPE_DIM / 2];  // LongRoPE: used when context_tokens is larger. One choice for the
                                                     // whole run: cached keys cannot be rotated two ways.
} clmla_config;

// What follows from a config; every value a reader might want to check against the model's own code.
typedef struct clmla_config_values {
    double softmax_scale;         // (N+R)^-1/2 · m²; m = 0.1·mscale_all_dim·ln(factor)+1 under YaRN, else 1
    double mscale;                // that m
    double rope_attention_factor; // multiplies cos and sin
    double inverse_frequency[CLMLA_MAX_ROPE_DIM / 2]; // R/2 of them, after scaling
    uint32_t row_width;                               // D = L + R
    uint64_t mha_elements; // elements a token and layer that plain multi-head attention of this shape caches: H·(N+R+V)
} clmla_config_values;

// Reads a config.json: the classic form (rope_scaling, rope_theta) and the newer one (rope_parameters).
// A file with both must mean the same by both. `path` is the file, or a folder that holds a config.json.
// model_type, if the file has one, must be one of: deepseek_v2, deepseek_v3, kimi_k2, minicpm3, glm4_moe_lite, youtu,
// youtu_llm, kimi_linear (its MLA layers). It decides two defaults of minicpm3 (pairs in halves, v_head_dim) and
// nothing else: the fields say what is computed, and one that would change the mathematics in a way clmla does not have
// (another rope type, DSA's index_topk, latent scaling, softcap, gates, ...) is refused by name. Whole layers are
// compared with transformers' for deepseek_v2 and deepseek_v3; of the other types scale and frequencies are, with what
// was published.
// Errors  : CLMLA_E_FILE; CLMLA_E_FORMAT (not JSON; with line); CLMLA_E_CONFIG (names the field); CLMLA_E_LIMIT.
// Threads : any.
CLMLA_API clmla_status clmla_config_load(clmla_config *config, const char *path);

// The same from text in memory, of `length` bytes (no terminator needed). `name` stands for the file in sentences.
CLMLA_API clmla_status clmla_config_parse(clmla_config *config, const char *text, size_t length, const char *name);

// Fills a config with the defaults a hand-made one starts from: every dimension 0, eps 1e-6, theta 10000, default RoPE.
CLMLA_API void clmla_config_init(clmla_config *config);

// Checks a config against the rules and limits above; every function that takes one does this first.
// Errors  : CLMLA_E_CONFIG, CLMLA_E_LIMIT; the sentence names the field. Threads: any.
CLMLA_API clmla_status clmla_config_check(const clmla_config *config);

// Derives the values. Errors: as clmla_config_check. Threads: any.
CLMLA_API clmla_status clmla_config_derive(clmla_config_values *values, const clmla_config *config);

typedef enum clmla_angle_mode {
    CLMLA_ANGLE_DOUBLE = 0, // angle, cosine and sine in double, rounded once to f32: right at any position
    CLMLA_ANGLE_F32         // angle = f32(position)·f32(frequency), as transformers computes it: for comparisons
} clmla_angle_mode;

// Writes cosines and sines for `count` positions: out [count][R/2][2] f32, {cos, sin}, each times
// rope_attention_factor. With CLMLA_ROPE_NONE every pair is {1, 0}; with R = 0 nothing is written.
// Errors  : as clmla_config_check. Threads: any.
CLMLA_API clmla_status clmla_rope_table(float *out, const clmla_config *config, const int32_t *positions, size_t count,
                                        clmla_angle_mode mode);

// Writes what one position turns each rotary pair by: out [R/2], a fraction of a full turn in units of 2^-64. What
// operations that rotate scaled rows on the way take: delta · turns modulo 2^64 is the angle of any delta, unrounded.
// With CLMLA_ROPE_NONE all are 0; with R = 0 nothing is written. Errors: as clmla_config_check. Threads: any.
CLMLA_API clmla_status clmla_rope_turns(uint64_t *out, const clmla_config *config);

CLMLA_END

#endif
