// SPDX-License-Identifier: Apache-2.0
// project_group: as project_naive; a group takes some rows by up to 8 tokens, its work-items their columns in turns
// (common/product_group.clh). For GPUs and few tokens: weights stream through once, in whole lines of memory. A kernel
// for each number of tokens, so that fewer take fewer registers.                           ref: tests/ref/ref_project.c
// token_blocks: groups that take the same rows, ceil(row_count / tokens): one after the other, so that from the second
// on the weights are in a cache.
// local memory: REDUCE_FLOATS * 4 bytes = 9 KiB at groups of 128
// grid: global (GROUP * token_blocks * ceil(rows / (GROUP / lanes * ITEM_ROWS))), local (GROUP).   options: ELEMENT_*,
// GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/eight.clh"
#include "common/product.clh"
#include "common/product_group.clh"

#define TAKE(tokens)                                                                                                   \
    __local float space[REDUCE_FLOATS];                                                                                \
    int block = get_group_id(0) / token_blocks, token = (int)get_group_id(0) % token_blocks * (tokens);                \
    product_group g;                                                                                                   \
    g.weights = weights + weights_offset;                                                                              \
    g.row_stride = row_stride;                                                                                         \
    g.columns = columns;                                                                                               \
    g.input = input + input_offset + token * input_stride;                                                             \
    g.input_stride = input_stride;                                                                                     \
    g.bias = bias ? bias + bias_offset : bias;                                                                         \
    g.output = output + output_offset + token * output_stride;                                                         \
    g.output_stride = output_stride;                                                                                   \
    g.lanes = lanes;                                                                                                   \
    g.first_row = block * (GROUP / lanes * ITEM_ROWS);                                                                 \
    g.end_row = rows;                                                                                                  \
    g.token_count = row_count - token;                                                                                 \
    g.grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);                            \
    product_group_compute(tokens, &g, space)

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void project_group_1(PROJECT_ARGUMENTS,
                                                                                                 int lanes,
                                                                                                 int token_blocks) {
    TAKE(1);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void project_group_2(PROJECT_ARGUMENTS,
                                                                                                 int lanes,
                                                                                                 int token_blocks) {
    TAKE(2);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void project_group_4(PROJECT_ARGUMENTS,
                                                                                                 int lanes,
                                                                                                 int token_blocks) {
    TAKE(4);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void project_group_8(PROJECT_ARGUMENTS,
                                                                                                 int lanes,
                                                                                                 int token_blocks) {
    TAKE(8);
}
