// SPDX-License-Identifier: Apache-2.0
// output_group: as output_naive; a group takes some of a head's values by up to 8 tokens, its work-items their columns
// in turns (common/product_group.clh). For GPUs: a head's weights are read once for every 8 tokens. A kernel for each
// number of tokens, so that fewer take fewer registers.                                     ref: tests/ref/ref_output.c
// token_blocks: groups that take the same weights, ceil(token_count / tokens), one after the other.
// local memory: REDUCE_FLOATS * 4 bytes = 9 KiB at groups of 128
// grid: global (GROUP * token_blocks * ceil(value_dim / (GROUP / lanes * ITEM_ROWS)), head_count), local (GROUP, 1)
// options: ELEMENT_*, GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/eight.clh"
#include "common/product_group.clh"

#define OUTPUT_ARGUMENTS                                                                                               \
    const __global element_t *weights, long weights_offset, long row_stride, int nope_dim, int value_dim, int columns, \
        const __global float *scales, long scales_offset, int scale_stride, int scale_row, int scale_column,           \
        const __global float *attended, long attended_offset, __global float *heads, long heads_offset,                \
        int head_count, int token_count, int lanes, int token_blocks
#define TAKE(tokens)                                                                                                   \
    __local float space[REDUCE_FLOATS];                                                                                \
    int head = get_group_id(1), token = (int)get_group_id(0) % token_blocks * (tokens);                                \
    int head_row = head * (nope_dim + value_dim) + nope_dim;                                                           \
    long pair = (long)token * head_count + head;                                                                       \
    product_group g;                                                                                                   \
    g.weights = weights + weights_offset + head_row * row_stride;                                                      \
    g.row_stride = row_stride;                                                                                         \
    g.columns = columns;                                                                                               \
    g.input = attended + attended_offset + pair * columns;                                                             \
    g.input_stride = (long)head_count * columns;                                                                       \
    g.bias = 0;                                                                                                        \
    g.output = heads + heads_offset + pair * value_dim;                                                                \
    g.output_stride = (long)head_count * value_dim;                                                                    \
    g.lanes = lanes;                                                                                                   \
    g.first_row = get_group_id(0) / token_blocks * (GROUP / lanes * ITEM_ROWS);                                        \
    g.end_row = value_dim;                                                                                             \
    g.token_count = token_count - token;                                                                               \
    g.grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row + head_row, scale_column);                 \
    product_group_compute(tokens, &g, space)

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void output_group_1(OUTPUT_ARGUMENTS) {
    TAKE(1);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void output_group_2(OUTPUT_ARGUMENTS) {
    TAKE(2);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void output_group_4(OUTPUT_ARGUMENTS) {
    TAKE(4);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void output_group_8(OUTPUT_ARGUMENTS) {
    TAKE(8);
}
