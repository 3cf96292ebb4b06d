// SPDX-License-Identifier: Apache-2.0
// absorb_vector: as absorb_naive; one work-item a group computes a head for up to 8 tokens (common/absorb.clh). For CPU
// devices: a head's weights are read once for every 8 tokens. With a step, each row is packed for attend_vector, too
// (common/packed.clh).
//                                                                               ref: tests/ref/ref_absorb.c, ref_rope.c
// grid: global (ceil(token_count / 8), head_count), local (1, 1).   options: ELEMENT_*, VECTOR_WIDTH
#include "common/vector.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/absorb.clh"
#include "common/packed.clh"
#include "common/rotation.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void absorb_vector(
    const __global element_t *weights, long weights_offset, long row_stride, int nope_dim, int value_dim, int columns,
    const __global float *scales, long scales_offset, int scale_stride, int scale_row, int scale_column,
    const __global float *query, long query_offset, long query_token_stride, long query_head_stride,
    __global float *output, long output_offset, long output_token_stride, long output_head_stride, int head_count,
    int token_count, ROTATION_ARGUMENTS, PACKED_ARGUMENTS) {
    int head = get_global_id(1), first_token = get_global_id(0) * ABSORB_TOKENS;
    if (head >= head_count || first_token >= token_count) return;
    absorb_head of;
    of.grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);
    of.row_stride = row_stride;
    of.columns = columns;
    of.token_count = min(ABSORB_TOKENS, token_count - first_token);
    for (int t = 0; t < ABSORB_TOKENS; t++) {
        int token = first_token + min(t, of.token_count - 1);
        of.out[t] = output + output_offset + token * output_token_stride + head * output_head_stride;
    }
    query += query_offset + first_token * query_token_stride + head * query_head_stride;
    for (int n = 0; n == 0 || n < nope_dim; n += ABSORB_RUN) { // without values the sums are zeros
        absorb_head_rows(&of, weights + weights_offset, head, nope_dim, value_dim, n);
        for (int t = 0; t < absorb_tile_tokens(of.token_count); t++) {
            const __global float *q = query + min(t, of.token_count - 1) * query_token_stride + n;
            for (int i = 0; i < of.count; i++) of.q[t][i] = q[i];
        }
        absorb_head_add(&of);
    }
    for (int t = 0; t < of.token_count && rotation.width > 0; t++)
        rotation_head(of.out[t] + columns, query + t * query_token_stride + nope_dim,
                      rotation_angles(table, positions, rotation, first_token + t), &rotation);
    for (int t = 0; t < of.token_count && step; t++)
        packed_write(of.out[t], columns + rotation.width, step, space, packed, first_token + t, head);
}
