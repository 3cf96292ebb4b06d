// SPDX-License-Identifier: Apache-2.0
// gather_naive: reads the row of token t, latent then rope part, decoded, one work-item a value.  ref:
// tests/ref/ref_gather.c
//   output: value d of kv head g of token t at t*output_stride + g*output_head_stride + d, f32, f16 or bf16
// A token without a row (common/place.clh) gets zeros. deltas [token] int: positions a scaled row is rotated by on the
// way.
// grid: global (width * kv_head_count * token_count), local free.   options: ROWS_*
#include "common/place.clh"
#include "common/row.clh"
#include "common/row_turn.clh"
#include "common/gather_call.h"

__kernel void gather_naive(PLACE_ARGUMENTS, ROW_ARGUMENTS(rows), TURN_ARGUMENTS, __global uchar *output,
                           gather_call call) {
    int width = call.latent_dim + call.rope_dim;
    long index = get_global_id(0), row = index / width;
    int d = index % width, kv_head = row % call.kv_head_count;
    if (row >= (long)call.token_count * call.kv_head_count) return;
    int token = row / call.kv_head_count;
    row_place place = PLACE_OF(token, rows_call.page_tokens, rows_call.page_count);
    float value = 0.0f;
    if (place.page >= 0) {
        row_memory memory = ROW_MEMORY(rows);
        row_parts at;
        row_at(&at, &memory, place.page, place.row, kv_head);
        row_turn_by(&at, call.deltas, call.turns, token);
        value = d < call.latent_dim ? row_latent(&at, d) : row_turned(&at, d - call.latent_dim);
    }
    number_store(output + call.output, call.type, token * call.output_stride + kv_head * call.output_head_stride + d,
                 value);
}
