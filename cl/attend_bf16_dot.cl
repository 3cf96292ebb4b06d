// SPDX-License-Identifier: Apache-2.0
// attend_bf16_dot: absorbed attention over bf16 rows by dot products of bf16 pairs, for CPUs with AVX512-BF16. Fast, not exact:
// queries and weights are rounded to bf16; sums are f32.                                       ref: tests/ref/ref_attend.c
//
// The frame is attend_vector's: one work-item a group, BLOCK_TOKENS keys at a time, an online softmax. For each block
//   scores   pairs of columns: 16 rows in a vector, a key's pair broadcast from its row as it is cached
//   values   two keys side by side, once for all rows
//   weights  exp2(s - the largest so far), two keys side by side
//
//   space: packed  [tile][ROW_WIDTH][VECTOR_WIDTH], of which the first half is used: [pair of columns][row] words, written by
//                  attend_queries.cl
//          sums, states, state_lse, state_max: as for attend_vector. While sums grow, their columns are in the order of
//          interleave_words(); undo_interleaving() puts them right
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

#define LATENT_WORDS (LATENT_DIM / 2) // two columns each
#define ROPE_WORDS (ROPE_DIM / 2)
#define KEY_WORDS (LATENT_WORDS + ROPE_WORDS)
#define TILE_WORDS (ROW_WIDTH * VECTOR_WIDTH) // from one tile to the next; pairs fill the first half
#define SCORE_SUMS 24                         // registers: 12 keys by 2 vectors of rows, or 24 by 1
#define PAIRS (BLOCK_TOKENS / 2)
#define VALUE_ROWS 4
#define VALUE_VECTORS 4
#define STRIP (VALUE_VECTORS * VECTOR_WIDTH) // columns whose values lie together

typedef struct key_block {
    uint words[BLOCK_TOKENS * KEY_WORDS] ALIGNED;
    uint values[LATENT_DIM / STRIP * PAIRS * STRIP] ALIGNED; // [strip][pair of keys][column]
} key_block;

// --- keys

static inline int load_keys(key_block *block, int *present, const key_source *keys, int key, int count) {
    int found = 0;
    for (int i = 0; i < BLOCK_TOKENS; i++) {
        row_parts at;
        uint *words = block->words + i * KEY_WORDS;
        present[i] = i < count && key_at(&at, keys, key + i);
        if (!present[i]) {
            for (int w = 0; w < KEY_WORDS; w++) words[w] = 0;
            continue;
        }
        found++;
        copy_words(words, at.latent, LATENT_WORDS, 0u);
#if ROPE_DIM > 0
        copy_words(words + LATENT_WORDS, at.rope, ROPE_WORDS, 0u);
#endif
    }
    return found;
}

// --- scores

// Of `vectors` vectors of rows by `count` keys (constants of the caller, their product SCORE_SUMS).
static inline __attribute__((always_inline)) void score_tile(const int vectors, const int count, const __global uint *tiles,
                                                             const uint *keys, float *scores) {
    floatv s[SCORE_SUMS];
#pragma unroll
    for (int i = 0; i < SCORE_SUMS; i++) s[i] = (floatv)0.0f;
    for (int w = 0; w < KEY_WORDS; w++) {
        uintv a[2];
#pragma unroll
        for (int v = 0; v < vectors; v++) a[v] = vload16(w, tiles + v * TILE_WORDS);
#pragma unroll
        for (int i = 0; i < count; i++) {
            uintv k = (uintv)keys[i * KEY_WORDS + w];
#pragma unroll
            for (int v = 0; v < vectors; v++) s[i * vectors + v] = dot_bf16(s[i * vectors + v], a[v], k);
        }
    }
#pragma unroll
    for (int i = 0; i < SCORE_SUMS; i++) store_floatv(s[i], scores + i / vectors * ROW_TILE + i % vectors * VECTOR_WIDTH);
}

static inline void score_block(const __global uint *tiles, int vectors, const key_block *block, int count, float *scores,
                               key_fetch *fetch) {
    for (int v = 0; v < vectors; v += 2) {
        const __global uint *q = tiles + v * TILE_WORDS;
        int step = v + 1 < vectors ? SCORE_SUMS / 2 : SCORE_SUMS;
        for (int i = 0; i < count; i += step) {
            const uint *keys = block->words + i * KEY_WORDS;
            float *out = scores + i * ROW_TILE + v * VECTOR_WIDTH;
            fetch_keys(fetch, step);
            if (v + 1 < vectors)
                score_tile(2, SCORE_SUMS / 2, q, keys, out);
            else
                score_tile(1, SCORE_SUMS, q, keys, out);
        }
    }
}

// --- weights

// Of one vector of rows. top, total, rescale as in attend_vector.
static inline void soften(float *scores, uint *weights, const block_view *view, int row, float softcap, float *top, float *total,
                          float *rescale) {
    floatv before = load_floatv(top), now = fmax(before, view_scores(scores, view, row, softcap));
    floatv base = score_base(now), sum = (floatv)0.0f;
    for (int i = 0; i < view->count; i += 2) {
        uintv first = round_bf16(fast_exp2(load_floatv(scores + i * ROW_TILE) - base)), second = (uintv)0;
        if (i + 1 < view->count) second = round_bf16(fast_exp2(load_floatv(scores + (i + 1) * ROW_TILE) - base));
        sum += as_float16(first) + as_float16(second);
        vstore16((first >> 16) | second, 0, weights + i / 2 * ROW_TILE);
    }
    floatv factor = exp2(before - base);
    store_floatv(now, top);
    store_floatv(fma(load_floatv(total), factor, sum), total);
    store_floatv(factor, rescale);
}

// --- values

static inline short32 value_words(const uint *words) {
    return __builtin_astype(vload16(0, words), short32);
}

static inline void make_values(key_block *block, int count) {
    for (int i = 0; i < count; i += 2) {
        const uint *a = block->words + i * KEY_WORDS, *b = a + KEY_WORDS;
        for (int w = 0, column = 0; w < LATENT_WORDS; w += VECTOR_WIDTH, column += 2 * VECTOR_WIDTH)
            interleave_words(block->values + (column / STRIP * PAIRS + i / 2) * STRIP + column % STRIP, value_words(a + w),
                             value_words(b + w));
    }
}

// Adds `pairs` pairs of keys to `rows` (1 or VALUE_ROWS, a constant of the caller) rows' sums, over a strip of columns.
static inline __attribute__((always_inline)) void add_values(const int rows, __global float *sums, const uint *values,
                                                             const uint *weights, int pairs, const float *rescale, int started) {
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
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) {
            __global float *sum = sums + r * VALUE_DIM + v * VECTOR_WIDTH;
            store_floatv(started ? fma(load_floatv(sum), (floatv)rescale[r], o[r][v]) : o[r][v], sum);
        }
}

static inline void add_block(__global float *sums, const key_block *block, const uint *weights, int count, const float *rescale,
                             int rows, int started) {
    int pairs = (count + 1) / 2;
    for (int column = 0; column < LATENT_DIM; column += STRIP) {
        const uint *values = block->values + column * PAIRS;
        int r = 0;
        for (; r + VALUE_ROWS <= rows; r += VALUE_ROWS)
            add_values(VALUE_ROWS, sums + r * VALUE_DIM + column, values, weights + r, pairs, rescale + r, started);
        for (; r < rows; r++) add_values(1, sums + r * VALUE_DIM + column, values, weights + r, pairs, rescale + r, started);
    }
}

// Where a row does not see every key, its weight of a hidden one is zero, which a value that is no number must not meet.
static inline int all_finite(const key_block *block, int count) {
    const uint low = 0x7f80u, high = 0x7f800000u;
    for (int i = 0; i < count; i++)
        for (int w = 0; w < LATENT_WORDS; w++) {
            uint word = block->words[i * KEY_WORDS + w];
            if ((word & low) == low || (word & high) == high) return 0;
        }
    return 1;
}

// The same sums from the keys each row sees alone.
static inline void add_visible(__global float *sums, const key_block *block, const uint *weights, const block_view *view,
                               const float *rescale, int rows, int started) {
    for (int r = 0; r < rows; r++)
        for (int d = 0; d < LATENT_DIM; d++) {
            int lane = d % 32, place = d - lane + lane / 8 * 4 + lane % 4 + (lane % 8 < 4 ? 0 : VECTOR_WIDTH);
            __global float *sum = sums + r * VALUE_DIM + place;
            float o = 0.0f;
            for (int i = view->low[r]; i < view->high[r]; i++) {
                uint weight = weights[i / 2 * ROW_TILE + r], value = block->words[i * KEY_WORDS + d / 2];
                if (!view->present[i]) continue;
                o = fma(as_float(i % 2 ? weight & 0xffff0000u : weight << 16), as_float(d % 2 ? value & 0xffff0000u : value << 16),
                        o);
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
    key_fetch fetch;

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
            int found = load_keys(&block, view.present, &keys, key, view.count);
            if (!found) continue;
            fetch_begin(&fetch, &keys, key + BLOCK_TOKENS, min(key + 2 * BLOCK_TOKENS, kv_end));
            view_block(&view, &ranges, key, found, vectors * VECTOR_WIDTH);
            score_block(tiles, vectors, &block, view.count, scores, &fetch);
            make_values(&block, view.count);
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
