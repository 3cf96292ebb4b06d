// SPDX-License-Identifier: Apache-2.0
// project_vector_many: as project_naive; one work-item a group takes BLOCK_ROWS rows by up to item_tokens tokens. For
// CPU devices and many tokens: a run of weights is converted to f32 once for all of them, then taken tile by tile,
// TILE_ROWS rows by TILE_TOKENS tokens in registers. Each sum is made in the order of common/product.clh: its bits are
// project_vector's.
//                                                                                          ref: tests/ref/ref_project.c
// private memory: BLOCK_ROWS * PRODUCT_COLUMNS * 4 bytes: 128 KiB, or 144
// grid: global (ceil(rows / BLOCK_ROWS), ceil(row_count / item_tokens)), local (1, 1).   options: ELEMENT_*,
// VECTOR_WIDTH
#include "common/vector.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/product.clh"

#if VECTOR_REGISTERS >= 32
#define BLOCK_ROWS 32 // a multiple of TILE_ROWS
#define TILE_ROWS 4
#define TILE_TOKENS 6
#else
#define BLOCK_ROWS 36
#define TILE_ROWS 3
#define TILE_TOKENS 4
#endif

typedef struct tile_run {
    int begin, end; // columns of whole vectors
    int next;       // where the next run begins
} tile_run;

// The run of row tile i at packed[i * TILE_ROWS * PRODUCT_COLUMNS]: for each vector of columns the tile's rows. Past
// the last row it is taken again.
static inline void tile_convert(float *packed, const product_block *b, tile_run run) {
    for (int row = 0; row < BLOCK_ROWS && b->first_row + row < b->end_row + TILE_ROWS - 1; row++) {
        int of = min(b->first_row + row, b->end_row - 1);
        const __global element_t *weights = b->weights + of * b->row_stride;
        float *to = packed + (row / TILE_ROWS) * TILE_ROWS * PRODUCT_COLUMNS + row % TILE_ROWS * VECTOR_WIDTH;
        for (int column = run.begin; column < run.end;) {
            int segment = scale_segment_end(b->grid, column, run.end);
            float scale = product_scale(b->grid, of, column);
            for (; column < segment; column += VECTOR_WIDTH) {
                floatv w = element_load_vector(weights, column);
                store_floatv(ELEMENT_SCALE != 1.0f ? w * scale : w, to);
                to += TILE_ROWS * VECTOR_WIDTH;
            }
        }
    }
}

static inline __attribute__((always_inline)) void tile_sums(float *sums, const float *packed,
                                                            const __global float *const input[TILE_TOKENS],
                                                            tile_run run) {
    floatv total[TILE_ROWS * TILE_TOKENS];
#pragma unroll
    for (int i = 0; i < TILE_ROWS * TILE_TOKENS; i++) total[i] = (floatv)0.0f;
    for (int column = run.begin; column < run.end; column += VECTOR_WIDTH) {
        floatv w[TILE_ROWS];
#pragma unroll
        for (int r = 0; r < TILE_ROWS; r++) w[r] = load_floatv(packed + r * VECTOR_WIDTH);
        packed += TILE_ROWS * VECTOR_WIDTH;
#pragma unroll
        for (int t = 0; t < TILE_TOKENS; t++) {
            floatv x = load_floatv(input[t] + column);
#pragma unroll
            for (int r = 0; r < TILE_ROWS; r++) total[r * TILE_TOKENS + t] = fma(w[r], x, total[r * TILE_TOKENS + t]);
        }
    }
    product_lanes(sums, total, TILE_ROWS * TILE_TOKENS);
}

// Adds a run to the sums in the output.
static inline void tile_store(const product_block *b, const float *sums, int row, int token, int first_run) {
    int rows = min(TILE_ROWS, b->end_row - row);
    for (int t = 0; t < TILE_TOKENS && token + t < b->token_count; t++) {
        __global float *output = b->output + (token + t) * b->output_stride + row;
        for (int r = 0; r < rows; r++)
            output[r] = first_run ? sums[r * TILE_TOKENS + t] : output[r] + sums[r * TILE_TOKENS + t];
    }
}

// Adds what no run has, and the bias.
static inline void tile_finish(const product_block *b) {
    for (int t = 0; t < b->token_count; t++)
        for (int row = b->first_row; row < b->end_row; row++) {
            __global float *output = b->output + t * b->output_stride + row;
            *output = product_rest(*output, b->weights + row * b->row_stride, b->input + t * b->input_stride, row,
                                   b->columns, b->grid) +
                      (b->bias ? b->bias[row] : 0.0f);
        }
}

// Asks for `count` cache lines, from line *at on, of the weights converted next: the next run's, or the next block's
// first.
static inline void tile_fetch(int *at, int count, const product_block *b, tile_run run) {
    int lines = PRODUCT_COLUMNS / LINE_ELEMENTS, more = run.next < b->columns;
    const __global element_t *next =
        b->weights + (more ? b->first_row : b->end_row) * b->row_stride + (more ? run.next : 0);
    for (int end = *at + count; *at < end; (*at)++)
        fetch_line(next + *at / lines * b->row_stride + *at % lines * LINE_ELEMENTS);
}

static inline void tile_run_add(const product_block *b, const float *packed, tile_run run) {
    int groups = (b->token_count + TILE_TOKENS - 1) / TILE_TOKENS, rows = b->end_row - b->first_row;
    int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS, fetched = 0;
    int fetches = (rows * (PRODUCT_COLUMNS / LINE_ELEMENTS) + groups * tiles - 1) / (groups * tiles);
    for (int token = 0; token < b->token_count; token += TILE_TOKENS) {
        // Past the last token it is taken again and not stored.
        const __global float *input[TILE_TOKENS];
        for (int t = 0; t < TILE_TOKENS; t++)
            input[t] = b->input + min(token + t, b->token_count - 1) * b->input_stride;
        for (int i = 0; i < tiles; i++) {
            float sums[TILE_ROWS * TILE_TOKENS];
            int row = b->first_row + i * TILE_ROWS;
            tile_fetch(&fetched, fetches, b, run);
            tile_sums(sums, packed + i * TILE_ROWS * PRODUCT_COLUMNS, input, run);
            tile_store(b, sums, row, token, run.begin == 0);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void project_vector_many(PROJECT_ARGUMENTS, int item_tokens) {
    float packed[BLOCK_ROWS * PRODUCT_COLUMNS] __attribute__((aligned(64)));
    int first_row = get_global_id(0) * BLOCK_ROWS, first_token = get_global_id(1) * item_tokens;
    if (first_row >= rows || first_token >= row_count) return;
    PROJECT_BLOCK(b, first_row, BLOCK_ROWS, first_token, item_tokens);
    for (int begin = 0, run_columns = product_run_columns(columns); begin < columns; begin += run_columns) {
        tile_run run;
        run.begin = begin;
        run.next = min(columns, begin + run_columns);
        run.end = product_vectors_end(begin, run.next, b.grid);
        tile_convert(packed, &b, run);
        tile_run_add(&b, packed, run);
    }
    if (bias || product_vectors_end(0, columns, b.grid) < columns) tile_finish(&b);
}
