// SPDX-License-Identifier: Apache-2.0
// output_vector: as output_naive; one work-item a group computes a head for one token or for four, 4 values at a time in
// registers. For CPU devices: a head's weights are read once for every 4 tokens.              ref: tests/ref/ref_output.c
// grid: global (head_count, ceil(token_count / tile tokens)), local (1, 1).   options: ELEMENT_*, VECTOR_WIDTH
#include "common/vector.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/product.clh"

#define OUTPUT_ARGUMENTS                                                                                                 \
    const __global element_t *weights, long weights_offset, long row_stride, int nope_dim, int value_dim, int columns,  \
        const __global float *scales, long scales_offset, int scale_stride, int scale_row, int scale_column,            \
        const __global float *attended, long attended_offset, __global float *heads, long heads_offset, int head_count, \
        int token_count

static inline __attribute__((always_inline)) void output_tile(const int tokens, OUTPUT_ARGUMENTS) {
    int head = get_global_id(0);
    int first_token = get_global_id(1) * tokens;
    if (head >= head_count || first_token >= token_count) return;
    scale_grid grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);

    product_operands of;
    of.columns = columns;
    for (int t = 0; t < tokens; t++) {
        long pair = (long)min(first_token + t, token_count - 1) * head_count + head;
        of.input[t] = attended + attended_offset + pair * columns;
    }
    for (int value = 0; value < value_dim; value += TILE_ROWS) {
        for (int r = 0; r < TILE_ROWS; r++) {
            of.row[r] = head * (nope_dim + value_dim) + nope_dim + min(value + r, value_dim - 1);
            of.weights[r] = weights + weights_offset + of.row[r] * row_stride;
        }
        float sums[TILE_ROWS][TILE_TOKENS_MAX];
        product_tile(sums, &of, tokens, grid);
        for (int t = 0; t < tokens && first_token + t < token_count; t++) {
            long pair = (long)(first_token + t) * head_count + head;
            for (int r = 0; r < TILE_ROWS && value + r < value_dim; r++)
                heads[heads_offset + pair * value_dim + value + r] = sums[r][t];
        }
    }
}

#define OUTPUT_PASS                                                                                                      \
    weights, weights_offset, row_stride, nope_dim, value_dim, columns, scales, scales_offset, scale_stride, scale_row,  \
        scale_column, attended, attended_offset, heads, heads_offset, head_count, token_count

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void output_vector_single(OUTPUT_ARGUMENTS) {
    output_tile(1, OUTPUT_PASS);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void output_vector_many(OUTPUT_ARGUMENTS) {
    output_tile(TILE_TOKENS_MAX, OUTPUT_PASS);
}
