// SPDX-License-Identifier: Apache-2.0
// absorb_naive: output[t][h][l] = sum_n query[t][h][n] * W_UK[h][n][l], one work-item a sum; behind the sums the R
// values behind the query's, rotated, one work-item a value.                    ref: tests/ref/ref_absorb.c, ref_rope.c
// W_UK[h] is rows h*(nope_dim + value_dim) ... of kv_b, columns L.
// grid: global (L + R, head_count, token_count), local free.   options: ELEMENT_*
#include "common/element.clh"
#include "common/scale.clh"
#include "common/rotation.clh"

__kernel void absorb_naive(const __global element_t *weights, long weights_offset, long row_stride, int nope_dim,
                           int value_dim, int columns, const __global float *scales, long scales_offset,
                           int scale_stride, int scale_row, int scale_column, const __global float *query,
                           long query_offset, long query_token_stride, long query_head_stride, __global float *output,
                           long output_offset, long output_token_stride, long output_head_stride, int head_count,
                           int token_count, ROTATION_ARGUMENTS) {
    int column = get_global_id(0);
    int head = get_global_id(1);
    int token = get_global_id(2);
    if (column >= columns + rotation.width || head >= head_count || token >= token_count) return;
    scale_grid grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);
    const __global float *q = query + query_offset + token * query_token_stride + head * query_head_stride;
    __global float *out = output + output_offset + token * output_token_stride + head * output_head_stride;
    if (column >= columns) {
        const __global float *angles = rotation_angles(table, positions, rotation, token);
        out[column] = rotation_value(q + nope_dim, angles, &rotation, column - columns);
        return;
    }
    int first_row = head * (nope_dim + value_dim);
    float sum = 0.0f;
    for (int n = 0; n < nope_dim; n++) {
        float weight = element_load(weights + weights_offset, (first_row + n) * row_stride + column);
        sum = fma(q[n] * scale_at(grid, first_row + n, column), weight, sum);
    }
    out[column] = sum;
}
