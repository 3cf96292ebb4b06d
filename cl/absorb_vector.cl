// SPDX-License-Identifier: Apache-2.0
// absorb_vector: as absorb_naive; one work-item a group computes a head for up to 8 tokens, a strip of columns at a time in
// registers. For CPU devices: a head's weights are read once for every 8 tokens.             ref: tests/ref/ref_absorb.c
// grid: global (head_count, ceil(token_count / 8)), local (1, 1).   options: ELEMENT_*, VECTOR_WIDTH
// A strip lies within one scale block: kv_b holds whole rows, so scale_column is 0, and the strip divides 128.
#include "common/vector.clh"
#include "common/element.clh"
#include "common/scale.clh"

#define STRIP_MAX 4 // vectors
#define TILE_TOKENS_MAX 8

typedef struct absorb_head {
    const __global element_t *rows; // of W_UK
    long row_stride;
    const __global element_t *next; // the next head's, asked for line by line on the way
    int first_row, nope_dim, columns;
    scale_grid grid;
    const __global float *query[TILE_TOKENS_MAX];
    __global float *output[TILE_TOKENS_MAX];
} absorb_head;

// `vectors` vectors of columns of `tokens` tokens (constants of the caller). However many they are, a sum's order is the same.
static inline __attribute__((always_inline)) void absorb_strip(const int tokens, const int vectors, const absorb_head *head,
                                                        int column) {
    floatv sums[TILE_TOKENS_MAX][STRIP_MAX];
#pragma unroll
    for (int t = 0; t < tokens; t++)
#pragma unroll
        for (int i = 0; i < vectors; i++) sums[t][i] = (floatv)0.0f;
    for (int n = 0; n < head->nope_dim; n++) {
        float scale = scale_at(head->grid, head->first_row + n, column);
        floatv w[STRIP_MAX];
        const __global element_t *row = head->rows + n * head->row_stride + column;
#pragma unroll
        for (int i = 0; i < vectors; i++) {
            if (i * VECTOR_WIDTH * sizeof(element_t) % CACHE_LINE == 0)
                fetch_line(head->next + column * head->nope_dim + (n * vectors + i) * VECTOR_WIDTH);
            w[i] = element_load_vector(row, i * VECTOR_WIDTH);
        }
#pragma unroll
        for (int t = 0; t < tokens; t++) {
            floatv q = (floatv)(head->query[t][n] * scale);
#pragma unroll
            for (int i = 0; i < vectors; i++) sums[t][i] = fma(q, w[i], sums[t][i]);
        }
    }
#pragma unroll
    for (int t = 0; t < tokens; t++)
#pragma unroll
        for (int i = 0; i < vectors; i++) store_floatv(sums[t][i], head->output[t] + column + i * VECTOR_WIDTH);
}

static inline __attribute__((always_inline)) void absorb_tile(const int tokens, const int strip, const absorb_head *head) {
    int column = 0;
    for (; column + strip * VECTOR_WIDTH <= head->columns; column += strip * VECTOR_WIDTH)
        absorb_strip(tokens, strip, head, column);
    for (; column + VECTOR_WIDTH <= head->columns; column += VECTOR_WIDTH) absorb_strip(tokens, 1, head, column);
    for (; column < head->columns; column++)
        for (int t = 0; t < tokens; t++) {
            float sum = 0.0f;
            for (int n = 0; n < head->nope_dim; n++)
                sum = fma(head->query[t][n] * scale_at(head->grid, head->first_row + n, column),
                          element_load(head->rows, n * head->row_stride + column), sum);
            head->output[t][column] = sum;
        }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
absorb_vector(const __global element_t *weights, long weights_offset, long row_stride, int nope_dim, int value_dim,
              int columns, const __global float *scales, long scales_offset, int scale_stride, int scale_row,
              int scale_column, const __global float *query, long query_offset, long query_token_stride,
              long query_head_stride, __global float *output, long output_offset, long output_token_stride,
              long output_head_stride, int head_count, int token_count) {
    int index = get_global_id(0), first_token = get_global_id(1) * TILE_TOKENS_MAX;
    if (index >= head_count || first_token >= token_count) return;
    absorb_head head;
    head.first_row = index * (nope_dim + value_dim);
    head.rows = weights + weights_offset + head.first_row * row_stride;
    head.row_stride = row_stride;
    head.next = head.rows + (nope_dim + value_dim) * row_stride;
    head.nope_dim = nope_dim;
    head.columns = columns;
    head.grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);
    // Past the last token the last one is computed again, into the same place.
    for (int t = 0; t < TILE_TOKENS_MAX; t++) {
        int token = min(first_token + t, token_count - 1);
        head.query[t] = query + query_offset + token * query_token_stride + index * query_head_stride;
        head.output[t] = output + output_offset + token * output_token_stride + index * output_head_stride;
    }
    // Tiles of up to 16 sums, or 8 in the 16 registers that go with shorter vectors.
    int tokens = token_count - first_token;
    if (tokens > 4)
        absorb_tile(8, VECTOR_WIDTH == 16 ? 2 : 1, &head);
    else if (tokens > 2)
        absorb_tile(4, VECTOR_WIDTH == 16 ? 4 : 2, &head);
    else if (tokens > 1)
        absorb_tile(2, 4, &head);
    else
        absorb_tile(1, 4, &head);
}
