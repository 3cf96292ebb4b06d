// SPDX-License-Identifier: Apache-2.0
// What the baseline attentions share on GPUs: loads of 16 bytes, and with HEAD_TILE tiles of heads by keys. Scores: a
// work-item keeps 4 heads by ITEM_KEYS keys in registers, while queries and keys pass through local memory as f32,
// DEPTH columns at a time. Values: it keeps ITEM_HEADS heads by ITEM_QUADS times 4 columns, while values pass through
// the same memory. The text of baseline_heads_group.cl or baseline_latent_group.cl follows it.
// options: KEYS_F32, KEYS_F16 or KEYS_BF16, the type of cached rows; GROUP, work-items of a group, a power of two from
// 32 on;
//   HAS_HALF, the device has cl_khr_fp16; SUB_GROUP, a width to ask the compiler for, or none. Of tiles: SCORE_DIM,
//   columns of a score; HEAD_TILE, 4 to 32, and KEY_TILE, powers of two; VALUE_TILE, columns of values; COLUMN_LANES,
//   work-items that share a row of values, a power of two
#ifndef GROUP
#error "GROUP is missing"
#endif

// Two f16 as f32, of their bits.
#if defined(HAS_HALF) && defined(cl_khr_fp16)
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define two_halves(bits) convert_float2(as_half2(bits))
#else
static inline float2 two_halves(uint bits) {
    return vload_half2(0, (const half *)&bits);
}
#endif

// WIDTH elements of 16 bytes as they lie, and as f32; rows begin at multiples of 16 bytes.
#if defined(KEYS_F32)
#define WIDTH 4
typedef float element_t;
typedef float4 raw_t;
typedef float4 wide_t;
#define widened(raw) (raw)
#define store_wide(to, value) (*(__local float4 *)(to) = (value))
#elif defined(KEYS_F16) || defined(KEYS_BF16)
#define WIDTH 8
typedef uint4 raw_t;
typedef float8 wide_t;
#define store_wide(to, value) (((__local float4 *)(to))[0] = (value).lo, ((__local float4 *)(to))[1] = (value).hi)
#ifdef KEYS_F16
typedef half element_t;
#define widened(raw) (float8)(two_halves((raw).x), two_halves((raw).y), two_halves((raw).z), two_halves((raw).w))
#else
typedef ushort element_t;
static inline float8 widened(raw_t raw) {
    float4 even = as_float4(raw << 16), odd = as_float4(raw & 0xffff0000u);
    return (float8)(even.x, odd.x, even.y, odd.y, even.z, odd.z, even.w, odd.w);
}
#endif
#else
#error "KEYS_F32, KEYS_F16 or KEYS_BF16 is missing"
#endif
#define raw_load(pointer) (*(const __global raw_t *)(pointer))

#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(16)))
#ifdef SUB_GROUP
#define IN_GROUPS                                                                                                      \
    __attribute__((reqd_work_group_size(GROUP, 1, 1))) __attribute__((intel_reqd_sub_group_size(SUB_GROUP)))
#else
#define IN_GROUPS __attribute__((reqd_work_group_size(GROUP, 1, 1)))
#endif
#define LN_2 0.693147180559945309f
#define LOG2_E 1.44269504088896341f

// M(0) M(1) ... in the text itself: some compilers keep arrays in memory whose indices become constants only as loops
// are unrolled.
#define EACH_4(M) M(0) M(1) M(2) M(3)
#define EACH_16(M) EACH_4(M) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)

#ifdef HEAD_TILE
#if !defined(SCORE_DIM) || !defined(KEY_TILE) || !defined(VALUE_TILE) || !defined(COLUMN_LANES)
#error "SCORE_DIM, KEY_TILE, VALUE_TILE or COLUMN_LANES is missing"
#endif
#define DEPTH (SCORE_DIM % 32 ? 16 : 32)
#define DEPTH_STRIDE (DEPTH + 4) // a gap keeps neighbouring keys in banks of their own
#define HEAD_QUADS (HEAD_TILE / 4)
#define KEY_LANES (GROUP / HEAD_QUADS)
#define ITEM_KEYS (KEY_TILE / KEY_LANES) // up to 4
#define VALUE_QUADS (VALUE_TILE / 4)
#define HEAD_PARTS (GROUP / COLUMN_LANES < HEAD_QUADS ? GROUP / COLUMN_LANES : HEAD_QUADS)
#define ITEM_HEADS (HEAD_TILE / HEAD_PARTS)
#define ITEM_QUADS ((VALUE_QUADS + COLUMN_LANES - 1) / COLUMN_LANES)
#if ITEM_KEYS < 1 || ITEM_KEYS > 4 || ITEM_HEADS * ITEM_QUADS > 16
#error "tiles that do not fit the group"
#endif
#define STAGED_KEYS (KEY_TILE * DEPTH_STRIDE)
#define STAGED (STAGED_KEYS > 4 * VALUE_TILE ? STAGED_KEYS : 4 * VALUE_TILE) // floats
#define VALUE_KEYS (STAGED / VALUE_TILE)                                     // that are staged at a time

// What a work-item stages: it is fetched while the tile before is at work.
#define KEY_LOADS ((KEY_TILE * (DEPTH / WIDTH) + GROUP - 1) / GROUP)
#define QUERY_LOADS ((HEAD_TILE * (DEPTH / 4) + GROUP - 1) / GROUP)
#define VALUE_LOADS ((VALUE_KEYS * (VALUE_TILE / WIDTH) + GROUP - 1) / GROUP)
typedef struct tile_source {
    const __global float *query; // of the first head
    const __global element_t *rows;
    long query_stride, row_stride;
    int heads, keys; // that there are: past them the last one is taken again, and not used
    float factor;    // of queries
} tile_source;

// Columns [column, column + DEPTH) of KEY_TILE rows and HEAD_TILE queries.
INLINE void fetch_columns(raw_t *keys, float4 *queries, const tile_source *s, int column) {
#pragma unroll
    for (int l = 0; l < KEY_LOADS; l++) {
        int i = get_local_id(0) + l * GROUP, key = min(i / (DEPTH / WIDTH), s->keys - 1);
        keys[l] = raw_load(s->rows + key * s->row_stride + column + i % (DEPTH / WIDTH) * WIDTH);
    }
#pragma unroll
    for (int l = 0; l < QUERY_LOADS; l++) {
        int i = get_local_id(0) + l * GROUP, head = min(i / (DEPTH / 4), s->heads - 1);
        queries[l] = *(const __global float4 *)(s->query + head * s->query_stride + column + i % (DEPTH / 4) * 4);
    }
}

// To staged [KEY_TILE][DEPTH_STRIDE] and, times factor, to queries [DEPTH][HEAD_TILE].
INLINE void put_columns(__local float *staged, __local float *queries, const raw_t *keys, const float4 *fetched,
                        float factor) {
#pragma unroll
    for (int l = 0; l < KEY_LOADS; l++) {
        int i = get_local_id(0) + l * GROUP;
        wide_t values = widened(keys[l]);
        if (i < KEY_TILE * (DEPTH / WIDTH))
            store_wide(staged + i / (DEPTH / WIDTH) * DEPTH_STRIDE + i % (DEPTH / WIDTH) * WIDTH, values);
    }
#pragma unroll
    for (int l = 0; l < QUERY_LOADS; l++) {
        int i = get_local_id(0) + l * GROUP;
        __local float *to = queries + i % (DEPTH / 4) * 4 * HEAD_TILE + i / (DEPTH / 4);
        float4 values = fetched[l] * factor;
        if (i >= HEAD_TILE * (DEPTH / 4)) continue;
        to[0] = values.x;
        to[HEAD_TILE] = values.y;
        to[2 * HEAD_TILE] = values.z;
        to[3 * HEAD_TILE] = values.w;
    }
}

// A work-item's heads are 4 from item_head() on, its keys item_key(0), item_key(1) ...; scores[i] are the 4 heads' of
// key i.
#define item_head() ((int)get_local_id(0) % HEAD_QUADS * 4)
#define item_key(i) ((int)get_local_id(0) / HEAD_QUADS + (i)*KEY_LANES)

// DEPTH columns are summed apart first, which keeps the rounding error of wide keys small.
INLINE void score_columns(float4 *scores, const __local float *queries, const __local float *staged) {
    const __local float *q = queries + item_head(), *k = staged + item_key(0) * DEPTH_STRIDE;
    float4 sums[4];
#define CLEAR(i) sums[i] = (float4)0.0f;
    EACH_4(CLEAR)
#undef CLEAR
#pragma unroll
    for (int d = 0; d < DEPTH; d += 4) {
        float4 q0 = *(const __local float4 *)(q + d * HEAD_TILE),
               q1 = *(const __local float4 *)(q + (d + 1) * HEAD_TILE);
        float4 q2 = *(const __local float4 *)(q + (d + 2) * HEAD_TILE),
               q3 = *(const __local float4 *)(q + (d + 3) * HEAD_TILE);
#define SCORE(i)                                                                                                       \
    if (i < ITEM_KEYS) {                                                                                               \
        float4 key = *(const __local float4 *)(k + i * KEY_LANES * DEPTH_STRIDE + d);                                  \
        sums[i] = fma(q3, key.wwww, fma(q2, key.zzzz, fma(q1, key.yyyy, fma(q0, key.xxxx, sums[i]))));                 \
    }
        EACH_4(SCORE)
#undef SCORE
    }
#define ADD(i) scores[i] += sums[i];
    EACH_4(ADD)
#undef ADD
}

// Scores of a tile. `staged` and `queries` are free for another use after the next barrier.
INLINE void score_tile(float4 *scores, __local float *staged, __local float *queries, const tile_source *s) {
    raw_t keys_next[KEY_LOADS];
    float4 queries_next[QUERY_LOADS];
#define CLEAR(i) scores[i] = (float4)0.0f;
    EACH_4(CLEAR)
#undef CLEAR
    fetch_columns(keys_next, queries_next, s, 0);
    for (int column = 0; column < SCORE_DIM; column += DEPTH) {
        barrier(CLK_LOCAL_MEM_FENCE);
        put_columns(staged, queries, keys_next, queries_next, s->factor);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (column + DEPTH < SCORE_DIM) fetch_columns(keys_next, queries_next, s, column + DEPTH);
        score_columns(scores, queries, staged);
    }
}

// VALUE_TILE columns of VALUE_KEYS rows from `first` on; past `count` the last one again, whose weights are zeros.
INLINE void fetch_values(raw_t *values, const __global element_t *rows, long stride, int first, int count) {
#pragma unroll
    for (int l = 0; l < VALUE_LOADS; l++) {
        int i = get_local_id(0) + l * GROUP, key = min(first + i / (VALUE_TILE / WIDTH), count - 1);
        values[l] = raw_load(rows + key * stride + i % (VALUE_TILE / WIDTH) * WIDTH);
    }
}

INLINE void put_values(__local float *staged, const raw_t *values) {
#pragma unroll
    for (int l = 0; l < VALUE_LOADS; l++) {
        int i = get_local_id(0) + l * GROUP;
        wide_t floats = widened(values[l]);
        if (i < VALUE_KEYS * (VALUE_TILE / WIDTH)) store_wide(staged + i * WIDTH, floats);
    }
}

// A work-item's heads are ITEM_HEADS from value_head() on, its columns 4 from each value_column(q) on, q < ITEM_QUADS.
#define value_head() ((int)get_local_id(0) / COLUMN_LANES * ITEM_HEADS)
#define value_column(q) (((int)get_local_id(0) % COLUMN_LANES + (q)*COLUMN_LANES) * 4)
#define has_values() (get_local_id(0) < COLUMN_LANES * HEAD_PARTS)

// Of four times 4 numbers, one.
INLINE float one_of(const float4 *fours, const int i) {
    float4 four = fours[i / 4];
    return i % 4 == 0 ? four.x : i % 4 == 1 ? four.y : i % 4 == 2 ? four.z : four.w;
}

// sums[head * ITEM_QUADS + quad] += weights [key][stride] by staged values, `count` keys.
INLINE void add_values(float4 *sums, const __local float *weights, const int stride, const __local float *staged,
                       int count) {
    weights += value_head();
#pragma unroll 2
    for (int key = 0; key < count; key++) {
        float4 w[4], v[4];
#define LOAD(i)                                                                                                        \
    if (i * 4 < ITEM_HEADS) w[i] = *(const __local float4 *)(weights + key * stride + i * 4);                          \
    if (i < ITEM_QUADS)                                                                                                \
        v[i] = *(const __local float4 *)(staged + key * VALUE_TILE + min(value_column(i), VALUE_TILE - 4));
        EACH_4(LOAD)
#undef LOAD
#define ADD(i)                                                                                                         \
    if (i < ITEM_HEADS * ITEM_QUADS) sums[i] = fma((float4)one_of(w, i / ITEM_QUADS), v[i % ITEM_QUADS], sums[i]);
        EACH_16(ADD)
#undef ADD
    }
}

// The same for all `count` keys of a tile; `values` are the first that fetch_values gave.
INLINE void add_tile(float4 *sums, const __local float *weights, const int stride, __local float *staged, raw_t *values,
                     const __global element_t *rows, long row_stride, int count) {
    for (int key = 0; key < count; key += VALUE_KEYS) {
        barrier(CLK_LOCAL_MEM_FENCE);
        put_values(staged, values);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (key + VALUE_KEYS < count) fetch_values(values, rows, row_stride, key + VALUE_KEYS, count);
        if (has_values()) add_values(sums, weights + key * stride, stride, staged, min(VALUE_KEYS, count - key));
    }
}
#endif
