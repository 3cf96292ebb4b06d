// SPDX-License-Identifier: Apache-2.0
// gather_vector: as gather_naive; one work-item a group and row, values in vectors. For CPU devices.
// grid: global (kv_head_count, token_count), local (1, 1).   options: ROWS_*, VECTOR_WIDTH
//                                                                                           ref: tests/ref/ref_gather.c
#include "common/vector.clh"
#include "common/place.clh"
#include "common/row.clh"
#include "common/row_turn.clh"

#include "common/gather_call.h"

static inline void gather_zeros(__global uchar *output, int type, long to, int count) {
    int d = 0;
    for (; d + VECTOR_WIDTH <= count; d += VECTOR_WIDTH) number_store_vector(output, type, to + d, (floatv)0.0f);
    for (; d < count; d++) number_store(output, type, to + d, 0.0f);
}

static inline void gather_row(__global uchar *output, gather_call call, long to, const row_parts *at) {
    int d = 0;
    for (; d + VECTOR_WIDTH <= call.latent_dim; d += VECTOR_WIDTH)
        number_store_vector(output, call.type, to + d, row_latent_vector(at, d));
    for (; d < call.latent_dim; d++) number_store(output, call.type, to + d, row_latent(at, d));
    to += call.latent_dim;
    d = 0;
#ifdef ROW_TURNS
    if (at->delta == 0)
#endif
        for (; d + VECTOR_WIDTH <= call.rope_dim; d += VECTOR_WIDTH)
            number_store_vector(output, call.type, to + d, row_rope_vector(at, d));
    for (; d < call.rope_dim; d++) number_store(output, call.type, to + d, row_turned(at, d));
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gather_vector(PLACE_ARGUMENTS, ROW_ARGUMENTS(rows),
                                                                           TURN_ARGUMENTS, __global uchar *output,
                                                                           gather_call call) {
    int kv_head = get_global_id(0), token = get_global_id(1);
    if (kv_head >= call.kv_head_count || token >= call.token_count) return;
    long to = token * call.output_stride + kv_head * call.output_head_stride;
    row_place place = PLACE_OF(token, rows_call.page_tokens, rows_call.page_count);
    if (place.page < 0) {
        gather_zeros(output + call.output, call.type, to, call.latent_dim + call.rope_dim);
        return;
    }
    row_memory memory = ROW_MEMORY(rows);
    row_parts at;
    row_at(&at, &memory, place.page, place.row, kv_head);
    row_turn_by(&at, call.deltas, call.turns, token);
    gather_row(output + call.output, call, to, &at);
}
