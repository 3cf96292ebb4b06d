// SPDX-License-Identifier: Apache-2.0
// attend_heads_naive: multi-head attention of one token and head against a call's keys, one work-item each: two passes,
// first the largest score, then weights and values, which are summed in the output. Every other variant is checked
// against it.
//                                                                                     ref: tests/ref/ref_attend_heads.c
//   query [token][head][N + R], key [key][head][N], key_rope [key][R], value [key][head][V], output [token][head][V],
//   f32, any strides (include/clmla/attend_heads.h)
// grid: global (head_count, token_count), local free.
#include "common/attend_heads.clh"

// Runs are summed apart: less rounding error in wide heads and long contexts.
#define SUM_RUN 64 // products of a score
#define KEY_RUN 16 // keys

static inline float heads_product(float score, const __global float *q, const __global float *k, int width) {
    for (int d = 0; d < width;) {
        float run = 0.0f;
        for (int end = min(d + SUM_RUN, width); d < end; d++) run = fma(q[d], k[d], run);
        score += run;
    }
    return score;
}

// Of the head's keys from `key` on.
static inline float heads_score(const __global float *q, const __global float *key, const __global float *key_rope,
                                int at, const attend_heads_call *call) {
    float score = 0.0f;
    if (call->nope_dim) score = heads_product(score, q, key + at * call->key_token, call->nope_dim);
    if (call->rope_dim)
        score = heads_product(score, q + call->nope_dim, key_rope + call->key_rope + at * call->key_rope_token,
                              call->rope_dim);
    score *= call->scale;
    return call->softcap != 0.0f ? call->softcap * tanh(score / call->softcap) : score;
}

// Adds weights times values of the range, KEY_RUN keys at a time; answers the weights' total.
static inline float heads_sum(__global float *sums, const __global float *q, const __global float *key,
                              const __global float *key_rope, const __global float *value, heads_range range, float top,
                              const attend_heads_call *call) {
    float total = 0.0f;
    for (int at = range.first; at < range.end; at += KEY_RUN) {
        float weights[KEY_RUN], run = 0.0f;
        int count = min(KEY_RUN, range.end - at);
        for (int i = 0; i < count; i++) run += weights[i] = exp(heads_score(q, key, key_rope, at + i, call) - top);
        total += run;
        for (int d = 0; d < call->value_dim; d++) {
            float sum = 0.0f;
            for (int i = 0; i < count; i++) sum = fma(weights[i], value[(at + i) * call->value_token + d], sum);
            sums[d] += sum;
        }
    }
    return total;
}

__kernel void attend_heads_naive(HEADS_ARGUMENTS) {
    int head = get_global_id(0), token = get_global_id(1);
    if (head >= call.head_count || token >= call.token_count) return;
    const __global float *q = query + call.query + token * call.query_token + head * call.query_head;
    const __global float *k = key + call.key + head * call.key_head, *v = value + call.value + head * call.value_head;
    __global float *sums = output + call.output + token * call.output_token + head * call.output_head;
    heads_range range = heads_visible(&call, token);
    float before = heads_before(lse, &call, token, head), top = before;
    for (int at = range.first; at < range.end; at++) top = fmax(top, heads_score(q, k, key_rope, at, &call));

    // What the keys before weigh; without any their output is not read.
    float total = before == -INFINITY ? 0.0f : exp(before - top);
    for (int d = 0; d < call.value_dim; d++) sums[d] = total != 0.0f ? sums[d] * total : 0.0f;
    if (range.first < range.end) total += heads_sum(sums, q, k, key_rope, v, range, top, &call);
    int seen = total != 0.0f; // a NaN counts: it must show
    for (int d = 0; d < call.value_dim; d++) sums[d] = seen ? sums[d] / total : 0.0f;
    if (lse) lse[call.lse + token * call.lse_token + head * call.lse_head] = seen ? top + log(total) : -INFINITY;
}
