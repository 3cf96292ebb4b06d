// SPDX-License-Identifier: Apache-2.0
// MLA without what makes it fast: absorbed attention in three kernels (scores, softmax, values), and the product that
// rebuilds keys and values from latent rows. The text of baseline_tile.cl stands before this.
//                                                                                           ref: tests/ref/ref_attend.c
//
//   rows    [token][row_stride] elements: LATENT_DIM latent, then ROPE_DIM rotary values
//   packed  [ceil(H / 16)][LATENT_DIM + ROPE_DIM][16] f32: absorbed queries times scale * log2(e), by pack
//   weights [token][padded H] f32: scores, then weights that are not divided by their sum yet
//   totals  [padded H] f32
// options: LATENT_DIM, ROPE_DIM (multiples of 16)
#define ROW_WIDTH (LATENT_DIM + ROPE_DIM)
#define TILE_BLOCK 48

// grid: (ceil(tokens / TILE_BLOCK)), local 1
__kernel ONE_ITEM void latent_scores(const __global float *packed, const __global element_t *rows,
                                     __global float *weights, long row_stride, int tiles, int tokens) {
    float block[TILE_BLOCK * ROW_WIDTH] ALIGNED, scores[TILE_BLOCK * 32] ALIGNED;
    int key = get_global_id(0) * TILE_BLOCK, count = min(TILE_BLOCK, tokens - key);
    load_block(block, rows + key * row_stride, row_stride, count, TILE_BLOCK, ROW_WIDTH);
    for (int tile = 0; tile < tiles; tile += 2) {
        int vectors = min(2, tiles - tile);
        dot_block(packed + (long)tile * ROW_WIDTH * 16, vectors, block, count, ROW_WIDTH, scores, 32);
        for (int i = 0; i < count; i++)
            for (int v = 0; v < vectors; v++)
                vstore16(vload16(0, scores + i * 32 + v * 16), 0, weights + ((long)(key + i) * tiles + tile + v) * 16);
    }
}

// grid: (ceil(H / 16)), local 1
__kernel ONE_ITEM void latent_softmax(__global float *weights, __global float *totals, int tokens) {
    long tile = get_global_id(0), stride = get_global_size(0) * 16;
    __global float *at = weights + tile * 16;
    float16 top = (float16)-INFINITY, total = (float16)0.0f;
    for (long i = 0; i < tokens; i++) top = fmax(top, vload16(0, at + i * stride));
    for (long i = 0; i < tokens; i++) {
        float16 weight = exp2(vload16(0, at + i * stride) - top);
        vstore16(weight, 0, at + i * stride);
        total += weight;
    }
    vstore16(total, 0, totals + tile * 16);
}

// output [H][LATENT_DIM] f32.    grid: (ceil(LATENT_DIM / VALUE_STRIP), groups of VALUE_HEADS heads), local 1
#define VALUE_STRIP 64
#define VALUE_HEADS 64
__kernel ONE_ITEM void latent_values(const __global float *weights, const __global float *totals,
                                     const __global element_t *rows, __global float *output, long row_stride, int heads,
                                     int padded_heads, int tokens) {
    float block[TILE_BLOCK * VALUE_STRIP] ALIGNED, copied[TILE_BLOCK * VALUE_HEADS] ALIGNED;
    float sums[VALUE_HEADS * VALUE_STRIP] ALIGNED, one[VALUE_HEADS];
    int column = get_global_id(0) * VALUE_STRIP, first = get_global_id(1) * VALUE_HEADS;
    int padded = min(VALUE_HEADS, padded_heads - first), width = min(VALUE_STRIP, LATENT_DIM - column);
    for (int i = 0; i < VALUE_HEADS; i++) one[i] = 1.0f;
    for (int i = 0; i < VALUE_HEADS * VALUE_STRIP; i += 16) vstore16((float16)0.0f, 0, sums + i);
    for (int i = 0; i < TILE_BLOCK * VALUE_STRIP; i += 16) vstore16((float16)0.0f, 0, block + i);
    for (int key = 0; key < tokens; key += TILE_BLOCK) {
        int count = min(TILE_BLOCK, tokens - key);
        for (int i = 0; i < count; i++) {
            for (int d = 0; d < width; d += 16)
                vstore16(load_elements(rows + (key + i) * row_stride + column + d), 0, block + i * VALUE_STRIP + d);
            for (int r = 0; r < padded; r += 16)
                vstore16(vload16(0, weights + (long)(key + i) * padded_heads + first + r), 0,
                         copied + i * VALUE_HEADS + r);
        }
        value_block(padded, VALUE_STRIP, sums, block, copied, VALUE_HEADS, count, one);
    }
    for (int r = 0; r < padded && first + r < heads; r++) {
        float factor = 1.0f / totals[first + r];
        for (int d = 0; d < width; d += 16)
            vstore16(vload16(0, sums + r * VALUE_STRIP + d) * factor, 0,
                     output + (long)(first + r) * LATENT_DIM + column + d);
    }
}

// widened [token][ROW_WIDTH] f32 = rows from `first` on, which lie dense.    grid: (tokens)
__kernel void widen(const __global element_t *rows, __global float *widened, int first) {
    long token = get_global_id(0);
    for (int d = 0; d < ROW_WIDTH; d += 16)
        vstore16(load_elements(rows + (first + token) * ROW_WIDTH + d), 0, widened + token * ROW_WIDTH + d);
}

// rebuilt [token][tiles * 16] f32 = packed weights [tiles][LATENT_DIM][16] by latent parts of rows [token][row_stride]
// f32. A work-item makes REBUILD_TILES vectors of rows for TILE_BLOCK tokens.   grid: (ceil(tokens / TILE_BLOCK),
// ceil(tiles / REBUILD_TILES))
#define REBUILD_TILES 64
__kernel ONE_ITEM void rebuild(const __global float *packed, const __global float *rows, __global float *rebuilt,
                               long row_stride, int tiles, int tokens) {
    float block[TILE_BLOCK * LATENT_DIM] ALIGNED, sums[TILE_BLOCK * 32] ALIGNED;
    int key = get_global_id(0) * TILE_BLOCK, count = min(TILE_BLOCK, tokens - key);
    int first = get_global_id(1) * REBUILD_TILES, end = min(first + REBUILD_TILES, tiles);
    for (int i = 0; i < TILE_BLOCK; i++)
        for (int d = 0; d < LATENT_DIM; d += 16)
            vstore16(i < count ? vload16(0, rows + (key + i) * row_stride + d) : (float16)0.0f, 0,
                     block + i * LATENT_DIM + d);
    for (int tile = first; tile < end; tile += 2) {
        int vectors = min(2, end - tile);
        dot_block(packed + (long)tile * LATENT_DIM * 16, vectors, block, count, LATENT_DIM, sums, 32);
        for (int i = 0; i < count; i++)
            for (int v = 0; v < vectors; v++)
                vstore16(vload16(0, sums + i * 32 + v * 16), 0, rebuilt + ((long)(key + i) * tiles + tile + v) * 16);
    }
}
