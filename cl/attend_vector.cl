// SPDX-License-Identifier: Apache-2.0
// attend_vector: absorbed attention for CPU devices: one work-item a group goes through the works of its part. It takes up to
// ROW_TILE rows (heads of one or more query tokens) through a range of keys, BLOCK_TOKENS keys at a time, with an online
// softmax.                                                                                      ref: tests/ref/ref_attend.c
//
// For each block: keys are converted to f32 once for all rows; scores keep VECTOR_WIDTH rows in a vector and SCORE_KEYS keys
// in registers while the width streams (the key is broadcast); the value product keeps columns in vectors and VALUE_ROWS
// rows in registers while the keys stream.
//
// Up to four rows go another way, with columns in the lanes: common/attend_few.clh.
//
//   space: packed  [tile][ROW_WIDTH][VECTOR_WIDTH] f32: queries times scale * log2(e), written by attend_queries.cl
//          sums    [part][sum_rows][VALUE_DIM] f32: the running value sums; a piece's sums grow in its states. Of long pieces twice the
//                  rows: those of runs before (common/sum_run.h)
//          states, state_lse, state_max: lib/plan_schedule.h
//   output, lse, max_logit: common/result.clh
// private memory: BLOCK_TOKENS*(ROW_WIDTH + ROW_TILE)*4 bytes. grid: global (parts, filled up to a multiple of units), local (1)
// options: ROWS_*, SPARSE, VECTOR_WIDTH, LATENT_DIM, ROPE_DIM, VALUE_DIM (LATENT_DIM to ROW_WIDTH), BLOCK_TOKENS (a multiple
// of 24), ROW_TILE (of 2*VECTOR_WIDTH), HAS_FEW_ROWS (where works may be that small: it takes drivers several times as long to compile)
#include "common/vector.clh"
#include "common/work.clh"
#include "common/result.clh"
#include "common/sum_run.h"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM) || !defined(BLOCK_TOKENS) || !defined(ROW_TILE)
#error "LATENT_DIM, ROPE_DIM, VALUE_DIM, BLOCK_TOKENS or ROW_TILE is missing"
#endif
// An odd number of cache lines: what lies that far apart, such as the scores of one row by all keys, is spread over all sets of a
// cache, where a power of two would crowd it into a few.
#define ODD_LINES(floats) ((((floats) + 15) / 16 | 1) * 16)
#define SCORE_STRIDE ODD_LINES(ROW_TILE)
#define KEY_STRIDE ODD_LINES(LATENT_DIM + ROPE_DIM)
#include "common/attend_block.clh"

// Sums that are in registers beside what is multiplied: SCORE_KEYS by 2 vectors of rows, LANE_ROWS rows by LANE_KEYS keys, VALUE_ROWS
// rows by VALUE_VECTORS vectors of columns.
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
#define KEY_STEP 12 // what is scored is a multiple of it, and it one of SCORE_KEYS and of LANE_KEYS
#ifndef SCORE_RUN
#define SCORE_RUN 64
#endif

// One key as f32.
static inline void convert_key(float *row, const row_parts *at, row_turner *turner) {
    int d = 0;
#ifdef row_latent_unit
    for (; d + QUANTISED_UNIT <= LATENT_DIM; d += QUANTISED_UNIT) row_latent_unit(at, d / QUANTISED_UNIT, row + d);
#endif
#pragma unroll 4
    for (; d + VECTOR_WIDTH <= LATENT_DIM; d += VECTOR_WIDTH) {
        if (d % (CACHE_LINE / 4) == 0) fetch_line(row + KEY_STRIDE + d); // where the next key goes
        store_floatv(row_latent_vector(at, d), row + d);
    }
    for (; d < LATENT_DIM; d++) row[d] = row_latent(at, d);
#if ROPE_DIM > 0
#pragma unroll 4
    for (d = 0; d + VECTOR_WIDTH <= ROPE_DIM; d += VECTOR_WIDTH) store_floatv(row_rope_vector(at, d), row + LATENT_DIM + d);
    for (; d < ROPE_DIM; d++) row[LATENT_DIM + d] = row_rope(at, d);
#endif
#ifdef KEY_TURNS
    if (at->delta != 0) row_turn_key(row + LATENT_DIM, turner, at);
#endif
}

// Reads `count` keys from `key` on as f32 into keys_f32 and answers how many are there: present[i] says which. Those that are
// not, and what is scored past count, become zero rows.
static inline int load_keys(float *keys_f32, int *present, const key_source *keys, int key, int count,
                            row_turner *turner) {
    int found = 0, end = (count + KEY_STEP - 1) / KEY_STEP * KEY_STEP;
    for (int i = 0; i < end; i++) {
        row_parts at;
        float *row = keys_f32 + i * KEY_STRIDE;
        present[i] = i < count && key_at(&at, keys, key + i);
        found += present[i];
        if (present[i])
            convert_key(row, &at, turner);
        else
            for (int d = 0; d < ROW_WIDTH; d++) row[d] = 0.0f;
    }
    return found;
}

// Adds SCORE_RUN or fewer products to the scores of two vectors of rows by SCORE_KEYS keys. Runs are summed apart, which keeps
// the error of wide rows small, and let a run of queries stay in the first-level cache for all keys of the block.
static inline void add_scores(const __global float *q, const float *keys_f32, int width, float *scores, int first_run) {
    floatv sums[SCORE_KEYS][2];
#pragma unroll
    for (int i = 0; i < SCORE_KEYS; i++) sums[i][0] = sums[i][1] = (floatv)0.0f;
    for (int d = 0; d < width; d++) {
        floatv a = load_floatv(q + d * VECTOR_WIDTH), b = load_floatv(q + (ROW_WIDTH + d) * VECTOR_WIDTH);
#pragma unroll
        for (int i = 0; i < SCORE_KEYS; i++) {
            floatv k = (floatv)keys_f32[i * KEY_STRIDE + d];
            sums[i][0] = fma(a, k, sums[i][0]);
            sums[i][1] = fma(b, k, sums[i][1]);
        }
    }
#pragma unroll
    for (int i = 0; i < SCORE_KEYS; i++)
#pragma unroll
        for (int v = 0; v < 2; v++) {
            float *score = scores + i * SCORE_STRIDE + v * VECTOR_WIDTH;
            store_floatv(first_run ? sums[i][v] : load_floatv(score) + sums[i][v], score);
        }
}

// Scores of the rows that fill no pair of vectors, LANE_ROWS rows by LANE_KEYS keys at a time, with the width in the lanes:
// no lane is left without a row, whatever their number, and each value from memory serves LANE_ROWS or LANE_KEYS sums.
static inline void score_lanes(const __global float *q, const float *keys_f32, float *scores) {
    floatv sums[LANE_ROWS][LANE_KEYS];
#pragma unroll
    for (int r = 0; r < LANE_ROWS; r++)
#pragma unroll
        for (int i = 0; i < LANE_KEYS; i++) sums[r][i] = (floatv)0.0f;
    for (int d = 0; d + VECTOR_WIDTH <= ROW_WIDTH; d += VECTOR_WIDTH) {
        floatv k[LANE_KEYS];
#pragma unroll
        for (int i = 0; i < LANE_KEYS; i++) k[i] = load_floatv(keys_f32 + i * KEY_STRIDE + d);
#pragma unroll
        for (int r = 0; r < LANE_ROWS; r++) {
            floatv a = load_floatv(q + r * ROW_WIDTH + d);
#pragma unroll
            for (int i = 0; i < LANE_KEYS; i++) sums[r][i] = fma(a, k[i], sums[r][i]);
        }
    }
#pragma unroll
    for (int i = 0; i < LANE_KEYS; i++) {
        float4 total = sum_lanes(sums[0][i], sums[1][i], sums[2][i], sums[3][i]);
        for (int d = ROW_WIDTH - ROW_WIDTH % VECTOR_WIDTH; d < ROW_WIDTH; d++)
            total = fma((float4)(q[d], q[ROW_WIDTH + d], q[2 * ROW_WIDTH + d], q[3 * ROW_WIDTH + d]),
                        (float4)keys_f32[i * KEY_STRIDE + d], total);
        vstore4(total, 0, scores + i * SCORE_STRIDE);
    }
}

// Scores of all rows by the block's `count` keys (and up to KEY_STEP - 1 more, which are zero rows).
static inline void score_block(const __global float *tiles, int rows, const float *keys_f32, int count, float *scores,
                               key_fetch *fetch) {
    int paired = rows - rows % (2 * VECTOR_WIDTH);
    for (int row = 0; row < paired; row += 2 * VECTOR_WIDTH) {
        const __global float *q = tiles + row * ROW_WIDTH;
        for (int d = 0; d < ROW_WIDTH; d += SCORE_RUN) {
            int width = min(SCORE_RUN, ROW_WIDTH - d);
            for (int i = 0; i < count; i += SCORE_KEYS) {
                fetch_keys(fetch, SCORE_KEYS / 6);
                add_scores(q + d * VECTOR_WIDTH, keys_f32 + i * KEY_STRIDE + d, width, scores + i * SCORE_STRIDE + row, d == 0);
            }
        }
    }
    int lane_steps = (rows - paired + LANE_ROWS - 1) / LANE_ROWS;
    for (int i = 0; i < count; i += LANE_KEYS)
        for (int row = paired; row < rows; row += LANE_ROWS) {
            fetch_keys(fetch, (LANE_KEYS + lane_steps - 1) / lane_steps);
            score_lanes(tiles + row * ROW_WIDTH, keys_f32 + i * KEY_STRIDE, scores + i * SCORE_STRIDE + row);
        }
}

// Online softmax of one vector of rows over a block: scores become weights, `rescale` what older sums are multiplied by.
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

// Adds keys [low, high) to `rows` (1 or VALUE_ROWS, a constant of the caller) rows' value sums, over `vectors` vectors of
// columns. A block is summed apart first, which keeps the rounding error of long contexts small. rescale NULL: there are no
// sums yet.
static inline __attribute__((always_inline)) void add_values(const int rows, const int vectors, __global float *sums,
                                                      const float *keys_f32, const float *weights, int low, int high,
                                                      const float *rescale) {
    floatv o[VALUE_ROWS][VALUE_VECTORS];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < vectors; v++)
            o[r][v] = (floatv)0.0f;
    // They are read after the loop; unasked for, their way from the second-level cache shows (5 % on PoCL).
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < vectors; v++) fetch_line(sums + r * VALUE_DIM + v * VECTOR_WIDTH);
    for (int i = low; i < high; i++) {
        floatv c[VALUE_VECTORS];
#pragma unroll
        for (int v = 0; v < vectors; v++) c[v] = load_floatv(keys_f32 + i * KEY_STRIDE + v * VECTOR_WIDTH);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            floatv weight = (floatv)weights[i * SCORE_STRIDE + r];
#pragma unroll
            for (int v = 0; v < vectors; v++) o[r][v] = fma(weight, c[v], o[r][v]);
        }
    }
    if (rescale) {
#pragma unroll
        for (int r = 0; r < rows; r++) {
            floatv factor = (floatv)rescale[r];
#pragma unroll
            for (int v = 0; v < vectors; v++)
                o[r][v] = fma(load_floatv(sums + r * VALUE_DIM + v * VECTOR_WIDTH), factor, o[r][v]);
        }
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < vectors; v++) store_floatv(o[r][v], sums + r * VALUE_DIM + v * VECTOR_WIDTH);
}

// The columns that fill no vector.
static inline void add_values_tail(__global float *sums, const float *keys_f32, const float *weights, int low, int high,
                                   const float *rescale) {
    for (int column = VALUE_DIM - VALUE_DIM % VECTOR_WIDTH; column < VALUE_DIM; column++) {
        float o = 0.0f;
        for (int i = low; i < high; i++) o = fma(weights[i * SCORE_STRIDE], keys_f32[i * KEY_STRIDE + column], o);
        sums[column] = rescale ? fma(sums[column], *rescale, o) : o;
    }
}

// A row takes its own keys alone: one that is hidden from it is not even multiplied by zero, so whatever it holds stays out.
static inline __attribute__((always_inline)) void add_values_strip(const int vectors, __global float *sums, int column,
                                                            const float *keys_f32, const float *weights, const block_view *block,
                                                            const float *rescale, int rows) {
    const int *low = block->low, *high = block->high;
    int r = 0;
    while (r < rows) {
        __global float *out = sums + r * VALUE_DIM + column;
        const float *factor = rescale ? rescale + r : rescale;
        int last = r + VALUE_ROWS - 1;
        if (last < rows && low[r] == low[last] && high[r] == high[last]) {
            add_values(VALUE_ROWS, vectors, out, keys_f32 + column, weights + r, low[r], high[r], factor);
            r += VALUE_ROWS;
        } else {
            add_values(1, vectors, out, keys_f32 + column, weights + r, low[r], high[r], factor);
            r++;
        }
    }
}

static inline void add_block(__global float *sums, const float *keys_f32, const float *weights, const block_view *block,
                             const float *rescale, int rows) {
    int column = 0;
    for (; column + VALUE_VECTORS * VECTOR_WIDTH <= VALUE_DIM; column += VALUE_VECTORS * VECTOR_WIDTH)
        add_values_strip(VALUE_VECTORS, sums, column, keys_f32, weights, block, rescale, rows);
    for (; column + VECTOR_WIDTH <= VALUE_DIM; column += VECTOR_WIDTH)
        add_values_strip(1, sums, column, keys_f32, weights, block, rescale, rows);
    if (VALUE_DIM % VECTOR_WIDTH)
        for (int r = 0; r < rows; r++)
            add_values_tail(sums + r * VALUE_DIM, keys_f32, weights + r, block->low[r], block->high[r],
                            rescale ? rescale + r : rescale);
}

#ifdef HAS_FEW_ROWS
#include "common/attend_few.clh"
#endif

// Long contexts are summed in runs of blocks (common/sum_run.h): longer ones than needed, as a run's end moves all sums through the cache.
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
static inline void add_kept(__global float *to, float *to_total, const kept_runs *kept, const __global float *sums, float total, float top,
                            int r) {
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
    key_fetch fetch;
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
        for (int key = next_block(&block, &keys, &ranges, item.kv_begin, kv_end); key < kv_end;
             key = next_block(&block, &keys, &ranges, key + BLOCK_TOKENS, kv_end)) {
            int found = load_keys(keys_f32, block.present, &keys, key, block.count, &turner);
            if (!found) continue;
            fetch_begin(&fetch, &keys, key + BLOCK_TOKENS, min(key + 2 * BLOCK_TOKENS, kv_end));
            view_block(&block, &ranges, key, found, vectors * VECTOR_WIDTH);
            if (started == RUN_BLOCKS) {
                keep_run(&kept, sums, total, top, rows);
                started = 0;
            }
            score_block(tiles, rows, keys_f32, block.count, scores, &fetch);
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
