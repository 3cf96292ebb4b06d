// SPDX-License-Identifier: Apache-2.0
// project_vector: as project_naive; one work-item a group takes item_rows rows by up to 8 tokens, a tile of them in registers,
// columns in vectors. For CPU devices and few tokens: weights stream through once.        ref: tests/ref/ref_project.c
// grid: global (ceil(row_count / 8), ceil(rows / item_rows)), local (1, 1).   options: ELEMENT_*, VECTOR_WIDTH
// item_rows is at most BLOCK_ROWS_MAX.
#include "common/vector.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/product.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
project_vector(const __global element_t *weights, long weights_offset, long row_stride, int rows, int columns,
               const __global float *scales, long scales_offset, int scale_stride, int scale_row, int scale_column,
               const __global float *bias, long bias_offset, const __global float *input, long input_offset,
               long input_stride, __global float *output, long output_offset, long output_stride, int row_count,
               int item_rows) {
    int first_token = get_global_id(0) * TILE_TOKENS_MAX;
    product_block block;
    block.first_row = get_global_id(1) * item_rows;
    if (block.first_row >= rows || first_token >= row_count) return;
    block.end_row = min(rows, block.first_row + item_rows);
    block.token_count = min(TILE_TOKENS_MAX, row_count - first_token);
    block.columns = columns;
    block.weights = weights + weights_offset;
    block.row_stride = row_stride;
    block.input = input + input_offset + first_token * input_stride;
    block.input_stride = input_stride;
    block.bias = bias ? bias + bias_offset : bias;
    block.output = output + output_offset + first_token * output_stride;
    block.output_stride = output_stride;
    block.grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);
    product_block_compute(&block);
}
