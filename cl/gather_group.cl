// SPDX-License-Identifier: Apache-2.0
// gather_group: as gather_naive; a group takes a row of a kv head, its work-items four values at a time. For GPUs: each
// finds the row's place once.                                                               ref: tests/ref/ref_gather.c
// grid: global (GROUP * kv_head_count * token_count), local (GROUP).   options: ROWS_*, GROUP, SUB_GROUP
#define VECTOR_WIDTH 4
#include "common/vector.clh"
#include "common/group.clh"
#include "common/place.clh"
#include "common/row.clh"
#include "common/row_turn.clh"
#include "common/gather_call.h"

static inline int gather_is_turned(const row_parts *at) {
#ifdef ROW_TURNS
    return at->delta != 0;
#else
    return 0;
#endif
}

// Value d of a row, counted through both parts.
static inline float gather_value(const row_parts *at, int d) {
    return d < at->latent_dim ? row_latent(at, d) : row_turned(at, d - at->latent_dim);
}

// Values d ... d + 4: of one part from a multiple of four on they are one load.
static inline float4 gather_four(const row_parts *at, int d) {
    int rope = d - at->latent_dim;
    if (rope <= -4) return row_latent_vector(at, d);
    if (rope >= 0 && rope % 4 == 0 && !gather_is_turned(at)) return row_rope_vector(at, rope);
    return (float4)(gather_value(at, d), gather_value(at, d + 1), gather_value(at, d + 2), gather_value(at, d + 3));
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void gather_group(
    PLACE_ARGUMENTS, ROW_ARGUMENTS(rows), TURN_ARGUMENTS, __global uchar *output, gather_call call) {
    int row = get_group_id(0), token = row / call.kv_head_count, kv_head = row % call.kv_head_count;
    int width = call.latent_dim + call.rope_dim;
    long to = token * call.output_stride + kv_head * call.output_head_stride;
    row_place place = PLACE_OF(token, rows_call.page_tokens, rows_call.page_count);
    row_memory memory = ROW_MEMORY(rows);
    row_parts at;
    row_at(&at, &memory, max(place.page, 0L), place.row, kv_head);
    row_turn_by(&at, call.deltas, call.turns, token);
    for (int d = get_local_id(0) * 4; d + 4 <= width; d += GROUP * 4) {
        float4 values = place.page < 0 ? (float4)0.0f : gather_four(&at, d);
        number_store_vector(output + call.output, call.type, to + d, values);
    }
    int rest = width % 4, item = get_local_id(0);
    if (item < rest) {
        int d = width - rest + item;
        number_store(output + call.output, call.type, to + d, place.page < 0 ? 0.0f : gather_value(&at, d));
    }
}
