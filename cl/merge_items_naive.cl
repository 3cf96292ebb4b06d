// SPDX-License-Identifier: Apache-2.0
// merge_items_naive: joins partial attention states by their log-sum-exp, one work-item a value.       ref: tests/ref/ref_merge.c
//   states [state][head][width], lse [state][head]; states of item i: first + s*state_stride, s = 0 .. count-1
//   items[i] = {output token, first state, count, unused}; without items: token i, first state i, count state_count
//   output [token][head][width], output_lse [token][head] (may be NULL)
// An lse of -inf or +inf marks an empty state: its values are not read. All empty: 0 and -inf.
// grid: global (width, head_count, item_count), local free.
#include "common/state.clh"

__kernel void merge_items_naive(const __global float *states, long states_offset, const __global float *lse, long lse_offset,
                          long state_stride, int state_count, const __global int *items, long items_offset,
                          __global float *output, long output_offset, __global float *output_lse, long output_lse_offset,
                          int width, int head_count, int item_count) {
    int column = get_global_id(0);
    int head = get_global_id(1);
    int item = get_global_id(2);
    if (column >= width || head >= head_count || item >= item_count) return;
    merge_item of = merge_item_load(items, items_offset, item, state_count);

    float top = -INFINITY;
    for (int s = 0; s < of.count; s++) {
        float value = lse[lse_offset + (of.first + s * state_stride) * head_count + head];
        if (!isinf(value)) top = fmax(top, value);
    }
    float weights = 0.0f, sum = 0.0f;
    for (int s = 0; s < of.count; s++) {
        long state = (of.first + s * state_stride) * head_count + head;
        float value = lse[lse_offset + state];
        if (isinf(value)) continue;
        float weight = exp(value - top);
        weights += weight;
        sum = fma(weight, states[states_offset + state * width + column], sum);
    }
    long pair = of.token * head_count + head;
    output[output_offset + pair * width + column] = weights != 0.0f ? sum / weights : 0.0f;
    if (output_lse && column == 0) output_lse[output_lse_offset + pair] = weights != 0.0f ? top + log(weights) : -INFINITY;
}
