// SPDX-License-Identifier: Apache-2.0
// attend_heads_matrix: as attend_heads_naive, by matrix units, of fast compute: queries, keys, weights and values are
// rounded to f16 or bf16, sums are f32. A group takes ROW_TILE query tokens of one head through the call's keys,
// KEY_TILE at a time, with an online softmax; key tiles that no row sees are left out.
//                                                                                     ref: tests/ref/ref_attend_heads.c
//
// A wave has 16 rows, alone or with others: it scores some tiles of keys, and keeps the sums of some tiles of columns
// in registers through all keys. Scores and weights go through local memory. Every barrier is reached by the whole
// group.
//
// local memory: HEADS_MATRIX_LOCAL_BYTES
// grid: global (TILE_GROUP * ceil(token_count / ROW_TILE), head_count), local (TILE_GROUP, 1)
// options: MATRIX_* (common/matrix.clh), ROWS_F16 or ROWS_BF16: what is rounded to; NOPE_DIM, ROPE_DIM, VALUE_DIM, and
// common/attend_heads_matrix.h's TILE_GROUP, ROW_TILE, KEY_TILE
#include "common/attend_heads.clh"
#include "common/attend_heads_matrix.h"
#include "common/matrix.clh"
#if !defined(NOPE_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM)
#error "NOPE_DIM, ROPE_DIM or VALUE_DIM is missing"
#endif
#if !defined(TILE_GROUP) || !defined(ROW_TILE) || !defined(KEY_TILE)
#error "TILE_GROUP, ROW_TILE or KEY_TILE is missing"
#endif

#define KEY_WIDTH (NOPE_DIM + ROPE_DIM)
#define KEY_STRIDE MATRIX_KEY_STRIDE(KEY_WIDTH)
#define VALUE_STRIDE MATRIX_KEY_STRIDE(VALUE_DIM)
#define WEIGHT_STRIDE MATRIX_WEIGHT_STRIDE(KEY_TILE)
#define SCORE_STRIDE MATRIX_SCORE_STRIDE(KEY_TILE)
#define ROW_TILES (ROW_TILE / 16)
#define ROW_WAVES HEADS_ROW_WAVES(TILE_GROUP, MATRIX_WAVE, ROW_TILE)
#define KEY_TILES (KEY_TILE / 16)
#define KEY_FRAGMENTS HEADS_FRAGMENTS(TILE_GROUP, MATRIX_WAVE, ROW_TILE, KEY_TILE)
#define VALUE_TILES MATRIX_CHUNKS(VALUE_DIM)
#define VALUE_FRAGMENTS HEADS_FRAGMENTS(TILE_GROUP, MATRIX_WAVE, ROW_TILE, VALUE_DIM)
#define SHARE (TILE_GROUP / ROW_TILE) // work-items a row has in the softmax
#define EMPTY -1.0f                   // in place of the factor of a row that saw no key
#define ALIGNED __attribute__((aligned(16)))
// What has fragments in registers must not be called with pointers to them.
#define ALWAYS_INLINE __attribute__((always_inline))
#ifdef ROWS_BF16
#define EXPONENT 0x7f80
#else
#define EXPONENT 0x7c00
#endif

// What the group shares.
typedef struct matrix_memory {
    __local ushort *queries;  // [ROW_TILE][KEY_STRIDE]: times scale * log2(e)
    __local ushort *keys;     // [KEY_TILE][KEY_STRIDE]
    __local ushort *values;   // [KEY_TILE][VALUE_STRIDE]
    __local float *scores;    // [ROW_TILE][SCORE_STRIDE]
    __local ushort *weights;  // [ROW_TILE][WEIGHT_STRIDE]
    __local float *shares;    // [ROW_TILE][SHARE]: largest scores, and at the end totals
    __local float *top;       // [2][ROW_TILE]: largest scores before and after a tile, by turns
    __local float *rescale;   // [ROW_TILE]: what older sums are multiplied by
    __local float *kept;      // [ROW_TILE]: and at the end the output so far
    __local int *first, *end; // [ROW_TILE]: the keys each row sees; neither falls from row to row
    __local int *odd;         // [2]: whether a tile has values that are no numbers, by turns
} matrix_memory;

static inline ushort8 round_run(const __global float *from, float factor, int aligned) {
    float4 a = aligned ? ((const __global float4 *)from)[0] : vload4(0, from);
    float4 b = aligned ? ((const __global float4 *)from)[1] : vload4(1, from);
    a *= factor, b *= factor;
    return (ushort8)(matrix_round(a.x), matrix_round(a.y), matrix_round(a.z), matrix_round(a.w), matrix_round(b.x),
                     matrix_round(b.y), matrix_round(b.z), matrix_round(b.w));
}

static inline int is_odd(ushort8 values) {
    return any((values & (ushort8)EXPONENT) == (ushort8)EXPONENT);
}

// Rounds `count` rows of `width` values into columns from `column` on of rows of `stride` in local memory; all four are
// constants of the caller. Rows from `there` on repeat the last. Answers whether some value is no number.
static inline ALWAYS_INLINE int stage_rows(__local ushort *to, const int stride, const int column,
                                           const __global float *from, long from_stride, const int count,
                                           const int width, int there, float factor, uint t) {
    int odd = 0;
    to += column;
    if (width == 0) return 0;
    if (width % 8 == 0 && column % 8 == 0) {
        int aligned = ((size_t)from & 15) == 0 && from_stride % 4 == 0;
        for (uint i = t; i < (uint)(count * (width / 8)); i += TILE_GROUP) {
            uint row = i / (width / 8), run = i % (width / 8);
            ushort8 values = round_run(from + min((int)row, there - 1) * from_stride + run * 8, factor, aligned);
            odd |= is_odd(values);
            *(__local ushort8 *)(to + row * stride + run * 8) = values;
        }
        return odd;
    }
    for (uint i = t; i < (uint)(count * width); i += TILE_GROUP) {
        uint row = i / width, d = i % width;
        ushort value = matrix_round(from[min((int)row, there - 1) * from_stride + d] * factor);
        odd |= (value & EXPONENT) == EXPONENT;
        to[row * stride + d] = value;
    }
    return odd;
}

// What lies behind staged rows is multiplied with them.
static inline ALWAYS_INLINE void clear_padding(__local ushort *to, const int stride, const int count, const int width,
                                               uint t) {
    const uint padding = MATRIX_UP(width) - width;
    if (padding == 0) return;
    for (uint i = t; i < count * padding; i += TILE_GROUP) to[i / padding * stride + width + i % padding] = 0;
}

// What a group works on.
typedef struct matrix_source {
    const __global float *query, *key, *key_rope, *value; // of the head and the tile's first token
    int rows;                                             // that are there
} matrix_source;

static inline void stage_queries(const matrix_memory *m, const matrix_source *s, const attend_heads_call *call,
                                 uint t) {
    float scale = call->scale * LOG2_E;
    stage_rows(m->queries, KEY_STRIDE, 0, s->query, call->query_token, ROW_TILE, KEY_WIDTH, s->rows, scale, t);
    clear_padding(m->queries, KEY_STRIDE, ROW_TILE, KEY_WIDTH, t);
    clear_padding(m->keys, KEY_STRIDE, KEY_TILE, KEY_WIDTH, t);
    clear_padding(m->values, VALUE_STRIDE, KEY_TILE, VALUE_DIM, t);
}

// checked: whether a value is no number is told.
static inline void stage_keys(const matrix_memory *m, const matrix_source *s, const attend_heads_call *call, int key,
                              int checked, int turn, uint t) {
    int there = call->key_count - key;
    stage_rows(m->keys, KEY_STRIDE, 0, s->key + key * call->key_token, call->key_token, KEY_TILE, NOPE_DIM, there, 1.0f,
               t);
    stage_rows(m->keys, KEY_STRIDE, NOPE_DIM, s->key_rope + key * call->key_rope_token, call->key_rope_token, KEY_TILE,
               ROPE_DIM, there, 1.0f, t);
    int odd = stage_rows(m->values, VALUE_STRIDE, 0, s->value + key * call->value_token, call->value_token, KEY_TILE,
                         VALUE_DIM, there, 1.0f, t);
    if (odd && checked) atomic_or(m->odd + turn, 1);
}

// A wave's place: its rows, and its first tile of keys or columns.
typedef struct matrix_place {
    uint row, tile;
} matrix_place;

static inline ALWAYS_INLINE void store_scores(__local float *scores, const matrix_c *c, uint lane) {
#define STORE(i) scores[matrix_row(lane, i) * SCORE_STRIDE + matrix_column(lane, i)] = matrix_value(c, i);
    MATRIX_EACH(STORE)
#undef STORE
}

// Fragment f of so many, a constant, is tile TILE_AT(f); waves may have one less than others.
#define TILE_AT(f) (at->tile + (f)*ROW_WAVES)
#define IS_TILE(f, fragments, tiles) ((f) < (fragments) && (((f) + 1) * ROW_WAVES <= (tiles) || TILE_AT(f) < (tiles)))
#define AT(f, fragments) ((f) < (fragments) ? (f) : 0)
#define IS_KEY(f) IS_TILE(f, KEY_FRAGMENTS, KEY_TILES)
#define IS_COLUMN(f) IS_TILE(f, VALUE_FRAGMENTS, VALUE_TILES)
#define SCORES(f) c[AT(f, KEY_FRAGMENTS)]
#define SUMS(f) sums[AT(f, VALUE_FRAGMENTS)]

static inline ALWAYS_INLINE void score_keys(const matrix_memory *m, const matrix_place *at, uint lane) {
    const __local ushort *queries = m->queries + at->row * KEY_STRIDE;
    matrix_c c[KEY_FRAGMENTS];
#define CLEAR(f)                                                                                                       \
    if (f < KEY_FRAGMENTS) matrix_clear(&SCORES(f));
    EACH_4(CLEAR)
#undef CLEAR
#pragma unroll 2
    for (int chunk = 0; chunk < MATRIX_CHUNKS(KEY_WIDTH); chunk++) {
        matrix_a a;
        matrix_load_a(&a, queries + chunk * 16, KEY_STRIDE, lane);
#define MULTIPLY(f)                                                                                                    \
    if (IS_KEY(f)) {                                                                                                   \
        matrix_b b;                                                                                                    \
        matrix_load_b_turned(&b, m->keys + TILE_AT(f) * 16 * KEY_STRIDE + chunk * 16, KEY_STRIDE, lane);               \
        matrix_multiply_add(&SCORES(f), &a, &b);                                                                       \
    }
        EACH_4(MULTIPLY)
#undef MULTIPLY
    }
#define STORE(f)                                                                                                       \
    if (IS_KEY(f)) store_scores(m->scores + at->row * SCORE_STRIDE + TILE_AT(f) * 16, &SCORES(f), lane);
    EACH_4(STORE)
#undef STORE
}

// Caps and hides the scores of a work-item's share of its row, in units of log2(e).
static inline void finish_scores(const matrix_memory *m, int key, float softcap, int masked, int turn, uint t) {
    uint row = t / SHARE;
    float largest = -INFINITY;
    if (t == 0) m->odd[turn ^ 1] = 0;
    for (uint index = t % SHARE; index < KEY_TILE; index += SHARE) {
        __local float *score = m->scores + row * SCORE_STRIDE + index;
        float s = score[0];
        if (softcap != 0.0f) s = tanh(s * (LN_2 / softcap)) * (softcap * LOG2_E);
        if (masked && (key + (int)index < m->first[row] || key + (int)index >= m->end[row])) s = -INFINITY;
        score[0] = s;
        largest = fmax(largest, s);
    }
    m->shares[t] = largest;
}

static inline float share_most(const __local float *shares) {
    float most = shares[0];
#pragma unroll
    for (int i = 1; i < SHARE; i++) most = fmax(most, shares[i]);
    return most;
}

// Online softmax: scores become weights, as rounded. Answers the total of the work-item's share.
static inline float soften(const matrix_memory *m, float total, int turn, uint t) {
    uint row = t / SHARE;
    float old = m->top[turn * ROW_TILE + row], now = fmax(old, share_most(m->shares + row * SHARE)), sum = 0.0f;
    // A row that has seen no key yet: every difference below must be -inf, not NaN.
    float base = now == -INFINITY ? 0.0f : now, rescale = exp2(old - base);
    for (uint index = t % SHARE; index < KEY_TILE; index += SHARE) {
        ushort weight = matrix_round(exp2(m->scores[row * SCORE_STRIDE + index] - base));
        m->weights[row * WEIGHT_STRIDE + index] = weight;
        sum += matrix_number(weight);
    }
    if (t % SHARE == 0) {
        m->top[(turn ^ 1) * ROW_TILE + row] = now;
        m->rescale[row] = rescale;
    }
    return fma(total, rescale, sum);
}

static inline ALWAYS_INLINE void rescale_sums(const __local float *rescale, matrix_c *c, uint lane) {
#define RESCALE(i) matrix_value(c, i) *= rescale[matrix_row(lane, i)];
    MATRIX_EACH(RESCALE)
#undef RESCALE
}

// As scalars: a key's values that are no numbers must not reach rows that do not see it, not even times zero.
static inline ALWAYS_INLINE void add_seen(const matrix_memory *m, matrix_c *c, int key, uint row, uint column,
                                          uint lane) {
#pragma unroll 1
    for (int index = 0; index < KEY_TILE; index++) {
#define ADD(i)                                                                                                         \
    {                                                                                                                  \
        uint r = row + matrix_row(lane, i);                                                                            \
        float weight = matrix_number(m->weights[r * WEIGHT_STRIDE + index]);                                           \
        float value = matrix_number(m->values[index * VALUE_STRIDE + column + matrix_column(lane, i)]);                \
        if (key + index >= m->first[r] && key + index < m->end[r])                                                     \
            matrix_value(c, i) = fma(weight, value, matrix_value(c, i));                                               \
    }
        MATRIX_EACH(ADD)
#undef ADD
    }
}

static inline ALWAYS_INLINE void add_values(matrix_c *sums, const matrix_memory *m, const matrix_place *at, int key,
                                            int odd, uint lane) {
#define RESCALE(f)                                                                                                     \
    if (IS_COLUMN(f)) rescale_sums(m->rescale + at->row, &SUMS(f), lane);
    EACH_16(RESCALE)
#undef RESCALE
    if (odd) {
#define ADD(f)                                                                                                         \
    if (IS_COLUMN(f)) add_seen(m, &SUMS(f), key, at->row, TILE_AT(f) * 16, lane);
        EACH_16(ADD)
#undef ADD
        return;
    }
    for (int k = 0; k < KEY_TILES; k++) {
        matrix_a a;
        matrix_load_a(&a, m->weights + at->row * WEIGHT_STRIDE + k * 16, WEIGHT_STRIDE, lane);
#define ADD(f)                                                                                                         \
    if (IS_COLUMN(f)) {                                                                                                \
        matrix_b b;                                                                                                    \
        matrix_load_b(&b, m->values + k * 16 * VALUE_STRIDE + TILE_AT(f) * 16, VALUE_STRIDE, lane);                    \
        matrix_multiply_add(&SUMS(f), &a, &b);                                                                         \
    }
        EACH_16(ADD)
#undef ADD
    }
}

// Finishes one row: its log-sum-exp is written, and what its sums and the output so far are to be multiplied by is left
// in m->rescale and m->kept. The keys before, if there are any, are one more tile: one key of weight 1 at their
// log-sum-exp.
static inline void finish_row(const matrix_memory *m, __global float *lse, const attend_heads_call *call, int token,
                              int head, float top, uint r) {
    float before = heads_before(lse, call, token, head) * LOG2_E, now = fmax(top, before), total = 0.0f;
    float base = now == -INFINITY ? 0.0f : now, rescale = exp2(top - base), kept = exp2(before - base);
#pragma unroll
    for (int i = 0; i < SHARE; i++) total += m->shares[r * SHARE + i];
    total = fma(total, rescale, kept);
    int seen = total != 0.0f; // a NaN counts: it must show
    m->rescale[r] = seen ? rescale / total : EMPTY;
    m->kept[r] = seen ? kept / total : 0.0f;
    if (lse)
        lse[call->lse + token * call->lse_token + head * call->lse_head] =
            seen ? (now + log2(total)) * LN_2 : -INFINITY;
}

static inline ALWAYS_INLINE void write_sums(const matrix_memory *m, __global float *out, long out_token, int rows,
                                            const matrix_c *c, uint row, uint column, uint lane){
#define WRITE(i)                                                                                                       \
    {                                                                                                                  \
        uint r = row + matrix_row(lane, i), d = column + matrix_column(lane, i);                                       \
        if ((int)r < rows && d < VALUE_DIM) {                                                                          \
            float value = m->rescale[r] == EMPTY ? 0.0f : matrix_value(c, i) * m->rescale[r];                          \
            __global float *to = out + r * out_token + d;                                                              \
            *to = m->kept[r] > 0.0f ? fma(*to, m->kept[r], value) : value;                                             \
        }                                                                                                              \
    }
    MATRIX_EACH(WRITE)
#undef WRITE
}

MATRIX_SUB_GROUP __kernel
    __attribute__((reqd_work_group_size(TILE_GROUP, 1, 1))) void attend_heads_matrix(HEADS_ARGUMENTS) {
    __local ushort queries[ROW_TILE * KEY_STRIDE] ALIGNED, keys[KEY_TILE * KEY_STRIDE] ALIGNED;
    __local ushort values[KEY_TILE * VALUE_STRIDE] ALIGNED, weights[ROW_TILE * WEIGHT_STRIDE] ALIGNED;
    __local float scores[ROW_TILE * SCORE_STRIDE] ALIGNED, shares[TILE_GROUP];
    __local float top[2 * ROW_TILE], rescale[ROW_TILE], kept[ROW_TILE];
    __local int first[ROW_TILE], end[ROW_TILE], odd[2];
    matrix_memory m = {queries, keys, values, scores, weights, shares, top, rescale, kept, first, end, odd};

    // The last tiles see most keys: they begin first, and what is left at the end is short.
    uint t = get_local_id(0), wave = t / MATRIX_WAVE, lane = t % MATRIX_WAVE;
    int tiles = (call.token_count + ROW_TILE - 1) / ROW_TILE, head = get_group_id(1), turn = 0;
    int token = (tiles - 1 - (int)get_group_id(0)) * ROW_TILE, rows = min(ROW_TILE, call.token_count - token);
    matrix_place place, *at = &place;
    place.row = wave % ROW_TILES * 16;
    place.tile = wave / ROW_TILES;
    matrix_source s;
    s.query = query + call.query + token * call.query_token + head * call.query_head;
    s.key = key + call.key + head * call.key_head;
    s.key_rope = key_rope + call.key_rope;
    s.value = value + call.value + head * call.value_head;
    s.rows = rows;
    __global float *out = output + call.output + token * call.output_token + head * call.output_head;

    heads_range least = heads_visible(&call, token), most = heads_visible(&call, token + rows - 1);
    if (t < ROW_TILE) {
        heads_range range = heads_visible(&call, token + min((int)t, rows - 1));
        first[t] = range.first;
        end[t] = range.end;
        top[t] = -INFINITY;
    }
    if (t < 2) odd[t] = 0;
    float total = 0.0f; // of a work-item's share of its row
    matrix_c sums[VALUE_FRAGMENTS];
#define CLEAR(f)                                                                                                       \
    if (f < VALUE_FRAGMENTS) matrix_clear(&SUMS(f));
    EACH_16(CLEAR)
#undef CLEAR
    stage_queries(&m, &s, &call, t);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int first_key = least.first; first_key < most.end; first_key += KEY_TILE) {
        int masked = first_key < most.first || first_key + KEY_TILE > least.end;
        stage_keys(&m, &s, &call, first_key, masked, turn, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        score_keys(&m, at, lane);
        barrier(CLK_LOCAL_MEM_FENCE);
        finish_scores(&m, first_key, call.softcap, masked, turn, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        total = soften(&m, total, turn, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        add_values(sums, &m, at, first_key, odd[turn], lane);
        turn ^= 1;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    shares[t] = total;
    barrier(CLK_LOCAL_MEM_FENCE);
    if ((int)t < rows) finish_row(&m, lse, &call, token + (int)t, head, top[turn * ROW_TILE + t], t);
    barrier(CLK_LOCAL_MEM_FENCE);
#define WRITE(f)                                                                                                       \
    if (IS_COLUMN(f)) write_sums(&m, out, call.output_token, rows, &SUMS(f), at->row, TILE_AT(f) * 16, lane);
    EACH_16(WRITE)
#undef WRITE
}
