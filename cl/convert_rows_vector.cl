// SPDX-License-Identifier: Apache-2.0
// convert_rows_vector: as convert_rows_naive; one work-item a group and row, values in vectors. For CPU devices.
// grid: global (kv_head_count, token_count), local (1, 1).                            ref: tests/ref/ref_convert_rows.c
// options: FROM_ROWS_*, TO_ROWS_*, STORE_GROUP (of `to`), VECTOR_WIDTH
#include "common/vector.clh"
#include "common/convert.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void convert_rows_vector(CONVERT_ARGUMENTS) {
    int kv_head = get_global_id(0), token = get_global_id(1);
    if (kv_head >= call.kv_head_count || token >= call.token_count) return;
    row_place source = PLACE_IN(from_places, token, from_call.page_tokens, from_call.page_count);
    row_place target = PLACE_IN(to_places, token, to_call.page_tokens, to_call.page_count);
    if (source.page < 0 || target.page < 0) return;
    row_memory from_memory = ROW_MEMORY(from);
    row_store_memory to_memory = ROW_STORE_MEMORY(to);
    row_parts from;
    row_store to;
    row_at(&from, &from_memory, source.page, source.row, kv_head);
    row_turn_by(&from, call.deltas, call.turns, token);
    row_store_at(&to, &to_memory, target.page, target.row, kv_head, call.power_of_two);
    for (int piece = 0; piece < convert_pieces(call.latent_dim); piece++) convert_latent_piece(&to, &from, call, piece);
    for (int piece = 0; piece < convert_pieces(call.rope_dim); piece++) convert_rope_piece(&to, &from, call, piece);
}
