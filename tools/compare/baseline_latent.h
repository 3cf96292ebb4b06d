// SPDX-License-Identifier: Apache-2.0
// MLA over latent rows in the two ways clmla improves on, for one sequence and one query token. Both take rows
// [token][L + R] as they lie in a cache page, in f32, f16 or bf16. CPUs and GPUs have kernels of their own, on the
// session's in-order queue.
#ifndef TOOLS_BASELINE_LATENT_H
#define TOOLS_BASELINE_LATENT_H

#include "baseline_attention.h"

typedef struct latent_shape {
    uint32_t head_count;
    uint32_t latent_dim, rope_dim; // L, R
    uint32_t nope_dim, value_dim;  // N, V; all four multiples of 16
    clmla_type type;               // of the rows
    float softmax_scale;
} latent_shape;

typedef struct baseline_latent {
    const session *session;
    latent_shape shape;
    baseline_group group; // items 0: the kernels are those for CPUs
    cl_program program;
    cl_kernel scores, softmax, values, widen;
    cl_kernel pack, rebuild; // for CPUs
    cl_kernel total;         // for GPUs
    cl_mem weights, totals;  // unfused
    cl_mem packed;           // for CPUs: the queries
    cl_mem sums;             // for GPUs: of parts of the tokens
    uint64_t capacity;       // tokens `weights` and `sums` are for
    cl_mem kv_b;             // naive: f32, for CPUs packed [H * (N + V) / 16][L][16]
    uint32_t chunk;          // tokens that are rebuilt at a time
    cl_mem widened, rebuilt; // of a chunk of tokens: [chunk][L + R], [chunk][H * (N + V)] f32
    cl_mem states, lse;      // of every chunk
    uint32_t state_capacity;
    baseline_attention attention; // over a rebuilt chunk
} baseline_latent;

// kv_b [H * (N + V)][L] f32, for latent_attend_rebuilt, and not written to afterwards; NULL = that is not wanted.
// latent_close also undoes a failed one.
bool latent_open(baseline_latent *out, const session *session, const latent_shape *shape, cl_mem kv_b,
                 failure *failure);
void latent_close(baseline_latent *latent);

// Absorbed, not fused: scores of all tokens, their softmax, and the weighted sum of latents as separate kernels.
// query [H][L + R], output [H][L].
bool latent_attend_unfused(baseline_latent *latent, cl_mem rows, cl_mem query, uint32_t kv_tokens, cl_mem output,
                           failure *failure);

// Not absorbed: keys and values of all heads are rebuilt from the rows, a chunk of tokens at a time, and attended to as
// in multi-head attention. query [H][N + R], output [H][V].
bool latent_attend_rebuilt(baseline_latent *latent, cl_mem rows, cl_mem query, uint32_t kv_tokens, cl_mem output,
                           failure *failure);

#endif
