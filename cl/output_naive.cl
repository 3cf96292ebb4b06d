// SPDX-License-Identifier: Apache-2.0
// output_naive: heads[t][h][v] = sum_l attended[t][h][l] * W_UV[h][v][l], one work-item a sum.
//                                                                                           ref: tests/ref/ref_output.c
// W_UV[h] is rows h*(nope_dim + value_dim) + nope_dim ... of kv_b, columns L.
// grid: global (value_dim, head_count, token_count), local free.   options: ELEMENT_*
#include "common/element.clh"
#include "common/scale.clh"
#include "common/product.clh"

__kernel void output_naive(const __global element_t *weights, long weights_offset, long row_stride, int nope_dim,
                           int value_dim, int columns, const __global float *scales, long scales_offset,
                           int scale_stride, int scale_row, int scale_column, const __global float *attended,
                           long attended_offset, __global float *heads, long heads_offset, int head_count,
                           int token_count) {
    int value = get_global_id(0);
    int head = get_global_id(1);
    int token = get_global_id(2);
    if (value >= value_dim || head >= head_count || token >= token_count) return;
    long pair = (long)token * head_count + head;
    int row = head * (nope_dim + value_dim) + nope_dim + value;
    scale_grid grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);
    heads[heads_offset + pair * value_dim + value] = product_row(
        weights + weights_offset + row * row_stride, attended + attended_offset + pair * columns, columns, grid, row);
}
