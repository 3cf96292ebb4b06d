// SPDX-License-Identifier: Apache-2.0
// attend_vector: absorbed attention for CPU devices: one work-item a group takes up to ROW_TILE rows (heads of one or more
// query tokens) through its range of keys, BLOCK_TOKENS keys at a time, with an online softmax.   ref: tests/ref/ref_attend.c
//
// For each block: keys are converted to f32 once for all rows; scores keep VECTOR_WIDTH rows in a vector and 12 or 24 keys
// in registers while the width streams (the key is broadcast); the value product keeps latent columns in vectors and VALUE_ROWS
// rows in registers while the keys stream.
//
//   packed  [work's sequence rows / VECTOR_WIDTH][ROW_WIDTH][VECTOR_WIDTH] f32: queries times scale*log2(e), written by
//           attend_vector_pack; rows past a tile's end are zero
//   output, states   hold the running value sums
// private memory: BLOCK_TOKENS*(ROW_WIDTH + ROW_TILE)*4 bytes.   grid: global (work_count), local (1)
// options: ELEMENT_*, VECTOR_WIDTH, LATENT_DIM, ROPE_DIM, BLOCK_TOKENS (a multiple of 24), ROW_TILE (of 2*VECTOR_WIDTH)
#include "common/vector.clh"
#include "common/element.clh"
#include "common/work.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(BLOCK_TOKENS) || !defined(ROW_TILE)
#error "LATENT_DIM, ROPE_DIM, BLOCK_TOKENS or ROW_TILE is missing"
#endif

#define ROW_WIDTH (LATENT_DIM + ROPE_DIM)
#define SCORE_SUMS 24 // registers: 12 keys by 2 vectors of rows, or 24 by 1
#define SCORE_RUN 64
#define VALUE_ROWS 4
#define VALUE_VECTORS 4
#define LOG2_E 1.44269504088896340736f
#define LN_2 0.69314718055994530942f
#define ALIGNED __attribute__((aligned(64)))

// Packs queries: a tile of VECTOR_WIDTH rows after the other, each sequence starting a new one.
// grid: global (tile_count), local (1).   tiles[i] = {first token of the sequence, first row, rows of the sequence, unused}
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attend_vector_pack(const __global float *query, long query_offset, long query_token_stride, long query_head_stride,
                   const __global int *tiles, long tiles_offset, int tile_count, float scale, int head_count,
                   __global float *packed, long packed_offset) {
    int tile = get_global_id(0);
    if (tile >= tile_count) return;
    const __global int *of = tiles + tiles_offset + 4 * (long)tile;
    int token_first = of[0], row_first = of[1], rows = of[2];
    __global float *out = packed + packed_offset + (long)tile * ROW_WIDTH * VECTOR_WIDTH;
    float factor = scale * LOG2_E;
    for (int lane = 0; lane < VECTOR_WIDTH; lane++) {
        int row = row_first + lane;
        const __global float *q = query + query_offset + (long)(token_first + row / head_count) * query_token_stride +
                                  (row % head_count) * query_head_stride;
        for (int d = 0; d < ROW_WIDTH; d++) out[d * VECTOR_WIDTH + lane] = row < rows ? q[d] * factor : 0.0f;
    }
}

// Reads `count` keys from `token` on as f32 into keys_f32; missing ones (no such page, or past count) become zero rows,
// and present[i] says which are there.
static inline void load_keys(float *keys_f32, int *present, const key_rows *keys, int token, int count) {
    for (int i = 0; i < BLOCK_TOKENS; i++) {
        long page = i < count ? key_page(keys, token + i) : -1;
        float *row = keys_f32 + i * ROW_WIDTH;
        present[i] = page >= 0;
        if (page < 0) {
            for (int d = 0; d < ROW_WIDTH; d++) row[d] = 0.0f;
            continue;
        }
        const __global element_t *c = key_latent(keys, page, token + i);
        int d = 0;
        for (; d + VECTOR_WIDTH <= LATENT_DIM; d += VECTOR_WIDTH) store_floatv(element_load_vector(c, d), row + d);
        for (; d < LATENT_DIM; d++) row[d] = element_load(c, d);
#if ROPE_DIM > 0
        const __global element_t *k = key_rope(keys, page, token + i);
        for (d = 0; d + VECTOR_WIDTH <= ROPE_DIM; d += VECTOR_WIDTH)
            store_floatv(element_load_vector(k, d), row + LATENT_DIM + d);
        for (; d < ROPE_DIM; d++) row[LATENT_DIM + d] = element_load(k, d);
#endif
    }
}

// Adds SCORE_RUN or fewer products to the scores of `vectors` vectors of rows by `tokens` keys (constants of the caller, their
// product the number of sums in registers). Runs are summed apart, which keeps the error of wide rows small, and let a run of
// queries stay in the first-level cache for all keys of the block.
static inline __attribute__((always_inline)) void add_scores(const int vectors, const int tokens, const __global float *q,
                                                             const float *keys_f32, int width, float *scores, int first_run) {
    floatv sums[SCORE_SUMS];
#pragma unroll
    for (int i = 0; i < vectors * tokens; i++) sums[i] = (floatv)0.0f;
    for (int d = 0; d < width; d++) {
        floatv a[2];
#pragma unroll
        for (int v = 0; v < vectors; v++) a[v] = load_floatv(q + (v * ROW_WIDTH + d) * VECTOR_WIDTH);
#pragma unroll
        for (int i = 0; i < tokens; i++) {
            floatv k = (floatv)keys_f32[i * ROW_WIDTH + d];
#pragma unroll
            for (int v = 0; v < vectors; v++) sums[i * vectors + v] = fma(a[v], k, sums[i * vectors + v]);
        }
    }
#pragma unroll
    for (int i = 0; i < tokens; i++)
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            float *score = scores + i * ROW_TILE + v * VECTOR_WIDTH;
            store_floatv(first_run ? sums[i * vectors + v] : load_floatv(score) + sums[i * vectors + v], score);
        }
}

// Scores of all rows by the block's `count` keys (and up to SCORE_SUMS more, which are zero rows).
static inline void score_block(const __global float *tiles, int vectors, const float *keys_f32, int count, float *scores) {
    for (int v = 0; v < vectors; v += 2) {
        const __global float *q = tiles + v * ROW_WIDTH * VECTOR_WIDTH;
        for (int d = 0; d < ROW_WIDTH; d += SCORE_RUN) {
            int width = min(SCORE_RUN, ROW_WIDTH - d);
            const __global float *run = q + d * VECTOR_WIDTH;
            float *out = scores + v * VECTOR_WIDTH;
            if (v + 1 < vectors)
                for (int i = 0; i < count; i += SCORE_SUMS / 2)
                    add_scores(2, SCORE_SUMS / 2, run, keys_f32 + i * ROW_WIDTH + d, width, out + i * ROW_TILE, d == 0);
            else
                for (int i = 0; i < count; i += SCORE_SUMS)
                    add_scores(1, SCORE_SUMS, run, keys_f32 + i * ROW_WIDTH + d, width, out + i * ROW_TILE, d == 0);
        }
    }
}

// Online softmax of one vector of rows over a block: scores become weights, `rescale` what older sums are multiplied by.
// limit: keys of this block each row sees.
static inline void soften(float *scores, int count, const int *present, intv limit, int masked, float *top, float *total,
                   float *rescale) {
    floatv before = load_floatv(top), now = before;
    for (int i = 0; i < count; i++) {
        floatv s = load_floatv(scores + i * ROW_TILE);
        if (masked) {
            s = select((floatv)-INFINITY, s, (intv)i < limit);
            if (!present[i]) s = (floatv)-INFINITY;
            store_floatv(s, scores + i * ROW_TILE);
        }
        now = fmax(now, s);
    }
    // A row that has seen no key yet: every difference below must be -inf, not NaN.
    floatv base = select(now, (floatv)0.0f, now == (floatv)-INFINITY);
    floatv factor = exp2(before - base), sum = (floatv)0.0f;
    for (int i = 0; i < count; i++) {
        floatv weight = exp2(load_floatv(scores + i * ROW_TILE) - base);
        store_floatv(weight, scores + i * ROW_TILE);
        sum += weight;
    }
    store_floatv(now, top);
    store_floatv(fma(load_floatv(total), factor, sum), total);
    store_floatv(factor, rescale);
}

// Adds a block to `rows` (1 or VALUE_ROWS, a constant of the caller) rows' value sums, over `vectors` vectors of columns.
static inline __attribute__((always_inline)) void add_values(const int rows, const int vectors, __global float *const sums[VALUE_ROWS],
                                                      int column, const float *keys_f32, const float *weights, int count,
                                                      const float *rescale, int first_block) {
    floatv o[VALUE_ROWS][VALUE_VECTORS];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < vectors; v++)
            o[r][v] = first_block ? (floatv)0.0f : load_floatv(sums[r] + column + v * VECTOR_WIDTH) * rescale[r];
    for (int i = 0; i < count; i++) {
        floatv c[VALUE_VECTORS];
#pragma unroll
        for (int v = 0; v < vectors; v++) c[v] = load_floatv(keys_f32 + i * ROW_WIDTH + column + v * VECTOR_WIDTH);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            floatv weight = (floatv)weights[i * ROW_TILE + r];
#pragma unroll
            for (int v = 0; v < vectors; v++) o[r][v] = fma(weight, c[v], o[r][v]);
        }
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < vectors; v++) store_floatv(o[r][v], sums[r] + column + v * VECTOR_WIDTH);
}

// The columns that fill no vector.
static inline void add_values_tail(__global float *sums, const float *keys_f32, const float *weights, int count, float rescale,
                            int first_block) {
    for (int column = LATENT_DIM - LATENT_DIM % VECTOR_WIDTH; column < LATENT_DIM; column++) {
        float o = first_block ? 0.0f : sums[column] * rescale;
        for (int i = 0; i < count; i++) o = fma(weights[i * ROW_TILE], keys_f32[i * ROW_WIDTH + column], o);
        sums[column] = o;
    }
}

// counts[r]: keys of the block row r sees, never falling with r. A row takes its own keys alone: one that is hidden from it is
// not even multiplied by zero, so whatever it holds stays out.
static inline __attribute__((always_inline)) void add_values_strip(const int vectors, __global float *const *sums, int column,
                                                            const float *keys_f32, const float *weights, const int *counts,
                                                            const float *rescale, int rows, int first_block) {
    int r = 0;
    while (r < rows) {
        if (r + VALUE_ROWS <= rows && counts[r] == counts[r + VALUE_ROWS - 1]) {
            add_values(VALUE_ROWS, vectors, sums + r, column, keys_f32, weights + r, counts[r], rescale + r, first_block);
            r += VALUE_ROWS;
        } else {
            add_values(1, vectors, sums + r, column, keys_f32, weights + r, counts[r], rescale + r, first_block);
            r++;
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_vector(ATTEND_ARGUMENTS, const __global float *packed,
                                                                           long packed_offset) {
    int work = get_global_id(0);
    if (work >= work_count) return;
    work_item item = work_item_load(works, works_offset, work);
    ATTEND_KEY_ROWS(keys, item);
    int rows = item.row_count, vectors = (rows + VECTOR_WIDTH - 1) / VECTOR_WIDTH;
    const __global float *tiles = packed + packed_offset +
                                  ((long)works[works_offset + (long)work * WORK_INTS + 10]) * ROW_WIDTH * VECTOR_WIDTH;

    float keys_f32[BLOCK_TOKENS * ROW_WIDTH] ALIGNED;
    float scores[BLOCK_TOKENS * ROW_TILE] ALIGNED;
    float top[ROW_TILE] ALIGNED, total[ROW_TILE] ALIGNED, rescale[ROW_TILE] ALIGNED;
    int visible[ROW_TILE] ALIGNED, counts[ROW_TILE], present[BLOCK_TOKENS];
    __global float *sums[ROW_TILE];

    int most_visible = 0, least_visible = INT_MAX;
    for (int r = 0; r < vectors * VECTOR_WIDTH; r++) {
        int row = item.row_begin + min(r, rows - 1);
        visible[r] = work_visible(item, row, head_count, full);
        most_visible = max(most_visible, visible[r]);
        least_visible = min(least_visible, visible[r]);
        sums[r] = item.state_first >= 0 ? states + states_offset + work_state_pair(item, row, head_count) * LATENT_DIM
                                        : output + output_offset + work_output_pair(item, row, head_count) * LATENT_DIM;
        top[r] = -INFINITY;
        total[r] = 0.0f;
    }

    int kv_end = min(item.kv_end, most_visible);
    for (int token = item.kv_begin; token < kv_end; token += BLOCK_TOKENS) {
        int count = min(BLOCK_TOKENS, kv_end - token);
        int first_block = token == item.kv_begin;
        load_keys(keys_f32, present, &keys, token, count);
        int masked = token + count > least_visible;
        for (int i = 0; i < count; i++) masked |= !present[i];
        for (int r = 0; r < rows; r++) counts[r] = clamp(visible[r] - token, 0, count);

        score_block(tiles, vectors, keys_f32, count, scores);
        for (int v = 0; v < vectors; v++) {
            int r = v * VECTOR_WIDTH;
            intv limit = VECTOR_NAME(vload)(0, visible + r) - token;
            soften(scores + r, count, present, limit, masked, top + r, total + r, rescale + r);
        }

        int column = 0;
        for (; column + VALUE_VECTORS * VECTOR_WIDTH <= LATENT_DIM; column += VALUE_VECTORS * VECTOR_WIDTH)
            add_values_strip(VALUE_VECTORS, sums, column, keys_f32, scores, counts, rescale, rows, first_block);
        for (; column + VECTOR_WIDTH <= LATENT_DIM; column += VECTOR_WIDTH)
            add_values_strip(1, sums, column, keys_f32, scores, counts, rescale, rows, first_block);
        if (LATENT_DIM % VECTOR_WIDTH)
            for (int r = 0; r < rows; r++)
                add_values_tail(sums[r], keys_f32, scores + r, counts[r], rescale[r], first_block);
    }

    for (int r = 0; r < rows; r++) {
        int seen = total[r] != 0.0f; // a NaN counts: it must show
        float factor = seen ? 1.0f / total[r] : 0.0f;
        int d = 0;
        if (seen)
            for (; d < LATENT_DIM; d++) sums[r][d] *= factor;
        for (; d < LATENT_DIM; d++) sums[r][d] = 0.0f;
        float value = seen ? (top[r] + log2(total[r])) * LN_2 : -INFINITY;
        int row = item.row_begin + r;
        if (item.state_first >= 0)
            state_lse[state_lse_offset + work_state_pair(item, row, head_count)] = value;
        else if (lse)
            lse[lse_offset + work_output_pair(item, row, head_count)] = value;
    }
}
