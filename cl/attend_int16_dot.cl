// SPDX-License-Identifier: Apache-2.0
// attend_int16_dot: absorbed attention over rows of any format by products of pairs of 16-bit codes, for CPUs that make them faster than
// f32 multiply-adds. Fast, not exact: queries, rows and weights are rounded to codes; sums of products are exact.
//                                                                                               ref: tests/ref/ref_attend.c
//
// The frame is attend_vector's: one work-item a group, BLOCK_TOKENS keys at a time, an online softmax. For each block
//   keys     decoded to f32 and from there to codes with a unit for the latent part and one for the rope part (common/dot16.clh), once for
//            all rows
//   scores   pairs of columns: VECTOR_WIDTH rows in a vector, a key's pair broadcast
//   weights  exp2(s - the largest so far) times the unit of a key's latent part, as codes with a unit for the row and block; two keys
//            side by side
//   values   a strip of columns at a time: two keys side by side, once for all rows, in a buffer that stays in the first-level cache
//
//   space: packed  [tile][ROW_WIDTH][VECTOR_WIDTH], of which the first are used: KEY_WORDS words of each of VECTOR_WIDTH rows, then units of
//                  their latent and of their rope parts, written by attend_queries.cl
//          sums, states, state_lse, state_max: as for attend_vector
// grid: global (parts, filled up to a multiple of units), local (1)
// options: ROWS_*, SPARSE, VECTOR_WIDTH (8 or 16), LATENT_DIM (a multiple of 64), ROPE_DIM, VALUE_DIM = LATENT_DIM, BLOCK_TOKENS (of 24),
// ROW_TILE (of 2 * VECTOR_WIDTH)
#include "common/vector.clh"
#include "common/work.clh"
#include "common/result.clh"
#include "common/dot16.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM) || !defined(BLOCK_TOKENS) || !defined(ROW_TILE)
#error "LATENT_DIM, ROPE_DIM, VALUE_DIM, BLOCK_TOKENS or ROW_TILE is missing"
#endif
#define SCORE_STRIDE VECTOR_WIDTH // scores are [vector of rows][key][row]
#include "common/attend_block.clh"

#define ROPE_COLUMNS ((ROPE_DIM + CODE_COLUMNS - 1) / CODE_COLUMNS * CODE_COLUMNS)
#define LATENT_WORDS (LATENT_DIM / 2)
#define ROPE_WORDS (ROPE_COLUMNS / 2)
#define KEY_WORDS (LATENT_WORDS + ROPE_WORDS)
#define TILE_WORDS (ROW_WIDTH * VECTOR_WIDTH) // from one tile of queries to the next
#define SCORE_SUMS 8                          // registers: 4 keys by 2 vectors of rows, or 8 by 1
#define PAIRS (BLOCK_TOKENS / 2)
#define VALUE_ROWS 4
#define VALUE_VECTORS 2
#define STRIP 32 // columns whose values are made together: a cache line of a key's words
#define STRIP_PART (VALUE_VECTORS * VECTOR_WIDTH)

typedef struct key_block {
    uint words[BLOCK_TOKENS * KEY_WORDS] ALIGNED;
    float latent[BLOCK_TOKENS], rope[BLOCK_TOKENS]; // units
    float values[BLOCK_TOKENS];                     // those of the latent parts, 0 where that is no number
} key_block;

// --- keys

// A key as f32: the latent part, then the rope part.
static inline void decode_key(float *row, const row_parts *at, row_turner *turner) {
    int d = 0;
#ifdef row_latent_unit
    for (; d + QUANTISED_UNIT <= LATENT_DIM; d += QUANTISED_UNIT) row_latent_unit(at, d / QUANTISED_UNIT, row + d);
#endif
#pragma unroll 4
    for (; d + VECTOR_WIDTH <= LATENT_DIM; d += VECTOR_WIDTH) store_floatv(row_latent_vector(at, d), row + d);
#if ROPE_DIM > 0
#pragma unroll 4
    for (d = 0; d + VECTOR_WIDTH <= ROPE_DIM; d += VECTOR_WIDTH) store_floatv(row_rope_vector(at, d), row + LATENT_DIM + d);
    for (; d < ROPE_DIM; d++) row[LATENT_DIM + d] = row_rope(at, d);
#endif
#ifdef KEY_TURNS
    if (at->delta != 0) row_turn_key(row + LATENT_DIM, turner, at);
#endif
}

static inline void load_key(key_block *block, int i, const row_parts *at, row_turner *turner) {
    float row[LATENT_DIM + ROPE_COLUMNS] ALIGNED;
    uint *words = block->words + i * KEY_WORDS;
    for (int d = ROPE_DIM; d < ROPE_COLUMNS; d++) row[LATENT_DIM + d] = 0.0f;
    decode_key(row, at, turner);
    float unit = code_part(words, row, LATENT_DIM, CODE_MOST);
    block->latent[i] = unit;
    block->values[i] = isnan(unit) ? 0.0f : unit;
#if ROPE_DIM > 0
    block->rope[i] = code_part(words + LATENT_WORDS, row + LATENT_DIM, ROPE_COLUMNS, CODE_MOST);
#endif
}

static inline int load_keys(key_block *block, int *present, const key_source *keys, int key, int count, row_turner *turner) {
    int found = 0, end = (count + SCORE_SUMS - 1) / SCORE_SUMS * SCORE_SUMS;
    for (int i = 0; i < end; i++) {
        row_parts at;
        present[i] = i < count && key_at(&at, keys, key + i);
        if (present[i]) {
            load_key(block, i, &at, turner);
            found++;
            continue;
        }
        for (int w = 0; w < KEY_WORDS; w++) block->words[i * KEY_WORDS + w] = 0;
        block->latent[i] = block->rope[i] = block->values[i] = 0.0f;
    }
    return found;
}

// --- scores

// Adds `width` words of `count` keys by `vectors` vectors of rows (constants of the caller, their product SCORE_SUMS) to the scores,
// times both units.
static inline __attribute__((always_inline)) void score_part(const int vectors, const int count, const __global uint *q,
                                                             const __global float *q_units, const uint *words, const float *units,
                                                             const int width, float *scores, const int first) {
    intv sums[SCORE_SUMS];
#pragma unroll
    for (int i = 0; i < SCORE_SUMS; i++) sums[i] = (intv)0;
    for (int w = 0; w < width; w++) {
        uintv a[2];
#pragma unroll
        for (int v = 0; v < vectors; v++) a[v] = VECTOR_NAME(vload)(w, q + v * TILE_WORDS);
#pragma unroll
        for (int i = 0; i < count; i++) {
            uintv k = (uintv)words[i * KEY_WORDS + w];
#pragma unroll
            for (int v = 0; v < vectors; v++) sums[i * vectors + v] += dot_pairs(a[v], k);
        }
    }
#pragma unroll
    for (int i = 0; i < count; i++)
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            float *score = scores + (v * BLOCK_TOKENS + i) * VECTOR_WIDTH;
            floatv part = VECTOR_NAME(convert_float)(sums[i * vectors + v]) * (load_floatv(q_units + v * TILE_WORDS) * units[i]);
            store_floatv(first ? part : load_floatv(score) + part, score);
        }
}

static inline __attribute__((always_inline)) void score_tile(const int vectors, const int count, const __global uint *q,
                                                             const key_block *block, int key, float *scores) {
    const uint *words = block->words + key * KEY_WORDS;
    const __global float *q_units = (const __global float *)(q + KEY_WORDS * VECTOR_WIDTH);
    score_part(vectors, count, q, q_units, words, block->latent + key, LATENT_WORDS, scores, 1);
#if ROPE_DIM > 0
    score_part(vectors, count, q + LATENT_WORDS * VECTOR_WIDTH, q_units + VECTOR_WIDTH, words + LATENT_WORDS, block->rope + key,
               ROPE_WORDS, scores, 0);
#endif
}

static inline void score_block(const __global uint *tiles, int vectors, const key_block *block, int count, float *scores,
                               key_fetch *fetch) {
    for (int v = 0; v < vectors; v += 2) {
        const __global uint *q = tiles + v * TILE_WORDS;
        float *out = scores + v * BLOCK_TOKENS * VECTOR_WIDTH;
        int step = v + 1 < vectors ? SCORE_SUMS / 2 : SCORE_SUMS;
        for (int i = 0; i < count; i += step) {
            fetch_keys(fetch, step);
            if (v + 1 < vectors)
                score_tile(2, SCORE_SUMS / 2, q, block, i, out + i * VECTOR_WIDTH);
            else
                score_tile(1, SCORE_SUMS, q, block, i, out + i * VECTOR_WIDTH);
        }
    }
}

// --- weights

// Where a row's weights are: [4 rows][pair of keys][row].
static inline uint *row_weights(uint *weights, int row) {
    return weights + row / VALUE_ROWS * PAIRS * VALUE_ROWS + row % VALUE_ROWS;
}

static inline void store_weights(uintv words, uint *weights, int row, int pair) {
    uint *out = row_weights(weights, row) + pair * VALUE_ROWS;
#if VECTOR_WIDTH == 16
    vstore4(words.s89ab, 0, out + 2 * PAIRS * VALUE_ROWS);
    vstore4(words.scdef, 0, out + 3 * PAIRS * VALUE_ROWS);
#endif
    vstore4(words.s0123, 0, out);
    vstore4(words.s4567, 0, out + PAIRS * VALUE_ROWS);
}

// The weights of one vector of rows, in place of their scores, as codes. Answers what a code stands for.
static inline floatv code_weights(const float *weighted, uint *weights, int row, int count, floatv sum, floatv most) {
    floatv inverse = fmin(CODE_WEIGHTS / fmax(sum, CODE_LEAST), CODE_MOST / fmax(most, CODE_LEAST));
    for (int i = 0; i < count; i += 2) {
        floatv a = load_floatv(weighted + i * VECTOR_WIDTH), b = (floatv)0.0f;
        if (i + 1 < count) b = load_floatv(weighted + (i + 1) * VECTOR_WIDTH);
        store_weights(code_words(a, b, inverse), weights, row, i / 2);
    }
    return 1.0f / inverse;
}

// Of one vector of rows. top, total, rescale as in attend_vector; `unit` is what a weight's code stands for.
static inline void soften(float *scores, uint *weights, const key_block *block, const block_view *view, int row, float softcap,
                          float *top, float *total, float *rescale, float *unit) {
    floatv before = load_floatv(top), now = fmax(before, view_scores(scores, view, row, softcap));
    floatv base = score_base(now), sum = (floatv)0.0f, weighted_sum = (floatv)0.0f, most = (floatv)0.0f;
    for (int i = 0; i < view->count; i++) {
        floatv weight = weight_exp2(load_floatv(scores + i * VECTOR_WIDTH) - base), weighted = weight * block->values[i];
        sum += weight;
        weighted_sum += weighted;
        most = weighted > most ? weighted : most;
        store_floatv(weighted, scores + i * VECTOR_WIDTH);
    }
    floatv factor = exp2(before - base);
    store_floatv(now, top);
    store_floatv(fma(load_floatv(total), factor, sum), total);
    store_floatv(factor, rescale);
    store_floatv(code_weights(scores, weights, row, view->count, weighted_sum, most), unit);
}

// --- values

// [part of the strip][pair of keys][column]
static inline void make_strip(uint *strip, const key_block *block, int count, int column) {
    const uint *words = block->words + column / 2;
    for (int i = 0; i < count; i += 2, words += 2 * KEY_WORDS, strip += STRIP_PART)
#pragma unroll
        for (int part = 0; part < STRIP / STRIP_PART; part++) {
            uintv a = VECTOR_NAME(vload)(part, words), b = VECTOR_NAME(vload)(part, words + KEY_WORDS);
            VECTOR_NAME(vstore)(pair_low(a, b), 0, strip + part * PAIRS * STRIP_PART);
            VECTOR_NAME(vstore)(pair_high(a, b), 1, strip + part * PAIRS * STRIP_PART);
        }
}

// Adds `pairs` pairs of keys to `rows` (1 or VALUE_ROWS, a constant of the caller) rows' sums, over a part of a strip.
static inline __attribute__((always_inline)) void add_values(const int rows, __global float *sums, const uint *strip, const uint *weights,
                                                             int pairs, const float *rescale, const float *unit, int started) {
    intv o[VALUE_ROWS][VALUE_VECTORS];
#pragma unroll
    for (int r = 0; r < rows; r++) {
        fetch_line(sums + r * VALUE_DIM);
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) o[r][v] = (intv)0;
    }
    for (int j = 0; j < pairs; j++) {
        uintv c[VALUE_VECTORS];
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) c[v] = VECTOR_NAME(vload)(j * VALUE_VECTORS + v, strip);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            uintv weight = (uintv)weights[j * VALUE_ROWS + r];
#pragma unroll
            for (int v = 0; v < VALUE_VECTORS; v++) o[r][v] += dot_pairs(c[v], weight);
        }
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) {
            __global float *sum = sums + r * VALUE_DIM + v * VECTOR_WIDTH;
            floatv old = started ? load_floatv(sum) * rescale[r] : (floatv)0.0f;
            store_floatv(fma(VECTOR_NAME(convert_float)(o[r][v]), (floatv)unit[r], old), sum);
        }
}

static inline void add_block(__global float *sums, const key_block *block, uint *weights, int count, const float *rescale,
                             const float *unit, int rows, int started) {
    uint strip[PAIRS * STRIP] ALIGNED;
    int pairs = (count + 1) / 2;
    for (int column = 0; column < LATENT_DIM; column += STRIP) {
        make_strip(strip, block, count, column);
        for (int part = 0; part < STRIP / STRIP_PART; part++) {
            __global float *out = sums + column + part * STRIP_PART;
            const uint *values = strip + part * PAIRS * STRIP_PART;
            int r = 0;
            for (; r + VALUE_ROWS <= rows; r += VALUE_ROWS)
                add_values(VALUE_ROWS, out + r * VALUE_DIM, values, row_weights(weights, r), pairs, rescale + r, unit + r, started);
            for (; r < rows; r++)
                add_values(1, out + r * VALUE_DIM, values, row_weights(weights, r), pairs, rescale + r, unit + r, started);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_int16_dot(ATTEND_ARGUMENTS) {
    key_block block;
    float scores[BLOCK_TOKENS * ROW_TILE] ALIGNED;
    uint weights[PAIRS * ROW_TILE] ALIGNED;
    float top[ROW_TILE] ALIGNED, total[ROW_TILE] ALIGNED, rescale[ROW_TILE] ALIGNED, unit[ROW_TILE] ALIGNED;
    row_ranges ranges;
    block_view view;
    key_fetch fetch;
    row_turner turner;
    turner.delta = 0;

    int part = part_of_group(step, &call);
    if (part >= step[call.header + HEADER_PARTS]) return;
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item = work_item_load(step + call.works, w);
        KEY_SOURCE(keys, item);
        int rows = item.row_count, vectors = (rows + VECTOR_WIDTH - 1) / VECTOR_WIDTH;
        const __global uint *tiles = (const __global uint *)(space + call.packed + (long)item.tile_first * TILE_WORDS);
        __global float *sums = work_sums(space, &call, &item, part);
        find_ranges(&ranges, &call, &item, vectors * VECTOR_WIDTH);
        begin_rows(top, total, vectors * VECTOR_WIDTH);

        int kv_end = min(item.kv_end, ranges.greatest_end), started = 0;
        for (int key = next_block(&view, &keys, &ranges, item.kv_begin, kv_end); key < kv_end;
             key = next_block(&view, &keys, &ranges, key + BLOCK_TOKENS, kv_end)) {
            int found = load_keys(&block, view.present, &keys, key, view.count, &turner);
            if (!found) continue;
            fetch_begin(&fetch, &keys, key + BLOCK_TOKENS, min(key + 2 * BLOCK_TOKENS, kv_end));
            view_block(&view, &ranges, key, found, vectors * VECTOR_WIDTH);
            score_block(tiles, vectors, &block, view.count, scores, &fetch);
            for (int v = 0; v < vectors; v++) {
                int r = v * VECTOR_WIDTH;
                soften(scores + r * BLOCK_TOKENS, weights, &block, &view, r, call.softcap, top + r, total + r, rescale + r, unit + r);
            }
            add_block(sums, &block, weights, view.count, rescale, unit, rows, started);
            started = 1;
        }

        finish_rows(RESULT_PASS, &call, &item, space, sums, top, total);
    }
}
