// SPDX-License-Identifier: Apache-2.0
// merge_vector: as merge_naive (its head tells layout and rules); one work-item a group and (head, token), columns in
// vectors: BLOCK columns are summed in registers over all states, then written. For CPU devices. ref:
// tests/ref/ref_merge.c
// grid: global (head_count, token_count), local (1, 1).   options: VECTOR_WIDTH
#include "common/vector.clh"

#include "common/merge.clh"

#define BLOCK 128 // columns: a state's weight is computed once for so many
#define BLOCK_VECTORS (BLOCK / VECTOR_WIDTH)

// Columns [column, column + vectors * VECTOR_WIDTH) of the joint state.
static inline void merge_block(floatv sums[BLOCK_VECTORS], const merge_states *states, merge_weights weights,
                               int column, int vectors) {
    for (int v = 0; v < vectors; v++) sums[v] = (floatv)0.0f;
    for (int s = 0; s < states->count; s++) {
        float lse = merge_lse(states, s);
        if (isinf(lse)) continue;
        const __global uchar *state;
        long from = merge_state(&state, states, s) + column;
        floatv weight = (floatv)(merge_exp(states, lse - weights.top) / weights.total);
        for (int v = 0; v < vectors; v++)
            sums[v] = fma(weight, number_load_vector(state, states->type, from + v * VECTOR_WIDTH), sums[v]);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void merge_vector(MERGE_ARGUMENTS) {
    int head = get_global_id(0), token = get_global_id(1);
    if (head >= call.head_count || token >= call.token_count) return;
    if (mask && mask[call.mask + token] == 0) return;
    merge_states states = merge_states_at(first, rest, first_lse, rest_lse, call, token, head);
    merge_weights weights = merge_weigh(&states);
    long out = token * call.output_token_stride + head * call.output_head_stride;
    for (int column = 0; column < call.width; column += BLOCK) {
        int vectors = min(BLOCK, call.width - column) / VECTOR_WIDTH;
        floatv sums[BLOCK_VECTORS];
        merge_block(sums, &states, weights, column, vectors);
        for (int v = 0; v < vectors; v++)
            number_store_vector(output + call.output, call.type, out + column + v * VECTOR_WIDTH, sums[v]);
    }
    for (int column = call.width / VECTOR_WIDTH * VECTOR_WIDTH; column < call.width; column++)
        number_store(output + call.output, call.type, out + column, merge_value(&states, weights, column));
    if (output_lse)
        output_lse[call.output_lse + token * call.output_lse_token_stride + head * call.output_lse_head_stride] =
            merge_joint_lse(&states, weights);
}
