// SPDX-License-Identifier: Apache-2.0
// merge_items_vector: as merge_items_naive (its head tells layout and rules); one work-item a group and (head, item), columns in
// vectors: each state is read once, the output is summed in place. For CPU devices.              ref: tests/ref/ref_merge.c
// grid: global (head_count, item_count), local (1, 1).   options: VECTOR_WIDTH
#include "common/vector.clh"
#include "common/state.clh"

// output = first ? weight * state : output + weight * state
static inline void merge_add(__global float *output, const __global float *state, float weight, int first, int width) {
    int c = 0;
    for (; c + VECTOR_WIDTH <= width; c += VECTOR_WIDTH) {
        floatv before = first ? (floatv)0.0f : load_floatv(output + c);
        store_floatv(fma((floatv)weight, load_floatv(state + c), before), output + c);
    }
    for (; c < width; c++) output[c] = fma(weight, state[c], first ? 0.0f : output[c]);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
merge_items_vector(const __global float *states, long states_offset, const __global float *lse, long lse_offset, long state_stride,
             int state_count, const __global int *items, long items_offset, __global float *output, long output_offset,
             __global float *output_lse, long output_lse_offset, int width, int head_count, int item_count) {
    int head = get_global_id(0);
    int item = get_global_id(1);
    if (head >= head_count || item >= item_count) return;
    merge_item of = merge_item_load(items, items_offset, item, state_count);

    float top = -INFINITY;
    for (int s = 0; s < of.count; s++) {
        float value = lse[lse_offset + (of.first + s * state_stride) * head_count + head];
        if (!isinf(value)) top = fmax(top, value);
    }
    float weights = 0.0f;
    for (int s = 0; s < of.count; s++) {
        float value = lse[lse_offset + (of.first + s * state_stride) * head_count + head];
        if (!isinf(value)) weights += exp(value - top);
    }

    long pair = of.token * head_count + head;
    __global float *out = output + output_offset + pair * width;
    int first = 1;
    for (int s = 0; s < of.count; s++) {
        long state = (of.first + s * state_stride) * head_count + head;
        float value = lse[lse_offset + state];
        if (isinf(value)) continue;
        merge_add(out, states + states_offset + state * width, exp(value - top) / weights, first, width);
        first = 0;
    }
    if (first)
        for (int c = 0; c < width; c++) out[c] = 0.0f;
    if (output_lse) output_lse[output_lse_offset + pair] = first ? -INFINITY : top + log(weights);
}
