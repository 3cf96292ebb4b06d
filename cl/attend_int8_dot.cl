// SPDX-License-Identifier: Apache-2.0
// attend_int8_dot: absorbed attention over q8 rows by dot products of bytes, for CPUs with AVX-512 VNNI. Fast, not
// exact: queries, weights and a block's values are rounded to 8 bits.                       ref: tests/ref/ref_attend.c
//
// The frame is attend_vector's: one work-item a group, BLOCK_TOKENS keys at a time, an online softmax. For each block
//   scores   codes of keys (as they are cached, plus 128) times codes of queries, summed exactly over groups of 32
//            columns; each group's sum is scaled by the key's scale and the query's. 16 rows in a vector, keys
//            broadcast
//   values   brought to one scale for each group of columns in the block, once for all rows; four keys side by side
//   weights  exp2(s - the block's largest) as a byte, four keys side by side
//   sums     weights times values, exact within the block; scaled when they are added to the running sums
//
//   space: packed  [tile][ROW_WIDTH][VECTOR_WIDTH], of which [groups][INT8_GROUP_WORDS] are used: common/int8_call.h
//          sums, states, state_lse, state_max: as for attend_vector. While sums grow, their columns are in the order of
//          interleave_words(); undo_interleaving() puts them right
// grid: global (parts, filled up to a multiple of units), local (1)
// options: ROWS_Q8, SPARSE, VECTOR_WIDTH=16, LATENT_DIM (a multiple of 64), ROPE_DIM, VALUE_DIM = LATENT_DIM,
// BLOCK_TOKENS (a multiple of 12), ROW_TILE (of 32)
#include "common/vector.clh"
#include "common/work.clh"
#include "common/result.clh"
#include "common/turn.clh"
#include "common/dot.clh"
#include "common/int8_call.h"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM) || !defined(BLOCK_TOKENS) || !defined(ROW_TILE)
#error "LATENT_DIM, ROPE_DIM, VALUE_DIM, BLOCK_TOKENS or ROW_TILE is missing"
#endif
#include "common/attend_block.clh"

#define LATENT_GROUPS (LATENT_DIM / INT8_GROUP)
#define ROPE_GROUPS ((ROPE_DIM + INT8_GROUP - 1) / INT8_GROUP)
#define GROUPS (LATENT_GROUPS + ROPE_GROUPS)
#define TILE_WORDS (ROW_WIDTH * VECTOR_WIDTH) // from one tile to the next; groups fill the first of them
#define CODE_WORDS (GROUPS * INT8_STEPS)      // four codes each
#define ZERO_CODES 0x80808080u
#define SCORE_SUMS 12 // registers: 6 keys by 2 vectors of rows, or 12 by 1; each an exact sum and a scaled one
#define QUADS (BLOCK_TOKENS / 4)
#define VALUE_ROWS 4
#define VALUE_VECTORS 4
// columns: their values lie together, whose rows would else fall into few sets of a cache
#define STRIP (VALUE_VECTORS * VECTOR_WIDTH)
#define STRIP_GROUPS (STRIP / INT8_GROUP)
#define WEIGHT_MOST 255.0f
// added to less than that: the nearest whole number in the lowest bits, where drivers make 20 instructions of rint
#define WHOLE 0x1p23f

typedef struct key_block {
    uint codes[BLOCK_TOKENS * CODE_WORDS] ALIGNED; // + 128
    float scales[BLOCK_TOKENS * GROUPS] ALIGNED;
    uint values[LATENT_DIM / STRIP * QUADS * STRIP] ALIGNED; // [strip][quad][column]: four keys' bytes
    float value_scales[LATENT_GROUPS];                       // 0: all values of the group are 0
} key_block;

// --- keys

// A part's codes; those past its last column are zeros there or meet zeros of the queries.
static inline void load_codes(uint *codes, const __global uchar *part, int dim, int groups) {
    int words = (dim + 3) / 4;
    copy_words(codes, part, words, ZERO_CODES);
    for (int w = words; w < groups * INT8_STEPS; w++) codes[w] = ZERO_CODES;
}

// Scales stand behind their part's codes (clmla/rows.h).
static inline void load_scales(float *scales, const __global uchar *part, int dim, int groups) {
    const __global ushort *from = (const __global ushort *)(part + (dim + 3) / 4 * 4);
    for (int g = 0; g < groups; g++) scales[g] = bf16_load(from, g);
}

// The rope part of a row whose position has shifted: rotated, and brought to bytes again.
#ifdef KEY_TURNS
static inline void load_turned(uint *codes, float *scales, const row_parts *at, row_turner *turner) {
    float rope[ROPE_GROUPS * INT8_GROUP] ALIGNED;
    for (int d = 0; d < ROPE_GROUPS * INT8_GROUP; d++) rope[d] = d < ROPE_DIM ? row_rope(at, d) : 0.0f;
    row_turn_key(rope, turner, at);
    for (int g = 0; g < ROPE_GROUPS; g++) {
        floatv a = load_floatv(rope + g * INT8_GROUP), b = load_floatv(rope + g * INT8_GROUP + VECTOR_WIDTH);
        float most = max_floatv(fmax(fabs(a), fabs(b))), inverse = most > 0.0f ? 127.0f / most : 0.0f;
        vstore4(as_uint4(convert_char16(convert_int16(rint(a * inverse)))) ^ ZERO_CODES, 0, codes + g * INT8_STEPS);
        vstore4(as_uint4(convert_char16(convert_int16(rint(b * inverse)))) ^ ZERO_CODES, 1, codes + g * INT8_STEPS);
        scales[g] = most / 127.0f + sum_floatv((a - a) + (b - b)); // what is no number shows
    }
}
#endif

static inline int load_keys(key_block *block, int *present, const key_source *keys, int key, int count,
                            row_turner *turner) {
    int found = 0;
    for (int i = 0; i < BLOCK_TOKENS; i++) {
        row_parts at;
        uint *codes = block->codes + i * CODE_WORDS;
        float *scales = block->scales + i * GROUPS;
        present[i] = i < count && key_at(&at, keys, key + i);
        if (!present[i]) {
            for (int w = 0; w < CODE_WORDS; w++) codes[w] = ZERO_CODES;
            for (int g = 0; g < GROUPS; g++) scales[g] = 0.0f;
            continue;
        }
        found++;
        load_codes(codes, at.latent, LATENT_DIM, LATENT_GROUPS);
        load_scales(scales, at.latent, LATENT_DIM, LATENT_GROUPS);
#if ROPE_DIM > 0
        load_codes(codes + LATENT_GROUPS * INT8_STEPS, at.rope, ROPE_DIM, ROPE_GROUPS);
        load_scales(scales + LATENT_GROUPS, at.rope, ROPE_DIM, ROPE_GROUPS);
#endif
#ifdef KEY_TURNS
        if (at.delta != 0) load_turned(codes + LATENT_GROUPS * INT8_STEPS, scales + LATENT_GROUPS, &at, turner);
#endif
    }
    return found;
}

// --- scores

// Of `vectors` vectors of rows by `count` keys (constants of the caller, their product SCORE_SUMS).
static inline __attribute__((always_inline)) void score_tile(const int vectors, const int count,
                                                             const __global int *tiles, const key_block *block, int key,
                                                             float *scores, key_fetch *fetch) {
    floatv s[SCORE_SUMS];
#pragma unroll
    for (int i = 0; i < SCORE_SUMS; i++) s[i] = (floatv)0.0f;
    for (int g = 0; g < GROUPS; g++) {
        const __global int *q = tiles + g * INT8_GROUP_WORDS;
        const uint *codes = block->codes + key * CODE_WORDS + g * INT8_STEPS;
        intv sums[SCORE_SUMS];
        fetch_keys(fetch, (count + GROUPS - 1) / GROUPS);
#pragma unroll
        for (int i = 0; i < SCORE_SUMS; i++)
            sums[i] = vload16(0, q + i % vectors * TILE_WORDS + (INT8_STEPS + 1) * INT8_ROWS);
#pragma unroll
        for (int d = 0; d < INT8_STEPS; d++) {
            uintv a[2];
#pragma unroll
            for (int v = 0; v < vectors; v++) a[v] = as_uint16(vload16(0, q + v * TILE_WORDS + d * INT8_ROWS));
#pragma unroll
            for (int i = 0; i < count; i++) {
                uintv k = (uintv)codes[i * CODE_WORDS + d];
#pragma unroll
                for (int v = 0; v < vectors; v++) sums[i * vectors + v] = dot_bytes(sums[i * vectors + v], k, a[v]);
            }
        }
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            floatv scale = as_float16(vload16(0, q + v * TILE_WORDS + INT8_STEPS * INT8_ROWS));
#pragma unroll
            for (int i = 0; i < count; i++)
                s[i * vectors + v] = fma(convert_float16(sums[i * vectors + v]),
                                         scale * block->scales[(key + i) * GROUPS + g], s[i * vectors + v]);
        }
    }
#pragma unroll
    for (int i = 0; i < SCORE_SUMS; i++)
        store_floatv(s[i], scores + i / vectors * ROW_TILE + i % vectors * VECTOR_WIDTH);
}

static inline void score_block(const __global int *tiles, int vectors, const key_block *block, int count, float *scores,
                               key_fetch *fetch) {
    for (int v = 0; v < vectors; v += 2) {
        const __global int *q = tiles + v * TILE_WORDS;
        if (v + 1 < vectors)
            for (int i = 0; i < count; i += SCORE_SUMS / 2) {
                score_tile(2, SCORE_SUMS / 2, q, block, i, scores + i * ROW_TILE + v * VECTOR_WIDTH, fetch);
            }
        else
            for (int i = 0; i < count; i += SCORE_SUMS) {
                score_tile(1, SCORE_SUMS, q, block, i, scores + i * ROW_TILE + v * VECTOR_WIDTH, fetch);
            }
    }
}

// --- weights

// Of one vector of rows. total, top as in attend_vector; `rescale` is what older sums are multiplied by, `weight_scale`
// what a weight's byte stands for.
static inline void soften(float *scores, uint *weights, const block_view *view, int row, float softcap, float *top,
                          float *total, float *rescale, float *weight_scale) {
    floatv most = view_scores(scores, view, row, softcap), before = load_floatv(top);
    floatv now = fmax(before, most), base = score_base(now), block_base = score_base(most), sum = (floatv)0.0f;
    for (int i = 0; i < view->count; i += 4) {
        uintv bytes = (uintv)0;
        for (int k = 0; k < 4 && i + k < view->count; k++) {
            floatv weight = fast_exp2(load_floatv(scores + (i + k) * ROW_TILE) - block_base);
            sum += weight;
            bytes |= (as_uint16(fma(weight, (floatv)WEIGHT_MOST, (floatv)WHOLE)) & 0xffu) << (uint)(8 * k);
        }
        store_words(bytes, weights + i / 4 * ROW_TILE);
    }
    floatv factor = exp2(before - base), share = exp2(most - base);
    store_floatv(now, top);
    store_floatv(fma(load_floatv(total), factor, sum * share), total);
    store_floatv(factor, rescale);
    store_floatv(share * (1.0f / WEIGHT_MOST), weight_scale);
}

// --- values

// 32 columns of four keys, each key's bytes in 16-bit lanes: a word a column, in two vectors.
static inline void interleave(uint *out, short32 a, short32 b, short32 c, short32 d) {
    short32 low = (a & (short)0xff) | (b << (short)8), high = (c & (short)0xff) | (d << (short)8);
    interleave_words(out, low, high);
}

static inline short32 scaled_codes(const uint *codes, short ratio) {
    char32 code = __builtin_astype(vload8(0, codes) ^ ZERO_CODES, char32);
    return round_product(__builtin_convertvector(code, short32), (short32)ratio);
}

// Brings a block's values to the largest scale of each group.
static inline void make_values(key_block *block, int count) {
    float inverse[LATENT_GROUPS];
    for (int g = 0; g < LATENT_GROUPS; g++) block->value_scales[g] = 0.0f;
    for (int i = 0; i < count; i++)
        for (int g = 0; g < LATENT_GROUPS; g++)
            block->value_scales[g] = fmax(block->value_scales[g], block->scales[i * GROUPS + g]);
    for (int g = 0; g < LATENT_GROUPS; g++)
        inverse[g] = block->value_scales[g] > 0.0f ? 32767.0f / block->value_scales[g] : 0.0f;
    for (int i = 0; i < count; i += 4) {
        short ratios[4][LATENT_GROUPS];
        for (int k = 0; k < 4; k++)
            for (int g = 0; g < LATENT_GROUPS; g++)
                ratios[k][g] = (short)(int)(block->scales[(i + k) * GROUPS + g] * inverse[g] + 0.5f);
        const uint *codes = block->codes + i * CODE_WORDS;
        for (int g = 0; g < LATENT_GROUPS; g++, codes += INT8_STEPS)
            interleave(block->values + (g / STRIP_GROUPS * QUADS + i / 4) * STRIP + g % STRIP_GROUPS * INT8_GROUP,
                       scaled_codes(codes, ratios[0][g]), scaled_codes(codes + CODE_WORDS, ratios[1][g]),
                       scaled_codes(codes + 2 * CODE_WORDS, ratios[2][g]),
                       scaled_codes(codes + 3 * CODE_WORDS, ratios[3][g]));
    }
}

// Adds `quads` times four keys to `rows` (1 or VALUE_ROWS, a constant of the caller) rows' sums, over VALUE_VECTORS
// vectors of columns, two groups.
static inline __attribute__((always_inline)) void add_values(const int rows, __global float *sums,
                                                             const key_block *block, const uint *weights, int quads,
                                                             int column, const float *rescale,
                                                             const float *weight_scale, int started) {
    const uint *values = block->values + column * QUADS;
    intv o[VALUE_ROWS][VALUE_VECTORS];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) {
            o[r][v] = (intv)0;
            fetch_line(sums + r * VALUE_DIM + v * VECTOR_WIDTH);
        }
    for (int j = 0; j < quads; j++) {
        uintv c[VALUE_VECTORS];
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) c[v] = vload16(0, values + j * STRIP + v * VECTOR_WIDTH);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            uintv weight = (uintv)weights[j * ROW_TILE + r];
#pragma unroll
            for (int v = 0; v < VALUE_VECTORS; v++) o[r][v] = dot_bytes(o[r][v], weight, c[v]);
        }
    }
    floatv scale[VALUE_VECTORS];
#pragma unroll
    for (int v = 0; v < VALUE_VECTORS; v++)
        scale[v] = (floatv)block->value_scales[(column + v * VECTOR_WIDTH) / INT8_GROUP];
#pragma unroll
    for (int r = 0; r < rows; r++) {
        floatv factor = (floatv)(started ? rescale[r] : 0.0f), weight = (floatv)weight_scale[r];
#pragma unroll
        for (int v = 0; v < VALUE_VECTORS; v++) {
            __global float *sum = sums + r * VALUE_DIM + v * VECTOR_WIDTH;
            floatv product = convert_float16(o[r][v]) * (scale[v] * weight);
            store_global(started ? fma(load_floatv(sum), factor, product) : product, sum);
        }
    }
}

static inline void add_block(__global float *sums, const key_block *block, const uint *weights, int count,
                             const float *rescale, const float *weight_scale, int rows, int started) {
    int quads = (count + 3) / 4;
    for (int column = 0; column < LATENT_DIM; column += STRIP) {
        int r = 0;
        for (; r + VALUE_ROWS <= rows; r += VALUE_ROWS)
            add_values(VALUE_ROWS, sums + r * VALUE_DIM + column, block, weights + r, quads, column, rescale + r,
                       weight_scale + r, started);
        for (; r < rows; r++)
            add_values(1, sums + r * VALUE_DIM + column, block, weights + r, quads, column, rescale + r,
                       weight_scale + r, started);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_int8_dot(ATTEND_ARGUMENTS) {
    key_block block;
    float scores[BLOCK_TOKENS * ROW_TILE] ALIGNED;
    uint weights[QUADS * ROW_TILE] ALIGNED;
    float top[ROW_TILE] ALIGNED, total[ROW_TILE] ALIGNED, rescale[ROW_TILE] ALIGNED, weight_scale[ROW_TILE] ALIGNED;
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
        const __global int *tiles =
            (const __global int *)(space + call.packed + (long)item.tile_first * ROW_WIDTH * VECTOR_WIDTH);
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
            make_values(&block, view.count);
            for (int v = 0; v < vectors; v++) {
                int r = v * VECTOR_WIDTH;
                soften(scores + r, weights + r, &view, r, call.softcap, top + r, total + r, rescale + r,
                       weight_scale + r);
            }
            add_block(sums, &block, weights, view.count, rescale, weight_scale, rows, started);
            started = 1;
        }

        if (started) undo_interleaving(sums, rows * VALUE_DIM);
        finish_rows(RESULT_PASS, &call, &item, space, sums, top, total);
    }
}
