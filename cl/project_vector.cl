// SPDX-License-Identifier: Apache-2.0
// project_vector: as project_naive; one work-item a group, a tile of 4 rows by 1 or 4 tokens in registers, columns in vectors.
// For CPU devices: weights stream through once for every 4 tokens.                       ref: tests/ref/ref_project.c
// grid: global (ceil(rows / 4), ceil(row_count / tile tokens)), local (1, 1).   options: ELEMENT_*, VECTOR_WIDTH
// project_vector_single takes one token a work-item, project_vector_many four.
#include "common/vector.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/product.clh"

#define PROJECT_ARGUMENTS                                                                                                \
    const __global element_t *weights, long weights_offset, long row_stride, int rows, int columns,                     \
        const __global float *scales, long scales_offset, int scale_stride, int scale_row, int scale_column,            \
        const __global float *bias, long bias_offset, const __global float *input, long input_offset,                   \
        long input_stride, __global float *output, long output_offset, long output_stride, int row_count

static inline __attribute__((always_inline)) void project_tile(const int tokens, PROJECT_ARGUMENTS) {
    int first_row = get_global_id(0) * TILE_ROWS;
    int first_token = get_global_id(1) * tokens;
    if (first_row >= rows || first_token >= row_count) return;

    // Past the edge the last row or token is computed again and not stored.
    product_operands of;
    of.columns = columns;
    for (int r = 0; r < TILE_ROWS; r++) {
        of.row[r] = min(first_row + r, rows - 1);
        of.weights[r] = weights + weights_offset + of.row[r] * row_stride;
    }
    for (int t = 0; t < tokens; t++) of.input[t] = input + input_offset + min(first_token + t, row_count - 1) * input_stride;

    float sums[TILE_ROWS][TILE_TOKENS_MAX];
    product_tile(sums, &of, tokens, scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column));

    for (int t = 0; t < tokens && first_token + t < row_count; t++)
        for (int r = 0; r < TILE_ROWS && first_row + r < rows; r++)
            output[output_offset + (first_token + t) * output_stride + first_row + r] =
                sums[r][t] + (bias ? bias[bias_offset + first_row + r] : 0.0f);
}

#define PROJECT_PASS                                                                                                     \
    weights, weights_offset, row_stride, rows, columns, scales, scales_offset, scale_stride, scale_row, scale_column,   \
        bias, bias_offset, input, input_offset, input_stride, output, output_offset, output_stride, row_count

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void project_vector_single(PROJECT_ARGUMENTS) {
    project_tile(1, PROJECT_PASS);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void project_vector_many(PROJECT_ARGUMENTS) {
    project_tile(TILE_TOKENS_MAX, PROJECT_PASS);
}
