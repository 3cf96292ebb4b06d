// SPDX-License-Identifier: Apache-2.0
// attend_naive: absorbed attention of one row against ranges of keys, one work-item a row of a part: two passes, first
// the largest score, then weights and values. Every other variant is checked against it.    ref: tests/ref/ref_attend.c
//   query [token][head][latent_dim] and query_rope [token][head][rope_dim], or both in one tensor; any type and strides
//   space: sums [part][sum_rows][value_dim] f32, of long pieces twice the rows (common/sum_run.h); states
//   (lib/plan_schedule.h)     output, lse, max_logit: common/result.clh
// grid: global (most rows of a work, parts), local free.
// options: ROWS_*, SPARSE
#include "common/work.clh"
#include "common/result.clh"
#include "common/sum_run.h"

// Runs are summed apart: less rounding error in wide rows and long contexts.
#define SUM_RUN 64 // products of a score
#define KEY_RUN 16 // keys
#define RUN_BLOCKS SUM_RUN_BLOCKS(KEY_RUN)

typedef struct query_row {
    const __global uchar *latent, *rope;
    long latent_first, rope_first;
} query_row;

static inline float attend_score(const query_row *q, const row_parts *at, const attend_call *call) {
    float score = 0.0f;
    for (int d = 0; d < call->latent_dim;) {
        float run = 0.0f;
        for (int end = min(d + SUM_RUN, call->latent_dim); d < end; d++)
            run = fma(number_load(q->latent, call->query_type, q->latent_first + d), row_latent(at, d), run);
        score += run;
    }
    float run = 0.0f;
    for (int d = 0; d < call->rope_dim; d++)
        run = fma(number_load(q->rope, call->query_type, q->rope_first + d), row_turned(at, d), run);
    score = call->scale * (score + run);
    return call->softcap != 0.0f ? call->softcap * tanh(score / call->softcap) : score;
}

static inline float attend_value(const row_parts *at, int d, int latent_dim) {
    return d < latent_dim ? row_latent(at, d) : row_turned(at, d - latent_dim);
}

// Sums weights times values of keys [first, end) into sums, KEY_RUN keys at a time; answers the weights' total. kept:
// the sums of runs of blocks (common/sum_run.h), but for the last.
static inline float attend_sum(__global float *sums, __global float *kept, const query_row *q, const key_source *keys,
                               int first, int end, float top, const attend_call *call) {
    float total = 0.0f, kept_total = 0.0f;
    int blocks = 0;
    for (int d = 0; d < call->value_dim; d++) sums[d] = 0.0f;
    for (int key = first; key < end; blocks++) {
        row_parts at[KEY_RUN];
        float weights[KEY_RUN], run = 0.0f;
        int count = 0;
        if (blocks > 0 && blocks % RUN_BLOCKS == 0) {
            for (int d = 0; d < call->value_dim; d++) {
                kept[d] = blocks > RUN_BLOCKS ? kept[d] + sums[d] : sums[d];
                sums[d] = 0.0f;
            }
            kept_total += total;
            total = 0.0f;
        }
        for (; key < end && count < KEY_RUN; key++) {
            if (!key_at(&at[count], keys, key)) continue;
            weights[count] = exp(attend_score(q, &at[count], call) - top);
            run += weights[count++];
        }
        total += run;
        for (int d = 0; d < call->value_dim; d++) {
            float value = 0.0f;
            for (int i = 0; i < count; i++) value = fma(weights[i], attend_value(&at[i], d, call->latent_dim), value);
            sums[d] += value;
        }
    }
    if (blocks > RUN_BLOCKS)
        for (int d = 0; d < call->value_dim; d++) sums[d] += kept[d];
    return kept_total + total;
}

__kernel void attend_naive(ATTEND_ARGUMENTS) {
    int part = get_global_id(1), r = get_global_id(0);
    if (part >= step[call.header + HEADER_PARTS]) return;
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item = work_item_load(step + call.works, w);
        if (r >= item.row_count) continue;
        int row = item.row_begin + r, head = work_head(&call, &item, row);
        long token = work_token(&call, &item, row);
        query_row q = {query + call.query, query_rope + call.query_rope,
                       token * call.query_token + head * call.query_head,
                       token * call.query_rope_token + head * call.query_rope_head};
        KEY_SOURCE(keys, item);
        key_range range = work_visible(&call, &item, row);
        int first = max(item.kv_begin, range.first), end = min(item.kv_end, range.end);

        float top = -INFINITY;
        row_parts at;
        for (int key = first; key < end; key++)
            if (key_at(&at, &keys, key)) top = fmax(top, attend_score(&q, &at, &call));

        long state = (long)item.state_first + r;
        __global float *sums =
            space + (item.state_first >= 0 ? call.states + state * call.value_dim
                                           : call.sums + ((long)part * call.sum_rows + r) * call.value_dim);
        __global float *kept =
            space + call.sums + ((long)part * call.sum_rows + call.sum_rows / 2 + r) * call.value_dim;
        float total = attend_sum(sums, kept, &q, &keys, first, end, top, &call);
        int seen = total != 0.0f; // a NaN counts: it must show
        float factor = seen ? 1.0f / total : 0.0f, row_lse = seen ? top + log(total) : -INFINITY;
        if (item.state_first >= 0) {
            if (seen)
                for (int d = 0; d < call.value_dim; d++) sums[d] *= factor;
            space[call.state_lse + state] = row_lse;
            space[call.state_max + state] = top;
        } else
            result_write(RESULT_PASS, &call, token, head, sums, factor, row_lse, top);
    }
}
