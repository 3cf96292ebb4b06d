// SPDX-License-Identifier: Apache-2.0
// absorb_vector: as absorb_naive; one work-item a group computes a head for one token or for four, a strip of columns at
// a time in registers. For CPU devices: a head's weights are read once for every 4 tokens.   ref: tests/ref/ref_absorb.c
// grid: global (head_count, ceil(token_count / tile tokens)), local (1, 1).   options: ELEMENT_*, VECTOR_WIDTH
// A strip lies within one scale block: kv_b holds whole rows, so scale_column is 0, and the strip divides 128.
#include "common/vector.clh"
#include "common/element.clh"
#include "common/scale.clh"

#define STRIP 4 // vectors
#define TILE_TOKENS_MAX 4

#define ABSORB_ARGUMENTS                                                                                                 \
    const __global element_t *weights, long weights_offset, long row_stride, int nope_dim, int value_dim, int columns,  \
        const __global float *scales, long scales_offset, int scale_stride, int scale_row, int scale_column,            \
        const __global float *query, long query_offset, long query_token_stride, long query_head_stride,                \
        __global float *output, long output_offset, long output_token_stride, long output_head_stride, int head_count,  \
        int token_count

static inline __attribute__((always_inline)) void absorb_strip(const int tokens, const int vectors, int column,
                                                        const __global element_t *weights, long row_stride, int first_row,
                                                        int nope_dim, scale_grid grid,
                                                        const __global float *const query[TILE_TOKENS_MAX],
                                                        __global float *const output[TILE_TOKENS_MAX]) {
    floatv sums[TILE_TOKENS_MAX][STRIP];
#pragma unroll
    for (int t = 0; t < tokens; t++)
#pragma unroll
        for (int i = 0; i < vectors; i++) sums[t][i] = (floatv)0.0f;
    for (int n = 0; n < nope_dim; n++) {
        float scale = scale_at(grid, first_row + n, column);
        floatv w[STRIP];
#pragma unroll
        for (int i = 0; i < vectors; i++)
            w[i] = element_load_vector(weights, n * row_stride + column + i * VECTOR_WIDTH);
#pragma unroll
        for (int t = 0; t < tokens; t++) {
            floatv q = (floatv)(query[t][n] * scale);
#pragma unroll
            for (int i = 0; i < vectors; i++) sums[t][i] = fma(q, w[i], sums[t][i]);
        }
    }
#pragma unroll
    for (int t = 0; t < tokens; t++)
#pragma unroll
        for (int i = 0; i < vectors; i++) store_floatv(sums[t][i], output[t] + column + i * VECTOR_WIDTH);
}

static inline __attribute__((always_inline)) void absorb_tile(const int tokens, ABSORB_ARGUMENTS) {
    int head = get_global_id(0);
    int first_token = get_global_id(1) * tokens;
    if (head >= head_count || first_token >= token_count) return;
    scale_grid grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);

    // Past the last token the last one is computed again, into the same place.
    const __global float *q[TILE_TOKENS_MAX];
    __global float *out[TILE_TOKENS_MAX];
    for (int t = 0; t < tokens; t++) {
        int token = min(first_token + t, token_count - 1);
        q[t] = query + query_offset + token * query_token_stride + head * query_head_stride;
        out[t] = output + output_offset + token * output_token_stride + head * output_head_stride;
    }

    int first_row = head * (nope_dim + value_dim);
    const __global element_t *rows = weights + weights_offset + first_row * row_stride;
    int column = 0;
    for (; column + STRIP * VECTOR_WIDTH <= columns; column += STRIP * VECTOR_WIDTH)
        absorb_strip(tokens, STRIP, column, rows, row_stride, first_row, nope_dim, grid, q, out);
    for (; column + VECTOR_WIDTH <= columns; column += VECTOR_WIDTH)
        absorb_strip(tokens, 1, column, rows, row_stride, first_row, nope_dim, grid, q, out);
    for (; column < columns; column++)
        for (int t = 0; t < tokens; t++) {
            float sum = 0.0f;
            for (int n = 0; n < nope_dim; n++)
                sum = fma(q[t][n] * scale_at(grid, first_row + n, column), element_load(rows, n * row_stride + column), sum);
            out[t][column] = sum;
        }
}

#define ABSORB_PASS                                                                                                      \
    weights, weights_offset, row_stride, nope_dim, value_dim, columns, scales, scales_offset, scale_stride, scale_row,  \
        scale_column, query, query_offset, query_token_stride, query_head_stride, output, output_offset,                \
        output_token_stride, output_head_stride, head_count, token_count

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void absorb_vector_single(ABSORB_ARGUMENTS) {
    absorb_tile(1, ABSORB_PASS);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void absorb_vector_many(ABSORB_ARGUMENTS) {
    absorb_tile(TILE_TOKENS_MAX, ABSORB_PASS);
}
