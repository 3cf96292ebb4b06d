// SPDX-License-Identifier: Apache-2.0
// convert_rows_naive: writes the row of token t of one paged cache, decoded, to its row of another in another format,
// one work-item a piece of STORE_GROUP values: first the latent part's pieces, then the rope part's.  ref:
// tests/ref/ref_convert_rows.c A token without a row (common/place.clh) in either is skipped. The rope part is brought
// into the order of `to`; deltas [token] int: positions a scaled row is rotated by on the way.
// grid: global (pieces * kv_head_count * token_count), local free.   options: FROM_ROWS_*, TO_ROWS_*, STORE_GROUP (of
// `to`)
#include "common/convert.clh"

__kernel void convert_rows_naive(CONVERT_ARGUMENTS) {
    int latent_pieces = convert_pieces(call.latent_dim), pieces = latent_pieces + convert_pieces(call.rope_dim);
    long index = get_global_id(0), row = index / pieces;
    int piece = index % pieces, kv_head = row % call.kv_head_count;
    if (row >= (long)call.token_count * call.kv_head_count) return;
    int token = row / call.kv_head_count;
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
    if (piece < latent_pieces)
        convert_latent_piece(&to, &from, call, piece);
    else
        convert_rope_piece(&to, &from, call, piece - latent_pieces);
}
