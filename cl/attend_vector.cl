// SPDX-License-Identifier: Apache-2.0
// attend_vector: absorbed attention for CPU devices: one work-item a group goes through the works of its part. It takes
// up to ROW_TILE rows (heads of one or more query tokens) through a range of keys, BLOCK_TOKENS keys at a time, with an
// online softmax.                                                                           ref: tests/ref/ref_attend.c
//
// For each block: scores keep VECTOR_WIDTH rows in a vector and keys in registers while the width streams, and the
// first rows' scores convert the keys to f32 for all (common/attend_scores.clh); the value product keeps columns in
// vectors and VALUE_ROWS rows in registers while the keys stream (common/attend_values.clh).
//
// Up to four rows go another way, with columns in the lanes: common/attend_few.clh.
//
//   space: packed  tiles of ROW_WIDTH by VECTOR_WIDTH f32, in the order of common/packed_lane.clh: queries times scale
//                  * log2(e), written by attend_queries.cl
//          sums    [part][sum_rows][VALUE_DIM] f32: the running value sums; a piece's sums grow in its states. Of long
//                  pieces twice the rows: those of runs before (common/sum_run.h)
//          states, state_lse, state_max: lib/plan_schedule.h
//   output, lse, max_logit: common/result.clh
// private memory: BLOCK_TOKENS*(ROW_WIDTH + ROW_TILE)*4 bytes, and two row_parts a key. grid: global (parts, filled up
// to a multiple of units), local (1)
// options: ROWS_*, SPARSE, VECTOR_WIDTH, LATENT_DIM, ROPE_DIM, VALUE_DIM (LATENT_DIM to ROW_WIDTH), BLOCK_TOKENS (a
// multiple of 24), ROW_TILE (of 2*VECTOR_WIDTH), HAS_FEW_ROWS (where works may be that small: it takes drivers several
// times as long to compile)
#include "common/vector.clh"
#include "common/work.clh"
#include "common/result.clh"
#include "common/sum_run.h"
#include "common/packed_lane.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM) || !defined(BLOCK_TOKENS) || !defined(ROW_TILE)
#error "LATENT_DIM, ROPE_DIM, VALUE_DIM, BLOCK_TOKENS or ROW_TILE is missing"
#endif
// An odd number of cache lines: what lies that far apart, such as the scores of one row by all keys, is spread over all
// sets of a cache, where a power of two would crowd it into a few.
#define ODD_LINES(floats) ((((floats) + 15) / 16 | 1) * 16)
#define SCORE_STRIDE ODD_LINES(ROW_TILE)
#define KEY_STRIDE ODD_LINES(LATENT_DIM + ROPE_DIM)
#include "common/attend_block.clh"
#include "common/attend_places.clh"

// Sums that are in registers beside what is multiplied: SCORE_KEYS by 2 vectors of queries, LANE_ROWS rows by LANE_KEYS
// keys, VALUE_ROWS rows by VALUE_VECTORS vectors of columns. SCORE_RUN: products of a score that are summed before they
// are added to those of before.
#define LANE_ROWS 4
#define VALUE_ROWS 4
#if VECTOR_REGISTERS >= 32
#define SCORE_KEYS 12
#define LANE_KEYS 4
#define VALUE_VECTORS 4
#else
#define SCORE_KEYS 6
#define LANE_KEYS 3
#define VALUE_VECTORS 3
#endif
#ifndef SCORE_RUN
#define SCORE_RUN 64
#endif

#if BLOCK_TOKENS % SCORE_KEYS || BLOCK_TOKENS % LANE_KEYS
#error "a block is no whole number of the keys that are scored at a time"
#endif
#include "common/attend_scores.clh"

// Keys that are not there become zero rows: weights of 0 do not make nothing of a value that is no number.
static inline void clear_absent(float *keys_f32, const block_places *places) {
    for (int i = 0; places->found < places->count && i < places->count; i++)
        for (int d = 0; !places->present[i] && d < ROW_WIDTH; d++) keys_f32[i * KEY_STRIDE + d] = 0.0f;
}

// Online softmax of one vector of rows over a block: scores become weights, `rescale` what older sums are multiplied
// by.
static inline void soften(float *scores, const block_view *block, int row, float softcap, float *top, float *total,
                          float *rescale) {
    floatv before = load_floatv(top), now = fmax(before, view_scores(scores, block, row, softcap));
    floatv base = score_base(now), factor = exp2(before - base), sum = (floatv)0.0f;
    for (int i = 0; i < block->count; i++) {
        floatv weight = exp2(load_floatv(scores + i * SCORE_STRIDE) - base);
        store_floatv(weight, scores + i * SCORE_STRIDE);
        sum += weight;
    }
    store_floatv(now, top);
    store_floatv(fma(load_floatv(total), factor, sum), total);
    store_floatv(factor, rescale);
}

#include "common/attend_values.clh"

#ifdef HAS_FEW_ROWS
#include "common/attend_few.clh"
#endif

// Long contexts are summed in runs of blocks (common/sum_run.h): longer ones than needed, as a run's end moves all sums
// through the cache.
#define RUN_BLOCKS (4 * SUM_RUN_BLOCKS(BLOCK_TOKENS))

// The sums and totals of the runs before, relative to their largest scores.
typedef struct kept_runs {
    __global float *sums; // [row][VALUE_DIM]
    int count;            // of runs
    float total[ROW_TILE], top[ROW_TILE];
} kept_runs;

static inline void begin_runs(kept_runs *kept, __global float *space, const attend_call *call, int part) {
    kept->sums = space + call->sums + ((long)part * call->sum_rows + call->sum_rows / 2) * VALUE_DIM;
    kept->count = 0;
}

// to = kept sums, brought to the largest score now, + sums
static inline void add_kept(__global float *to, float *to_total, const kept_runs *kept, const __global float *sums,
                            float total, float top, int r) {
    const __global float *before = kept->sums + r * VALUE_DIM;
    float factor = exp2(kept->top[r] - (top == -INFINITY ? 0.0f : top)); // 0 of a row that had seen no key
    int d = 0;
    for (; d + VECTOR_WIDTH <= VALUE_DIM; d += VECTOR_WIDTH)
        store_floatv(fma(load_floatv(before + d), (floatv)factor, load_floatv(sums + d)), to + d);
    for (; d < VALUE_DIM; d++) to[d] = fma(before[d], factor, sums[d]);
    *to_total = fma(kept->total[r], factor, total);
}

// Keeps a run's sums with those before, for the next to begin with nothing.
static inline void keep_run(kept_runs *kept, const __global float *sums, float *total, const float *top, int rows) {
    for (int r = 0; r < rows; r++) {
        if (kept->count > 0)
            add_kept(kept->sums + r * VALUE_DIM, kept->total + r, kept, sums + r * VALUE_DIM, total[r], top[r], r);
        else {
            for (int d = 0; d < VALUE_DIM; d++) kept->sums[r * VALUE_DIM + d] = sums[r * VALUE_DIM + d];
            kept->total[r] = total[r];
        }
        kept->top[r] = top[r];
        total[r] = 0.0f;
    }
    kept->count++;
}

static inline void finish_runs(const kept_runs *kept, __global float *sums, float *total, const float *top, int rows) {
    if (kept->count == 0) return;
    for (int r = 0; r < rows; r++)
        add_kept(sums + r * VALUE_DIM, total + r, kept, sums + r * VALUE_DIM, total[r], top[r], r);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_vector(ATTEND_ARGUMENTS) {
    float keys_f32[BLOCK_TOKENS * KEY_STRIDE] ALIGNED;
    float scores[BLOCK_TOKENS * SCORE_STRIDE] ALIGNED;
    float top[ROW_TILE] ALIGNED, total[ROW_TILE] ALIGNED, rescale[ROW_TILE] ALIGNED;
    row_ranges ranges;
    block_view block;
    block_places places[2];
    kept_runs kept;
    row_turner turner;
    turner.delta = 0;

    int part = part_of_group(step, &call);
    if (part >= step[call.header + HEADER_PARTS]) return;
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item;
        work_item_fill(&item, step + call.works, w);
        KEY_SOURCE(keys, item);
        int rows = item.row_count, vectors = (rows + VECTOR_WIDTH - 1) / VECTOR_WIDTH;
        const __global float *tiles = space + call.packed + (long)item.tile_first * ROW_WIDTH * VECTOR_WIDTH;
        __global float *sums = work_sums(space, &call, &item, part);
        find_ranges(&ranges, &call, &item, vectors * VECTOR_WIDTH);
        begin_rows(top, total, vectors * VECTOR_WIDTH);

        int kv_end = min(item.kv_end, ranges.greatest_end), started = 0; // blocks of the run so far
        begin_runs(&kept, space, &call, part);
#ifdef HAS_FEW_ROWS
        if (rows <= FEW_ROWS) {
            if (rows == 1)
                attend_few_1(rows, &call, &keys, &ranges, item.kv_begin, kv_end, tiles, sums, &turner, top, total);
            else if (rows == 2)
                attend_few_2(rows, &call, &keys, &ranges, item.kv_begin, kv_end, tiles, sums, &turner, top, total);
            else
                attend_few_4(rows, &call, &keys, &ranges, item.kv_begin, kv_end, tiles, sums, &turner, top, total);
            finish_rows(RESULT_PASS, &call, &item, space, sums, top, total);
            continue;
        }
#endif
        int now = 0;
        find_block(&places[0], &keys, &ranges, item.kv_begin, kv_end);
        for (; places[now].count > 0; now ^= 1) {
            const block_places *at = &places[now];
            const row_parts *next = find_next(places, now, &keys, &ranges, kv_end);
            view_places(&block, at, &ranges, vectors * VECTOR_WIDTH);
            if (started == RUN_BLOCKS) {
                keep_run(&kept, sums, total, top, rows);
                started = 0;
            }
            block_keys converted = {at->at, next, keys_f32, &turner};
            score_block(tiles, rows, &converted, block.count, scores);
            clear_absent(keys_f32, at);
            for (int v = 0; v < vectors; v++) {
                int r = v * VECTOR_WIDTH;
                soften(scores + r, &block, r, call.softcap, top + r, total + r, rescale + r);
            }
            add_block(sums, keys_f32, scores, &block, started ? rescale : (const float *)0, rows);
            started++;
        }
        finish_runs(&kept, sums, total, top, rows);
        finish_rows(RESULT_PASS, &call, &item, space, sums, top, total);
    }
}
