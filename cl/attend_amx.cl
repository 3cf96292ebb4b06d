// SPDX-License-Identifier: Apache-2.0
// attend_amx: absorbed attention by tiles of bf16 values, for CPUs with AMX. Fast, not exact: queries and weights are rounded to
// bf16; sums are f32.                                                                           ref: tests/ref/ref_attend.c
//
// The frame is attend_vector's: one work-item a group, BLOCK_TOKENS keys at a time, an online softmax. A tile is 16 rows of 32
// values. For each block
//   scores   keys times queries, 2 tiles of keys by 2 of rows, or 4 by 1: sums [key][row], so that 16 rows lie in a vector
//   weights  exp2(s - the largest so far), turned around into tiles [row][key]
//   values   weights times values, a strip of columns at a time: two keys side by side, once for all rows, in a buffer that stays
//            in the first-level cache. The running sums are brought to the new largest score before, where that grew
// Keys are read where they lie when 16 of them lie at equal distances; others are copied.
//
//   space: packed  [tile][ROW_WIDTH][VECTOR_WIDTH], of which [pair of columns][row] words are used, written by attend_queries.cl:
//                  the pairs of a part fill up whole tiles with zeros
//          sums, states, state_lse, state_max: as for attend_vector. While sums grow, their columns are in the order of
//          interleave_words(); undo_interleaving() puts them right
// grid: global (parts), local (1)
// options: ROWS_BF16, SPARSE, VECTOR_WIDTH=16, LATENT_DIM (a multiple of 64), ROPE_DIM (of 2), VALUE_DIM = LATENT_DIM,
// BLOCK_TOKENS (of 64), ROW_TILE (of 32)
#include "common/vector.clh"
#include "common/work.clh"
#include "common/result.clh"
#include "common/turn.clh"
#include "common/dot.clh"
#include "common/amx.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM) || !defined(BLOCK_TOKENS) || !defined(ROW_TILE)
#error "LATENT_DIM, ROPE_DIM, VALUE_DIM, BLOCK_TOKENS or ROW_TILE is missing"
#endif
#define SCORE_STRIDE (2 * VECTOR_WIDTH) // scores of two tiles of rows at a time
#include "common/attend_block.clh"

#define STEP 32                    // columns, or keys, that one product of tiles sums over
#define STEP_WORDS (STEP / 2)
#define LATENT_STEPS (LATENT_DIM / STEP)
#define ROPE_STEPS ((ROPE_DIM + STEP - 1) / STEP)
#define LATENT_WORDS (LATENT_DIM / 2)
#define ROPE_WORDS (ROPE_DIM / 2)
#define KEY_WORDS ((LATENT_STEPS + ROPE_STEPS) * STEP_WORDS)
#define KEY_BYTES (KEY_WORDS * 4)
#define TILE_WORDS (ROW_WIDTH * VECTOR_WIDTH) // from one tile of queries to the next
#define KEY_STEPS (BLOCK_TOKENS / STEP)
#define GROUPS (BLOCK_TOKENS / AMX_ROWS)
#define STRIP 64 // columns: four tiles side by side
#define STRIP_BYTES (STRIP * 4)
#define SUM_BYTES (VALUE_DIM * 4)
#define BF16_ONES 0x3f803f80u

// 16 keys: where their parts lie, and how far apart.
typedef struct key_group {
    size_t latent, latent_stride, rope, rope_stride;
} key_group;

typedef struct key_block {
    key_group groups[GROUPS];
    uint words[BLOCK_TOKENS * KEY_WORDS] ALIGNED; // of keys that are not read where they lie
    uint zeros[KEY_WORDS] ALIGNED;
} key_block;

// Sums of up to 16 rows that fill no tile, and weights of all: [tile of rows][step of keys], a tile each.
typedef struct row_block {
    uint weights[ROW_TILE / VECTOR_WIDTH * KEY_STEPS * AMX_TILE_WORDS] ALIGNED;
    uint strip[BLOCK_TOKENS / 2 * STRIP] ALIGNED; // [pair of keys][column]
    float tail[AMX_ROWS * VALUE_DIM] ALIGNED;
    __global float *sums;
    int rows, whole; // whole: those in full tiles
} row_block;

// --- keys

static inline void copy_key(uint *words, const row_parts *at) {
    copy_words(words, at->latent, LATENT_WORDS, 0u);
#if ROPE_DIM > 0
    copy_words(words + LATENT_WORDS, at->rope, ROPE_WORDS, 0u);
    for (int w = LATENT_WORDS + ROPE_WORDS; w < KEY_WORDS; w++) words[w] = 0;
#endif
}

static inline void group_in_block(key_group *group, const uint *words, size_t stride) {
    group->latent = (size_t)words;
    group->rope = (size_t)(words + LATENT_WORDS);
    group->latent_stride = group->rope_stride = stride;
}

// Whether 16 keys are read where they lie.
static inline int group_in_place(key_group *group, const key_source *keys, int key) {
    row_parts first;
    if (ROPE_DIM % STEP != 0 || !key_run(&first, keys, key, AMX_ROWS)) return 0;
    group->latent = (size_t)first.latent;
    group->rope = (size_t)first.rope;
    group->latent_stride = keys_row_memory(keys)->call.latent.row;
    group->rope_stride = keys_row_memory(keys)->call.rope.row;
    return 1;
}

static inline int load_group(key_block *block, int *present, int group, const key_source *keys, int key, int count) {
    uint *words = block->words + group * AMX_ROWS * KEY_WORDS;
    int found = 0;
    if (count >= AMX_ROWS && group_in_place(&block->groups[group], keys, key)) {
        for (int i = 0; i < AMX_ROWS; i++) present[i] = 1;
        return AMX_ROWS;
    }
    group_in_block(&block->groups[group], words, KEY_BYTES);
    for (int i = 0; i < AMX_ROWS; i++) {
        row_parts at;
        present[i] = i < count && key_at(&at, keys, key + i);
        found += present[i];
        if (present[i])
            copy_key(words + i * KEY_WORDS, &at);
        else
            for (int w = 0; w < KEY_WORDS; w++) words[i * KEY_WORDS + w] = 0;
    }
    return found;
}

static inline int load_keys(key_block *block, int *present, const key_source *keys, int key, int count) {
    int found = 0, group = 0;
    for (; group * AMX_ROWS < count; group++)
        found += load_group(block, present + group * AMX_ROWS, group, keys, key + group * AMX_ROWS, count - group * AMX_ROWS);
    for (; group % 4 != 0; group++) group_in_block(&block->groups[group], block->zeros, 0);
    return found;
}

static inline const __global uint *latent_words(const key_block *block, int key) {
    const key_group *group = &block->groups[key / AMX_ROWS];
    return (const __global uint *)(group->latent + key % AMX_ROWS * group->latent_stride);
}

// --- scores

// 32 keys by 32 rows into sums 0 to 3, over `steps` steps of columns.
static inline void score_square(const __global uint *q, size_t a, size_t a_stride, size_t b, size_t b_stride, int steps) {
    for (int s = 0; s < steps; s++, q += AMX_TILE_WORDS, a += AMX_ROW_BYTES, b += AMX_ROW_BYTES) {
        AMX_LOAD(4, a, a_stride);
        AMX_LOAD(6, q, AMX_ROW_BYTES);
        AMX_ADD_BF16(0, 4, 6);
        AMX_LOAD(7, q + TILE_WORDS, AMX_ROW_BYTES);
        AMX_ADD_BF16(1, 4, 7);
        AMX_LOAD(5, b, b_stride);
        AMX_ADD_BF16(2, 5, 6);
        AMX_ADD_BF16(3, 5, 7);
    }
}

// 64 keys by 16 rows: `part` is where a part of the groups lies, each followed by its stride.
static inline void score_column(const __global uint *q, const key_group *g, int rope, int steps) {
    size_t a = rope ? g[0].rope : g[0].latent, b = rope ? g[1].rope : g[1].latent, c = rope ? g[2].rope : g[2].latent,
           d = rope ? g[3].rope : g[3].latent;
    size_t a_stride = rope ? g[0].rope_stride : g[0].latent_stride, b_stride = rope ? g[1].rope_stride : g[1].latent_stride,
           c_stride = rope ? g[2].rope_stride : g[2].latent_stride, d_stride = rope ? g[3].rope_stride : g[3].latent_stride;
    for (int s = 0; s < steps; s++, q += AMX_TILE_WORDS) {
        size_t at = s * AMX_ROW_BYTES;
        AMX_LOAD(7, q, AMX_ROW_BYTES);
        AMX_LOAD(4, a + at, a_stride);
        AMX_ADD_BF16(0, 4, 7);
        AMX_LOAD(5, b + at, b_stride);
        AMX_ADD_BF16(1, 5, 7);
        AMX_LOAD(6, c + at, c_stride);
        AMX_ADD_BF16(2, 6, 7);
        AMX_LOAD(4, d + at, d_stride);
        AMX_ADD_BF16(3, 4, 7);
    }
}

#define SCORE_ROW_BYTES (SCORE_STRIDE * 4)
#define SCORE_TILE (AMX_ROWS * SCORE_STRIDE)

static inline void score_pair(const __global uint *q, const key_block *block, int count, float *scores, key_fetch *fetch) {
    for (int g = 0; g * AMX_ROWS < count; g += 2) {
        const key_group *a = &block->groups[g], *b = a + 1;
        float *out = scores + g * SCORE_TILE;
        fetch_lines(fetch, 2 * AMX_ROWS * KEY_LINES);
        AMX_ZERO(0);
        AMX_ZERO(1);
        AMX_ZERO(2);
        AMX_ZERO(3);
        score_square(q, a->latent, a->latent_stride, b->latent, b->latent_stride, LATENT_STEPS);
        score_square(q + LATENT_STEPS * AMX_TILE_WORDS, a->rope, a->rope_stride, b->rope, b->rope_stride, ROPE_STEPS);
        AMX_STORE(0, out, SCORE_ROW_BYTES);
        AMX_STORE(1, out + VECTOR_WIDTH, SCORE_ROW_BYTES);
        AMX_STORE(2, out + SCORE_TILE, SCORE_ROW_BYTES);
        AMX_STORE(3, out + SCORE_TILE + VECTOR_WIDTH, SCORE_ROW_BYTES);
    }
}

static inline void score_single(const __global uint *q, const key_block *block, int count, float *scores, key_fetch *fetch) {
    for (int g = 0; g * AMX_ROWS < count; g += 4) {
        const key_group *group = &block->groups[g];
        float *out = scores + g * SCORE_TILE;
        fetch_lines(fetch, 4 * AMX_ROWS * KEY_LINES);
        AMX_ZERO(0);
        AMX_ZERO(1);
        AMX_ZERO(2);
        AMX_ZERO(3);
        score_column(q, group, 0, LATENT_STEPS);
        score_column(q + LATENT_STEPS * AMX_TILE_WORDS, group, 1, ROPE_STEPS);
        AMX_STORE(0, out, SCORE_ROW_BYTES);
        AMX_STORE(1, out + SCORE_TILE, SCORE_ROW_BYTES);
        AMX_STORE(2, out + 2 * SCORE_TILE, SCORE_ROW_BYTES);
        AMX_STORE(3, out + 3 * SCORE_TILE, SCORE_ROW_BYTES);
    }
}

// --- weights

// Of one tile of rows, into its tiles of weights. top, total, rescale as in attend_vector.
static inline void soften(float *scores, uint *weights, const block_view *view, int row, float softcap, float *top, float *total,
                          float *rescale) {
    floatv before = load_floatv(top), now = fmax(before, view_scores(scores, view, row, softcap));
    floatv base = score_base(now), sum = (floatv)0.0f;
    for (int i = view->count; i % STEP != 0; i++) store_floatv((floatv)-INFINITY, scores + i * SCORE_STRIDE);
    for (int i = 0; i < view->count; i += STEP, weights += AMX_TILE_WORDS) {
        uintv pairs[AMX_ROWS];
#pragma unroll
        for (int p = 0; p < AMX_ROWS; p++) {
            const float *s = scores + (i + 2 * p) * SCORE_STRIDE;
            pairs[p] = bf16_pairs(fast_exp2(load_floatv(s) - base), fast_exp2(load_floatv(s + SCORE_STRIDE) - base));
            sum = dot_bf16(sum, pairs[p], (uintv)BF16_ONES);
        }
        turn_words(weights, pairs);
    }
    floatv factor = exp2(before - base);
    store_floatv(now, top);
    store_floatv(fma(load_floatv(total), factor, sum), total);
    store_floatv(factor, rescale);
}

// --- values

static inline __global float *row_sums(row_block *rows, int row) {
    return row < rows->whole ? rows->sums + row * VALUE_DIM : (__global float *)(size_t)(rows->tail + (row - rows->whole) * VALUE_DIM);
}

static inline void rescale_rows(row_block *rows, const float *rescale) {
    for (int r = 0; r < rows->rows; r++) {
        __global float *sums = row_sums(rows, r);
        if (rescale[r] == 1.0f) continue;
        for (int d = 0; d < VALUE_DIM; d += VECTOR_WIDTH) store_floatv(load_floatv(sums + d) * rescale[r], sums + d);
    }
}

static inline short32 value_words(const __global uint *words) {
    return __builtin_astype(vload16(0, words), short32);
}

static inline void make_strip(uint *strip, const key_block *block, int count, int column) {
    for (int i = 0; i < count; i += 2, strip += STRIP) {
        const __global uint *a = latent_words(block, i) + column / 2, *b = latent_words(block, i + 1) + column / 2;
        interleave_words(strip, value_words(a), value_words(b));
        interleave_words(strip + STRIP / 2, value_words(a + VECTOR_WIDTH), value_words(b + VECTOR_WIDTH));
    }
}

// 16 rows by 64 columns.
static inline void add_column(__global float *sums, const uint *strip, const uint *weights, int steps, int started) {
    if (started) {
        AMX_LOAD(0, sums, SUM_BYTES);
        AMX_LOAD(1, sums + VECTOR_WIDTH, SUM_BYTES);
        AMX_LOAD(2, sums + 2 * VECTOR_WIDTH, SUM_BYTES);
        AMX_LOAD(3, sums + 3 * VECTOR_WIDTH, SUM_BYTES);
    } else {
        AMX_ZERO(0);
        AMX_ZERO(1);
        AMX_ZERO(2);
        AMX_ZERO(3);
    }
    for (int s = 0; s < steps; s++, weights += AMX_TILE_WORDS, strip += STEP / 2 * STRIP) {
        AMX_LOAD(7, weights, AMX_ROW_BYTES);
        AMX_LOAD(4, strip, STRIP_BYTES);
        AMX_ADD_BF16(0, 7, 4);
        AMX_LOAD(5, strip + VECTOR_WIDTH, STRIP_BYTES);
        AMX_ADD_BF16(1, 7, 5);
        AMX_LOAD(6, strip + 2 * VECTOR_WIDTH, STRIP_BYTES);
        AMX_ADD_BF16(2, 7, 6);
        AMX_LOAD(4, strip + 3 * VECTOR_WIDTH, STRIP_BYTES);
        AMX_ADD_BF16(3, 7, 4);
    }
    AMX_STORE(0, sums, SUM_BYTES);
    AMX_STORE(1, sums + VECTOR_WIDTH, SUM_BYTES);
    AMX_STORE(2, sums + 2 * VECTOR_WIDTH, SUM_BYTES);
    AMX_STORE(3, sums + 3 * VECTOR_WIDTH, SUM_BYTES);
}

static inline void add_block(row_block *rows, const key_block *block, int count, int tiles, int started) {
    int steps = (count + STEP - 1) / STEP;
    for (int column = 0; column < LATENT_DIM; column += STRIP) {
        make_strip(rows->strip, block, steps * STEP, column);
        for (int t = 0; t < tiles; t++)
            add_column(row_sums(rows, t * AMX_ROWS) + column, rows->strip, rows->weights + t * KEY_STEPS * AMX_TILE_WORDS, steps,
                       started);
    }
}

// Where a row does not see every key, its weight of a hidden one is zero, which a value that is no number must not meet.
static inline int all_finite(const key_block *block, int count) {
    short32 most = (short32)0;
    for (int i = 0; i < count; i++)
        for (int w = 0; w < LATENT_WORDS; w += VECTOR_WIDTH) {
            short32 size = value_words(latent_words(block, i) + w) & (short)0x7fff;
            most = most > size ? most : size;
        }
    for (int d = 0; d < 32; d++)
        if (most[d] >= 0x7f80) return 0;
    return 1;
}

// The same sums from the keys each row sees alone.
static inline void add_visible(row_block *rows, const key_block *block, const block_view *view, int started) {
    for (int r = 0; r < rows->rows; r++)
        for (int d = 0; d < LATENT_DIM; d++) {
            int lane = d % 32, place = d - lane + lane / 8 * 4 + lane % 4 + (lane % 8 < 4 ? 0 : VECTOR_WIDTH);
            __global float *sum = row_sums(rows, r) + place;
            float o = started ? *sum : 0.0f;
            for (int i = view->low[r]; i < view->high[r]; i++) {
                int tile = r / AMX_ROWS * KEY_STEPS + i / STEP;
                uint weight = rows->weights[(tile * AMX_ROWS + r % AMX_ROWS) * STEP_WORDS + i % STEP / 2];
                uint value = latent_words(block, i)[d / 2];
                if (!view->present[i]) continue;
                o = fma(as_float(i % 2 ? weight & 0xffff0000u : weight << 16), as_float(d % 2 ? value & 0xffff0000u : value << 16),
                        o);
            }
            *sum = o;
        }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_amx(ATTEND_ARGUMENTS) {
    key_block block;
    row_block rows;
    float scores[BLOCK_TOKENS * SCORE_STRIDE] ALIGNED;
    float top[ROW_TILE] ALIGNED, total[ROW_TILE] ALIGNED, rescale[ROW_TILE] ALIGNED;
    row_ranges ranges;
    block_view view;
    key_fetch fetch;

    int part = get_global_id(0);
    if (part >= step[call.header + HEADER_PARTS]) return;
    for (int w = 0; w < KEY_WORDS; w++) block.zeros[w] = 0;
    amx_begin();
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item = work_item_load(step + call.works, w);
        KEY_SOURCE(keys, item);
        int tiles = (item.row_count + AMX_ROWS - 1) / AMX_ROWS;
        const __global uint *queries = (const __global uint *)(space + call.packed + (long)item.tile_first * TILE_WORDS);
        rows.sums = work_sums(space, &call, &item, part);
        rows.rows = item.row_count;
        rows.whole = item.row_count / AMX_ROWS * AMX_ROWS;
        find_ranges(&ranges, &call, &item, tiles * AMX_ROWS);
        begin_rows(top, total, tiles * AMX_ROWS);

        int kv_end = min(item.kv_end, ranges.greatest_end), started = 0;
        for (int key = next_block(&view, &keys, &ranges, item.kv_begin, kv_end); key < kv_end;
             key = next_block(&view, &keys, &ranges, key + BLOCK_TOKENS, kv_end)) {
            int found = load_keys(&block, view.present, &keys, key, view.count);
            if (!found) continue;
            // What lies in a row the device foresees by itself.
            int next = key + BLOCK_TOKENS, scattered = block.groups[0].latent == (size_t)block.words;
            fetch_begin(&fetch, &keys, next, scattered ? min(next + BLOCK_TOKENS, kv_end) : next);
            view_block(&view, &ranges, key, found, tiles * AMX_ROWS);
            for (int t = 0; t < tiles; t += 2) {
                const __global uint *q = queries + t * TILE_WORDS;
                if (t + 1 < tiles)
                    score_pair(q, &block, view.count, scores, &fetch);
                else
                    score_single(q, &block, view.count, scores, &fetch);
                for (int v = t; v < min(t + 2, tiles); v++) {
                    int r = v * AMX_ROWS;
                    soften(scores + (v - t) * VECTOR_WIDTH, rows.weights + v * KEY_STEPS * AMX_TILE_WORDS, &view, r, call.softcap,
                           top + r, total + r, rescale + r);
                }
            }
            if (started) rescale_rows(&rows, rescale);
            if (view.masked && !all_finite(&block, view.count))
                add_visible(&rows, &block, &view, started);
            else
                add_block(&rows, &block, view.count, tiles, started);
            started = 1;
        }

        if (started) {
            for (int i = 0; i < (rows.rows - rows.whole) * VALUE_DIM; i += VECTOR_WIDTH)
                store_floatv(load_floatv(rows.tail + i), rows.sums + rows.whole * VALUE_DIM + i);
            undo_interleaving(rows.sums, rows.rows * VALUE_DIM);
        }
        finish_rows(RESULT_PASS, &call, &item, space, rows.sums, top, total);
    }
    amx_end();
}
