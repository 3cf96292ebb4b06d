// SPDX-License-Identifier: Apache-2.0
// attend_matrix_ring: absorbed attention by mma.sync of NVIDIA's GPUs from sm_80 on, whose rows come into a ring of
// blocks in local memory by cp.async while the units multiply. In fast compute queries and weights are rounded to the
// rows' own 16-bit format, sums are f32. A group of 8 waves takes 32 rows (heads of one or more query tokens) through a
// range of keys with an online softmax, KEY_TILE keys at a time.
//                                                                                           ref: tests/ref/ref_attend.c
//
// In exact compute a query or a weight is the sum of two f16 values (common/parts.clh), and the 32 rows of a product
// are those of 16 rows of work: rows r and r + 8 of a tile of 16 are the parts of one, so that a work-item adds them up
// by itself. Sums of products are cut off, not rounded: chains are short (a share of the width, a block of keys), and
// are added as f32 numbers are.
//
// Scores: a wave has all rows, half of the block's keys and a quarter of the width (every fourth chunk of 16 columns),
// and keeps its share of the queries in registers through all keys. The four shares of a score are summed by way of
// local memory, each wave summing a quarter of them. Values: a wave has all rows and an eighth of the columns, whose
// sums stay in registers through all keys; weights come by way of
// local memory, where the partial scores were.
//
// Why this tile. A product (m16n8k16: 2048 multiply-adds) takes a multiprocessor 2 cycles on sm_80, and on sm_86, sm_89
// and sm_120 4 to 8, of which 128 bytes a cycle come from local memory: 256 bytes a product on sm_80, 512 to 1024 on
// the others. Of a block of k keys, rows of 512 + 64, in bytes a product as it takes them out of local memory:
//   scores  32 rows by k/2 keys: 9 k products, keys alone, each read for 2 tiles of rows                            128
//   values  32 rows by 64 columns: 8 k products, weights for 8 tiles of columns, values for 2 of rows               192
//   and once a block 1152 k bytes staged, 384 k bytes written and as many read of partial scores, 64 k of weights
// that is 4672 k bytes, 36.5 k cycles, beside 34 k cycles of products on sm_80 (68 k to 136 k on the others).
// Instructions are no bound: ptxas 13.0 makes 221 of a wave's block of 16 keys for sm_80, 34 of them products (15 in
// 100), and 313 of one of 32 keys, 68 of them products (22 in 100), which four schedulers issue in 442 and 626 cycles,
// beside 544 and 1088 of products. All overlap but for the softmax, an estimated 350 cycles a block between barriers in
// which the units have nothing. Predicted shares of the units' peak, not measured:
//   sm_80: 34 k / (36.5 k + 350)           16 keys 0.58, 32 keys 0.72 (not taken of 512 columns: they spilled)
//   of 4 cycles: 68 k / (68 k + 350)               0.76,         0.86       of 8 cycles:  0.86, 0.93
// Reading of rows: 1152 k bytes in that time are 20 to 24 bytes a cycle for each multiprocessor of sm_80, whose
// second-level cache gives 47. 64 rows would halve them, but their queries do not fit the registers beside the sums:
// out of local memory, scores take 384 bytes a product, so that on sm_80 they come out the same, and 72 KiB of queries
// and a ring are more than OpenCL tells of. Registers: 64 of sums, 72 of queries, 8 or 16 of scores; all else is found
// anew or kept in local memory.
//
//   space: packed  [tile][2][CHUNKS][256] 16-bit queries times scale * log2(e), in the order of ring_query_load; in
//                  exact compute times 2^-e of each row, and behind each tile [ROW_TILE] f32 2^e; by attend_pack_ring
//                  and attend_pack_ring_parts
//          sums    [part][ROW_TILE][SUM_COLUMNS] f32 of long pieces in exact compute (common/sum_run.h)
//          states, state_lse, state_max: lib/plan_schedule.h
//   output, lse, max_logit: common/result.clh
// local memory: RING_LOCAL_BYTES (common/attend_matrix_ring.h).   grid: global (parts * 256), local (256)
// options: MATRIX_NVIDIA or MATRIX_PORTABLE, ROWS_F16 or ROWS_BF16, EXACT (of f16 alone), SPARSE, LATENT_DIM =
// VALUE_DIM (128, 256, 384 or 512), ROPE_DIM (their sum a multiple of 64), KEY_TILE (16 or 32), STAGES (2 to 4)
#include "common/work.clh"
#include "common/result.clh"
#include "common/attend_matrix_ring.h"
#include "common/sum_run.h"
#include "common/matrix.clh"
#include "common/ring.clh"
#include "common/parts.clh"
#include "common/query.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM)
#error "LATENT_DIM, ROPE_DIM or VALUE_DIM is missing"
#endif
#if !defined(KEY_TILE) || !defined(STAGES)
#error "KEY_TILE or STAGES is missing"
#endif
#if PARTS > 2
#error "a product's rows are two parts of a row's queries at most"
#endif
#if (LATENT_DIM + ROPE_DIM) % 64 != 0 || VALUE_DIM % 128 != 0 || VALUE_DIM > 512 || LATENT_DIM % 8 != 0
#error "widths that waves cannot share"
#endif
#include "common/ring_keys.clh"

#define ROW_WIDTH (LATENT_DIM + ROPE_DIM)
#define CHUNKS (ROW_WIDTH / 16)
#define OWN_CHUNKS (CHUNKS / RING_SHARES)
#define ROW_TILE (RING_ROWS / PARTS)
#define TILE_VALUES (RING_ROWS * ROW_WIDTH)
#define PACKED_VALUES (TILE_VALUES + (PARTS > 1 ? ROW_TILE * 2 : 0)) // of a packed tile, with what is behind it
#define RUN_KEYS (KEY_TILE / RING_KEY_RUNS)
#define KEY_COLUMNS (RUN_KEYS / 8) // of products of scores
#define WEIGHT_RUNS (KEY_TILE / 8)
#define WAVE_COLUMNS (VALUE_DIM / RING_WAVES)
#define RUN_BLOCKS SUM_RUN_BLOCKS(KEY_TILE)
#define SUM_COLUMNS SUM_RUN_COLUMNS(VALUE_DIM)
#define BASE_LAG 8.0f
#define ALIGNED __attribute__((aligned(128)))
#define ALWAYS_INLINE __attribute__((always_inline))

// A work-item sums KEPT scores, all of one row: number i is of key kept_key(i) of its wave's run.
#ifdef EXACT
#define KEPT KEY_COLUMNS
#define HOLDERS 4 // waves that hold a row's scores
#define ROWS_OF_LANE 2
#define WEIGHT_SCALE (PARTS_LARGEST / 256.0f) // weights are up to 2^BASE_LAG
#define kept_row(share, lane) ((share) / 2 * 8 + (lane) / 4)
#define kept_key(i, share, lane) ((i)*8 + (lane) % 4 * 2 + (share) % 2)
#define kept_holder(share, key_run) ((key_run)*2 + (share) % 2)
#else
#define KEPT (KEY_COLUMNS * 2)
#define HOLDERS 2
#define ROWS_OF_LANE 4
#define WEIGHT_SCALE 1.0f
#define kept_row(share, lane) ((share)*8 + (lane) / 4)
#define kept_key(i, share, lane) ((i) / 2 * 8 + (lane) % 4 * 2 + (i) % 2)
#define kept_holder(share, key_run) (key_run)
#endif
#define ROW_SHARES (HOLDERS * RING_QUAD)

// What the group knows of a work. It is kept in local memory and read anew for each block: registers are for sums and
// queries.
typedef struct ring_work {
    int number; // among the step's works
    work_item item;
    key_source keys;
    int kv_end;     // of keys that some row sees
    int first, end; // rows see keys from here to here, all of them: neither end falls from row to row
} ring_work;

// What the group shares.
typedef struct ring_memory {
    __local ring_work *work;
    __local ushort *blocks;  // [STAGES][KEY_TILE][RUNS] runs as ring_at has them
    __local float *exchange; // [RING_KEY_RUNS][to RING_SHARES][from RING_SHARES - 1][KEPT][32]: partial scores
    // in their place: [32 rows of a product][WEIGHT_RUNS] runs as ring_at has them, times WEIGHT_SCALE
    __local ushort *weights;
    __local float *shares;    // [ROW_TILE][ROW_SHARES]: what those that hold a row's scores found
    __local int *first, *end; // [ROW_TILE]: the keys each row sees; none past the work's rows
    __local int *facts;       // [RING_FACT_SLOTS][KEY_TILE]: KEY_*, of as many blocks, by turns
    // [RING_FACT_SLOTS]: some keys of a block are not there, not in whole runs of 16 bytes, or hidden from some rows
    __local int *slow;
    __local ring_place *places; // [KEY_TILE]: where the keys of the block lie that is staged next
    // [KEY_TILE]: what was read to find a key, and where its block begins; of the work-item that finds it alone
    __local int4 *finding;
    // [ROW_TILE]: what older sums are multiplied by; at the end bases, then what the finished sums are
    __local float *rescale;
    __local float *tops;   // [ROW_TILE]: largest scores, when they are known
    __local long *rows;    // [ROW_TILE]: where a finished row begins in the states or the output, in values
    __local float *scales; // [ROW_TILE]: what the scores of a row are multiplied by; exact compute alone
} ring_memory;

// Which part of the work is the work-item's.
typedef struct ring_lane {
    uint t, lane, wave, share, key_run;
} ring_lane;

static inline ring_lane lane_of(uint t) {
    ring_lane l;
    l.t = ring_anew(t);
    l.lane = l.t % 32;
    l.wave = ring_uniform(l.t / 32);
    l.share = l.wave % RING_SHARES;
    l.key_run = l.wave / RING_SHARES;
    return l;
}

static inline ALWAYS_INLINE void load_queries(ring_query held[2 * OWN_CHUNKS], const __global ushort *packed,
                                              const ring_lane *l) {
    RING_UNROLL
    for (int i = 0; i < OWN_CHUNKS; i++) RING_UNROLL
    for (int tile = 0; tile < 2; tile++)
        ring_query_load(&held[2 * i + tile], packed + (tile * CHUNKS + i * RING_SHARES + l->share) * 256, l->lane);
}

// Partial scores of all rows by the wave's keys, of its share of the width.
static inline ALWAYS_INLINE void score_keys(float4 c[2][KEY_COLUMNS], const ring_query held[2 * OWN_CHUNKS],
                                            const __local ushort *block, const ring_lane *l) {
    ring_view keys = ring_columns(block, RUNS, l->key_run * RUN_KEYS, l->share * 2, l->lane);
    RING_UNROLL
    for (int n = 0; n < KEY_COLUMNS; n++) c[0][n] = c[1][n] = (float4)0.0f;
    RING_UNROLL
    for (int i = 0; i < OWN_CHUNKS; i++) {
        ring_b b;
#if KEY_TILE == 16
        ring_load_b_turned_8(&b, ring_step(keys, RUNS, 0, i * 2 * RING_SHARES), l->lane);
#else
        ring_load_b_turned(&b, ring_step(keys, RUNS, 0, i * 2 * RING_SHARES), l->lane);
#endif
        RING_UNROLL
        for (int n = 0; n < KEY_COLUMNS; n++) {
            ring_multiply_query(&c[0][n], &held[2 * i], &b, n);
            ring_multiply_query(&c[1][n], &held[2 * i + 1], &b, n);
        }
    }
}

// Number i of the partial scores that share `to` sums.
static inline ALWAYS_INLINE float partial_score(float4 c[2][KEY_COLUMNS], int to, int i) {
#ifdef EXACT
    float4 of = c[to / 2][i];
    return to % 2 ? of.y + of.w : of.x + of.z;
#else
    float4 of = c[to / 2][i / 2];
    return to % 2 ? (i % 2 ? of.w : of.z) : (i % 2 ? of.y : of.x);
#endif
}

static inline __local float *exchange_at(const ring_memory *m, const ring_lane *l, uint to, uint from) {
    return m->exchange + ((l->key_run * RING_SHARES + to) * (RING_SHARES - 1) + from) * KEPT * 32 + l->lane;
}

// Keeps the wave's own part of s and gives the others theirs.
static inline ALWAYS_INLINE void give_scores(float s[KEPT], float4 c[2][KEY_COLUMNS], const ring_memory *m,
                                             const ring_lane *l) {
    RING_UNROLL
    for (int to = 0; to < RING_SHARES; to++) {
        __local float *at = exchange_at(m, l, to, l->share < (uint)to ? l->share : l->share - 1);
        if (l->share == (uint)to) {
            RING_UNROLL
            for (int i = 0; i < KEPT; i++) s[i] = partial_score(c, to, i);
        } else {
            RING_UNROLL
            for (int i = 0; i < KEPT; i++) at[i * 32] = partial_score(c, to, i);
        }
    }
}

static inline ALWAYS_INLINE void take_scores(float s[KEPT], const ring_memory *m, const ring_lane *l) {
    RING_UNROLL
    for (int from = 0; from < RING_SHARES - 1; from++) {
        const __local float *at = exchange_at(m, l, l->share, from);
        RING_UNROLL
        for (int i = 0; i < KEPT; i++) s[i] += at[i * 32];
    }
#ifdef EXACT
    float scale = m->scales[kept_row(l->share, l->lane)];
    RING_UNROLL
    for (int i = 0; i < KEPT; i++) s[i] *= scale;
#endif
}

static inline ALWAYS_INLINE void mask_scores(float s[KEPT], const ring_memory *m, int key, float softcap, int masked,
                                             const __local int *facts, const ring_lane *l) {
    if (softcap != 0.0f) {
        float by = LN_2 * ring_reciprocal(softcap);
        RING_UNROLL
        for (int i = 0; i < KEPT; i++) s[i] = ring_tanh(s[i] * by) * (softcap * LOG2_E);
    }
    if (!masked) return;
    int row = kept_row(l->share, l->lane), first = m->first[row], end = m->end[row];
    RING_UNROLL
    for (int i = 0; i < KEPT; i++) {
        int index = l->key_run * RUN_KEYS + kept_key(i, l->share, l->lane), seen = facts[index];
        if (key + index < first || key + index >= end) seen = 0;
        s[i] = !seen ? -INFINITY : seen & KEY_ODD ? NAN : s[i];
    }
}

// Of the work-item's row a number of each that holds scores of it.
static inline void share_number(const ring_memory *m, float x, const ring_lane *l) {
    uint holder = kept_holder(l->share, l->key_run) * RING_QUAD + l->lane % RING_QUAD;
    m->shares[kept_row(l->share, l->lane) * ROW_SHARES + holder] = x;
}

static inline float largest_share(const ring_memory *m, uint row) {
    float largest = m->shares[row * ROW_SHARES];
    RING_UNROLL
    for (int i = 1; i < ROW_SHARES; i++) largest = fmax(largest, m->shares[row * ROW_SHARES + i]);
    return largest;
}

static inline float sum_of_shares(const ring_memory *m, uint row) {
    float sum = m->shares[row * ROW_SHARES];
    for (int i = 1; i < ROW_SHARES; i++) sum += m->shares[row * ROW_SHARES + i];
    return sum;
}

static inline ALWAYS_INLINE void share_top(const float s[KEPT], const ring_memory *m, const ring_lane *l) {
    float top = s[0];
    RING_UNROLL
    for (int i = 1; i < KEPT; i++) top = fmax(top, s[i]);
    share_number(m, ring_most(top), l);
}

// What a work-item knows of the row whose scores it holds. Weights are powers of two from `base`, which follows the
// largest score, `top`, only when that has left it behind by BASE_LAG: until then they are larger than 1, and older
// sums need no factor.
typedef struct ring_row {
    float top, base, total; // base: -inf while the row has seen no key; total: of the weights the work-item made
} ring_row;

// Answers what weights are powers from: every difference to it is -inf, not NaN, while the row has seen no key.
static inline ALWAYS_INLINE float raise_base(ring_row *row, const ring_memory *m, const ring_lane *l) {
    uint r = kept_row(l->share, l->lane);
    float rescale = 1.0f;
    row->top = fmax(row->top, largest_share(m, r));
    if (!(row->top <= row->base + BASE_LAG)) { // a NaN too
        rescale = ring_exp2(row->base - row->top);
        row->base = row->top;
        row->total *= rescale;
    }
    if (l->key_run == 0 && kept_holder(l->share, 0) == 0 && l->lane % 4 == 0) m->rescale[r] = rescale;
    return row->base == -INFINITY ? 0.0f : row->base;
}

static inline uint weight_at(uint row, uint key) {
    return ring_at(WEIGHT_RUNS, row, key / 8) + key % 8;
}

// Online softmax: scores become weights, in fast compute as rounded.
static inline ALWAYS_INLINE void soften(const float s[KEPT], ring_row *row, const ring_memory *m, const ring_lane *l) {
    float base = raise_base(row, m, l);
#ifdef EXACT
    uint r = l->share / 2 * 16 + l->lane / 4; // of a product: that of the first part
    RING_UNROLL
    for (int i = 0; i < KEPT; i++) {
        uint key = l->key_run * RUN_KEYS + kept_key(i, l->share, l->lane);
        float weight = ring_exp2(s[i] - base), rest = weight * WEIGHT_SCALE;
        m->weights[weight_at(r, key)] = parts_next(&rest);
        m->weights[weight_at(r + 8, key)] = parts_next(&rest);
        row->total += weight;
    }
#else
    uint r = kept_row(l->share, l->lane);
    RING_UNROLL
    for (int i = 0; i < KEPT; i += 2) {
        uint key = l->key_run * RUN_KEYS + kept_key(i, l->share, l->lane);
        ushort first = matrix_round(ring_exp2(s[i] - base)), second = matrix_round(ring_exp2(s[i + 1] - base));
        *(__local uint *)(m->weights + weight_at(r, key)) = first | (uint)second << 16;
        row->total += matrix_number(first) + matrix_number(second);
    }
#endif
}

// The wave's sums: of columns 8 n on of its own, and a tile of rows of the product.
typedef struct ring_sums {
#ifdef EXACT
    float2 v[2][WAVE_COLUMNS / 8]; // of row lane / 4 of the tile's 8
    float kept_factor[2];          // what these rows' kept sums are to be multiplied by
#else
    float4 v[2][WAVE_COLUMNS / 8]; // of rows lane / 4 (x, y) and 8 on (z, w)
#endif
} ring_sums;

static inline ALWAYS_INLINE void clear_sums(ring_sums *sums) {
    RING_UNROLL
    for (int n = 0; n < WAVE_COLUMNS / 8; n++) sums->v[0][n] = sums->v[1][n] = 0.0f;
#ifdef EXACT
    sums->kept_factor[0] = sums->kept_factor[1] = 1.0f;
#endif
}

// Row i of the lane's ROWS_OF_LANE.
#define SUM_ROW(lane, i) ((lane) / 4 + (i)*8)

static inline ALWAYS_INLINE void rescale_sums(ring_sums *sums, const ring_memory *m, uint lane) {
    float by[ROWS_OF_LANE];
    int any = 0;
    RING_UNROLL
    for (int i = 0; i < ROWS_OF_LANE; i++) {
        by[i] = m->rescale[SUM_ROW(lane, i)];
        any |= by[i] != 1.0f;
    }
    if (!any) return;
#ifdef EXACT
    sums->kept_factor[0] *= by[0];
    sums->kept_factor[1] *= by[1];
#endif
    RING_UNROLL
    for (int n = 0; n < WAVE_COLUMNS / 8; n++) RING_UNROLL
    for (int tile = 0; tile < 2; tile++) {
#ifdef EXACT
        sums->v[tile][n] *= by[tile];
#else
        sums->v[tile][n] *= (float4)(by[2 * tile], by[2 * tile], by[2 * tile + 1], by[2 * tile + 1]);
#endif
    }
}

// Adds what a block's weights make of its values, 16 columns after the other.
static inline ALWAYS_INLINE void add_values(ring_sums *sums, const ring_memory *m, const __local ushort *block,
                                            const ring_lane *l) {
    ring_view weights = ring_rows(m->weights, WEIGHT_RUNS, 0, 0, l->lane);
    ring_view values = ring_rows(block, RUNS, 0, l->wave * (WAVE_COLUMNS / 8), l->lane);
    ring_a a[KEY_TILE / 16][2];
    RING_UNROLL
    for (int k = 0; k < KEY_TILE / 16; k++) {
        ring_load_a(&a[k][0], ring_step(weights, WEIGHT_RUNS, 0, k * 2), l->lane);
        ring_load_a(&a[k][1], ring_step(weights, WEIGHT_RUNS, 16, k * 2), l->lane);
    }
    RING_UNROLL
    for (int n = 0; n < WAVE_COLUMNS / 8; n += 2) {
#ifdef EXACT
        float4 c[2][2] = {{(float4)0.0f, (float4)0.0f}, {(float4)0.0f, (float4)0.0f}};
#define SUM(tile, second) (&c[tile][second])
#else
#define SUM(tile, second) (&sums->v[tile][n + second])
#endif
        RING_UNROLL
        for (int k = 0; k < KEY_TILE / 16; k++) {
            ring_b b;
            ring_load_b(&b, ring_step(values, RUNS, k * 16, n), l->lane);
            ring_multiply(SUM(0, 0), &a[k][0], &b, 0);
            ring_multiply(SUM(1, 0), &a[k][1], &b, 0);
            ring_multiply(SUM(0, 1), &a[k][0], &b, 1);
            ring_multiply(SUM(1, 1), &a[k][1], &b, 1);
        }
#undef SUM
#ifdef EXACT
        RING_UNROLL
        for (int tile = 0; tile < 2; tile++) {
            sums->v[tile][n] += c[tile][0].xy + c[tile][0].zw;
            sums->v[tile][n + 1] += c[tile][1].xy + c[tile][1].zw;
        }
#endif
    }
}

#ifdef EXACT

// The lane's share of the part's kept sums, to be read one after the other, not into as many registers: of row lane / 4
// of the first tile, and of the wave's columns.
static inline volatile __global float *kept_sums(__global float *space, const attend_call *call, const ring_lane *l) {
    long row = (long)ring_anew(get_group_id(0)) * ROW_TILE + SUM_ROW(l->lane, 0);
    return space + call->sums + row * SUM_COLUMNS + l->wave * WAVE_COLUMNS + l->lane % 4 * 2;
}
#define KEPT_AT(kept, tile, n) ((volatile __global float2 *)((kept) + SUM_ROW(0, tile) * SUM_COLUMNS + (n)*8))

// Keeps a run's sums with those before, for the next to begin with nothing. first: there are none.
static inline ALWAYS_INLINE void keep_sums(volatile __global float *kept, ring_sums *sums, int first) {
    RING_UNROLL
    for (int n = 0; n < WAVE_COLUMNS / 8; n++) RING_UNROLL
    for (int tile = 0; tile < 2; tile++) {
        volatile __global float2 *at = KEPT_AT(kept, tile, n);
        *at = first ? sums->v[tile][n] : fma(*at, (float2)sums->kept_factor[tile], sums->v[tile][n]);
    }
    clear_sums(sums);
}
static inline ALWAYS_INLINE void add_kept(const volatile __global float *kept, ring_sums *sums) {
    RING_UNROLL
    for (int n = 0; n < WAVE_COLUMNS / 8; n++) RING_UNROLL
    for (int tile = 0; tile < 2; tile++)
        sums->v[tile][n] = fma(*KEPT_AT(kept, tile, n), (float2)sums->kept_factor[tile], sums->v[tile][n]);
}

#endif

#define GROUP_MEMORY ring_memory
#define row_top(m, r) (m)->tops[r]
#define row_base(m, r) (m)->rescale[r]
#define row_total(m, r) sum_of_shares(m, r)
#include "common/finish_row.clh"

static inline ALWAYS_INLINE void write_pair(const ring_memory *m, __global uchar *out, int type, int rows, float2 sums,
                                            int row, int column) {
    float factor = m->rescale[row];
    if (row >= rows) return;
    number_store(out, type, m->rows[row] + column, factor == EMPTY ? 0.0f : sums.x * factor);
    number_store(out, type, m->rows[row] + column + 1, factor == EMPTY ? 0.0f : sums.y * factor);
}

static inline ALWAYS_INLINE void write_sums(const ring_memory *m, __global uchar *out, int type, int rows,
                                            const ring_sums *sums, const ring_lane *l) {
    RING_UNROLL
    for (int n = 0; n < WAVE_COLUMNS / 8; n++) RING_UNROLL
    for (int tile = 0; tile < 2; tile++) {
        int column = l->wave * WAVE_COLUMNS + n * 8 + l->lane % 4 * 2;
#ifdef EXACT
        write_pair(m, out, type, rows, sums->v[tile][n], SUM_ROW(l->lane, tile), column);
#else
        write_pair(m, out, type, rows, sums->v[tile][n].xy, SUM_ROW(l->lane, 2 * tile), column);
        write_pair(m, out, type, rows, sums->v[tile][n].zw, SUM_ROW(l->lane, 2 * tile + 1), column);
#endif
    }
}

static inline void begin_rows(const ring_memory *m, const attend_call *call, const work_item *item, uint t) {
    if (t < RING_FACT_SLOTS) m->slow[t] = 0;
    if (t >= ROW_TILE) return;
    key_range range = {0, 0};
    if ((int)t < item->row_count) range = work_visible(call, item, item->row_begin + t);
    m->first[t] = range.first;
    m->end[t] = range.end;
}

// Answers the first key.
static inline int begin_work(const ring_memory *m, const attend_call *call, const work_item *item,
                             const key_source *keys, int number, uint t) {
    key_range least = work_visible(call, item, item->row_begin);
    key_range most = work_visible(call, item, item->row_begin + item->row_count - 1);
    int key = max(item->kv_begin, least.first);
    begin_rows(m, call, item, t);
    if (t == 0) {
        m->work->number = number;
        m->work->item = *item;
        m->work->keys = *keys;
        m->work->kv_end = min(item->kv_end, most.end);
        m->work->first = most.first;
        m->work->end = least.end;
    }
    return key + key_gap(keys, key);
}

// The keys of the work, without what the kernel's arguments say.
static inline ALWAYS_INLINE void keys_of_work(key_source *keys, const ring_memory *m) {
    const __local key_source *of = &m->work->keys;
#ifdef SPARSE
    keys->indices[0] = of->indices[0];
    keys->indices[1] = of->indices[1];
    keys->read[0] = of->read[0];
    keys->read[1] = of->read[1];
    keys->first_count = of->first_count;
#else
    keys->pages = of->pages;
    keys->page_rows = of->page_rows;
    keys->page_entries = of->page_entries;
    keys->only_page = of->only_page;
#endif
    keys->kv_head = of->kv_head;
}
#ifdef SPARSE
#define KEYS_OF_WORK(keys, m)                                                                                          \
    key_source keys;                                                                                                   \
    keys.rows[0] = ROW_MEMORY(rows);                                                                                   \
    keys.rows[1] = ROW_MEMORY(more);                                                                                   \
    keys_of_work(&keys, m)
#else
#define KEYS_OF_WORK(keys, m)                                                                                          \
    key_source keys;                                                                                                   \
    keys.rows = ROW_MEMORY(rows);                                                                                      \
    keys_of_work(&keys, m)
#endif

static inline int block_is_masked(const ring_memory *m, int key) {
    return key >= m->work->kv_end || key < m->work->first || min(key + KEY_TILE, m->work->kv_end) > m->work->end;
}

// Block number b of the work: its place in the ring, and its facts.
#define BLOCK_OF(m, b) ((m)->blocks + (b) % STAGES * BLOCK_VALUES)
#define SLOT_OF(b) ((b) % RING_FACT_SLOTS)
#define FACTS_OF(m, b) ((m)->facts + SLOT_OF(b) * KEY_TILE)

// What is read to find the keys of the block that begins with key `key`, by KEY_TILE work-items.
static inline ALWAYS_INLINE void find_block(const ring_memory *m, const key_source *keys, int key, uint t) {
    m->finding[t] = (int4)(find_key(keys, key, m->work->kv_end, t), key, 0);
}

// Places them as block b, to be staged after the next barrier.
static inline ALWAYS_INLINE void place_block(const ring_memory *m, const key_source *keys, uint b, uint t) {
    int4 found = m->finding[t];
    place_key(m->places, FACTS_OF(m, b), m->slow + SLOT_OF(b), keys, found.xy, t);
    if (t == 0 && block_is_masked(m, found.z)) atomic_or(m->slow + SLOT_OF(b), 1);
}

static inline ALWAYS_INLINE void stage_block(const ring_memory *m, uint b, uint t) {
    ring_place place = m->places[t / PER_KEY];
    if (m->slow[SLOT_OF(b)])
        stage_slowly(BLOCK_OF(m, b), FACTS_OF(m, b), &place, t);
    else
        stage(BLOCK_OF(m, b), &place, t);
    ring_close();
}

__kernel __attribute__((reqd_work_group_size(RING_GROUP, 1, 1))) void attend_matrix_ring(ATTEND_ARGUMENTS) {
    __local ushort blocks[STAGES * BLOCK_VALUES] ALIGNED;
    __local float exchange[RING_EXCHANGE_FLOATS(KEY_TILE)] ALIGNED;
    __local float shares[ROW_TILE * ROW_SHARES], rescale[ROW_TILE], tops[ROW_TILE];
    __local int first[ROW_TILE], end[ROW_TILE], facts[RING_FACT_SLOTS * KEY_TILE], slow[RING_FACT_SLOTS];
    __local ring_place places[KEY_TILE];
    __local int4 finding[KEY_TILE];
    __local long row_at[ROW_TILE];
    __local ring_work work;
#ifdef EXACT
    __local float scales[ROW_TILE];
#else
    __local float *scales = 0;
#endif
    ring_memory m = {
        &work, blocks, exchange, (__local ushort *)exchange, shares, first, end, facts, slow, places, finding, rescale,
        tops,  row_at, scales};

    if ((int)get_group_id(0) >= step[call.header + HEADER_PARTS]) return;
    for (int w = step[call.parts + get_group_id(0)]; w < step[call.parts + ring_anew(get_group_id(0)) + 1];) {
        ring_lane l = lane_of(get_local_id(0));
        ring_row row = {-INFINITY, -INFINITY, 0.0f};
        ring_query held[2 * OWN_CHUNKS];
        ring_sums sums;
        int key;
        {
            work_item item;
            work_item_fill(&item, step + call.works, w);
            KEY_SOURCE(keys, item);
            key = begin_work(&m, &call, &item, &keys, w, l.t);
            const __global ushort *packed =
                (const __global ushort *)(space + call.packed) + (long)item.tile_first * PACKED_VALUES;
            load_queries(held, packed, &l);
#ifdef EXACT
            if (l.t < ROW_TILE) scales[l.t] = ((const __global float *)(packed + TILE_VALUES))[l.t];
#endif
        }
        clear_sums(&sums);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (l.t < KEY_TILE) {
            KEYS_OF_WORK(keys, &m);
            find_block(&m, &keys, key, l.t);
            place_block(&m, &keys, 0, l.t);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint b = 1; b < STAGES; b++) {
            stage_block(&m, b - 1, l.t);
            barrier(CLK_LOCAL_MEM_FENCE);
            if (l.t < KEY_TILE) {
                KEYS_OF_WORK(keys, &m);
                find_block(&m, &keys, block_behind(&keys, finding[l.t].z, work.kv_end), l.t);
                place_block(&m, &keys, b, l.t);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        uint b = 0;
        while (key < work.kv_end) {
            float4 c[2][KEY_COLUMNS];
            float s[KEPT];
            ring_wait(STAGES - 2);
            // the block is staged, and nobody needs the one before any more, in whose place another comes
            barrier(CLK_LOCAL_MEM_FENCE);
            stage_block(&m, b + STAGES - 1, ring_anew(l.t));
            if (l.t < KEY_TILE) {
                KEYS_OF_WORK(keys, &m);
                find_block(&m, &keys, block_behind(&keys, finding[l.t].z, work.kv_end), l.t);
            }
            score_keys(c, held, BLOCK_OF(&m, b), &l);
            give_scores(s, c, &m, &l);
            barrier(CLK_LOCAL_MEM_FENCE);
            take_scores(s, &m, &l);
            mask_scores(s, &m, key, call.softcap, slow[SLOT_OF(b)], FACTS_OF(&m, b), &l);
            share_top(s, &m, &l);
            if (l.t < KEY_TILE) {
                KEYS_OF_WORK(keys, &m);
                place_block(&m, &keys, b + STAGES, l.t);
            }
            KEYS_OF_WORK(keys, &m);
            key = block_behind(&keys, key, work.kv_end);
            barrier(CLK_LOCAL_MEM_FENCE);
            if (l.t == 0) slow[SLOT_OF(b)] = 0;
            soften(s, &row, &m, &l);
            barrier(CLK_LOCAL_MEM_FENCE);
            rescale_sums(&sums, &m, l.lane);
            add_values(&sums, &m, BLOCK_OF(&m, b), &l);
            b++;
#ifdef EXACT
            if (b % RUN_BLOCKS == 0 && key < work.kv_end)
                keep_sums(kept_sums(space, &call, &l), &sums, b == RUN_BLOCKS);
#endif
        }
#ifdef EXACT
        if (b > RUN_BLOCKS) add_kept(kept_sums(space, &call, &l), &sums);
#endif
        ring_wait(0);
        barrier(CLK_LOCAL_MEM_FENCE);
        share_number(&m, ring_sum(row.total), &l);
        // Each row's largest score and base, by one of the work-items that hold it.
        if (l.key_run == 0 && kept_holder(l.share, 0) == 0 && l.lane % 4 == 0) {
            tops[kept_row(l.share, l.lane)] = row.top;
            rescale[kept_row(l.share, l.lane)] = row.base;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        work_item item = work.item;
        int rows = item.row_count, type = item.state_first >= 0 ? NUMBER_F32 : call.output_type;
        if ((int)l.t < rows) finish_row(&m, space, RESULT_PASS, &call, &item, l.t);
        barrier(CLK_LOCAL_MEM_FENCE);
        __global uchar *out = output ? output + call.output : output;
        if (item.state_first >= 0) out = (__global uchar *)(space + call.states);
        if (out) write_sums(&m, out, type, rows, &sums, &l);
        w = work.number + 1; // before the first of them writes down the next work
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

#ifdef EXACT

#define PACK_GROUP RING_GROUP
#define pack_block(r, column) (((r) / 8 * CHUNKS + (column) / 16) * 256)
#define pack_at(r, column, part) ring_packed_at((r) % 8 + (part)*8, (column) % 16)
#include "common/pack_parts.clh"

// Tiles for attend_matrix_ring of exact compute, a group for each.   grid: global (256, tiles), local (256, 1)
__kernel __attribute__((reqd_work_group_size(RING_GROUP, 1, 1))) void attend_pack_ring_parts(PACK_TENSORS,
                                                                                             attend_call call) {
    __local float largest[RING_GROUP];
    pack_parts(largest, query, query_rope, step, space, factor, &call);
}

#else

// Tiles for attend_matrix_ring of fast compute.   grid: global (256 * CHUNKS, 2, tiles), local free.
__kernel void attend_pack_ring(const __global uchar *query, const __global uchar *query_rope, const __global int *step,
                               __global float *space, float factor, attend_call call) {
    uint p = get_global_id(0) % 256, chunk = get_global_id(0) / 256, row_tile = get_global_id(1);
    long tile = get_global_id(2);
    if (chunk >= CHUNKS || row_tile >= RING_ROWS / 16 || tile >= step[call.header + HEADER_TILES]) return;
    const __global int *of = step + call.tiles + 4 * tile;
    int row = of[1] + (int)row_tile * 16 + ring_packed_row(p), column = (int)chunk * 16 + ring_packed_depth(p);
    __global ushort *out = (__global ushort *)(space + call.packed) + tile * PACKED_VALUES;
    out[(row_tile * CHUNKS + chunk) * 256 + p] =
        matrix_round(query_value(query, query_rope, of, &call, row, column) * factor);
}

#endif
