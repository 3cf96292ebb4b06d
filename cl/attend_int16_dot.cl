// SPDX-License-Identifier: Apache-2.0
// attend_int16_dot: absorbed attention over rows of any format by products of pairs of 16-bit codes, for CPUs that make
// them faster than f32 multiply-adds. Fast, not exact: queries, rows and weights are rounded to codes; sums of products
// are exact.
//                                                                                           ref: tests/ref/ref_attend.c
//
// The frame is attend_vector's: one work-item a group, BLOCK_TOKENS keys at a time, an online softmax. For each block
//   keys     codes with a unit for the latent part and one for the rope part (common/dot16.clh), once for all rows: of
//            quantised rows made of their own codes (common/row_codes.clh), of others by way of f32
//   scores   pairs of columns: VECTOR_WIDTH rows in a vector, a key's pair broadcast
//   weights  exp2(s - the largest so far) times the unit of a key's latent part, as codes with a unit for the row and
//            block; two keys side by side
//   values   a strip of columns at a time: two keys side by side, once for all rows, in a buffer that stays in the
//            first-level cache
//
//   space: packed  [tile][ROW_WIDTH][VECTOR_WIDTH], of which the first are used: KEY_WORDS words of each of
//                  VECTOR_WIDTH rows, then units of their latent and of their rope parts, written by attend_queries.cl
//          sums, states, state_lse, state_max: as for attend_vector
// grid: global (parts, filled up to a multiple of units), local (1)
// options: ROWS_*, SPARSE, VECTOR_WIDTH (8 or 16), LATENT_DIM (a multiple of 64), ROPE_DIM, VALUE_DIM = LATENT_DIM,
// BLOCK_TOKENS (of 24), ROW_TILE (of 2 * VECTOR_WIDTH)
#include "common/vector.clh"
#include "common/work.clh"
#include "common/result.clh"
#include "common/dot16.clh"
#include "common/row_codes.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM) || !defined(BLOCK_TOKENS) || !defined(ROW_TILE)
#error "LATENT_DIM, ROPE_DIM, VALUE_DIM, BLOCK_TOKENS or ROW_TILE is missing"
#endif
#if BLOCK_TOKENS > 192 || LATENT_DIM > 2048
#error "more than 192 keys or 2048 columns: a sum of products may pass 31 bits (common/dot16.clh)"
#endif
#define SCORE_STRIDE VECTOR_WIDTH // scores are [vector of rows][key][row]
#include "common/attend_block.clh"

#define ROPE_COLUMNS ((ROPE_DIM + CODE_COLUMNS - 1) / CODE_COLUMNS * CODE_COLUMNS)
#define LATENT_WORDS (LATENT_DIM / 2)
#define ROPE_WORDS (ROPE_COLUMNS / 2)
#define KEY_WORDS (LATENT_WORDS + ROPE_WORDS)
#define TILE_WORDS (ROW_WIDTH * VECTOR_WIDTH) // from one tile of queries to the next
// Sums in registers: 3 keys by 4 vectors of rows, 6 by 2 or 12 by 1; 3 rows by 4 vectors of columns. The loop alone
// made 4.75 G products of vectors a second that way on a core (Zen 3), 4.25 with 4 by 2 and all operands in registers.
#define SCORE_SUMS 12
// words of queries that stay in the first-level cache for all keys of a block
#define SCORE_RUN(vectors) (512 / (vectors))
#define PAIRS (BLOCK_TOKENS / 2)
#define VALUE_ROWS 3
#define VALUE_VECTORS 4
#define STRIP (VALUE_VECTORS * VECTOR_WIDTH) // columns whose values are made together
#define FETCH_STRIP ((BLOCK_TOKENS * STRIP + 2 * LATENT_DIM - 1) / (2 * LATENT_DIM)) // half of the next block's keys
#ifdef ROW_CODES
#define KEY_GROUP 8 // keys that are decoded side by side
#else
#define KEY_GROUP 4
#endif
#define UNIT_COLUMNS 32 // and columns
#define SQUARES (UNIT_COLUMNS / VECTOR_WIDTH)

typedef struct key_block {
    uint words[BLOCK_TOKENS * KEY_WORDS] ALIGNED;
    float latent[BLOCK_TOKENS] ALIGNED, rope[BLOCK_TOKENS] ALIGNED; // units
    float values[BLOCK_TOKENS]; // those of the latent parts, 0 where that is no number
} key_block;

// --- keys

// A key as f32, its latent part and then its rope part, and the squares of both to be summed over the lanes.
typedef struct key_row {
    float values[LATENT_DIM + ROPE_COLUMNS] ALIGNED;
    floatv latent, rope;
} key_row;

// The latent part; UNIT_COLUMNS of its columns at a time have their squares summed by column. Rows that are decoded a
// unit at a time need the registers for that, and are read again.
static inline void decode_latent(float *out, const row_parts *at, floatv *squares) {
#ifdef row_latent_unit
    for (int d = 0; d < LATENT_DIM; d += QUANTISED_UNIT) row_latent_unit(at, d / QUANTISED_UNIT, out + d);
#endif
    for (int d = 0; d < LATENT_DIM; d += UNIT_COLUMNS)
#pragma unroll
        for (int v = 0; v < SQUARES; v++) {
#ifdef row_latent_unit
            floatv x = load_floatv(out + d + v * VECTOR_WIDTH);
#else
            floatv x = row_latent_vector(at, d + v * VECTOR_WIDTH);
            store_floatv(x, out + d + v * VECTOR_WIDTH);
#endif
            squares[v] = fma(x, x, squares[v]);
        }
}

static inline floatv decode_rope(float *out, const row_parts *at, row_turner *turner) {
    floatv squares = (floatv)0.0f;
#if ROPE_DIM > 0
    int d = 0;
#pragma unroll 4
    for (; d + VECTOR_WIDTH <= ROPE_DIM; d += VECTOR_WIDTH) store_floatv(row_rope_vector(at, d), out + d);
    for (; d < ROPE_DIM; d++) out[d] = row_rope(at, d);
    for (; d < ROPE_COLUMNS; d++) out[d] = 0.0f;
#ifdef KEY_TURNS
    if (at->delta != 0) row_turn_key(out, turner, at);
#endif
#pragma unroll
    for (d = 0; d < ROPE_COLUMNS; d += VECTOR_WIDTH) squares = fma(load_floatv(out + d), load_floatv(out + d), squares);
#endif
    return squares;
}

#ifndef ROW_CODES

static inline void decode_key(key_row *row, const row_parts *at, row_turner *turner) {
    floatv squares[SQUARES];
#pragma unroll
    for (int v = 0; v < SQUARES; v++) squares[v] = (floatv)0.0f;
    decode_latent(row->values, at, squares);
    row->latent = squares[0];
#pragma unroll
    for (int v = 1; v < SQUARES; v++) row->latent += squares[v];
    row->rope = decode_rope(row->values + LATENT_DIM, at, turner);
}

static inline void clear_key(key_row *row) {
    for (int d = 0; d < LATENT_DIM + ROPE_COLUMNS; d++) row->values[d] = 0.0f;
    row->latent = row->rope = (floatv)0.0f;
}

// Units and codes of the keys [first, first + KEY_GROUP).
static inline void code_group(key_block *block, int first, const key_row *rows) {
    float latent[KEY_GROUP] ALIGNED, rope[KEY_GROUP] ALIGNED;
    vstore4(sum_lanes(rows[0].latent, rows[1].latent, rows[2].latent, rows[3].latent), 0, latent);
    vstore4(sum_lanes(rows[0].rope, rows[1].rope, rows[2].rope, rows[3].rope), 0, rope);
    for (int i = 0; i < KEY_GROUP; i++) {
        uint *words = block->words + (first + i) * KEY_WORDS;
        float unit = code_unit(latent[i], rows[i].values, LATENT_DIM, CODE_MOST);
        block->latent[first + i] = unit;
        block->values[first + i] = isnan(unit) ? 0.0f : unit;
        code_values(words, rows[i].values, LATENT_DIM, unit);
#if ROPE_DIM > 0
        unit = code_unit(rope[i], rows[i].values + LATENT_DIM, ROPE_COLUMNS, CODE_MOST);
        block->rope[first + i] = unit;
        code_values(words + LATENT_WORDS, rows[i].values + LATENT_DIM, ROPE_COLUMNS, unit);
#endif
    }
}

static inline int load_keys(key_block *block, int *present, const key_source *keys, int key, int count,
                            row_turner *turner) {
    int found = 0, end = (count + SCORE_SUMS - 1) / SCORE_SUMS * SCORE_SUMS;
    for (int first = 0; first < end; first += KEY_GROUP) {
        key_row rows[KEY_GROUP];
        for (int i = 0; i < KEY_GROUP; i++) {
            row_parts at;
            present[first + i] = first + i < count && key_at(&at, keys, key + first + i);
            found += present[first + i];
            if (present[first + i])
                decode_key(&rows[i], &at, turner);
            else
                clear_key(&rows[i]);
        }
        code_group(block, first, rows);
    }
    return found;
}

#else

static inline float code_floats(uint *words, const float *values, int columns) {
    float unit = code_unit(code_square(values, columns), values, columns, CODE_MOST);
    code_values(words, values, columns, unit);
    return unit;
}

// One part of a key that has no factors.
static inline float code_latent_floats(uint *words, const row_parts *at) {
    float values[LATENT_DIM] ALIGNED;
    for (int d = 0; d < LATENT_DIM; d += VECTOR_WIDTH) store_floatv(row_latent_vector(at, d), values + d);
    return code_floats(words, values, LATENT_DIM);
}

static inline float code_rope_floats(uint *words, const row_parts *at, row_turner *turner) {
    float values[ROPE_COLUMNS + VECTOR_WIDTH] ALIGNED;
    decode_rope(values, at, turner);
    return code_floats(words, values, ROPE_COLUMNS);
}

static inline void code_key(key_block *block, int i, const row_parts *at, const float *squares, const float *factors,
                            row_turner *turner) {
    uint *words = block->words + i * KEY_WORDS;
    float unit = squares[0] != 0.0f ? row_latent_codes(words, at, factors[0]) : code_latent_floats(words, at);
    block->latent[i] = unit;
    block->values[i] = isnan(unit) ? 0.0f : unit;
#if ROPE_DIM > 0
    words += LATENT_WORDS;
    block->rope[i] = squares[KEY_GROUP] != 0.0f ? row_rope_codes(words, at, factors[KEY_GROUP])
                                                : code_rope_floats(words, at, turner);
#endif
}

static inline void clear_key(key_block *block, int i) {
    for (int w = 0; w < KEY_WORDS; w++) block->words[i * KEY_WORDS + w] = 0u;
    block->latent[i] = block->rope[i] = block->values[i] = 0.0f;
}

static inline int load_keys(key_block *block, int *present, const key_source *keys, int key, int count,
                            row_turner *turner) {
    int found = 0, end = (count + SCORE_SUMS - 1) / SCORE_SUMS * SCORE_SUMS;
    for (int first = 0; first < end; first += KEY_GROUP) {
        row_parts at[KEY_GROUP];
        float squares[2 * KEY_GROUP] ALIGNED, factors[2 * KEY_GROUP] ALIGNED; // of latent parts, then of rope parts
        for (int i = 0; i < KEY_GROUP; i++) {
            present[first + i] = first + i < count && key_at(&at[i], keys, key + first + i);
            found += present[first + i];
            if (present[first + i]) fetch_row(&at[i]);
        }
        for (int i = 0; i < KEY_GROUP; i++) {
            squares[i] = present[first + i] ? row_latent_square(&at[i]) : 0.0f;
#if ROPE_DIM > 0
            squares[KEY_GROUP + i] = present[first + i] && at[i].delta == 0 ? row_rope_square(&at[i]) : 0.0f;
#endif
        }
        vstore8(row_factors(LATENT, vload8(0, squares)), 0, factors);
#if ROPE_DIM > 0
        vstore8(row_factors(ROPE, vload8(1, squares)), 1, factors);
#endif
        for (int i = 0; i < KEY_GROUP; i++)
            if (present[first + i])
                code_key(block, first + i, &at[i], squares + i, factors + i, turner);
            else
                clear_key(block, first + i);
    }
    return found;
}

#endif

// --- scores

// A run of `width` words of queries, and of keys from one on.
typedef struct score_run {
    const __global uint *q;
    const __global float *q_units;
    const uint *words;
    const float *units;
    int width, first;
} score_run;

// Adds the products of `vectors` vectors of rows by `count` keys (constants of the caller, their product SCORE_SUMS),
// times both units, to the scores; of the first run they are the scores.
static inline __attribute__((always_inline)) void score_tile(const int vectors, const int count, score_run run,
                                                             float *scores) {
    intv sums[SCORE_SUMS];
#pragma unroll
    for (int i = 0; i < SCORE_SUMS; i++) sums[i] = (intv)0;
    for (int w = 0; w < run.width; w++) {
        const __global uint *q = run.q + w * VECTOR_WIDTH;
        uintv last = VECTOR_NAME(vload)(0, q + (vectors - 1) * TILE_WORDS);
#pragma unroll
        for (int i = 0; i < count; i++) {
            uintv k = (uintv)run.words[i * KEY_WORDS + w];
#pragma unroll
            for (int v = 0; v + 1 < vectors; v++)
                sums[i * vectors + v] = dot_add_global(sums[i * vectors + v], k, q + v * TILE_WORDS);
            sums[(i + 1) * vectors - 1] = dot_add(sums[(i + 1) * vectors - 1], k, last);
        }
    }
#pragma unroll
    for (int i = 0; i < count; i++)
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            float *score = scores + (v * BLOCK_TOKENS + i) * VECTOR_WIDTH;
            floatv part = VECTOR_NAME(convert_float)(sums[i * vectors + v]) *
                          (load_floatv(run.q_units + v * TILE_WORDS) * run.units[i]);
            store_floatv(run.first ? part : load_floatv(score) + part, score);
        }
}

// Of all keys of the block.
static inline __attribute__((always_inline)) void score_keys(const int vectors, score_run run, int count, float *scores,
                                                             key_fetch *fetch) {
    const int step = SCORE_SUMS / vectors;
    for (int i = 0; i < count; i += step) {
        fetch_keys(fetch, (step + 1) / 2);
        score_tile(vectors, step, run, scores + i * VECTOR_WIDTH);
        run.words += step * KEY_WORDS;
        run.units += step;
    }
}

static inline __attribute__((always_inline)) void score_rows(const int vectors, const __global uint *q,
                                                             const key_block *block, int count, float *scores,
                                                             key_fetch *fetch) {
    score_run run;
    run.q_units = (const __global float *)(q + KEY_WORDS * VECTOR_WIDTH);
    for (int w = 0; w < LATENT_WORDS; w += SCORE_RUN(vectors)) {
        run.q = q + w * VECTOR_WIDTH;
        run.words = block->words + w;
        run.units = block->latent;
        run.width = min(SCORE_RUN(vectors), LATENT_WORDS - w);
        run.first = w == 0;
        score_keys(vectors, run, count, scores, fetch);
    }
#if ROPE_DIM > 0
    run.q = q + LATENT_WORDS * VECTOR_WIDTH;
    run.q_units += VECTOR_WIDTH;
    run.words = block->words + LATENT_WORDS;
    run.units = block->rope;
    run.width = ROPE_WORDS;
    run.first = 0;
    score_keys(vectors, run, count, scores, fetch);
#endif
}

static inline void score_block(const __global uint *tiles, int vectors, const key_block *block, int count,
                               float *scores, key_fetch *fetch) {
    int v = 0;
    for (; v + 4 <= vectors; v += 4)
        score_rows(4, tiles + v * TILE_WORDS, block, count, scores + v * BLOCK_TOKENS * VECTOR_WIDTH, fetch);
    for (; v + 2 <= vectors; v += 2)
        score_rows(2, tiles + v * TILE_WORDS, block, count, scores + v * BLOCK_TOKENS * VECTOR_WIDTH, fetch);
    if (v < vectors)
        score_rows(1, tiles + v * TILE_WORDS, block, count, scores + v * BLOCK_TOKENS * VECTOR_WIDTH, fetch);
}

// --- weights

// Weights are [row][pair of keys].
static inline void store_weights(uintv words, uint *weights) {
    uint each[VECTOR_WIDTH] ALIGNED;
    VECTOR_NAME(vstore)(words, 0, each);
#pragma unroll
    for (int l = 0; l < VECTOR_WIDTH; l++) weights[l * PAIRS] = each[l];
}

// The weights of one vector of rows, in place of their scores, as codes. Answers what a code stands for.
static inline floatv code_weights(const float *weighted, uint *weights, int count, floatv sum, floatv most) {
    floatv inverse = fmin(CODE_WEIGHTS / fmax(sum, CODE_LEAST), CODE_MOST / fmax(most, CODE_LEAST));
    for (int i = 0; i < count; i += 2) {
        floatv a = load_floatv(weighted + i * VECTOR_WIDTH), b = (floatv)0.0f;
        if (i + 1 < count) b = load_floatv(weighted + (i + 1) * VECTOR_WIDTH);
        store_weights(code_words(a, b, inverse), weights + i / 2);
    }
    return 1.0f / inverse;
}

// Of one vector of rows. top, total, rescale as in attend_vector; `unit` is what a weight's code stands for.
static inline void soften(float *scores, uint *weights, const key_block *block, const block_view *view, int row,
                          float softcap, float *top, float *total, float *rescale, float *unit) {
    floatv before = load_floatv(top), now = fmax(before, view_scores(scores, view, row, softcap));
    floatv base = score_base(now), sum = (floatv)0.0f, weighted_sum = (floatv)0.0f, most = (floatv)0.0f;
    for (int i = 0; i < view->count; i++) {
        floatv weight = weight_exp2(load_floatv(scores + i * VECTOR_WIDTH) - base),
               weighted = weight * block->values[i];
        sum += weight;
        weighted_sum += weighted;
        most = weighted > most ? weighted : most;
        store_floatv(weighted, scores + i * VECTOR_WIDTH);
    }
    floatv factor = exp2(before - base);
    store_floatv(now, top);
    store_floatv(fma(load_floatv(total), factor, sum), total);
    store_floatv(factor, rescale);
    store_floatv(code_weights(scores, weights + row * PAIRS, view->count, weighted_sum, most), unit);
}

// --- values

// [pair of keys][column]
static inline void make_strip(uint *strip, const key_block *block, int count, int column) {
    const uint *words = block->words + column / 2;
    for (int i = 0; i < count; i += 2, words += 2 * KEY_WORDS, strip += STRIP)
#pragma unroll
        for (int run = 0; run < VALUE_VECTORS / 2; run++) {
            uintv a = VECTOR_NAME(vload)(run, words), b = VECTOR_NAME(vload)(run, words + KEY_WORDS);
            VECTOR_NAME(vstore)(pair_low(a, b), 2 * run, strip);
            VECTOR_NAME(vstore)(pair_high(a, b), 2 * run + 1, strip);
        }
}

// Adds `pairs` pairs of keys to `rows` (1 to VALUE_ROWS, a constant of the caller) rows' sums, over a strip of columns.
// rescale NULL: there are no sums yet.
static inline __attribute__((always_inline)) void add_values(const int rows, __global float *sums, const uint *strip,
                                                             const uint *weights, int pairs, const float *rescale,
                                                             const float *unit) {
    intv o[VALUE_ROWS][VALUE_VECTORS];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) {
            o[r][v] = (intv)0;
            if (v * VECTOR_WIDTH % (CACHE_LINE / 4) == 0) fetch_line(sums + r * VALUE_DIM + v * VECTOR_WIDTH);
        }
    for (int j = 0; j < pairs; j++, strip += STRIP) {
        uintv last = VECTOR_NAME(vload)(VALUE_VECTORS - 1, strip);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            uintv weight = (uintv)weights[r * PAIRS + j];
#pragma unroll
            for (int v = 0; v < VALUE_VECTORS - 1; v++)
                o[r][v] = dot_add_private(o[r][v], weight, strip + v * VECTOR_WIDTH);
            o[r][VALUE_VECTORS - 1] = dot_add(o[r][VALUE_VECTORS - 1], weight, last);
        }
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) {
            __global float *sum = sums + r * VALUE_DIM + v * VECTOR_WIDTH;
            floatv value = VECTOR_NAME(convert_float)(o[r][v]) * unit[r];
            store_floatv(rescale ? fma(load_floatv(sum), (floatv)rescale[r], value) : value, sum);
        }
}

static inline void add_block(__global float *sums, const key_block *block, const uint *weights, int count,
                             const float *rescale, const float *unit, int rows, key_fetch *fetch) {
    uint strip[PAIRS * STRIP] ALIGNED;
    int pairs = (count + 1) / 2;
    for (int column = 0; column < LATENT_DIM; column += STRIP) {
        fetch_keys(fetch, FETCH_STRIP);
        make_strip(strip, block, count, column);
        for (int r = 0; r < rows;) {
            __global float *out = sums + r * VALUE_DIM + column;
            const float *factor = rescale ? rescale + r : rescale;
            int left = rows - r;
            if (left == 1) {
                add_values(1, out, strip, weights + r * PAIRS, pairs, factor, unit + r);
                r += 1;
            } else if (left == 2 || left == 4) {
                add_values(2, out, strip, weights + r * PAIRS, pairs, factor, unit + r);
                r += 2;
            } else {
                add_values(VALUE_ROWS, out, strip, weights + r * PAIRS, pairs, factor, unit + r);
                r += VALUE_ROWS;
            }
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
                soften(scores + r * BLOCK_TOKENS, weights, &block, &view, r, call.softcap, top + r, total + r,
                       rescale + r, unit + r);
            }
            add_block(sums, &block, weights, view.count, started ? rescale : (const float *)0, unit, rows, &fetch);
            started = 1;
        }

        finish_rows(RESULT_PASS, &call, &item, space, sums, top, total);
    }
}
