// SPDX-License-Identifier: Apache-2.0
// attend_naive: absorbed attention of one row against one range of keys, one work-item a row: two passes, first the
// largest score, then weights and values. Every other variant is checked against it.          ref: tests/ref/ref_attend.c
//   query [token][head][latent_dim + rope_dim] f32 (strided)      output [token][head][latent_dim] f32     lse [token][head] f32
// The value sum is kept in the output itself. grid: global (most rows of a work item, work_count), local free.
// options: ELEMENT_*
#include "common/element.clh"
#include "common/work.clh"

#define SUM_RUN 64 // weights are summed in runs of so many, which keeps the rounding error of long contexts small

static inline float attend_score(const __global float *q, const key_rows *keys, long page, int token, int latent_dim, int rope_dim) {
    const __global element_t *c = key_latent(keys, page, token);
    float score = 0.0f;
    for (int d = 0; d < latent_dim;) {
        float run = 0.0f;
        for (int end = min(d + SUM_RUN, latent_dim); d < end; d++) run = fma(q[d], element_load(c, d), run);
        score += run;
    }
    if (rope_dim) {
        const __global element_t *k = key_rope(keys, page, token);
        float run = 0.0f;
        for (int d = 0; d < rope_dim; d++) run = fma(q[latent_dim + d], element_load(k, d), run);
        score += run;
    }
    return score;
}

__kernel void attend_naive(ATTEND_ARGUMENTS) {
    int work = get_global_id(1);
    if (work >= work_count) return;
    work_item item = work_item_load(works, works_offset, work);
    if ((int)get_global_id(0) >= item.row_count) return;
    int row = item.row_begin + get_global_id(0);
    ATTEND_KEY_ROWS(keys, item);
    int kv_end = min(item.kv_end, work_visible(item, row, head_count, full));

    long pair = work_output_pair(item, row, head_count);
    const __global float *q = query + query_offset + (long)(item.token_first + row / head_count) * query_token_stride +
                              (row % head_count) * query_head_stride;
    __global float *out = output + output_offset + pair * latent_dim;
    __global float *out_lse = lse ? lse + lse_offset + pair : (__global float *)0;
    if (item.state_first >= 0) {
        pair = work_state_pair(item, row, head_count);
        out = states + states_offset + pair * latent_dim;
        out_lse = state_lse + state_lse_offset + pair;
    }

    float top = -INFINITY;
    for (int token = item.kv_begin; token < kv_end; token++) {
        long page = key_page(&keys, token);
        if (page >= 0) top = fmax(top, scale * attend_score(q, &keys, page, token, latent_dim, rope_dim));
    }

    for (int d = 0; d < latent_dim; d++) out[d] = 0.0f;
    float total = 0.0f;
    for (int token = item.kv_begin; token < kv_end;) {
        float run = 0.0f;
        for (int end = min(token + SUM_RUN, kv_end); token < end; token++) {
            long page = key_page(&keys, token);
            if (page < 0) continue;
            float weight = exp(scale * attend_score(q, &keys, page, token, latent_dim, rope_dim) - top);
            const __global element_t *c = key_latent(&keys, page, token);
            for (int d = 0; d < latent_dim; d++) out[d] = fma(weight, element_load(c, d), out[d]);
            run += weight;
        }
        total += run;
    }
    if (total != 0.0f) // a NaN counts: it must show
        for (int d = 0; d < latent_dim; d++) out[d] /= total;
    if (out_lse) *out_lse = total != 0.0f ? top + log(total) : -INFINITY;
}
