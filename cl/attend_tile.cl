// SPDX-License-Identifier: Apache-2.0
// attend_tile: absorbed attention for GPUs. A group takes up to ROW_TILE rows (heads of one or more query tokens)
// through a range of keys with an online softmax, KEY_TILE keys at a time, each of them staged in local memory once for
// all rows: 16-bit values as they are, others as f32.                                       ref: tests/ref/ref_attend.c
//
// Scores: a work-item holds SCORE_ROWS rows by 4 keys in registers and goes through one slice of the width; the slices'
// partial scores are summed in local memory. Values: a work-item keeps VALUE_ROWS rows of some columns in registers
// through all keys. Every barrier is reached by the whole group: loops that hold one depend on the work alone.
//
//   space: packed  [tile][ROW_TILE][QUERY_STRIDE] f32: queries times scale * log2(e), zeros behind; by
//          attend_queries.cl
//          sums    [part][ROW_TILE][SUM_COLUMNS] f32 of long pieces (common/sum_run.h)
//          states, state_lse, state_max: lib/plan_schedule.h
//   output, lse, max_logit: common/result.clh
// local memory: TILE_LOCAL_BYTES.   grid: global (parts * TILE_GROUP), local (TILE_GROUP)
// options: ROWS_*, SPARSE, LATENT_DIM, ROPE_DIM, VALUE_DIM (LATENT_DIM to ROW_WIDTH), and common/attend_tile.h's
// TILE_GROUP (at least ROW_TILE and KEY_TILE), ROW_TILE, KEY_TILE, SCORE_ROWS, PARTIALS; SUB_GROUP: the width asked
// for, or none
#define VECTOR_WIDTH 4
#include "common/vector.clh"
#include "common/work.clh"
#include "common/row_turn.clh"
#include "common/result.clh"
#include "common/attend_tile.h"
#include "common/sum_run.h"
#include "common/each.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM)
#error "LATENT_DIM, ROPE_DIM or VALUE_DIM is missing"
#endif
#if !defined(TILE_GROUP) || !defined(ROW_TILE) || !defined(KEY_TILE) || !defined(SCORE_ROWS) || !defined(PARTIALS)
#error "TILE_GROUP, ROW_TILE, KEY_TILE, SCORE_ROWS or PARTIALS is missing"
#endif

#define ROW_WIDTH (LATENT_DIM + ROPE_DIM)
#define ROW_QUADS TILE_SHARE(ROW_WIDTH, 4)
#define QUERY_STRIDE (ROW_QUADS * 4)
#define ALIGNED __attribute__((aligned(16)))

#if defined(ROWS_F16) || defined(ROWS_BF16)
#define RAW
typedef ushort staged_t;
#define STAGED_BYTES 2
#else
typedef float staged_t;
#define STAGED_BYTES 4
#endif
#define STAGED_RUN (16 / STAGED_BYTES) // values stored at a time
#define KEY_STRIDE TILE_KEY_STRIDE(ROW_WIDTH, STAGED_BYTES)

#define KEY_GROUPS TILE_KEY_GROUPS(KEY_TILE)
#define ROW_GROUPS TILE_ROW_GROUPS(ROW_TILE, SCORE_ROWS)
#define SLICES TILE_SLICES(TILE_GROUP, ROW_TILE, SCORE_ROWS, KEY_TILE)
#define PASSES TILE_SHARE(SLICES, PARTIALS)
#define PARTIAL_STRIDE TILE_PARTIAL_STRIDE(PARTIALS)

#define QUADS TILE_QUADS(TILE_GROUP, VALUE_DIM)
#define COLUMNS TILE_COLUMNS(TILE_GROUP, VALUE_DIM)
#define ROW_PARTS TILE_ROW_PARTS(TILE_GROUP, VALUE_DIM)
#define VALUE_ROWS TILE_VALUE_ROWS(TILE_GROUP, ROW_TILE, VALUE_DIM)
#define VALUE_QUADS TILE_SHARE(VALUE_DIM, 4)
#define WEIGHT_STRIDE TILE_WEIGHT_STRIDE(TILE_GROUP, ROW_TILE, VALUE_DIM)
#define VALUE_RUN (QUADS >= 8 ? 1 : 8 / QUADS) // rows whose block is summed at a time
#define RUN_BLOCKS SUM_RUN_BLOCKS(KEY_TILE)
#define SUM_COLUMNS SUM_RUN_COLUMNS(VALUE_DIM)

// A slice of more than 72 values is summed by fours: less rounding error for one addition more in five.
#define SUM_BY_FOURS (TILE_SHARE(ROW_QUADS, SLICES) > 18)

#define HIDDEN -1.0f // in place of the weight of a key that a row does not see

// Four staged values as f32.
#if defined(ROWS_F16)
#define staged_quad(pointer) vload_half4(0, (const __local half *)(pointer))
#elif defined(ROWS_BF16)
#define staged_quad(pointer) as_float4(convert_uint4(*(const __local ushort4 *)(pointer)) << 16)
#else
#define staged_quad(pointer) (*(const __local float4 *)(pointer))
#endif

// What the group shares.
typedef struct tile_memory {
    __local staged_t *staged;  // [KEY_TILE][KEY_STRIDE]
    __local row_parts *places; // [KEY_TILE]
    __local int *there;        // [KEY_TILE]
    // [ROW_TILE][KEY_GROUPS][PARTIAL_STRIDE][4]; then the scores, in place of the first
    __local float *partials;
    __local float *weights;   // [KEY_TILE][WEIGHT_STRIDE]
    __local float *rescale;   // [WEIGHT_STRIDE]: what older sums are multiplied by
    __local float *top;       // [2][ROW_TILE]: largest scores before and after a block, by turns
    __local int *part;        // the group's
    __local int *first, *end; // [ROW_TILE]: the keys each row sees
} tile_memory;

// Where keys [key, key + KEY_TILE) lie, of which `count` are to be read.
static inline void place_keys(const tile_memory *m, const key_source *keys, int key, int count, int t) {
    if (t >= KEY_TILE) return;
    row_parts at;
    int there = t < count && key_at(&at, keys, key + t);
    m->there[t] = there;
    if (there) m->places[t] = at;
}

// Stages the keys that were placed; those that are not there become zero rows.
#if LATENT_DIM % STAGED_RUN == 0 && ROPE_DIM % STAGED_RUN == 0

#define ROW_RUNS (ROW_WIDTH / STAGED_RUN)
#define LATENT_RUNS (LATENT_DIM / STAGED_RUN)

#ifdef RAW
static inline uint4 stage_run(const __local row_parts *at, int run) {
    const __global uchar *from = run < LATENT_RUNS ? at->latent + run * 16 : at->rope + (run - LATENT_RUNS) * 16;
    if (((size_t)from & 15) == 0) return *(const __global uint4 *)from;
    return as_uint4(vload8(0, (const __global ushort *)from));
}
#else
// Rows whose positions have shifted are rare: each value then finds its own angle.
static inline float4 stage_rope(const row_parts *at, int d) {
#ifdef ROW_TURNS
    if (at->delta != 0)
        return (float4)(row_turned(at, d), row_turned(at, d + 1), row_turned(at, d + 2), row_turned(at, d + 3));
#endif
    return row_rope_vector(at, d);
}

static inline uint4 stage_run(const __local row_parts *place, int run) {
    row_parts at = *place;
#if ROPE_DIM > 0
    if (run >= LATENT_RUNS) return as_uint4(stage_rope(&at, (run - LATENT_RUNS) * 4));
#endif
    return as_uint4(row_latent_vector(&at, run * 4));
}
#endif

static inline void stage_keys(const tile_memory *m, int t) {
#pragma unroll 2
    for (int i = t; i < KEY_TILE * ROW_RUNS; i += TILE_GROUP) {
        int key = i / ROW_RUNS, run = i % ROW_RUNS;
        uint4 values = (uint4)0;
        if (m->there[key]) values = stage_run(m->places + key, run);
        *(__local uint4 *)(m->staged + key * KEY_STRIDE + run * STAGED_RUN) = values;
    }
}

#else

static inline staged_t stage_value(const __local row_parts *place, int d) {
    row_parts at = *place;
#ifdef RAW
    return ((const __global ushort *)(d < LATENT_DIM ? at.latent : at.rope))[d < LATENT_DIM ? d : d - LATENT_DIM];
#else
    return d < LATENT_DIM ? row_latent(&at, d) : row_turned(&at, d - LATENT_DIM);
#endif
}

static inline void stage_keys(const tile_memory *m, int t) {
    for (int i = t; i < KEY_TILE * ROW_WIDTH; i += TILE_GROUP) {
        int key = i / ROW_WIDTH, d = i % ROW_WIDTH;
        m->staged[key * KEY_STRIDE + d] = m->there[key] ? stage_value(m->places + key, d) : (staged_t)0;
    }
}

#endif

// What lies behind the staged rows is read with them.
static inline void clear_padding(const tile_memory *m, int t) {
#if ROW_WIDTH % STAGED_RUN != 0
    for (int i = t; i < KEY_TILE * (KEY_STRIDE - ROW_WIDTH); i += TILE_GROUP)
        m->staged[i / (KEY_STRIDE - ROW_WIDTH) * KEY_STRIDE + ROW_WIDTH + i % (KEY_STRIDE - ROW_WIDTH)] = (staged_t)0;
#endif
}

static inline float add_product(float sum, float4 a, float4 b) {
    float first = SUM_BY_FOURS ? a.w * b.w : fma(a.w, b.w, sum);
    float product = fma(a.x, b.x, fma(a.y, b.y, fma(a.z, b.z, first)));
    return SUM_BY_FOURS ? sum + product : product;
}

// Partial scores of all rows by the staged keys.
static inline void score_keys(const tile_memory *m, const __global float *queries, int rows, int t) {
    int slice = t % SLICES, key_group = t / SLICES % KEY_GROUPS, row_group = t / (SLICES * KEY_GROUPS);
    int busy = row_group < ROW_GROUPS && row_group * SCORE_ROWS < rows;
    float4 sums[8]; // of SCORE_ROWS rows by 4 keys
#define CLEAR(r) sums[r] = (float4)0.0f;
    EACH_8(CLEAR)
#undef CLEAR
    if (busy) {
        const __local staged_t *keys = m->staged + key_group * TILE_KEYS * KEY_STRIDE;
        const __global float *q = queries + row_group * SCORE_ROWS * QUERY_STRIDE;
        for (int quad = slice; quad < ROW_QUADS; quad += SLICES) {
            float4 k0 = staged_quad(keys + quad * 4), k1 = staged_quad(keys + KEY_STRIDE + quad * 4);
            float4 k2 = staged_quad(keys + 2 * KEY_STRIDE + quad * 4),
                   k3 = staged_quad(keys + 3 * KEY_STRIDE + quad * 4);
#define SCORE_ROW(r)                                                                                                   \
    if (r < SCORE_ROWS) {                                                                                              \
        float4 a = *(const __global float4 *)(q + r * QUERY_STRIDE + quad * 4);                                        \
        sums[r].x = add_product(sums[r].x, a, k0);                                                                     \
        sums[r].y = add_product(sums[r].y, a, k1);                                                                     \
        sums[r].z = add_product(sums[r].z, a, k2);                                                                     \
        sums[r].w = add_product(sums[r].w, a, k3);                                                                     \
    }
            EACH_8(SCORE_ROW)
#undef SCORE_ROW
        }
    }
    // With fewer partials than slices, slices add to those of the slices before them.
    for (int pass = 0; pass < PASSES; pass++) {
        if (pass > 0) barrier(CLK_LOCAL_MEM_FENCE);
        if (!busy || slice / PARTIALS != pass) continue;
        __local float4 *out = (__local float4 *)m->partials + slice % PARTIALS +
                              (row_group * SCORE_ROWS * KEY_GROUPS + key_group) * PARTIAL_STRIDE;
#define STORE_ROW(r)                                                                                                   \
    if (r < SCORE_ROWS)                                                                                                \
        out[r * KEY_GROUPS * PARTIAL_STRIDE] = pass > 0 ? out[r * KEY_GROUPS * PARTIAL_STRIDE] + sums[r] : sums[r];
        EACH_8(STORE_ROW)
#undef STORE_ROW
    }
}

// Where the scores of a row by four keys are, in units of log2(e).
static inline __local float *scores_at(const tile_memory *m, int row, int key_group) {
    return m->partials + (row * KEY_GROUPS + key_group) * PARTIAL_STRIDE * 4;
}

static inline int row_sees(const tile_memory *m, int row, int key, int index) {
    return m->there[index] && key + index >= m->first[row] && key + index < m->end[row];
}

// Sums the partial scores.
static inline void finish_scores(const tile_memory *m, int key, int rows, float softcap, int t) {
    for (int i = t; i < ROW_TILE * KEY_TILE; i += TILE_GROUP) {
        int row = i / KEY_TILE, index = i % KEY_TILE;
        if (row >= rows) continue;
        __local float *partial = scores_at(m, row, index / 4) + index % 4;
        float s = partial[0];
#pragma unroll
        for (int p = 1; p < PARTIALS; p++) s += partial[p * 4];
        if (softcap != 0.0f) s = tanh(s * (LN_2 / softcap)) * (softcap * LOG2_E);
        partial[0] = row_sees(m, row, key, index) ? s : -INFINITY;
    }
}

// What a row's sums of the runs before are to be multiplied by, in the padding behind its first scores.
static inline __local float *kept_factor(const tile_memory *m, int row) {
    return scores_at(m, row, 0) + PARTIALS * 4;
}

// Online softmax: scores become weights. begins: a run of blocks does.
static inline void soften(const tile_memory *m, int key, int rows, int turn, int begins, int t) {
    const __local float *before = m->top + turn * ROW_TILE;
    __local float *after = m->top + (turn ^ 1) * ROW_TILE;
    for (int i = t; i < ROW_TILE * KEY_TILE; i += TILE_GROUP) {
        int row = i / KEY_TILE, index = i % KEY_TILE;
        if (row >= rows) continue;
        float4 largest = *(const __local float4 *)scores_at(m, row, 0);
#pragma unroll
        for (int j = 1; j < KEY_GROUPS; j++) largest = fmax(largest, *(const __local float4 *)scores_at(m, row, j));
        float old = before[row], now = fmax(fmax(fmax(largest.x, largest.y), fmax(largest.z, largest.w)), old);
        // A row that has seen no key yet: every difference below must be -inf, not NaN.
        float base = now == -INFINITY ? 0.0f : now;
        float weight = exp2(scores_at(m, row, index / 4)[index % 4] - base);
        m->weights[index * WEIGHT_STRIDE + row] = row_sees(m, row, key, index) ? weight : HIDDEN;
        if (index > 0) continue;
        after[row] = now;
        float rescale = exp2(old - base);
        m->rescale[row] = rescale;
        *kept_factor(m, row) = begins ? rescale : *kept_factor(m, row) * rescale;
    }
}

// The weights' total of one row.
static inline float add_weights(const tile_memory *m, float total, int row) {
    float sum = 0.0f;
    for (int index = 0; index < KEY_TILE; index++) {
        float weight = m->weights[index * WEIGHT_STRIDE + row];
        sum += weight < 0.0f ? 0.0f : weight;
    }
    return fma(total, m->rescale[row], sum);
}

// Weights of four rows from `weights` on.
#if TILE_VALUE_ROWS(TILE_GROUP, ROW_TILE, VALUE_DIM) % 4 == 0
#define load_weights(weights) (*(const __local float4 *)(weights))
#else
#define load_weights(weights) vload4(0, weights)
#endif

// Of four rows' numbers, one.
static inline float row_of(const float4 *fours, int row) {
    float4 four = fours[row / 4];
    return row % 4 == 0 ? four.x : row % 4 == 1 ? four.y : row % 4 == 2 ? four.z : four.w;
}

// A work-item's place in the value product.
typedef struct value_place {
    int busy, row; // first of VALUE_ROWS
    int column;    // of the first quad, counted in quads; the others follow COLUMNS apart
} value_place;

static inline void place_values(value_place *at, int t) {
    at->busy = t < COLUMNS * ROW_PARTS;
    at->row = t / COLUMNS * VALUE_ROWS;
    at->column = t % COLUMNS;
}

// Adds the staged keys to the sums of `count` rows (a constant of the caller) from `row` on. A block is summed apart
// first, which keeps the rounding error of long contexts small. masked: some row does not see some key, which then is
// not even multiplied by zero, so whatever it holds stays out.
static inline __attribute__((always_inline)) void add_values(float4 *sums, const tile_memory *m, int row,
                                                             const int count, int column, const int masked) {
    float4 block[16];
#define CLEAR(i) block[i] = (float4)0.0f;
    EACH_16(CLEAR)
#undef CLEAR
#pragma unroll 2
    for (int index = 0; index < KEY_TILE; index++) {
        const __local staged_t *key = m->staged + index * KEY_STRIDE;
        const __local float *weights = m->weights + index * WEIGHT_STRIDE + row;
        float4 c[16], w[4];
        // Past the last column, the last again.
#define LOAD_COLUMN(v)                                                                                                 \
    if (v < QUADS) c[v] = staged_quad(key + min(column + v * COLUMNS, VALUE_QUADS - 1) * 4);
        EACH_16(LOAD_COLUMN)
#undef LOAD_COLUMN
        w[0] = load_weights(weights);
        if (count > 4) w[1] = load_weights(weights + 4);
#define ADD(i)                                                                                                         \
    if (i < count * QUADS && (!masked || !(row_of(w, i / QUADS) < 0.0f)))                                              \
        block[i] = fma((float4)row_of(w, i / QUADS), c[i % QUADS], block[i]);
        EACH_16(ADD)
#undef ADD
    }
    float4 rescale[2];
    rescale[0] = load_weights(m->rescale + row);
    if (count > 4) rescale[1] = load_weights(m->rescale + row + 4);
#define RESCALE(i)                                                                                                     \
    if (i < count * QUADS) sums[i] = fma(sums[i], (float4)row_of(rescale, i / QUADS), block[i]);
    EACH_16(RESCALE)
#undef RESCALE
}

static inline __attribute__((always_inline)) void add_block(float4 *sums, const tile_memory *m, const value_place *at,
                                                            int rows, const int masked) {
#define ADD_RUN(i)                                                                                                     \
    if (i * VALUE_RUN < VALUE_ROWS && at->row + i * VALUE_RUN < rows)                                                  \
        add_values(sums + i * VALUE_RUN * QUADS, m, at->row + i * VALUE_RUN,                                           \
                   VALUE_ROWS - i * VALUE_RUN < VALUE_RUN ? VALUE_ROWS - i * VALUE_RUN : VALUE_RUN, at->column,        \
                   masked);
    if (at->busy) {
        EACH_16(ADD_RUN)
    }
#undef ADD_RUN
}

// The work-item's share of the part's kept sums. Volatile, both: sums are read one after the other, and where they are
// is found anew each time. Otherwise compilers keep all of it in registers, the addresses through all keys.
static inline volatile __global float *kept_sums(__global float *space, const attend_call *call, const tile_memory *m,
                                                 const value_place *at) {
    int part = *(volatile __local int *)m->part;
    return space + call->sums + ((long)part * ROW_TILE + at->row) * SUM_COLUMNS + at->column * 4;
}
#define KEPT_AT(kept, i) ((volatile __global float4 *)((kept) + i / QUADS * SUM_COLUMNS + i % QUADS * COLUMNS * 4))

// Keeps a run's sums with those before, for the next to begin with nothing. first: there are none.
static inline __attribute__((always_inline)) void keep_sums(volatile __global float *kept, float4 *sums,
                                                            const tile_memory *m, const value_place *at, int rows,
                                                            int first) {
#define KEEP(i)                                                                                                        \
    if (i < VALUE_ROWS * QUADS && at->row + i / QUADS < rows && at->column + i % QUADS * COLUMNS < VALUE_QUADS)        \
        *KEPT_AT(kept, i) =                                                                                            \
            first ? sums[i] : fma(*KEPT_AT(kept, i), (float4)*kept_factor(m, at->row + i / QUADS), sums[i]);           \
    sums[i] = (float4)0.0f;
    if (at->busy) {
        EACH_16(KEEP)
    }
#undef KEEP
}

// Finishes one row: its numbers are written, and what its sums are to be multiplied by is left in m->rescale; 0 when
// the row is empty, which HIDDEN tells.
static inline void finish_row(const tile_memory *m, __global float *space, RESULT_ARGUMENTS, const attend_call *call,
                              const work_item *item, float total, float top, int r) {
    int seen = total != 0.0f; // a NaN counts: it must show
    float row_lse = seen ? (top + log2(total)) * LN_2 : -INFINITY, factor = 1.0f / total;
    if (item->state_first >= 0) {
        space[call->state_lse + item->state_first + r] = row_lse;
        space[call->state_max + item->state_first + r] = top * LN_2;
    } else {
        int row = item->row_begin + r, head = work_head(call, item, row);
        factor = result_factor(sink, call, head, factor, row_lse);
        result_numbers(lse, max_logit, call, work_token(call, item, row), head, row_lse, top * LN_2);
    }
    m->rescale[r] = seen ? factor : HIDDEN;
}

static inline void write_values(__global uchar *output, int type, long index, float4 values, int count) {
    number_store(output, type, index, values.x);
    if (count > 1) number_store(output, type, index + 1, values.y);
    if (count > 2) number_store(output, type, index + 2, values.z);
    if (count > 3) number_store(output, type, index + 3, values.w);
}

// Four columns of a row of the states, or of the output. kept: of the runs before, or NULL.
static inline void write_sums(const tile_memory *m, __global float *space, __global uchar *output,
                              const attend_call *call, const work_item *item, int r, int quad, float4 sums,
                              const volatile __global float4 *kept) {
    if (r >= item->row_count || quad >= VALUE_QUADS) return;
    if (kept) sums = fma(*kept, (float4)*kept_factor(m, r), sums);
    float factor = m->rescale[r];
    float4 values = factor == HIDDEN ? (float4)0.0f : sums * factor;
    int row = item->row_begin + r, count = min(4, VALUE_DIM - quad * 4);
    if (item->state_first >= 0)
        write_values((__global uchar *)space, NUMBER_F32,
                     call->states + (long)(item->state_first + r) * VALUE_DIM + quad * 4, values, count);
    else if (output)
        write_values(output + call->output, call->output_type,
                     work_token(call, item, row) * call->output_token + work_head(call, item, row) * call->output_head +
                         quad * 4,
                     values, count);
}

#ifdef SUB_GROUP
#define SUB_GROUP_WIDTH __attribute__((intel_reqd_sub_group_size(SUB_GROUP)))
#else
#define SUB_GROUP_WIDTH
#endif

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(TILE_GROUP, 1, 1))) void attend_tile(ATTEND_ARGUMENTS) {
    __local staged_t staged[KEY_TILE * KEY_STRIDE] ALIGNED;
    __local float partials[ROW_TILE * KEY_GROUPS * PARTIAL_STRIDE * 4] ALIGNED;
    __local float weights[KEY_TILE * WEIGHT_STRIDE] ALIGNED;
    __local float rescale[WEIGHT_STRIDE] ALIGNED;
    __local float top[2 * ROW_TILE] ALIGNED;
    __local int first[ROW_TILE], end[ROW_TILE], there[KEY_TILE], own_part;
    __local row_parts places[KEY_TILE];
    tile_memory m = {staged, places, there, partials, weights, rescale, top, &own_part, first, end};

    int part = get_group_id(0), t = get_local_id(0);
    value_place values_at;
    if (part >= step[call.header + HEADER_PARTS]) return;
    place_values(&values_at, t);
    clear_padding(&m, t);
    if (t == 0) own_part = part;
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item;
        work_item_fill(&item, step + call.works, w);
        KEY_SOURCE(keys, item);
        int rows = item.row_count, turn = 0, block = 0;
        float total = 0.0f, kept_total = 0.0f; // of row t; of the runs before
        float4 sums[16];                       // of VALUE_ROWS rows by QUADS
#define CLEAR(i) sums[i] = (float4)0.0f;
        EACH_16(CLEAR)
#undef CLEAR
        if (t < rows) {
            key_range range = work_visible(&call, &item, item.row_begin + t);
            first[t] = range.first;
            end[t] = range.end;
            top[t] = -INFINITY;
        }
        // Neither end falls from row to row.
        key_range least = work_visible(&call, &item, item.row_begin);
        key_range most = work_visible(&call, &item, item.row_begin + rows - 1);
        const __global float *queries = space + call.packed + (long)item.tile_first * ROW_TILE * QUERY_STRIDE;
        int kv_end = min(item.kv_end, most.end), key = max(item.kv_begin, least.first);
        key += key_gap(&keys, key);
        place_keys(&m, &keys, key, kv_end - key, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        while (key < kv_end) {
            int masked = key < most.first || min(key + KEY_TILE, kv_end) > least.end;
            if (block > 0 && block % RUN_BLOCKS == 0) {
                keep_sums(kept_sums(space, &call, &m, &values_at), sums, &m, &values_at, rows, block == RUN_BLOCKS);
                if (t < rows) kept_total = fma(kept_total, *kept_factor(&m, t), total);
                total = 0.0f;
            }
            stage_keys(&m, t);
            barrier(CLK_LOCAL_MEM_FENCE);
            score_keys(&m, queries, rows, t);
            barrier(CLK_LOCAL_MEM_FENCE);
            finish_scores(&m, key, rows, call.softcap, t);
            barrier(CLK_LOCAL_MEM_FENCE);
            soften(&m, key, rows, turn, block % RUN_BLOCKS == 0, t);
            barrier(CLK_LOCAL_MEM_FENCE);
            turn ^= 1;
            key += KEY_TILE;
            key += key_gap(&keys, key);
            place_keys(&m, &keys, key, kv_end - key, t);
            if (t < rows) total = add_weights(&m, total, t);
            if (masked)
                add_block(sums, &m, &values_at, rows, 1);
            else
                add_block(sums, &m, &values_at, rows, 0);
            block++;
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (t < rows && block > RUN_BLOCKS) total = fma(kept_total, *kept_factor(&m, t), total);
        if (t < rows) finish_row(&m, space, RESULT_PASS, &call, &item, total, top[turn * ROW_TILE + t], t);
        barrier(CLK_LOCAL_MEM_FENCE);
#define WRITE(i)                                                                                                       \
    if (i < VALUE_ROWS * QUADS)                                                                                        \
        write_sums(&m, space, output, &call, &item, values_at.row + i / QUADS, values_at.column + i % QUADS * COLUMNS, \
                   sums[i], block > RUN_BLOCKS ? KEPT_AT(runs, i) : 0);
        if (values_at.busy) {
            const volatile __global float *runs = kept_sums(space, &call, &m, &values_at);
            EACH_16(WRITE)
        }
#undef WRITE
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
