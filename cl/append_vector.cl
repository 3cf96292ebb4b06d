// SPDX-License-Identifier: Apache-2.0
// append_vector: as append_naive; one work-item a group and row, values in vectors. For CPU devices.
//                                                                                           ref: tests/ref/ref_append.c
// grid: global (kv_head_count + (something is normed beside), token_count), local (1, 1).   options: ROWS_*,
// STORE_GROUP, VECTOR_WIDTH
#include "common/vector.clh"
#include "common/append.clh"
#include "common/rms_norm.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void append_vector(APPEND_ARGUMENTS) {
    int kv_head = get_global_id(0), token = get_global_id(1);
    if (token >= call.token_count) return;
    if (kv_head >= call.kv_head_count) {
        __global float *row = normed + call.normed + token * call.normed_stride;
        if (call.normed_width > 0)
            rms_norm_row(row, row, normed_weight + call.normed_weight, call.normed_epsilon, call.normed_width);
        return;
    }
    row_place place = PLACE_OF(token, rows_call.page_tokens, rows_call.page_count);
    if (place.page < 0) return;
    row_store_memory memory = ROW_STORE_MEMORY(rows);
    row_store at;
    row_store_at(&at, &memory, place.page, place.row, kv_head, call.power_of_two);
    append_latent of;
    append_latent_fill(&of, latent, norm, &call, token, kv_head);
    for (int piece = 0; piece < append_pieces(call.latent_dim); piece++) append_latent_piece(&at, &of, piece);
    for (int piece = 0; piece < append_pieces(call.rope_dim); piece++)
        append_rope_piece(&at, rope, table, positions, call, token, kv_head, piece);
}
