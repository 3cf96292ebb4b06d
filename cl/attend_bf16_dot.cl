// SPDX-License-Identifier: Apache-2.0
// attend_bf16_dot: absorbed attention over bf16 rows by dot products of bf16 pairs, for CPUs with AVX512-BF16. Fast,
// not exact: queries and weights are rounded to bf16; sums are f32.                         ref: tests/ref/ref_attend.c
//
// The frame is attend_vector's: one work-item a group, BLOCK_TOKENS keys at a time, an online softmax. For each block
//   scores   pairs of columns, two vectors of queries by 12 keys (common/attend_tiles.clh); the first rows' scores copy
//            the keys, and lay two side by side for the values of all rows
//   weights  exp2(s - the largest so far), two keys side by side
//   values   columns in the lanes, VALUE_ROWS rows in registers while pairs of keys stream
//
//   space: packed  tiles of BF16_PLACES by VECTOR_WIDTH words, in the order of common/packed_lane.clh: written by
//          attend_queries.cl sums, states, state_lse, state_max: as for attend_vector. While sums grow, their columns
//          are in the order of interleave_words(); undo_interleaving() puts them right
// grid: global (parts, filled up to a multiple of units), local (1)
// options: ROWS_BF16, SPARSE, VECTOR_WIDTH=16, LATENT_DIM (a multiple of 64), ROPE_DIM (of 2), VALUE_DIM = LATENT_DIM,
// BLOCK_TOKENS (of 24), ROW_TILE (of 32)
#include "common/vector.clh"
#include "common/work.clh"
#include "common/result.clh"
#include "common/turn.clh"
#include "common/dot.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM) || !defined(BLOCK_TOKENS) || !defined(ROW_TILE)
#error "LATENT_DIM, ROPE_DIM, VALUE_DIM, BLOCK_TOKENS or ROW_TILE is missing"
#endif
#include "common/attend_block.clh"

#include "common/attend_places.clh"
#include "common/packed_lane.clh"

#define LATENT_WORDS (LATENT_DIM / 2) // two columns each
#define ROPE_WORDS (ROPE_DIM / 2)
#define KEY_WORDS BF16_PLACES(LATENT_DIM, ROPE_DIM) // those past the row are zeros
#define KEY_STRIDE ((KEY_WORDS + 15) / 16 * 16)
#define TILE_WORDS (KEY_WORDS * VECTOR_WIDTH)
#define SCORE_KEYS 12
#define SCORE_RUN KEY_WORDS // all at once: pairs of products are off by more than their sum
#define PAIRS (BLOCK_TOKENS / 2)
#define VALUE_ROWS 4
#define VALUE_VECTORS 4
#define STRIP (VALUE_VECTORS * VECTOR_WIDTH) // columns whose values lie together

typedef struct key_block {
    uint words[BLOCK_TOKENS * KEY_STRIDE] ALIGNED;
    uint values[LATENT_DIM / STRIP * PAIRS * STRIP] ALIGNED; // [strip][pair of keys][column]
} key_block;

// --- keys

typedef struct block_keys {
    const row_parts *at, *next; // of the next block: asked for while this one is copied
    float *rows;                // words
    uint *values;
} block_keys;

static inline short32 row_words(const row_parts *at, int w) {
    return __builtin_astype(vload16(0, (const __global uint *)at->latent + w), short32);
}

#define CHUNK VECTOR_WIDTH
#define CHUNKED LATENT_WORDS
#define CHUNK_KEYS 6
// Copies words [w, w + CHUNK) of keys `first` to first + count (an even constant), and lays pairs of keys side by side.
SCORE_INLINE void convert_keys(const block_keys *keys, int first, const int count, int w) {
    uint *values = keys->values + (2 * w / STRIP * PAIRS + first / 2) * STRIP + 2 * w % STRIP;
#pragma unroll
    for (int i = 0; i < count; i += 2) {
        short32 a = row_words(&keys->at[first + i], w), b = row_words(&keys->at[first + i + 1], w);
        uint *out = (uint *)keys->rows + (first + i) * KEY_STRIDE + w;
        store_words(__builtin_astype(a, uintv), out);
        store_words(__builtin_astype(b, uintv), out + KEY_STRIDE);
        interleave_words(values + i / 2 * STRIP, a, b);
    }
}

// The first chunk, and the rope parts.
SCORE_INLINE void convert_first(const block_keys *keys, int first, const int count) {
    convert_keys(keys, first, count, 0);
    for (int i = first; i < first + count; i++) {
        uint *out = (uint *)keys->rows + i * KEY_STRIDE + LATENT_WORDS;
#if ROPE_DIM > 0
        fetch_rope(&keys->next[i]);
        copy_words(out, keys->at[i].rope, ROPE_WORDS, 0u);
#endif
        for (int w = LATENT_WORDS + ROPE_WORDS; w < KEY_WORDS; w++) out[w - LATENT_WORDS] = 0;
    }
}

// The last key of an odd number has no other beside it.
static inline void clear_odd(uint *values, int count) {
    for (int column = 0; count % 2 && column < LATENT_DIM; column++)
        values[(column / STRIP * PAIRS + count / 2) * STRIP + column % STRIP] &= 0xffffu;
}

// --- scores

#ifndef DOT_PORTABLE
#define PRODUCT_INSTRUCTION "vdpbf16ps"
#endif
#define PRODUCT(sum, a, k) dot_bf16(sum, as_uint16(a), as_uint16(k))
#define TILE_WIDTH KEY_WORDS
#include "common/attend_tiles.clh"

static inline void score_block(const __global float *tiles, int rows, const block_keys *keys, int count,
                               float *scores) {
    for (int row = 0, columns; row < rows; row += packed_rows(columns)) {
        columns = packed_columns(row, rows, KEY_WORDS, 0);
        score_tiles(columns, tiles + row * KEY_WORDS, keys, count, scores + row, row == 0);
    }
}

// --- weights

// Of one vector of rows. top, total, rescale as in attend_vector.
static inline void soften(float *scores, uint *weights, const block_view *view, int row, float softcap, float *top,
                          float *total, float *rescale) {
    floatv before = load_floatv(top), now = fmax(before, view_scores(scores, view, row, softcap));
    floatv base = score_base(now), sum = (floatv)0.0f;
    for (int i = 0; i < view->count; i += 2) {
        uintv first = round_bf16(fast_exp2(load_floatv(scores + i * ROW_TILE) - base)), second = (uintv)0;
        if (i + 1 < view->count) second = round_bf16(fast_exp2(load_floatv(scores + (i + 1) * ROW_TILE) - base));
        sum += as_float16(first) + as_float16(second);
        store_words((first >> 16) | second, weights + i / 2 * ROW_TILE);
    }
    floatv factor = exp2(before - base);
    store_floatv(now, top);
    store_floatv(fma(load_floatv(total), factor, sum), total);
    store_floatv(factor, rescale);
}

// --- values

// Adds `pairs` pairs of keys to `rows` (1 or VALUE_ROWS, a constant of the caller) rows' sums, over a strip of columns.
static inline __attribute__((always_inline)) void add_values(const int rows, __global float *sums, const uint *values,
                                                             const uint *weights, int pairs, const float *rescale,
                                                             int started) {
    floatv o[VALUE_ROWS][VALUE_VECTORS];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) {
            o[r][v] = (floatv)0.0f;
            fetch_line(sums + r * VALUE_DIM + v * VECTOR_WIDTH);
        }
    for (int j = 0; j < pairs; j++) {
        uintv c[VALUE_VECTORS];
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) c[v] = vload16(v, values + j * STRIP);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            uintv weight = (uintv)weights[j * ROW_TILE + r];
#pragma unroll
            for (int v = 0; v < VALUE_VECTORS; v++) o[r][v] = dot_bf16(o[r][v], weight, c[v]);
        }
    }
    if (started)
#pragma unroll
        for (int r = 0; r < rows; r++)
#pragma unroll
            for (int v = 0; v < VALUE_VECTORS; v++)
                o[r][v] = fma(load_floatv(sums + r * VALUE_DIM + v * VECTOR_WIDTH), (floatv)rescale[r], o[r][v]);
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) store_global(o[r][v], sums + r * VALUE_DIM + v * VECTOR_WIDTH);
}

static inline void add_block(__global float *sums, const key_block *block, const uint *weights, int count,
                             const float *rescale, int rows, int started) {
    int pairs = (count + 1) / 2;
    for (int column = 0; column < LATENT_DIM; column += STRIP) {
        const uint *values = block->values + column * PAIRS;
        int r = 0;
        for (; r + VALUE_ROWS <= rows; r += VALUE_ROWS)
            add_values(VALUE_ROWS, sums + r * VALUE_DIM + column, values, weights + r, pairs, rescale + r, started);
        for (; r < rows; r++)
            add_values(1, sums + r * VALUE_DIM + column, values, weights + r, pairs, rescale + r, started);
    }
}

// Where a row does not see every key, its weight of a hidden one is zero, which a value that is no number must not
// meet.
static inline int all_finite(const key_block *block, int count) {
    const uint low = 0x7f80u, high = 0x7f800000u;
    for (int i = 0; i < count; i++)
        for (int w = 0; w < LATENT_WORDS; w++) {
            uint word = block->words[i * KEY_STRIDE + w];
            if ((word & low) == low || (word & high) == high) return 0;
        }
    return 1;
}

// The same sums from the keys each row sees alone.
static inline void add_visible(__global float *sums, const key_block *block, const uint *weights,
                               const block_view *view, const float *rescale, int rows, int started) {
    for (int r = 0; r < rows; r++)
        for (int d = 0; d < LATENT_DIM; d++) {
            int lane = d % 32, place = d - lane + lane / 8 * 4 + lane % 4 + (lane % 8 < 4 ? 0 : VECTOR_WIDTH);
            __global float *sum = sums + r * VALUE_DIM + place;
            float o = 0.0f;
            for (int i = view->low[r]; i < view->high[r]; i++) {
                uint weight = weights[i / 2 * ROW_TILE + r], value = block->words[i * KEY_STRIDE + d / 2];
                if (!view->present[i]) continue;
                o = fma(as_float(i % 2 ? weight & 0xffff0000u : weight << 16),
                        as_float(d % 2 ? value & 0xffff0000u : value << 16), o);
            }
            *sum = started ? fma(*sum, rescale[r], o) : o;
        }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_bf16_dot(ATTEND_ARGUMENTS) {
    key_block block;
    float scores[BLOCK_TOKENS * ROW_TILE] ALIGNED;
    uint weights[PAIRS * ROW_TILE] ALIGNED;
    float top[ROW_TILE] ALIGNED, total[ROW_TILE] ALIGNED, rescale[ROW_TILE] ALIGNED;
    row_ranges ranges;
    block_view view;
    block_places places[2];

    int part = part_of_group(step, &call);
    if (part >= step[call.header + HEADER_PARTS]) return;
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item = work_item_load(step + call.works, w);
        KEY_SOURCE(keys, item);
        int rows = item.row_count, vectors = (rows + VECTOR_WIDTH - 1) / VECTOR_WIDTH;
        const __global float *tiles = space + call.packed + (long)item.tile_first * TILE_WORDS;
        __global float *sums = work_sums(space, &call, &item, part);
        find_ranges(&ranges, &call, &item, vectors * VECTOR_WIDTH);
        begin_rows(top, total, vectors * VECTOR_WIDTH);

        int kv_end = min(item.kv_end, ranges.greatest_end), started = 0;
        int now = 0;
        find_block(&places[0], &keys, &ranges, item.kv_begin, kv_end);
        for (; places[now].count > 0; now ^= 1) {
            const block_places *at = &places[now];
            const row_parts *next = find_next(places, now, &keys, &ranges, kv_end);
            view_places(&view, at, &ranges, vectors * VECTOR_WIDTH);
            block_keys copied = {at->at, next, (float *)block.words, block.values};
            score_block(tiles, rows, &copied, view.count, scores);
            clear_odd(block.values, view.count);
            for (int v = 0; v < vectors; v++) {
                int r = v * VECTOR_WIDTH;
                soften(scores + r, weights + r, &view, r, call.softcap, top + r, total + r, rescale + r);
            }
            if (view.masked && !all_finite(&block, view.count))
                add_visible(sums, &block, weights, &view, rescale, rows, started);
            else
                add_block(sums, &block, weights, view.count, rescale, rows, started);
            started = 1;
        }

        if (started) undo_interleaving(sums, rows * VALUE_DIM);
        finish_rows(RESULT_PASS, &call, &item, space, sums, top, total);
    }
}
