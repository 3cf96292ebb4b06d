// SPDX-License-Identifier: Apache-2.0
// project_naive: output[t][r] = sum_c input[t][c] * weights[r][c] + bias[r], one work-item a sum.
//                                                                                          ref: tests/ref/ref_project.c
// grid: global (rows, row_count), local free.   options: ELEMENT_*
#include "common/element.clh"
#include "common/scale.clh"
#include "common/product.clh"

__kernel void project_naive(const __global element_t *weights, long weights_offset, long row_stride, int rows,
                            int columns, const __global float *scales, long scales_offset, int scale_stride,
                            int scale_row, int scale_column, const __global float *bias, long bias_offset,
                            const __global float *input, long input_offset, long input_stride, __global float *output,
                            long output_offset, long output_stride, int row_count) {
    int row = get_global_id(0);
    int token = get_global_id(1);
    if (row >= rows || token >= row_count) return;
    scale_grid grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);
    float sum = product_row(weights + weights_offset + row * row_stride, input + input_offset + token * input_stride,
                            columns, grid, row);
    if (bias) sum += bias[bias_offset + row];
    output[output_offset + token * output_stride + row] = sum;
}
