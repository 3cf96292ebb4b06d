// SPDX-License-Identifier: Apache-2.0
// append_naive: writes token t, latent and rope part, to its row of a paged cache, one work-item a piece of STORE_GROUP
// values: first the latent part's pieces, then the rope part's.                             ref: tests/ref/ref_append.c
// A token without a row (common/place.clh) is skipped. With norm weights the latent part is normed, its factor found
// anew for each piece; with a rope table the rope part is rotated, in whichever orders.
// grid: global (pieces * kv_head_count * token_count), local free.   options: ROWS_*, STORE_GROUP
#include "common/append.clh"

__kernel void append_naive(APPEND_ARGUMENTS) {
    int latent_pieces = append_pieces(call.latent_dim), pieces = latent_pieces + append_pieces(call.rope_dim);
    long index = get_global_id(0), row = index / pieces;
    int piece = index % pieces, kv_head = row % call.kv_head_count;
    if (row >= (long)call.token_count * call.kv_head_count) return;
    int token = row / call.kv_head_count;
    row_place place = PLACE_OF(token, rows_call.page_tokens, rows_call.page_count);
    if (place.page < 0) return;
    row_store_memory memory = ROW_STORE_MEMORY(rows);
    row_store at;
    row_store_at(&at, &memory, place.page, place.row, kv_head, call.power_of_two);
    if (piece < latent_pieces) {
        append_latent of;
        append_latent_fill(&of, latent, norm, &call, token, kv_head);
        append_latent_piece(&at, &of, piece);
    } else
        append_rope_piece(&at, rope, table, positions, call, token, kv_head, piece - latent_pieces);
}
