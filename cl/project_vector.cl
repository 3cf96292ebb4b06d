// SPDX-License-Identifier: Apache-2.0
// project_vector: as project_naive; one work-item a group takes item_rows rows by up to 8 tokens, a tile of them in
// registers, columns in vectors. For CPU devices and few tokens: weights stream through once.
//                                                                                          ref: tests/ref/ref_project.c
// grid: global (ceil(row_count / 8), ceil(rows / item_rows)), local (1, 1).   options: ELEMENT_*, VECTOR_WIDTH
// item_rows is at most BLOCK_ROWS_MAX.
#include "common/vector.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/product.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void project_vector(PROJECT_ARGUMENTS, int item_rows) {
    int first_row = get_global_id(1) * item_rows, first_token = get_global_id(0) * TILE_TOKENS_MAX;
    if (first_row >= rows || first_token >= row_count) return;
    PROJECT_BLOCK(block, first_row, item_rows, first_token, TILE_TOKENS_MAX);
    product_block_compute(&block);
}
