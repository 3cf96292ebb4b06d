// SPDX-License-Identifier: Apache-2.0
// merge_naive: joins partial attention states by their log-sum-exp, one group a (token, head).
//                                                                                            ref: tests/ref/ref_merge.c
//   states of a token and head: call tells where (common/merge_call.h); lse beside them; mask [token] uchar or NULL: a
//   token whose byte is 0 is left alone; output_lse may be NULL
// output may be state 0 itself and output_lse its lse: a work-item reads all states of a column before it writes that
// column, and the lse is written when the whole group has read it.
// grid: global (group * token_count * head_count), any group.
#include "common/merge.clh"

__kernel void merge_naive(MERGE_ARGUMENTS) {
    long pair = get_group_id(0);
    int token = pair / call.head_count, head = pair % call.head_count;
    if (mask && mask[call.mask + token] == 0) return; // the same for the whole group
    merge_states states = merge_states_at(first, rest, first_lse, rest_lse, call, token, head);
    merge_weights weights = merge_weigh(&states);
    long out = token * call.output_token_stride + head * call.output_head_stride;
    for (int column = get_local_id(0); column < call.width; column += get_local_size(0))
        number_store(output + call.output, call.type, out + column, merge_value(&states, weights, column));
    barrier(CLK_GLOBAL_MEM_FENCE);
    if (output_lse && get_local_id(0) == 0)
        output_lse[call.output_lse + token * call.output_lse_token_stride + head * call.output_lse_head_stride] =
            merge_joint_lse(&states, weights);
}
