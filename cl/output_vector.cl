// SPDX-License-Identifier: Apache-2.0
// output_vector: as output_naive; one work-item a group computes a head for up to 8 tokens, a tile of values by tokens
// in registers. For CPU devices: a head's weights are read once for every 8 tokens. With a step, rows whose keys attend
// cut into pieces are merged first, into attended (common/states.clh).                      ref: tests/ref/ref_output.c
// grid: global (ceil(token_count / 8), head_count), local (1, 1).   options: ELEMENT_*, VECTOR_WIDTH
#include "common/vector.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/product.clh"
#include "common/states.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void output_vector(
    const __global element_t *weights, long weights_offset, long row_stride, int nope_dim, int value_dim, int columns,
    const __global float *scales, long scales_offset, int scale_stride, int scale_row, int scale_column,
    __global float *attended, long attended_offset, __global float *heads, long heads_offset, int head_count,
    int token_count, STATES_ARGUMENTS) {
    int head = get_global_id(1), first_token = get_global_id(0) * TILE_TOKENS_MAX;
    if (head >= head_count || first_token >= token_count) return;
    int head_row = head * (nope_dim + value_dim) + nope_dim;
    long first_pair = (long)first_token * head_count + head;
    product_block block;
    block.token_count = min(TILE_TOKENS_MAX, token_count - first_token);
    block.columns = columns;
    block.weights = weights + weights_offset + head_row * row_stride;
    block.row_stride = row_stride;
    block.input = attended + attended_offset + first_pair * columns;
    block.input_stride = (long)head_count * columns;
    block.bias = 0;
    block.output = heads + heads_offset + first_pair * value_dim;
    block.output_stride = (long)head_count * value_dim;
    block.grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row + head_row, scale_column);
    for (int t = 0; step && t < block.token_count; t++)
        states_merge(attended + attended_offset + (first_pair + (long)t * head_count) * columns, columns, step, space,
                     states, first_token + t, head);
    for (int value = 0; value < value_dim; value += BLOCK_ROWS_MAX) {
        block.first_row = value;
        block.end_row = min(value_dim, value + BLOCK_ROWS_MAX);
        block.next_row = block.end_row < value_dim ? block.end_row : value_dim + nope_dim; // the next head's first
        product_block_compute(&block);
    }
}
