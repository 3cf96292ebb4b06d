// SPDX-License-Identifier: Apache-2.0
// attend_matrix: absorbed attention by matrix units. In fast compute queries and weights are rounded to the rows' own
// 16-bit format; in exact compute they are sums of PARTS such values, and each product is made PARTS times. Sums are
// f32. A group takes ROW_TILE rows (heads of one or more query tokens) through a range of keys with an online softmax,
// KEY_TILE keys at a time, staged once in local memory for both products.                   ref: tests/ref/ref_attend.c
//
// Scores: a wave has one tile of rows, a run of key tiles and one share of the width; the shares' partial scores are
// summed by way of local memory. Values: a wave keeps the sums of some tiles of columns, for all rows, in registers
// through all keys. Every barrier is reached by the whole group: loops that hold one depend on the work alone.
//
//   space: packed  [tile][ROW_TILE / 16][CHUNKS][PARTS][256] 16-bit queries times scale * log2(e), zeros behind, each
//                  tile in matrix_load_a_packed's order; in exact compute times 2^-e of each row, and behind each tile
//                  [ROW_TILE] f32 2^e; by attend_pack_matrix and attend_pack_matrix_parts
//          sums    [part][ROW_TILE][SUM_COLUMNS] f32 of long pieces in exact compute (common/sum_run.h)
//          states, state_lse, state_max: lib/plan_schedule.h
//   output, lse, max_logit: common/result.clh
// local memory: MATRIX_LOCAL_BYTES.   grid: global (parts * TILE_GROUP), local (TILE_GROUP)
// options: MATRIX_* (common/matrix.clh), ROWS_F16 or ROWS_BF16, EXACT (common/parts.clh), SPARSE, LATENT_DIM, ROPE_DIM,
// VALUE_DIM (LATENT_DIM to ROW_WIDTH), and common/attend_matrix.h's TILE_GROUP (at least ROW_TILE and KEY_TILE),
// ROW_TILE, KEY_TILE, PARTIALS
#include "common/work.clh"
#include "common/result.clh"
#include "common/attend_matrix.h"
#include "common/sum_run.h"
#include "common/matrix.clh"
#include "common/parts.clh"
#include "common/query.clh"
#include "common/slice.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM)
#error "LATENT_DIM, ROPE_DIM or VALUE_DIM is missing"
#endif
#if !defined(TILE_GROUP) || !defined(ROW_TILE) || !defined(KEY_TILE) || !defined(PARTIALS)
#error "TILE_GROUP, ROW_TILE, KEY_TILE or PARTIALS is missing"
#endif

#define ROW_WIDTH (LATENT_DIM + ROPE_DIM)
#define CHUNKS MATRIX_CHUNKS(ROW_WIDTH)
#define KEY_STRIDE MATRIX_KEY_STRIDE(ROW_WIDTH)
#define WEIGHT_STRIDE MATRIX_WEIGHT_STRIDE(KEY_TILE)
#define SCORE_STRIDE MATRIX_SCORE_STRIDE(KEY_TILE)
#define QUERY_STRIDE MATRIX_QUERY_STRIDE(ROW_WIDTH, PARTS) // floats
#define TILE_VALUES (ROW_TILE * CHUNKS * 16 * PARTS)       // of a packed tile's queries
#define WAVES (TILE_GROUP / MATRIX_WAVE)
#define ROW_TILES (ROW_TILE / 16)
#define KEY_TILES (KEY_TILE / 16)

// Score jobs: row tiles x runs of key tiles x shares of the width.
#define WAVES_LEFT (WAVES / (ROW_TILES * PARTIALS))
#define KEY_RUNS (WAVES_LEFT < 1 ? 1 : WAVES_LEFT < KEY_TILES ? WAVES_LEFT : KEY_TILES)
#define RUN_TILES (KEY_TILES / KEY_RUNS)
#define SCORE_JOBS (ROW_TILES * KEY_RUNS * PARTIALS)

#define VALUE_TILES MATRIX_CHUNKS(VALUE_DIM)
#define COLUMN_TILES MATRIX_COLUMN_TILES(TILE_GROUP, MATRIX_WAVE, VALUE_DIM)

#define RUN_BLOCKS SUM_RUN_BLOCKS(KEY_TILE)
#define SUM_COLUMNS SUM_RUN_COLUMNS(VALUE_DIM)
#define SHARE (TILE_GROUP / ROW_TILE) // work-items a row has in the softmax
#ifdef EXACT
#define WEIGHT_SCALE PARTS_LARGEST // weights are 1 at most
#else
#define WEIGHT_SCALE 1.0f
#endif
#define ALIGNED __attribute__((aligned(16)))
// What has fragments in registers must not be called with pointers to them.
#define ALWAYS_INLINE __attribute__((always_inline))

typedef struct key_place {
    const __global ushort *latent, *rope;
} key_place;

// What the group shares.
typedef struct matrix_memory {
    __local ushort *staged;    // [KEY_TILE][KEY_STRIDE]
    __local key_place *places; // [KEY_TILE]
    __local int *there;        // [KEY_TILE]
    __local float *scores;     // [PARTIALS][ROW_TILE][SCORE_STRIDE]; the first then holds their sums
    __local ushort *weights;   // [PARTS][ROW_TILE][WEIGHT_STRIDE], times WEIGHT_SCALE
    __local float *shares;     // [ROW_TILE][SHARE]: largest scores, and at the end totals
    __local float *top;        // [2][ROW_TILE]: largest scores before and after a block, by turns
    // [ROW_TILE]: what older sums are multiplied by; at the end largest scores, then what the finished sums are
    __local float *rescale;
    __local int *first, *end; // [ROW_TILE]: the keys each row sees; none past the work's rows
    __local long *rows;       // [ROW_TILE]: where a finished row begins in the states or the output, in values
    __local int *odd;         // [2]: whether a block has values that are no numbers, by turns
    // Of exact compute alone:
    __local float *scales; // [ROW_TILE]: what the scores of a row are multiplied by
    __local int *part;     // the group's
} matrix_memory;

// Where keys [key, key + KEY_TILE) lie, of which `count` are to be read.
static inline void place_keys(const matrix_memory *m, const key_source *keys, int key, int count, uint t) {
    if (t >= KEY_TILE) return;
    row_parts at;
    int there = (int)t < count && key_at(&at, keys, key + t);
    m->there[t] = there;
    if (!there) return;
    m->places[t].latent = (const __global ushort *)at.latent;
    m->places[t].rope = (const __global ushort *)at.rope;
}

#ifdef ROWS_BF16
#define EXPONENT 0x7f80
#else
#define EXPONENT 0x7c00
#endif

// Stages the keys that were placed; those that are not there become zero rows. checked: whether a value is no number is
// told.
#if LATENT_DIM % 8 == 0 && ROPE_DIM % 8 == 0

#define ROW_RUNS (ROW_WIDTH / 8)

static inline int is_odd(ushort8 values) {
    return any((values & (ushort8)EXPONENT) == (ushort8)EXPONENT);
}

static inline ushort8 load_run(const __global ushort *from) {
    if (((size_t)from & 15) == 0) return *(const __global ushort8 *)from;
    return vload8(0, from);
}

static inline void stage_run(__local ushort *to, const __global ushort *from) {
#ifdef MATRIX_NVIDIA
    // Not by way of registers, which would limit how many loads are under way.
    if (((size_t)from & 15) == 0) {
        __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint)(size_t)to), "l"(from) : "memory");
        return;
    }
#endif
    *(__local ushort8 *)to = load_run(from);
}

static inline void stage_keys(const matrix_memory *m, int checked, int turn, uint t) {
    int odd = 0;
    for (uint i = t; i < KEY_TILE * ROW_RUNS; i += TILE_GROUP) {
        uint key = i / ROW_RUNS, run = i % ROW_RUNS;
        __local ushort *to = m->staged + key * KEY_STRIDE + run * 8;
        if (!m->there[key]) {
            *(__local ushort8 *)to = (ushort8)0;
            continue;
        }
        const __global ushort *from =
            run < LATENT_DIM / 8 ? m->places[key].latent + run * 8 : m->places[key].rope + (run * 8 - LATENT_DIM);
        if (checked) odd |= is_odd(load_run(from));
        stage_run(to, from);
    }
    if (odd) atomic_or(m->odd + turn, 1);
#ifdef MATRIX_NVIDIA
    __asm__ volatile("cp.async.wait_all;" ::: "memory");
#endif
}

#else

static inline void stage_keys(const matrix_memory *m, int checked, int turn, uint t) {
    int odd = 0;
    for (uint i = t; i < KEY_TILE * ROW_WIDTH; i += TILE_GROUP) {
        uint key = i / ROW_WIDTH, d = i % ROW_WIDTH;
        ushort value = 0;
        if (m->there[key]) value = d < LATENT_DIM ? m->places[key].latent[d] : m->places[key].rope[d - LATENT_DIM];
        odd |= (value & EXPONENT) == EXPONENT;
        m->staged[key * KEY_STRIDE + d] = value;
    }
    if (odd && checked) atomic_or(m->odd + turn, 1);
}

#endif

// What lies behind the staged rows is multiplied with them.
static inline void clear_padding(const matrix_memory *m, uint t) {
#if ROW_WIDTH % 16 != 0
    for (uint i = t; i < KEY_TILE * (CHUNKS * 16 - ROW_WIDTH); i += TILE_GROUP)
        m->staged[i / (CHUNKS * 16 - ROW_WIDTH) * KEY_STRIDE + ROW_WIDTH + i % (CHUNKS * 16 - ROW_WIDTH)] = 0;
#endif
}

static inline ALWAYS_INLINE void store_scores(__local float *scores, const matrix_c *c, uint lane) {
#define STORE(i) scores[matrix_row(lane, i) * SCORE_STRIDE + matrix_column(lane, i)] = matrix_value(c, i);
    MATRIX_EACH(STORE)
#undef STORE
}

// c += a b, of all parts of a. Sums of matrix units are cut off, not rounded: the more of them are made one after the
// other, the farther they fall behind. In exact compute a tile's product is summed apart, and added as f32 numbers are.
static inline ALWAYS_INLINE void multiply_add(matrix_c *c, const matrix_a *a, const matrix_b *b) {
#ifdef EXACT
    matrix_c sum;
    matrix_clear(&sum);
#define MULTIPLY(p) matrix_multiply_add(&sum, &a[p], b);
    PARTS_EACH(MULTIPLY)
#undef MULTIPLY
#define ADD(i) matrix_value(c, i) += matrix_value(&sum, i);
    MATRIX_EACH(ADD)
#undef ADD
#else
    matrix_multiply_add(c, a, b);
#endif
}

// Partial scores of a tile of rows by a run of key tiles.
static inline ALWAYS_INLINE void score_run(const matrix_memory *m, const __global ushort *queries, uint job,
                                           uint lane) {
    uint row = job % ROW_TILES, run = job / ROW_TILES % KEY_RUNS, partial = job / (ROW_TILES * KEY_RUNS);
    const __local ushort *keys = m->staged + run * RUN_TILES * 16 * KEY_STRIDE;
    __local float *scores = m->scores + (partial * ROW_TILE + row * 16) * SCORE_STRIDE + run * RUN_TILES * 16;
    matrix_c c[8];
#define CLEAR(k)                                                                                                       \
    if (k < RUN_TILES) matrix_clear(&c[k]);
    EACH_8(CLEAR)
#undef CLEAR
#pragma unroll 2
    for (uint chunk = partial; chunk < CHUNKS; chunk += PARTIALS) {
        matrix_a a[PARTS];
#define LOAD(p) matrix_load_a_packed(&a[p], queries + ((row * CHUNKS + chunk) * PARTS + p) * 256, lane);
        PARTS_EACH(LOAD)
#undef LOAD
#define MULTIPLY(k)                                                                                                    \
    if (k < RUN_TILES) {                                                                                               \
        matrix_b b;                                                                                                    \
        matrix_load_b_turned(&b, keys + k * 16 * KEY_STRIDE + chunk * 16, KEY_STRIDE, lane);                           \
        multiply_add(&c[k], a, &b);                                                                                    \
    }
        EACH_8(MULTIPLY)
#undef MULTIPLY
    }
#define STORE(k)                                                                                                       \
    if (k < RUN_TILES) store_scores(scores + k * 16, &c[k], lane);
    EACH_8(STORE)
#undef STORE
}

static inline void score_keys(const matrix_memory *m, const __global ushort *queries, uint t) {
    for (uint job = t / MATRIX_WAVE; job < SCORE_JOBS; job += WAVES) score_run(m, queries, job, t % MATRIX_WAVE);
}

// Sums the partial scores of a work-item's share of its row; in units of log2(e).
static inline void finish_scores(const matrix_memory *m, int key, float softcap, int turn, uint t) {
    uint row = t / SHARE;
    float largest = -INFINITY;
    if (t == 0) m->odd[turn ^ 1] = 0;
    for (uint index = t % SHARE; index < KEY_TILE; index += SHARE) {
        __local float *score = m->scores + row * SCORE_STRIDE + index;
        float s = score[0];
#pragma unroll
        for (int p = 1; p < PARTIALS; p++) s += score[p * ROW_TILE * SCORE_STRIDE];
#ifdef EXACT
        s *= m->scales[row];
#endif
        if (softcap != 0.0f) s = tanh(s * (LN_2 / softcap)) * (softcap * LOG2_E);
        if (!m->there[index] || key + (int)index < m->first[row] || key + (int)index >= m->end[row]) s = -INFINITY;
        score[0] = s;
        largest = fmax(largest, s);
    }
    m->shares[t] = largest;
}

#ifdef EXACT

// Keeps the parts of a weight for the products.
static inline ALWAYS_INLINE void keep_weight(__local ushort *at, float weight) {
    float rest = weight * WEIGHT_SCALE;
#pragma unroll
    for (int p = 0; p < PARTS; p++) at[p * ROW_TILE * WEIGHT_STRIDE] = parts_next(&rest);
}

static inline float weight_at(const __local ushort *at) {
    float weight = matrix_number(at[(PARTS - 1) * ROW_TILE * WEIGHT_STRIDE]);
#pragma unroll
    for (int p = PARTS - 2; p >= 0; p--) weight += matrix_number(at[p * ROW_TILE * WEIGHT_STRIDE]);
    return weight;
}

#else
#define weight_at(at) matrix_number(*(at))
#endif

// What a row's sums of the runs before are to be multiplied by, in the padding behind its scores.
#define kept_factor(m, row) ((m)->scores + (row)*SCORE_STRIDE + KEY_TILE)

// Online softmax: scores become weights, in fast compute as rounded. Answers the total of the work-item's share.
// begins: a run of blocks does, of exact compute.
static inline float soften(const matrix_memory *m, float total, int turn, int begins, uint t) {
    uint row = t / SHARE;
    float old = m->top[turn * ROW_TILE + row], now = old, sum = 0.0f;
#pragma unroll
    for (int i = 0; i < SHARE; i++) now = fmax(now, m->shares[row * SHARE + i]);
    // A row that has seen no key yet: every difference below must be -inf, not NaN.
    float base = now == -INFINITY ? 0.0f : now, rescale = exp2(old - base);
    for (uint index = t % SHARE; index < KEY_TILE; index += SHARE) {
        float weight = exp2(m->scores[row * SCORE_STRIDE + index] - base);
#ifdef EXACT
        keep_weight(m->weights + row * WEIGHT_STRIDE + index, weight);
        sum += weight;
#else
        ushort rounded = matrix_round(weight);
        m->weights[row * WEIGHT_STRIDE + index] = rounded;
        sum += matrix_number(rounded);
#endif
    }
    if (t % SHARE == 0) {
        m->top[(turn ^ 1) * ROW_TILE + row] = now;
        m->rescale[row] = rescale;
#ifdef EXACT
        *kept_factor(m, row) = begins ? rescale : *kept_factor(m, row) * rescale;
#endif
    }
    return fma(total, rescale, sum);
}

static inline ALWAYS_INLINE void rescale_sums(const matrix_memory *m, matrix_c *c, int row, uint lane) {
#define RESCALE(i) matrix_value(c, i) *= m->rescale[row + matrix_row(lane, i)];
    MATRIX_EACH(RESCALE)
#undef RESCALE
}

// As scalars: a key's values that are no numbers must not reach rows that do not see it, not even times zero.
static inline ALWAYS_INLINE void add_seen(const matrix_memory *m, matrix_c *c, int key, int row, int column,
                                          uint lane) {
#pragma unroll 1
    for (int index = 0; index < KEY_TILE; index++) {
#define ADD(i)                                                                                                         \
    {                                                                                                                  \
        int r = row + matrix_row(lane, i), seen = key + index >= m->first[r] && key + index < m->end[r];               \
        float weight = weight_at(m->weights + r * WEIGHT_STRIDE + index);                                              \
        float value = matrix_number(m->staged[index * KEY_STRIDE + column + matrix_column(lane, i)]);                  \
        matrix_value(c, i) = seen ? fma(weight, value, matrix_value(c, i)) : matrix_value(c, i);                       \
    }
        MATRIX_EACH(ADD)
#undef ADD
    }
}

// Fragment f: row tile f % ROW_TILES of the wave's column tile f / ROW_TILES.
#define FRAGMENT_ROW(f) ((f) % ROW_TILES * 16)
#define FRAGMENT_TILE(f) (wave + (f) / ROW_TILES * WAVES)
#define FRAGMENT_THERE(f) ((f) < ROW_TILES * COLUMN_TILES && FRAGMENT_TILE(f) < VALUE_TILES)

static inline ALWAYS_INLINE void add_values(matrix_c *sums, const matrix_memory *m, int key, int odd, uint wave,
                                            uint lane) {
#define RESCALE(f)                                                                                                     \
    if (FRAGMENT_THERE(f)) rescale_sums(m, &sums[f], FRAGMENT_ROW(f), lane);
    EACH_16(RESCALE)
#undef RESCALE
    if (odd) {
#define ADD(f)                                                                                                         \
    if (FRAGMENT_THERE(f)) add_seen(m, &sums[f], key, FRAGMENT_ROW(f), FRAGMENT_TILE(f) * 16, lane);
        EACH_16(ADD)
#undef ADD
        return;
    }
    for (int k = 0; k < KEY_TILES; k++) {
        matrix_a a[4 * PARTS]; // row tile by row tile
        matrix_b b;
#define LOAD(i)                                                                                                        \
    if (i < ROW_TILES * PARTS)                                                                                         \
        matrix_load_a(&a[i], m->weights + (i % PARTS * ROW_TILE + i / PARTS * 16) * WEIGHT_STRIDE + k * 16,            \
                      WEIGHT_STRIDE, lane);
        EACH_8(LOAD)
        LOAD(8) LOAD(9) LOAD(10) LOAD(11)
#undef LOAD
#define ADD(f)                                                                                                         \
    if (FRAGMENT_THERE(f)) {                                                                                           \
        if (f % ROW_TILES == 0)                                                                                        \
            matrix_load_b(&b, m->staged + k * 16 * KEY_STRIDE + FRAGMENT_TILE(f) * 16, KEY_STRIDE, lane);              \
        multiply_add(&sums[f], a + f % ROW_TILES * PARTS, &b);                                                         \
    }
            EACH_16(ADD)
#undef ADD
    }
}

#ifdef EXACT

// The part's kept sums. Volatile, both: sums are read one after the other, and where they are is found anew each time.
// Otherwise compilers keep all of it in registers, the addresses through all keys.
static inline volatile __global float *kept_sums(__global float *space, const attend_call *call,
                                                 const matrix_memory *m) {
    int part = *(volatile __local int *)m->part;
    return space + call->sums + (long)part * ROW_TILE * SUM_COLUMNS;
}

// Of a fragment's sums: keeps them with those of the runs before, for the next to begin with nothing. first: there are
// none.
static inline ALWAYS_INLINE void keep_sums(volatile __global float *kept, matrix_c *c, const matrix_memory *m, int row,
                                           int column, int first, uint lane) {
#define KEEP(i)                                                                                                        \
    {                                                                                                                  \
        int r = row + matrix_row(lane, i), at = r * SUM_COLUMNS + column + matrix_column(lane, i);                     \
        kept[at] = first ? matrix_value(c, i) : fma(kept[at], *kept_factor(m, r), matrix_value(c, i));                 \
    }
    MATRIX_EACH(KEEP)
#undef KEEP
    matrix_clear(c);
}
static inline ALWAYS_INLINE void add_kept(const volatile __global float *kept, matrix_c *c, const matrix_memory *m,
                                          int row, int column, uint lane) {
#define ADD(i)                                                                                                         \
    {                                                                                                                  \
        int r = row + matrix_row(lane, i);                                                                             \
        float before = kept[r * SUM_COLUMNS + column + matrix_column(lane, i)];                                        \
        matrix_value(c, i) = fma(before, *kept_factor(m, r), matrix_value(c, i));                                      \
    }
    MATRIX_EACH(ADD)
#undef ADD
}

// The same of all the wave's fragments.
static inline ALWAYS_INLINE void keep_all(volatile __global float *kept, matrix_c *sums, const matrix_memory *m,
                                          int first, uint wave, uint lane) {
#define KEEP(f)                                                                                                        \
    if (FRAGMENT_THERE(f)) keep_sums(kept, &sums[f], m, FRAGMENT_ROW(f), FRAGMENT_TILE(f) * 16, first, lane);
    EACH_16(KEEP)
#undef KEEP
}
static inline ALWAYS_INLINE void add_all_kept(const volatile __global float *kept, matrix_c *sums,
                                              const matrix_memory *m, uint wave, uint lane) {
#define ADD(f)                                                                                                         \
    if (FRAGMENT_THERE(f)) add_kept(kept, &sums[f], m, FRAGMENT_ROW(f), FRAGMENT_TILE(f) * 16, lane);
    EACH_16(ADD)
#undef ADD
}

#endif

static inline float total_of(const matrix_memory *m, uint row) {
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < SHARE; i++) total += m->shares[row * SHARE + i];
    return total;
}

#define GROUP_MEMORY matrix_memory
#define row_top(m, r) (m)->rescale[r]
#define row_base(m, r) (m)->rescale[r]
#define row_total(m, r) total_of(m, r)
#include "common/finish_row.clh"

static inline ALWAYS_INLINE void write_sums(const matrix_memory *m, __global uchar *out, int type, int rows,
                                            const matrix_c *c, int row, int column, uint lane){
#define WRITE(i)                                                                                                       \
    {                                                                                                                  \
        int r = row + matrix_row(lane, i), d = column + matrix_column(lane, i);                                        \
        if (r < rows && d < VALUE_DIM)                                                                                 \
            number_store(out, type, m->rows[r] + d,                                                                    \
                         m->rescale[r] == EMPTY ? 0.0f : matrix_value(c, i) * m->rescale[r]);                          \
    }
    MATRIX_EACH(WRITE)
#undef WRITE
}

MATRIX_SUB_GROUP __kernel __attribute__((reqd_work_group_size(TILE_GROUP, 1, 1))) void attend_matrix(ATTEND_ARGUMENTS) {
    __local ushort staged[KEY_TILE * KEY_STRIDE] ALIGNED;
    __local ushort weights[PARTS * ROW_TILE * WEIGHT_STRIDE] ALIGNED;
    __local float scores[PARTIALS * ROW_TILE * SCORE_STRIDE] ALIGNED;
    __local float shares[TILE_GROUP], top[2 * ROW_TILE], rescale[ROW_TILE];
    __local int first[ROW_TILE], end[ROW_TILE], there[KEY_TILE], odd[2];
    __local key_place places[KEY_TILE];
    __local long row_at[ROW_TILE];
#ifdef EXACT
    __local float scales[ROW_TILE];
    __local int own_part;
#define OWN_PART &own_part
#else
    __local float *scales = 0;
#define OWN_PART 0
#endif
    matrix_memory m = {staged,  places, there, scores, weights, shares, top,
                       rescale, first,  end,   row_at, odd,     scales, OWN_PART};

    int part = get_group_id(0);
    uint t = get_local_id(0), wave = t / MATRIX_WAVE, lane = t % MATRIX_WAVE;
    if (part >= step[call.header + HEADER_PARTS]) return;
    clear_padding(&m, t);
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item;
        work_item_fill(&item, step + call.works, w);
        KEY_SOURCE(keys, item);
        int rows = item.row_count, turn = 0, type = item.state_first >= 0 ? NUMBER_F32 : call.output_type;
        float total = 0.0f; // of a work-item's share of its row
#ifdef EXACT
        int blocks = 0;
        if (t == 0) own_part = part;
#endif
        matrix_c sums[16];
#define CLEAR(f)                                                                                                       \
    if (f < ROW_TILES * COLUMN_TILES) matrix_clear(&sums[f]);
        EACH_16(CLEAR)
#undef CLEAR
        if (t < ROW_TILE) {
            key_range range = {0, 0};
            if (t < rows) range = work_visible(&call, &item, item.row_begin + t);
            first[t] = range.first;
            end[t] = range.end;
            top[t] = -INFINITY;
        }
        if (t < 2) odd[t] = 0;
        // Neither end falls from row to row.
        key_range least = work_visible(&call, &item, item.row_begin);
        key_range most = work_visible(&call, &item, item.row_begin + rows - 1);
        const __global ushort *queries =
            (const __global ushort *)(space + call.packed + (long)item.tile_first * ROW_TILE * QUERY_STRIDE);
#ifdef EXACT
        if (t < ROW_TILE) scales[t] = ((const __global float *)(queries + TILE_VALUES))[t];
#endif
        int kv_end = min(item.kv_end, most.end), key = max(item.kv_begin, least.first);
        key += key_gap(&keys, key);
        place_keys(&m, &keys, key, kv_end - key, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        while (key < kv_end) {
            int masked = key < most.first || min(key + KEY_TILE, kv_end) > least.end, block = key;
#ifdef EXACT
            if (blocks > 0 && blocks % RUN_BLOCKS == 0)
                keep_all(kept_sums(space, &call, &m), sums, &m, blocks == RUN_BLOCKS, wave, lane);
#endif
            stage_keys(&m, masked, turn, t);
            barrier(CLK_LOCAL_MEM_FENCE);
            score_keys(&m, queries, t);
            barrier(CLK_LOCAL_MEM_FENCE);
            finish_scores(&m, key, call.softcap, turn, t);
            barrier(CLK_LOCAL_MEM_FENCE);
#ifdef EXACT
            total = soften(&m, total, turn, blocks % RUN_BLOCKS == 0, t);
#else
            total = soften(&m, total, turn, 0, t);
#endif
            barrier(CLK_LOCAL_MEM_FENCE);
            key += KEY_TILE;
            key += key_gap(&keys, key);
            place_keys(&m, &keys, key, kv_end - key, t);
            add_values(sums, &m, block, odd[turn], wave, lane);
            turn ^= 1;
#ifdef EXACT
            blocks++;
#endif
            barrier(CLK_LOCAL_MEM_FENCE);
        }
#ifdef EXACT
        if (blocks > RUN_BLOCKS) add_all_kept(kept_sums(space, &call, &m), sums, &m, wave, lane);
#endif
        shares[t] = total;
        if (t < ROW_TILE) rescale[t] = top[turn * ROW_TILE + t];
        barrier(CLK_LOCAL_MEM_FENCE);
        if (t < rows) finish_row(&m, space, RESULT_PASS, &call, &item, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        __global uchar *out = output ? output + call.output : output;
        if (item.state_first >= 0) out = (__global uchar *)(space + call.states);
#define WRITE(f)                                                                                                       \
    if (FRAGMENT_THERE(f)) write_sums(&m, out, type, rows, &sums[f], FRAGMENT_ROW(f), FRAGMENT_TILE(f) * 16, lane);
        if (out && type == NUMBER_F32) {
            const int type = NUMBER_F32;
            EACH_16(WRITE)
        } else if (out) {
            EACH_16(WRITE)
        }
#undef WRITE
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

#ifdef EXACT

#define PACK_SHARE (TILE_GROUP / 16) // work-items a row has

// Tiles for attend_matrix of exact compute, a group for 16 rows.   grid: global (ROW_TILES * TILE_GROUP, tiles), local
// (TILE_GROUP, 1)
__kernel __attribute__((reqd_work_group_size(TILE_GROUP, 1, 1))) void attend_pack_matrix_parts(
    const __global uchar *query, const __global uchar *query_rope, const __global int *step, __global float *space,
    float factor, attend_call call) {
    __local float largest[TILE_GROUP];
    __local int exponents[16];
    uint t = get_local_id(0), row_tile = get_group_id(0);
    long tile = slice_group(1);
    if (tile >= step[call.header + HEADER_TILES]) return;
    const __global int *of = step + call.tiles + 4 * tile;
    int row = of[1] + (int)row_tile * 16;
    float most = 0.0f;
    for (uint column = t % PACK_SHARE; column < ROW_WIDTH; column += PACK_SHARE)
        most = fmax(most, query_size(query, query_rope, of, &call, row + t / PACK_SHARE, column, factor));
    largest[t] = most;
    barrier(CLK_LOCAL_MEM_FENCE);
    __global ushort *out = (__global ushort *)(space + call.packed + tile * ROW_TILE * QUERY_STRIDE);
    if (t < 16) {
        most = 0.0f;
        for (uint i = 0; i < PACK_SHARE; i++) most = fmax(most, largest[t * PACK_SHARE + i]);
        int e = parts_exponent(most);
        exponents[t] = e;
        ((__global float *)(out + TILE_VALUES))[row_tile * 16 + t] = parts_power(e);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = t; i < CHUNKS * 256; i += TILE_GROUP) {
        uint p = i % 256, chunk = i / 256;
        int r = matrix_packed_row(p), column = (int)chunk * 16 + matrix_packed_depth(p);
        float rest = query_value(query, query_rope, of, &call, row + r, column) * factor * parts_power(-exponents[r]);
        for (uint part = 0; part < PARTS; part++)
            out[((row_tile * CHUNKS + chunk) * PARTS + part) * 256 + p] = parts_next(&rest);
    }
}

#else

// Tiles for attend_matrix of fast compute.   grid: global (256 * CHUNKS, ROW_TILES, tiles), local free.
__kernel void attend_pack_matrix(const __global uchar *query, const __global uchar *query_rope,
                                 const __global int *step, __global float *space, float factor, attend_call call) {
    uint p = get_global_id(0) % 256, chunk = get_global_id(0) / 256, row_tile = get_global_id(1);
    long tile = get_global_id(2);
    if (chunk >= CHUNKS || row_tile >= ROW_TILES || tile >= step[call.header + HEADER_TILES]) return;
    const __global int *of = step + call.tiles + 4 * tile;
    int row = of[1] + (int)row_tile * 16 + matrix_packed_row(p), column = (int)chunk * 16 + matrix_packed_depth(p);
    __global ushort *out = (__global ushort *)(space + call.packed);
    out[((tile * ROW_TILES + row_tile) * CHUNKS + chunk) * 256 + p] =
        matrix_round(query_value(query, query_rope, of, &call, row, column) * factor);
}

#endif
