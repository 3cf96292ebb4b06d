// SPDX-License-Identifier: Apache-2.0
// project_tile: as project_naive; a group takes a tile of rows by tokens. For GPUs and many tokens: DEPTH columns of
// the tile's weights and inputs are staged in local memory as f32 while the next ones are on their way, and a work-item
// keeps the sums of ITEM_ROWS rows by ITEM_TOKENS tokens in registers. Sums are made of runs of RUN columns, in column
// order: their bits do not depend on the tile, nor on how many tokens there are.           ref: tests/ref/ref_project.c
//
//   work-item i: rows (i % SIDE) * 4 ... + 4 of each block of SIDE * 4, tokens (i / SIDE) * 4 ... + 4
//   staged weights [DEPTH][WEIGHT_STRIDE], inputs [DEPTH][INPUT_STRIDE]
// local memory: DEPTH * (WEIGHT_STRIDE + INPUT_STRIDE) * 4 bytes: 12.5 KiB of groups of 256 and 8 rows
// grid: global (GROUP * ceil(row_count / TILE_TOKENS) * ceil(rows / TILE_ROWS)), local (GROUP)
// options: ELEMENT_*, GROUP: 256 or 64, ITEM_ROWS: 8 or 4, SUB_GROUP
#include "common/group.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/eight.clh"
#include "common/product.clh"
#include "common/each.clh"
#if GROUP == 256
#define SIDE 16
#elif GROUP == 64
#define SIDE 8
#else
#error "GROUP must be 256 or 64"
#endif
#ifndef ITEM_ROWS
#error "ITEM_ROWS is missing"
#endif

#define BLOCKS (ITEM_ROWS / 4)
#define ITEM_TOKENS 4
#define TILE_ROWS (SIDE * ITEM_ROWS)
#define TILE_TOKENS (SIDE * ITEM_TOKENS)
#define DEPTH 16
#define RUN 128
#define WEIGHT_STRIDE (TILE_ROWS + 4) // a gap keeps stores of neighbouring columns in banks of their own
#define INPUT_STRIDE (TILE_TOKENS + 4)
#define WEIGHT_EIGHTS (TILE_ROWS * (DEPTH / EIGHT))
#define INPUT_EIGHTS (TILE_TOKENS * (DEPTH / EIGHT))
#define LOADS 2 // eights of either that a work-item stages, at most

typedef struct project_tile_source {
    const __global element_t *weights;
    const __global float *input;
    long row_stride, input_stride;
    int rows, tokens, columns, first_row, first_token, aligned;
    scale_grid grid;
} project_tile_source;

// Past the edge the last row or token is taken again and not stored.
#define TILE_ROW(i) min(s->first_row + (i) / (DEPTH / EIGHT), s->rows - 1)
#define TILE_TOKEN(i) min(s->first_token + (i) / (DEPTH / EIGHT), s->tokens - 1)
#define TILE_COLUMN(i) (column + (i) % (DEPTH / EIGHT) * EIGHT)

// What a load of eight takes is fetched before it is staged, the rest when it is.
static inline void tile_fetch(eight_t *weights, float8 *inputs, const project_tile_source *s, int column) {
    int item = get_local_id(0);
#pragma unroll
    for (int l = 0; l < LOADS; l++) {
        int i = item + l * GROUP, at = TILE_COLUMN(i);
        if (!s->aligned || at + EIGHT > s->columns) continue;
        if (i < WEIGHT_EIGHTS) weights[l] = eight_load(s->weights + TILE_ROW(i) * s->row_stride + at);
        if (i < INPUT_EIGHTS) inputs[l] = eight_load_f32(s->input + TILE_TOKEN(i) * s->input_stride + at);
    }
}

static inline float8 tile_weights(eight_t fetched, const project_tile_source *s, int row, int column) {
    const __global element_t *weights = s->weights + row * s->row_stride;
    if (!s->aligned || column + EIGHT > s->columns) return eight_guarded(weights, row, column, s->columns, s->grid);
#ifdef EIGHT_NANS
    if (eight_nan(fetched.x) | eight_nan(fetched.y)) return eight_guarded(weights, row, column, s->columns, s->grid);
    return eight_floats(fetched) * (scale_at(s->grid, row, column) * EIGHT_SCALE);
#else
    return eight_floats(fetched);
#endif
}

static inline void tile_store_column(__local float *to, int stride, float8 values) {
    to[0] = values.s0;
    to[stride] = values.s1;
    to[2 * stride] = values.s2;
    to[3 * stride] = values.s3;
    to[4 * stride] = values.s4;
    to[5 * stride] = values.s5;
    to[6 * stride] = values.s6;
    to[7 * stride] = values.s7;
}

static inline void tile_stage(__local float *staged_weights, __local float *staged_inputs, const eight_t *weights,
                              const float8 *inputs, const project_tile_source *s, int column) {
    int item = get_local_id(0);
#pragma unroll
    for (int l = 0; l < LOADS; l++) {
        int i = item + l * GROUP, at = TILE_COLUMN(i), of_pass = i / (DEPTH / EIGHT),
            depth = i % (DEPTH / EIGHT) * EIGHT;
        if (i < WEIGHT_EIGHTS)
            tile_store_column(staged_weights + depth * WEIGHT_STRIDE + of_pass, WEIGHT_STRIDE,
                              tile_weights(weights[l], s, TILE_ROW(i), at));
        if (i < INPUT_EIGHTS) {
            float8 values = inputs[l];
            if (!s->aligned || at + EIGHT > s->columns)
                values = eight_guarded_f32(s->input + TILE_TOKEN(i) * s->input_stride, at, s->columns);
            tile_store_column(staged_inputs + depth * INPUT_STRIDE + of_pass, INPUT_STRIDE, values);
        }
    }
}

#define TILE_CLEAR(i)                                                                                                  \
    if (i < ITEM_TOKENS * BLOCKS) totals[i] = run[i] = (float4)0.0f;
#define TILE_ADD(i)                                                                                                    \
    if (i < ITEM_TOKENS * BLOCKS)                                                                                      \
        run[i] = fma(i / BLOCKS == 0   ? x.xxxx                                                                        \
                     : i / BLOCKS == 1 ? x.yyyy                                                                        \
                     : i / BLOCKS == 2 ? x.zzzz                                                                        \
                                       : x.wwww,                                                                       \
                     i % BLOCKS ? w1 : w0, run[i]);
#define TILE_END_RUN(i)                                                                                                \
    if (i < ITEM_TOKENS * BLOCKS) {                                                                                    \
        totals[i] += run[i];                                                                                           \
        run[i] = (float4)0.0f;                                                                                         \
    }

static inline void tile_put(__global float *output, const __global float *bias, int row, int rows, float4 sums) {
    if (row < rows) output[row] = sums.x + (bias ? bias[row] : 0.0f);
    if (row + 1 < rows) output[row + 1] = sums.y + (bias ? bias[row + 1] : 0.0f);
    if (row + 2 < rows) output[row + 2] = sums.z + (bias ? bias[row + 2] : 0.0f);
    if (row + 3 < rows) output[row + 3] = sums.w + (bias ? bias[row + 3] : 0.0f);
}
#define TILE_PUT(i)                                                                                                    \
    if (i < ITEM_TOKENS * BLOCKS && token + i / BLOCKS < row_count)                                                    \
        tile_put(output + (token + i / BLOCKS) * output_stride, bias, row + i % BLOCKS * SIDE * 4, rows, totals[i]);

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void project_tile(PROJECT_ARGUMENTS) {
    __local float staged_weights[DEPTH * WEIGHT_STRIDE] __attribute__((aligned(16)));
    __local float staged_inputs[DEPTH * INPUT_STRIDE] __attribute__((aligned(16)));
    int item = get_local_id(0), token_tiles = (row_count + TILE_TOKENS - 1) / TILE_TOKENS;
    float4 totals[ITEM_TOKENS * BLOCKS], run[ITEM_TOKENS * BLOCKS];
    eight_t weights_next[LOADS];
    float8 inputs_next[LOADS];
    project_tile_source s;
    s.weights = weights + weights_offset;
    s.row_stride = row_stride;
    s.input = input + input_offset;
    s.input_stride = input_stride;
    s.rows = rows;
    s.tokens = row_count;
    s.columns = columns;
    s.first_row = get_group_id(0) / token_tiles * TILE_ROWS;
    s.first_token = get_group_id(0) % token_tiles * TILE_TOKENS;
    s.grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);
    s.aligned = eight_aligned(s.weights, row_stride, s.grid) && eight_aligned_f32(s.input, input_stride);

    EACH_8(TILE_CLEAR)
    tile_fetch(weights_next, inputs_next, &s, 0);
    for (int column = 0; column < columns; column += DEPTH) {
        barrier(CLK_LOCAL_MEM_FENCE);
        tile_stage(staged_weights, staged_inputs, weights_next, inputs_next, &s, column);
        barrier(CLK_LOCAL_MEM_FENCE);
        tile_fetch(weights_next, inputs_next, &s, column + DEPTH);
        const __local float *w_at = staged_weights + item % SIDE * 4, *x_at = staged_inputs + item / SIDE * 4;
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float4 w0 = *(const __local float4 *)(w_at + k * WEIGHT_STRIDE),
                   x = *(const __local float4 *)(x_at + k * INPUT_STRIDE);
            float4 w1 = *(const __local float4 *)(w_at + k * WEIGHT_STRIDE + (BLOCKS - 1) * SIDE * 4);
            EACH_8(TILE_ADD)
        }
        if ((column + DEPTH) % RUN == 0 || column + DEPTH >= columns) {
            EACH_8(TILE_END_RUN)
        }
    }
    int row = s.first_row + item % SIDE * 4, token = s.first_token + item / SIDE * 4;
    output += output_offset;
    if (bias) bias += bias_offset;
    EACH_8(TILE_PUT)
}
