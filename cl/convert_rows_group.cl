// SPDX-License-Identifier: Apache-2.0
// convert_rows_group: as convert_rows_naive; a group takes a row, whose values it decodes into local memory and then
// stores together (common/row_store_group.clh). For GPUs.                             ref: tests/ref/ref_convert_rows.c
// local memory: values, ROW_GROUP_WORDS words.   grid: global (GROUP * kv_head_count * token_count), local (GROUP)
// options: FROM_ROWS_*, TO_ROWS_*, STORE_GROUP (of `to`), GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/convert.clh"
#include "common/row_store_group.clh"

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void convert_rows_group(
    CONVERT_ARGUMENTS, __local float *values) {
    int row = get_group_id(0), token = row / call.kv_head_count, kv_head = row % call.kv_head_count;
    row_place source = PLACE_IN(from_places, token, from_call.page_tokens, from_call.page_count);
    row_place target = PLACE_IN(to_places, token, to_call.page_tokens, to_call.page_count);
    row_memory from_memory = ROW_MEMORY(from);
    row_store_memory to_memory = ROW_STORE_MEMORY(to);
    row_parts from;
    row_store to;
    row_at(&from, &from_memory, max(source.page, 0L), source.row, kv_head);
    row_turn_by(&from, call.deltas, call.turns, token);
    row_store_at(&to, &to_memory, max(target.page, 0L), target.row, kv_head, call.power_of_two);
    // No barrier may stand under a condition: what has no row is a row of no values.
    if (source.page < 0 || target.page < 0) to.latent_dim = to.rope_dim = 0;
    __local float *rope_values = values + call.latent_dim;
    GROUP_EACH(i, to.latent_dim) values[i] = source_latent(&from, i);
    GROUP_EACH(i, to.rope_dim) rope_values[i] = source_rope(&from, convert_rope_index(call, i));
    barrier(CLK_LOCAL_MEM_FENCE);
    row_store_group(&to, values, rope_values, (__local uint *)(rope_values + call.rope_dim));
}
