// SPDX-License-Identifier: Apache-2.0
// Multi-head attention over keys and values of every head: prefill by reconstructed keys. Where many query tokens see
// the same rows it is cheaper to rebuild each head's keys and values once (gather, append.h, then project with
// kv_b_proj, operations.h: N + V values a head and row) and to take N + R + V multiply-adds for a head and a pair of
// tokens than to take the 2 L + R of absorbed attention: 320 and not 1088 at DeepSeek's dimensions. vLLM's MLA prefill
// and FlashInfer's ragged prefill stand for the same. The layer step does all of it by itself (clmla_prefill, plan.h).
#ifndef CLMLA_ATTEND_HEADS_H
#define CLMLA_ATTEND_HEADS_H

#include <clmla/context.h>
#include <clmla/opencl.h>
#include <clmla/types.h>
#include <clmla/variants.h>
#include <stdbool.h>

CLMLA_BEGIN

// --- attend_heads --------------------------------------------------------------------------------------------------
// One sequence, or a chunk of its keys. For query token i, whose own key has number p = query_first + i in the
// sequence, and each head, over the keys j from key_first to before key_first + key_count that i sees: j <= p unless
// `full`, and j > p − window with a window:
//   s_j = cap( softmax_scale · ( q_nope · key_j + q_rope · key_rope_j ) ),  cap(s) = softcap · tanh(s / softcap), or s
//   p_j = softmax over these keys;  output = Σ p_j · value_j,  lse = ln Σ exp(s_j)
// A token that sees no key gets output 0 and lse −infinity. What a token does not see never influences it, NaN
// included. With `carry` output and lse hold the result over other keys of the sequence (an lse of −infinity or
// +infinity: over none, and its output is not read) and become the result over those and these: the keys of a long
// context may come in chunks, in any order. Results over chunks that are kept apart are joined by clmla_merge.
// All values are f32, strides in elements; on GPUs those are read fastest whose buffers and strides are multiples of 16
// bytes. A variant that was proven wrong on the device (clmla_proof) is not chosen; none is proven here: that is for
// plans and clmla_layer_prepare. Where attend.tile.* of the tuning leaves no room for a tile of the variant named the
// call fails with CLMLA_E_LIMIT; of one that is chosen the tuning is left aside, with one warning a context. Errors,
// threads, variant, trailing parameters: operations.h.
typedef struct clmla_attend_heads_params {
    uint32_t token_count;          // query tokens, of one sequence and one after the other
    uint32_t key_count, key_first; // keys of this call; their sum is below 2^31
    int32_t query_first; // key number of the first query token's own key: s_k − s_q. Below 0: the first see no key
    bool full;           // every query sees every key; otherwise causal
    uint32_t window;     // 0 = none
    uint32_t head_count, nope_dim, rope_dim, value_dim; // H, N, R, V: N + R and V at least 1
    clmla_buffer query; // N values, then R rotated ones, at query[t·query_token_stride + h·query_head_stride]
    uint64_t query_token_stride, query_head_stride;
    clmla_buffer key; // N values of key k and head h at key[k·key_token_stride + h·key_head_stride]; unused when N = 0
    uint64_t key_token_stride, key_head_stride;
    clmla_buffer key_rope; // R values of key k, of all heads, at key_rope[k·key_rope_stride]; unused when R = 0
    uint64_t key_rope_stride;
    clmla_buffer value; // V values at value[k·value_token_stride + h·value_head_stride]
    uint64_t value_token_stride, value_head_stride;
    float softmax_scale; // clmla_config_values.softmax_scale; must be > 0
    float softcap;       // 0 = none
    bool carry;
    clmla_buffer output; // V values at output[t·output_token_stride + h·output_head_stride]
    uint64_t output_token_stride, output_head_stride;
    clmla_buffer lse; // at lse[t·lse_token_stride + h·lse_head_stride], natural logarithm; optional without carry
    uint64_t lse_token_stride, lse_head_stride;
    const char *variant;
    clmla_compute compute; // FAST where a variant has it: queries, keys, values and weights may be rounded for matrix
                           // units, within the bounds of clmla_plan_params.compute
    clmla_type rounding; // what to then: CLMLA_TYPE_F16, where no value is beyond ±65504, or BF16, which comes close to
                         // the bound where scores spread widely; NONE = BF16
} clmla_attend_heads_params;
CLMLA_API clmla_status clmla_attend_heads(clmla_context *context, const clmla_attend_heads_params *params,
                                          cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                          cl_event *event);

CLMLA_END

#endif
