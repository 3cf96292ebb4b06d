// SPDX-License-Identifier: Apache-2.0
// attend_amx: absorbed attention by tiles of bf16 values, for CPUs with AMX. Fast, not exact: weights are rounded to
// bf16, and so are keys of other formats; queries are a bf16 and what that leaves, rounded too; sums are f32.
//                                                                                           ref: tests/ref/ref_attend.c
//
// The frame is attend_vector's: one work-item a group, BLOCK_TOKENS keys at a time, an online softmax. A tile is 16
// rows of 32 values. For each block
//   scores   keys times queries, 2 tiles of keys by 2 of rows, or 4 by 1: sums [key][row], so that 16 rows lie in a
//            vector. Two tiles of keys stay in the first-level cache for all rows
//   weights  exp2(s - the largest so far), turned around into tiles [row][key]
//   values   weights times values, a strip of columns at a time: two keys side by side, once for all rows, in a buffer
//            that stays in the first-level cache. The running sums are brought to the new largest score before, where
//            that grew
// bf16 keys are read where they lie when 16 of them lie at equal distances; others are copied, and of other formats
// rounded to bf16.
//
//   space: packed  [tile][steps][2][16 pairs of columns][16 rows] words of two bf16, written by attend_queries.cl: of
//                  each step of 32 columns the values, then what they leave. Steps of a part are whole ones, filled up
//                  with zeros
//          sums, states, state_lse, state_max: as for attend_vector. While sums grow, their columns are in the order of
//          interleave_words(); undo_interleaving() puts them right
// grid: global (parts, filled up to a multiple of units), local (1)
// options: ROWS_*, SPARSE, VECTOR_WIDTH=16, LATENT_DIM (a multiple of 64), ROPE_DIM (of 2), VALUE_DIM = LATENT_DIM,
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
#include "common/attend_block.clh"

#define STEP 32 // columns, or keys, that one product of tiles sums over
#define STEP_WORDS (STEP / 2)
#define LATENT_STEPS (LATENT_DIM / STEP)
#define ROPE_STEPS ((ROPE_DIM + STEP - 1) / STEP)
#define LATENT_WORDS (LATENT_DIM / 2)
#define ROPE_WORDS (ROPE_DIM / 2)
#define KEY_WORDS ((LATENT_STEPS + ROPE_STEPS) * STEP_WORDS)
#define KEY_BYTES (KEY_WORDS * 4)
#define QUERY_WORDS (2 * AMX_TILE_WORDS)                       // of a step
#define TILE_WORDS ((LATENT_STEPS + ROPE_STEPS) * QUERY_WORDS) // from one tile of queries to the next
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

#ifdef ROWS_BF16

static inline void copy_key(uint *words, const row_parts *at, row_turner *turner) {
    (void)turner;
    copy_words(words, at->latent, LATENT_WORDS, 0u);
#if ROPE_DIM > 0
    copy_words(words + LATENT_WORDS, at->rope, ROPE_WORDS, 0u);
    for (int w = LATENT_WORDS + ROPE_WORDS; w < KEY_WORDS; w++) words[w] = 0;
#endif
}

#else

// A key's rope part, of any width, turned where its position has shifted.
static inline void copy_rope(uint *words, const row_parts *at, row_turner *turner) {
    float rope[ROPE_STEPS * STEP + 1] ALIGNED;
    for (int d = 0; d < ROPE_STEPS * STEP; d++) rope[d] = d < ROPE_DIM ? row_rope(at, d) : 0.0f;
#ifdef KEY_TURNS
    if (at->delta != 0) row_turn_key(rope, turner, at);
#endif
    for (int d = 0; d < ROPE_STEPS * STEP; d += STEP)
        store_words(bf16_run(load_floatv(rope + d), load_floatv(rope + d + VECTOR_WIDTH)), words + d / 2);
}

// A key as it is decoded, rounded to bf16.
static inline void copy_key(uint *words, const row_parts *at, row_turner *turner) {
    int turned = ROPE_DIM % STEP != 0;
#ifdef KEY_TURNS
    turned |= at->delta != 0;
#endif
    for (int d = 0; d < LATENT_DIM; d += STEP)
        store_words(bf16_run(row_latent_vector(at, d), row_latent_vector(at, d + VECTOR_WIDTH)), words + d / 2);
    if (turned)
        copy_rope(words + LATENT_WORDS, at, turner);
    else
        for (int d = 0; d < ROPE_DIM; d += STEP)
            store_words(bf16_run(row_rope_vector(at, d), row_rope_vector(at, d + VECTOR_WIDTH)),
                        words + (LATENT_DIM + d) / 2);
}

#endif

static inline void group_in_block(key_group *group, const uint *words, size_t stride) {
    group->latent = (size_t)words;
    group->rope = (size_t)(words + LATENT_WORDS);
    group->latent_stride = group->rope_stride = stride;
}

// Whether 16 keys are read where they lie.
static inline int group_in_place(key_group *group, const key_source *keys, int key) {
#if defined(ROWS_BF16) && ROPE_DIM % STEP == 0
    row_parts first;
    if (!key_run(&first, keys, key, AMX_ROWS)) return 0;
    group->latent = (size_t)first.latent;
    group->rope = (size_t)first.rope;
    group->latent_stride = keys_row_memory(keys)->call.latent.row;
    group->rope_stride = keys_row_memory(keys)->call.rope.row;
    return 1;
#else
    (void)group, (void)keys, (void)key;
    return 0;
#endif
}

static inline int load_group(key_block *block, int *present, int group, const key_source *keys, int key, int count,
                             row_turner *turner) {
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
            copy_key(words + i * KEY_WORDS, &at, turner);
        else
            for (int w = 0; w < KEY_WORDS; w++) words[i * KEY_WORDS + w] = 0;
    }
    return found;
}

static inline int load_keys(key_block *block, int *present, const key_source *keys, int key, int count,
                            row_turner *turner) {
    int found = 0, group = 0;
    for (; group * AMX_ROWS < count; group++)
        found += load_group(block, present + group * AMX_ROWS, group, keys, key + group * AMX_ROWS,
                            count - group * AMX_ROWS, turner);
    for (; group % 4 != 0; group++) group_in_block(&block->groups[group], block->zeros, 0);
    return found;
}

static inline const __global uint *latent_words(const key_block *block, int key) {
    const key_group *group = &block->groups[key / AMX_ROWS];
    return (const __global uint *)(group->latent + key % AMX_ROWS * group->latent_stride);
}

// --- scores

// 32 keys by 32 rows into sums 0 to 3, over `steps` steps of columns.
static inline void score_square(amx_tiles *amx, const __global uint *q, size_t a, size_t a_stride, size_t b,
                                size_t b_stride, int steps) {
    for (int s = 0; s < steps; s++, q += QUERY_WORDS, a += AMX_ROW_BYTES, b += AMX_ROW_BYTES) {
        AMX_LOAD(amx, 4, a, a_stride);
        AMX_LOAD(amx, 6, q, AMX_ROW_BYTES);
        AMX_ADD_BF16(amx, 0, 4, 6);
        AMX_LOAD(amx, 5, b, b_stride);
        AMX_ADD_BF16(amx, 2, 5, 6);
        AMX_LOAD(amx, 7, q + TILE_WORDS, AMX_ROW_BYTES);
        AMX_ADD_BF16(amx, 1, 4, 7);
        AMX_ADD_BF16(amx, 3, 5, 7);
        AMX_LOAD(amx, 6, q + AMX_TILE_WORDS, AMX_ROW_BYTES);
        AMX_ADD_BF16(amx, 0, 4, 6);
        AMX_ADD_BF16(amx, 2, 5, 6);
        AMX_LOAD(amx, 7, q + TILE_WORDS + AMX_TILE_WORDS, AMX_ROW_BYTES);
        AMX_ADD_BF16(amx, 1, 4, 7);
        AMX_ADD_BF16(amx, 3, 5, 7);
    }
}

// 64 keys by 16 rows: four groups, each given by where a part of it lies and by its stride.
typedef struct key_column {
    size_t at[4], stride[4];
} key_column;

static inline void score_column(amx_tiles *amx, const __global uint *q, const key_column *keys, int steps) {
    for (int s = 0; s < steps; s++, q += QUERY_WORDS) {
        size_t column = s * AMX_ROW_BYTES;
        AMX_LOAD(amx, 6, q, AMX_ROW_BYTES);
        AMX_LOAD(amx, 4, keys->at[0] + column, keys->stride[0]);
        AMX_ADD_BF16(amx, 0, 4, 6);
        AMX_LOAD(amx, 5, keys->at[1] + column, keys->stride[1]);
        AMX_ADD_BF16(amx, 1, 5, 6);
        AMX_LOAD(amx, 7, q + AMX_TILE_WORDS, AMX_ROW_BYTES);
        AMX_ADD_BF16(amx, 0, 4, 7);
        AMX_ADD_BF16(amx, 1, 5, 7);
        AMX_LOAD(amx, 4, keys->at[2] + column, keys->stride[2]);
        AMX_ADD_BF16(amx, 2, 4, 6);
        AMX_LOAD(amx, 5, keys->at[3] + column, keys->stride[3]);
        AMX_ADD_BF16(amx, 3, 5, 6);
        AMX_ADD_BF16(amx, 2, 4, 7);
        AMX_ADD_BF16(amx, 3, 5, 7);
    }
}

#define SCORE_ROW_BYTES (SCORE_STRIDE * 4)
#define SCORE_TILE (AMX_ROWS * SCORE_STRIDE)

static inline void clear_sums(amx_tiles *amx) {
    AMX_ZERO(amx, 0);
    AMX_ZERO(amx, 1);
    AMX_ZERO(amx, 2);
    AMX_ZERO(amx, 3);
}

// Of 32 keys and an even number of tiles of rows.
static inline void score_pairs(amx_tiles *amx, const __global uint *q, int tiles, const key_group *a, float *scores) {
    const key_group *b = a + 1;
    for (int t = 0; t < tiles; t += 2, q += 2 * TILE_WORDS, scores += 2 * VECTOR_WIDTH) {
        clear_sums(amx);
        score_square(amx, q, a->latent, a->latent_stride, b->latent, b->latent_stride, LATENT_STEPS);
        score_square(amx, q + LATENT_STEPS * QUERY_WORDS, a->rope, a->rope_stride, b->rope, b->rope_stride, ROPE_STEPS);
        AMX_STORE(amx, 0, scores, SCORE_ROW_BYTES);
        AMX_STORE(amx, 1, scores + VECTOR_WIDTH, SCORE_ROW_BYTES);
        AMX_STORE(amx, 2, scores + SCORE_TILE, SCORE_ROW_BYTES);
        AMX_STORE(amx, 3, scores + SCORE_TILE + VECTOR_WIDTH, SCORE_ROW_BYTES);
    }
}

// Of 64 keys and one tile of rows.
static inline void score_single(amx_tiles *amx, const __global uint *q, const key_group *groups, float *scores) {
    key_column latent, rope;
    for (int g = 0; g < 4; g++) {
        latent.at[g] = groups[g].latent;
        latent.stride[g] = groups[g].latent_stride;
        rope.at[g] = groups[g].rope;
        rope.stride[g] = groups[g].rope_stride;
    }
    clear_sums(amx);
    score_column(amx, q, &latent, LATENT_STEPS);
    score_column(amx, q + LATENT_STEPS * QUERY_WORDS, &rope, ROPE_STEPS);
    AMX_STORE(amx, 0, scores, SCORE_ROW_BYTES);
    AMX_STORE(amx, 1, scores + SCORE_TILE, SCORE_ROW_BYTES);
    AMX_STORE(amx, 2, scores + 2 * SCORE_TILE, SCORE_ROW_BYTES);
    AMX_STORE(amx, 3, scores + 3 * SCORE_TILE, SCORE_ROW_BYTES);
}

static inline void score_block(amx_tiles *amx, const __global uint *q, int tiles, const key_block *block, int count,
                               float *scores, key_fetch *fetch) {
    int paired = tiles - tiles % 2;
    for (int g = 0; g * AMX_ROWS < count; g += 2) {
        fetch_keys(fetch, 2 * AMX_ROWS);
        score_pairs(amx, q, paired, &block->groups[g], scores + g * SCORE_TILE);
    }
    for (int g = 0; paired < tiles && g * AMX_ROWS < count; g += 4)
        score_single(amx, q + paired * TILE_WORDS, &block->groups[g], scores + g * SCORE_TILE + paired * VECTOR_WIDTH);
}

// --- weights

// Of one tile of rows, into its tiles of weights. top, total, rescale as in attend_vector.
static inline void soften(float *scores, uint *weights, const block_view *view, int row, float softcap, float *top,
                          float *total, float *rescale) {
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
    return row < rows->whole ? rows->sums + row * VALUE_DIM
                             : (__global float *)(size_t)(rows->tail + (row - rows->whole) * VALUE_DIM);
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
static inline void add_column(amx_tiles *amx, __global float *sums, const uint *strip, const uint *weights, int steps,
                              int started) {
    if (started) {
        AMX_LOAD(amx, 0, sums, SUM_BYTES);
        AMX_LOAD(amx, 1, sums + VECTOR_WIDTH, SUM_BYTES);
        AMX_LOAD(amx, 2, sums + 2 * VECTOR_WIDTH, SUM_BYTES);
        AMX_LOAD(amx, 3, sums + 3 * VECTOR_WIDTH, SUM_BYTES);
    } else
        clear_sums(amx);
    for (int s = 0; s < steps; s++, weights += AMX_TILE_WORDS, strip += STEP / 2 * STRIP) {
        AMX_LOAD(amx, 7, weights, AMX_ROW_BYTES);
        AMX_LOAD(amx, 4, strip, STRIP_BYTES);
        AMX_ADD_BF16(amx, 0, 7, 4);
        AMX_LOAD(amx, 5, strip + VECTOR_WIDTH, STRIP_BYTES);
        AMX_ADD_BF16(amx, 1, 7, 5);
        AMX_LOAD(amx, 6, strip + 2 * VECTOR_WIDTH, STRIP_BYTES);
        AMX_ADD_BF16(amx, 2, 7, 6);
        AMX_LOAD(amx, 4, strip + 3 * VECTOR_WIDTH, STRIP_BYTES);
        AMX_ADD_BF16(amx, 3, 7, 4);
    }
    AMX_STORE(amx, 0, sums, SUM_BYTES);
    AMX_STORE(amx, 1, sums + VECTOR_WIDTH, SUM_BYTES);
    AMX_STORE(amx, 2, sums + 2 * VECTOR_WIDTH, SUM_BYTES);
    AMX_STORE(amx, 3, sums + 3 * VECTOR_WIDTH, SUM_BYTES);
}

static inline void add_block(amx_tiles *amx, row_block *rows, const key_block *block, int count, int tiles,
                             int started) {
    int steps = (count + STEP - 1) / STEP;
    for (int column = 0; column < LATENT_DIM; column += STRIP) {
        make_strip(rows->strip, block, steps * STEP, column);
        for (int t = 0; t < tiles; t++)
            add_column(amx, row_sums(rows, t * AMX_ROWS) + column, rows->strip,
                       rows->weights + t * KEY_STEPS * AMX_TILE_WORDS, steps, started);
    }
}

// Where a row does not see every key, its weight of a hidden one is zero, which a value that is no number must not
// meet.
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
                o = fma(as_float(i % 2 ? weight & 0xffff0000u : weight << 16),
                        as_float(d % 2 ? value & 0xffff0000u : value << 16), o);
            }
            *sum = o;
        }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_amx(ATTEND_ARGUMENTS) {
    key_block block;
    row_block rows;
    float scores[BLOCK_TOKENS * ROW_TILE] ALIGNED;
    float top[ROW_TILE] ALIGNED, total[ROW_TILE] ALIGNED, rescale[ROW_TILE] ALIGNED;
    row_ranges ranges;
    block_view view;
    key_fetch fetch;
    row_turner turner;
    amx_tiles amx;
    turner.delta = 0;

    int part = part_of_group(step, &call);
    if (part >= step[call.header + HEADER_PARTS]) return;
    for (int w = 0; w < KEY_WORDS; w++) block.zeros[w] = 0;
    amx_begin(&amx);
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item = work_item_load(step + call.works, w);
        KEY_SOURCE(keys, item);
        int tiles = (item.row_count + AMX_ROWS - 1) / AMX_ROWS;
        const __global uint *queries =
            (const __global uint *)(space + call.packed + (long)item.tile_first * TILE_WORDS);
        rows.sums = work_sums(space, &call, &item, part);
        rows.rows = item.row_count;
        rows.whole = item.row_count / AMX_ROWS * AMX_ROWS;
        find_ranges(&ranges, &call, &item, tiles * AMX_ROWS);
        begin_rows(top, total, tiles * AMX_ROWS);

        int kv_end = min(item.kv_end, ranges.greatest_end), started = 0;
        for (int key = next_block(&view, &keys, &ranges, item.kv_begin, kv_end); key < kv_end;
             key = next_block(&view, &keys, &ranges, key + BLOCK_TOKENS, kv_end)) {
            int found = load_keys(&block, view.present, &keys, key, view.count, &turner);
            if (!found) continue;
            // What lies in a row the device foresees by itself.
            row_parts at;
            int next = key + BLOCK_TOKENS, foreseen = key_run(&at, &keys, key, AMX_ROWS);
            fetch_begin(&fetch, &keys, next, foreseen ? next : min(next + BLOCK_TOKENS, kv_end));
            view_block(&view, &ranges, key, found, tiles * AMX_ROWS);
            score_block(&amx, queries, tiles, &block, view.count, scores, &fetch);
            for (int t = 0; t < tiles; t++) {
                int r = t * AMX_ROWS;
                soften(scores + r, rows.weights + t * KEY_STEPS * AMX_TILE_WORDS, &view, r, call.softcap, top + r,
                       total + r, rescale + r);
            }
            if (started) rescale_rows(&rows, rescale);
            if (view.masked && !all_finite(&block, view.count))
                add_visible(&rows, &block, &view, started);
            else
                add_block(&amx, &rows, &block, view.count, tiles, started);
            started = 1;
        }

        if (started) {
            for (int i = 0; i < (rows.rows - rows.whole) * VALUE_DIM; i += VECTOR_WIDTH)
                store_floatv(load_floatv(rows.tail + i), rows.sums + rows.whole * VALUE_DIM + i);
            undo_interleaving(rows.sums, rows.rows * VALUE_DIM);
        }
        finish_rows(RESULT_PASS, &call, &item, space, rows.sums, top, total);
    }
    amx_end(&amx);
}
