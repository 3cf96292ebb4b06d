// SPDX-License-Identifier: Apache-2.0
// merge_group: as merge_naive (its head tells layout and rules); a group has a (token, head), its work-items COLUMNS
// columns each at a time, GROUP apart, so that neighbours read neighbours. For GPUs.         ref: tests/ref/ref_merge.c
// GROUP states at a time: a work-item weighs one of them, for the whole group; sums of earlier states are scaled where
// a later one has a larger log-sum-exp, as in attention over blocks of keys.
// local memory: 2 * GROUP * 4 bytes.   grid: global (GROUP * head_count, token_count), local (GROUP, 1).   options:
// GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/merge.clh"
#include "common/slice.clh"

#define COLUMNS 4
#define EMPTY -1.0f // in place of the weight of a state whose values are not read

// Weighs the states [first, first + GROUP) into local memory, by the largest of them and all before; answers by what
// the sums so far are to be multiplied. The whole group comes here: no barrier may stand under a condition.
static inline float merge_group_weigh(float *top, __local float *lses, __local float *weights,
                                      const merge_states *states, int first) {
    int item = get_local_id(0), count = min(states->count - first, GROUP);
    float lse = item < count ? merge_lse(states, first + item) : INFINITY, before = *top;
    lses[item] = isinf(lse) ? -INFINITY : lse;
    // Also of global memory: at the end one writes where all have read.
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    for (int s = 0; s < count; s++) *top = fmax(*top, lses[s]);
    weights[item] = isinf(lse) ? EMPTY : merge_exp(states, lse - *top);
    barrier(CLK_LOCAL_MEM_FENCE);
    return before == *top ? 1.0f : merge_exp(states, before - *top);
}

// Columns begin, begin + GROUP, ... of the states that were weighed; answers their total weight.
static inline float merge_group_add(float sums[COLUMNS], const __local float *weights, const merge_states *states,
                                    int first, int begin, int width) {
    int count = min(states->count - first, GROUP);
    float total = 0.0f;
    for (int s = 0; s < count; s++) {
        float weight = weights[s];
        const __global uchar *state;
        if (weight == EMPTY) continue;
        long from = merge_state(&state, states, first + s) + begin;
        total += weight;
#pragma unroll
        for (int i = 0; i < COLUMNS; i++)
            if (begin + i * GROUP < width)
                sums[i] = fma(weight, number_load(state, states->type, from + i * GROUP), sums[i]);
    }
    return total;
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void merge_group(MERGE_ARGUMENTS) {
    __local float lses[GROUP], weights[GROUP];
    int head = get_group_id(0), token = slice_group(1), item = get_local_id(0);
    int width = mask && mask[call.mask + token] == 0 ? 0 : call.width; // left alone: nothing to do
    merge_states states = merge_states_at(first, rest, first_lse, rest_lse, call, token, head);
    merge_weights joint = {-INFINITY, 0.0f};
    long out = token * call.output_token_stride + head * call.output_head_stride;
    for (int begin = 0; begin < width; begin += GROUP * COLUMNS) {
        float sums[COLUMNS];
        for (int i = 0; i < COLUMNS; i++) sums[i] = 0.0f;
        joint.top = -INFINITY;
        joint.total = 0.0f;
        for (int s = 0; s < states.count; s += GROUP) {
            float kept = merge_group_weigh(&joint.top, lses, weights, &states, s);
            for (int i = 0; i < COLUMNS; i++) sums[i] *= kept;
            joint.total = joint.total * kept + merge_group_add(sums, weights, &states, s, begin + item, width);
        }
#pragma unroll
        for (int i = 0; i < COLUMNS; i++)
            if (begin + item + i * GROUP < width)
                number_store(output + call.output, call.type, out + begin + item + i * GROUP,
                             joint.total != 0.0f ? sums[i] / joint.total : 0.0f);
    }
    if (width > 0 && output_lse && item == 0)
        output_lse[call.output_lse + token * call.output_lse_token_stride + head * call.output_lse_head_stride] =
            merge_joint_lse(&states, joint);
}
