// SPDX-License-Identifier: Apache-2.0
// attend_heads_tile: as attend_heads_naive, for GPUs. A group takes ROW_TILE query tokens of one head through the
// call's keys, KEY_TILE at a time, with an online softmax; key tiles that no row sees are left out.
//                                                                                     ref: tests/ref/ref_attend_heads.c
//
// Work-items stand in ROW_SIDE rows of KEY_SIDE. Item (y, x) scores tokens y + i * ROW_SIDE by keys x + j * KEY_SIDE of
// a tile, in registers, while DEPTH columns of queries and keys are staged in local memory and the next ones are on
// their way. Then it sums, for the same tokens, quads x + v * KEY_SIDE of the values, VALUE_KEYS keys staged at a time.
// What is known of a row (largest score, total) is in the registers of all its work-items; they tell each other through
// local memory. Every barrier is reached by the whole group: loops that hold one depend on the tile alone.
//
// local memory: HEADS_LOCAL_BYTES
// grid: global (TILE_GROUP * ceil(token_count / ROW_TILE), head_count), local (TILE_GROUP, 1)
// options: NOPE_DIM, ROPE_DIM, VALUE_DIM, and common/attend_heads_tile.h's TILE_GROUP, KEY_SIDE, DEPTH, VALUE_KEYS;
// SUB_GROUP: the width asked for, or none
#include "common/attend_heads.clh"
#include "common/attend_heads_tile.h"
#include "common/each.clh"
#if !defined(NOPE_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM)
#error "NOPE_DIM, ROPE_DIM or VALUE_DIM is missing"
#endif
#if !defined(TILE_GROUP) || !defined(KEY_SIDE) || !defined(DEPTH) || !defined(VALUE_KEYS)
#error "TILE_GROUP, KEY_SIDE, DEPTH or VALUE_KEYS is missing"
#endif

#define KEY_WIDTH (NOPE_DIM + ROPE_DIM)
#define ROW_SIDE HEADS_ROW_SIDE(TILE_GROUP, KEY_SIDE)
#define ROW_TILE HEADS_ROW_TILE(TILE_GROUP, KEY_SIDE)
#define KEY_TILE HEADS_KEY_TILE(KEY_SIDE)
#define ITEM_ROWS HEADS_ITEM_ROWS
#define WEIGHT_STRIDE HEADS_WEIGHT_STRIDE(KEY_SIDE)
#define VALUE_STRIDE HEADS_VALUE_STRIDE(VALUE_DIM)
#define VALUE_QUADS TILE_SHARE(VALUE_DIM, 4)
#define QUADS HEADS_QUADS(KEY_SIDE, VALUE_DIM)
#define DEPTH_QUADS (DEPTH / 4)
#define CHUNKS TILE_SHARE(KEY_WIDTH, DEPTH)
#define HIDDEN -1.0f // in place of the weight of a key that a row does not see
#define ALIGNED __attribute__((aligned(16)))
#define ALWAYS_INLINE __attribute__((always_inline))

// A tile's tensors in global memory. Past the last row or key that is read again: what comes of it is hidden or not
// written.
typedef struct tile_source {
    const __global float *query, *key, *key_rope, *value; // of the head and the tile's first token
    long query_token, key_token, key_rope_token, value_token;
    float scale; // of queries
    int rows;    // that are there
    int keys;    // of the call
    int aligned; // quads of all of them lie at multiples of 16 bytes
} tile_source;

static inline float4 load_quad(const __global float *from, int d, const int width, int aligned) {
    if (width % 4 == 0 ? d < width : d + 4 <= width)
        return aligned ? *(const __global float4 *)(from + d) : vload4(0, from + d);
    float4 values = (float4)0.0f;
    if (width % 4 == 0) return values;
    if (d < width) values.x = from[d];
    if (d + 1 < width) values.y = from[d + 1];
    if (d + 2 < width) values.z = from[d + 2];
    return values;
}

static inline float4 load_query(const tile_source *s, int row, int d) {
    return load_quad(s->query + min(row, s->rows - 1) * s->query_token, d, KEY_WIDTH, s->aligned);
}

#if NOPE_DIM % 4 == 0
static inline float4 load_key(const tile_source *s, int key, int d) {
    key = min(key, s->keys - 1);
    if (d < NOPE_DIM) return load_quad(s->key + key * s->key_token, d, NOPE_DIM, s->aligned);
    return load_quad(s->key_rope + key * s->key_rope_token, d - NOPE_DIM, ROPE_DIM, s->aligned);
}
#else
static inline float load_key_value(const tile_source *s, int key, int d) {
    if (d < NOPE_DIM) return s->key[key * s->key_token + d];
    return d < KEY_WIDTH ? s->key_rope[key * s->key_rope_token + d - NOPE_DIM] : 0.0f;
}
static inline float4 load_key(const tile_source *s, int key, int d) {
    key = min(key, s->keys - 1);
    return (float4)(load_key_value(s, key, d), load_key_value(s, key, d + 1), load_key_value(s, key, d + 2),
                    load_key_value(s, key, d + 3));
}
#endif

static inline float4 load_value(const tile_source *s, int key, int d) {
    return load_quad(s->value + min(key, s->keys - 1) * s->value_token, d, VALUE_DIM, s->aligned);
}

// What a work-item fetches for a stage while the one before is in use: of so many quads every TILE_GROUP-th.
#define QUERY_ITEMS (ROW_TILE * DEPTH_QUADS)
#define KEY_ITEMS (KEY_TILE * DEPTH_QUADS)
#define VALUE_ITEMS (VALUE_KEYS * VALUE_QUADS)
#define QUERY_LOADS TILE_SHARE(QUERY_ITEMS, TILE_GROUP) // these three at most HEADS_LOADS
#define KEY_LOADS TILE_SHARE(KEY_ITEMS, TILE_GROUP)
#define VALUE_LOADS TILE_SHARE(VALUE_ITEMS, TILE_GROUP)
#define ITEM(i) (t + (i)*TILE_GROUP)
#define IS_ITEM(i, items) ((i)*TILE_GROUP < (items) && (((i) + 1) * TILE_GROUP <= (items) || ITEM(i) < (items)))

// Index i, a constant, of an array of so many: the text of EACH_8 goes on past its end.
#define AT(i, count) ((i) < (count) ? (i) : 0)

// Where a quad of a staged query or key lies: quads change places with the row of work-items, or its column, that reads
// them, so that what neighbours read lies in other banks.
static inline uint turned(uint place, uint quad) {
    return (quad ^ place * DEPTH / 32 % DEPTH_QUADS) * 4;
}
static inline uint query_at(uint row, uint quad) {
    return row * DEPTH + turned(row % ROW_SIDE, quad);
}
static inline uint key_at(uint key, uint quad) {
    return (ROW_TILE + key) * DEPTH + turned(key % KEY_SIDE, quad);
}

// Quad ITEM(i) of queries or keys: of which row or key, and which of its quads.
#define ITEM_ROW(i) (ITEM(i) / DEPTH_QUADS)
#define ITEM_QUAD(i) (ITEM(i) % DEPTH_QUADS)
#define QUERY(i) queries[AT(i, QUERY_LOADS)]
#define KEY(i) keys[AT(i, KEY_LOADS)]

static inline ALWAYS_INLINE void fetch_keys(float4 *queries, float4 *keys, const tile_source *s, int key, int d,
                                            uint t) {
#define FETCH(i)                                                                                                       \
    if (IS_ITEM(i, QUERY_ITEMS)) QUERY(i) = load_query(s, ITEM_ROW(i), d + ITEM_QUAD(i) * 4);                          \
    if (IS_ITEM(i, KEY_ITEMS)) KEY(i) = load_key(s, key + ITEM_ROW(i), d + ITEM_QUAD(i) * 4);
    EACH_8(FETCH)
#undef FETCH
}

static inline ALWAYS_INLINE void put_keys(__local float *staged, const float4 *queries, const float4 *keys, float scale,
                                          uint t) {
#define PUT(i)                                                                                                         \
    if (IS_ITEM(i, QUERY_ITEMS)) *(__local float4 *)(staged + query_at(ITEM_ROW(i), ITEM_QUAD(i))) = QUERY(i) * scale; \
    if (IS_ITEM(i, KEY_ITEMS)) *(__local float4 *)(staged + key_at(ITEM_ROW(i), ITEM_QUAD(i))) = KEY(i);
    EACH_8(PUT)
#undef PUT
}

static inline ALWAYS_INLINE void fetch_values(float4 *values, const tile_source *s, int key, uint t) {
#define FETCH(i)                                                                                                       \
    if (IS_ITEM(i, VALUE_ITEMS))                                                                                       \
        values[AT(i, VALUE_LOADS)] = load_value(s, key + ITEM(i) / VALUE_QUADS, ITEM(i) % VALUE_QUADS * 4);
    EACH_8(FETCH)
#undef FETCH
}

static inline ALWAYS_INLINE void put_values(__local float *staged, const float4 *values, uint t) {
#define PUT(i)                                                                                                         \
    if (IS_ITEM(i, VALUE_ITEMS)) ((__local float4 *)staged)[ITEM(i)] = values[AT(i, VALUE_LOADS)];
    EACH_8(PUT)
#undef PUT
}

// A work-item's rows and its place among those that share them.
typedef struct tile_place {
    uint x, y;
} tile_place;
#define ROW(i) (at->y + (i)*ROW_SIDE)

static inline float dot_quad(float sum, float4 a, float4 b) {
    return fma(a.x, b.x, fma(a.y, b.y, fma(a.z, b.z, fma(a.w, b.w, sum))));
}

// Adds the products of DEPTH staged columns, which are summed apart: less rounding error in wide heads.
static inline ALWAYS_INLINE void add_scores(float4 *scores, const __local float *staged, const tile_place *at) {
    float4 run[ITEM_ROWS];
#define CLEAR(i) run[i] = (float4)0.0f;
    EACH_4(CLEAR)
#undef CLEAR
#pragma unroll 1
    for (uint quad = 0; quad < DEPTH_QUADS; quad++) {
        const __local float *q_at = staged + at->y * DEPTH + turned(at->y, quad);
        const __local float *k_at = staged + (ROW_TILE + at->x) * DEPTH + turned(at->x, quad);
        float4 k0 = *(const __local float4 *)k_at, k1 = *(const __local float4 *)(k_at + KEY_SIDE * DEPTH);
        float4 k2 = *(const __local float4 *)(k_at + 2 * KEY_SIDE * DEPTH);
        float4 k3 = *(const __local float4 *)(k_at + 3 * KEY_SIDE * DEPTH);
#define ADD(i)                                                                                                         \
    {                                                                                                                  \
        float4 q = *(const __local float4 *)(q_at + (i)*ROW_SIDE * DEPTH);                                             \
        run[i].x = dot_quad(run[i].x, q, k0);                                                                          \
        run[i].y = dot_quad(run[i].y, q, k1);                                                                          \
        run[i].z = dot_quad(run[i].z, q, k2);                                                                          \
        run[i].w = dot_quad(run[i].w, q, k3);                                                                          \
    }
        EACH_4(ADD)
#undef ADD
    }
#define ADD(i) scores[i] += run[i];
    EACH_4(ADD)
#undef ADD
}

// Scores of the tile's rows by the keys from `key` on, in units of log2(e).
static inline ALWAYS_INLINE void score_tile(float4 *scores, __local float *staged, const tile_source *s,
                                            const tile_place *at, int key, uint t) {
    float4 queries[QUERY_LOADS], keys[KEY_LOADS];
#define CLEAR(i) scores[i] = (float4)0.0f;
    EACH_4(CLEAR)
#undef CLEAR
    fetch_keys(queries, keys, s, key, 0, t);
    put_keys(staged, queries, keys, s->scale, t);
#pragma unroll 1
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (chunk + 1 < CHUNKS) fetch_keys(queries, keys, s, key, (chunk + 1) * DEPTH, t);
        add_scores(scores, staged + chunk % 2 * (DEPTH * (ROW_TILE + KEY_TILE)), at);
        if (chunk + 1 < CHUNKS)
            put_keys(staged + (chunk + 1) % 2 * (DEPTH * (ROW_TILE + KEY_TILE)), queries, keys, s->scale, t);
    }
}

static inline float4 cap_scores(float4 scores, float softcap) {
    return tanh(scores * (LN_2 / softcap)) * (softcap * LOG2_E);
}

// A row's scores by the keys from `key` on, KEY_SIDE apart, of which it sees [first, end): others become -infinity.
// Answers a bit for each of these.
static inline ALWAYS_INLINE uint hide_scores(float4 *scores, int first, int end, int key) {
    int4 keys = (int4)(key, key + KEY_SIDE, key + 2 * KEY_SIDE, key + 3 * KEY_SIDE),
         hidden = keys < first || keys >= end;
    *scores = select(*scores, (float4)-INFINITY, hidden);
    hidden &= (int4)(1, 2, 4, 8);
    return hidden.x | hidden.y | hidden.z | hidden.w;
}

static inline float quad_sum(float4 v) {
    return (v.x + v.y) + (v.z + v.w);
}

static inline float quad_most(float4 v) {
    return fmax(fmax(v.x, v.y), fmax(v.z, v.w));
}

// The largest of what a row's work-items told, or its sum.
static inline float share_most(const __local float *shares) {
    float4 most = ((const __local float4 *)shares)[0];
#pragma unroll
    for (int i = 1; i < KEY_SIDE / 4; i++) most = fmax(most, ((const __local float4 *)shares)[i]);
    return quad_most(most);
}
static inline float share_sum(const __local float *shares) {
    float4 sum = ((const __local float4 *)shares)[0];
#pragma unroll
    for (int i = 1; i < KEY_SIDE / 4; i++) sum += ((const __local float4 *)shares)[i];
    return quad_sum(sum);
}

// Online softmax of a row: a work-item's scores become weights, KEY_SIDE apart. Answers what the row's sums so far are
// multiplied by. Of a row that has seen no key yet every difference must be -infinity, not NaN.
static inline ALWAYS_INLINE float soften_row(__local float *weights, float *top, float *total, float4 scores,
                                             uint hidden, const __local float *shares) {
    float now = fmax(*top, share_most(shares)), base = now == -INFINITY ? 0.0f : now, rescale = exp2(*top - base);
    float4 w = exp2(scores - base);
    *total = fma(*total, rescale, quad_sum(w));
    *top = now;
    weights[0] = hidden & 1 ? HIDDEN : w.x;
    weights[KEY_SIDE] = hidden & 2 ? HIDDEN : w.y;
    weights[2 * KEY_SIDE] = hidden & 4 ? HIDDEN : w.z;
    weights[3 * KEY_SIDE] = hidden & 8 ? HIDDEN : w.w;
    return rescale;
}

// Of four numbers one; j is a constant where loops are unrolled.
static inline float one_of(float4 v, int j) {
    return j == 0 ? v.x : j == 1 ? v.y : j == 2 ? v.z : v.w;
}

// Sum number n: row SUM_ROW(n) of the work-item's, quad n % QUADS. Past the last quad its first is summed again.
#define SUM_COLUMN(n) ((at->x + (n) % QUADS * KEY_SIDE) * 4)
#define VALUE_AT(n) (((n) + 1) * KEY_SIDE <= VALUE_QUADS || at->x + (n)*KEY_SIDE < VALUE_QUADS ? (n)*KEY_SIDE * 4 : 0)
#define SUMS (ITEM_ROWS * QUADS) // at most HEADS_SUMS
#define SUM_ROW(n) AT((n) / QUADS, ITEM_ROWS)

// Adds VALUE_KEYS staged keys. masked (a constant of the caller): some row does not see some key, which then is not
// even multiplied by zero, so whatever it holds stays out.
static inline ALWAYS_INLINE void add_values(float4 *block, const __local float *values, const __local float *weights,
                                            const tile_place *at, const int masked) {
#pragma unroll 1
    for (int key = 0; key < VALUE_KEYS; key += 4) {
        float4 w[ITEM_ROWS];
#define LOAD(i) w[i] = *(const __local float4 *)(weights + (i)*ROW_SIDE * WEIGHT_STRIDE + key);
        EACH_4(LOAD)
#undef LOAD
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const __local float *from = values + (key + j) * VALUE_STRIDE;
            float4 c[QUADS];
#define LOAD(n)                                                                                                        \
    if (n < QUADS) c[AT(n, QUADS)] = *(const __local float4 *)(from + VALUE_AT(n));
            EACH_16(LOAD)
#undef LOAD
#define ADD(n)                                                                                                         \
    if (n < SUMS && (!masked || !(one_of(w[SUM_ROW(n)], j) < 0.0f)))                                                   \
        block[AT(n, SUMS)] = fma((float4)one_of(w[SUM_ROW(n)], j), c[n % QUADS], block[AT(n, SUMS)]);
            EACH_16(ADD)
#undef ADD
        }
    }
}

// Sums of the tile's rows over `count` keys from `key` on, by weights in local memory.
static inline ALWAYS_INLINE void sum_tile(float4 *block, __local float *values, const __local float *weights,
                                          const tile_source *s, const tile_place *at, int key, int count, int masked,
                                          uint t) {
    float4 fetched[VALUE_LOADS];
#define CLEAR(n)                                                                                                       \
    if (n < SUMS) block[AT(n, SUMS)] = (float4)0.0f;
    EACH_16(CLEAR)
#undef CLEAR
    fetch_values(fetched, s, key, t);
    put_values(values, fetched, t);
#pragma unroll 1
    for (int done = 0, turn = 0; done < count; done += VALUE_KEYS, turn ^= 1) {
        int more = done + VALUE_KEYS < count;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (more) fetch_values(fetched, s, key + done + VALUE_KEYS, t);
        if (masked)
            add_values(block, values + turn * (VALUE_KEYS * VALUE_STRIDE) + at->x * 4, weights + done, at, 1);
        else
            add_values(block, values + turn * (VALUE_KEYS * VALUE_STRIDE) + at->x * 4, weights + done, at, 0);
        if (more) put_values(values + (turn ^ 1) * (VALUE_KEYS * VALUE_STRIDE), fetched, t);
    }
}

// Four columns of a finished row: what was there before, unless `kept` is 0, and the sums.
static inline void write_sums(__global float *to, int d, float4 sums, float factor, float kept) {
    float4 values = factor == HIDDEN ? (float4)0.0f : sums * factor;
    if (d >= VALUE_DIM) return;
    if (kept > 0.0f) values = fma(load_quad(to, d, VALUE_DIM, 0), (float4)kept, values);
    if (d + 4 <= VALUE_DIM) {
        vstore4(values, 0, to + d);
        return;
    }
    to[d] = values.x;
    if (d + 1 < VALUE_DIM) to[d + 1] = values.y;
    if (d + 2 < VALUE_DIM) to[d + 2] = values.z;
}

static inline int is_aligned(const __global float *pointer, long stride) {
    return ((size_t)pointer & 15) == 0 && stride % 4 == 0;
}

static inline ALWAYS_INLINE void find_source(tile_source *s, const __global float *query, const __global float *key,
                                             const __global float *key_rope, const __global float *value,
                                             const attend_heads_call *call, int token, int head) {
    s->query = query + call->query + token * call->query_token + head * call->query_head;
    s->key = key + call->key + head * call->key_head;
    s->key_rope = key_rope + call->key_rope;
    s->value = value + call->value + head * call->value_head;
    s->query_token = call->query_token;
    s->key_token = call->key_token;
    s->key_rope_token = call->key_rope_token;
    s->value_token = call->value_token;
    s->scale = call->scale * LOG2_E;
    s->rows = min(ROW_TILE, call->token_count - token);
    s->keys = call->key_count;
    s->aligned = is_aligned(s->query, s->query_token) && is_aligned(s->value, s->value_token) &&
                 (NOPE_DIM == 0 || is_aligned(s->key, s->key_token)) &&
                 (ROPE_DIM == 0 || is_aligned(s->key_rope, s->key_rope_token));
}

// Writes the rows of a work-item. The keys before, if there are any, are one more block: one key of weight 1 at their
// log-sum-exp. All of a row's work-items read that before one of them writes.
static inline ALWAYS_INLINE void finish_rows(__global float *out, __global float *lse, const float4 *sums,
                                             const float *top, const float *total, __local float *row_shares,
                                             const tile_place *at, const attend_heads_call *call, int token, int head,
                                             int rows) {
    float rescale[ITEM_ROWS], kept[ITEM_ROWS]; // what sums, and the output so far, are multiplied by
#define SHARE(i)                                                                                                       \
    {                                                                                                                  \
        row_shares[i * ROW_SIDE * KEY_SIDE + at->x] = total[i];                                                        \
        kept[i] = (int)ROW(i) < rows ? heads_before(lse, call, token + ROW(i), head) * LOG2_E : -INFINITY;             \
    }
    EACH_4(SHARE)
#undef SHARE
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
#define FINISH(i)                                                                                                      \
    {                                                                                                                  \
        float now = fmax(top[i], kept[i]), base = now == -INFINITY ? 0.0f : now;                                       \
        rescale[i] = exp2(top[i] - base);                                                                              \
        kept[i] = exp2(kept[i] - base);                                                                                \
        float sum = fma(share_sum(row_shares + i * ROW_SIDE * KEY_SIDE), rescale[i], kept[i]);                         \
        int seen = sum != 0.0f; /* a NaN counts: it must show */                                                       \
        rescale[i] = seen ? rescale[i] / sum : HIDDEN;                                                                 \
        kept[i] /= sum;                                                                                                \
        if (lse && at->x == 0 && (int)ROW(i) < rows)                                                                   \
            lse[call->lse + (token + ROW(i)) * call->lse_token + head * call->lse_head] =                              \
                seen ? (now + log2(sum)) * LN_2 : -INFINITY;                                                           \
    }
    EACH_4(FINISH)
#undef FINISH
#define WRITE(n)                                                                                                       \
    if (n < SUMS && (int)ROW(SUM_ROW(n)) < rows)                                                                       \
        write_sums(out + ROW(SUM_ROW(n)) * call->output_token, SUM_COLUMN(n), sums[AT(n, SUMS)], rescale[SUM_ROW(n)],  \
                   kept[SUM_ROW(n)]);
    EACH_16(WRITE)
#undef WRITE
}

#ifdef SUB_GROUP
#define SUB_GROUP_WIDTH __attribute__((intel_reqd_sub_group_size(SUB_GROUP)))
#else
#define SUB_GROUP_WIDTH
#endif

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(TILE_GROUP, 1, 1))) void attend_heads_tile(
    HEADS_ARGUMENTS) {
    __local float shared[HEADS_SHARED(TILE_GROUP, KEY_SIDE, DEPTH)] ALIGNED; // queries and keys, or weights
    __local float values[2 * VALUE_KEYS * VALUE_STRIDE] ALIGNED;
    __local float shares[ROW_TILE * KEY_SIDE] ALIGNED;
    __local int first[ROW_TILE], end[ROW_TILE]; // the keys each row sees; neither falls from row to row

    // The last tiles see most keys: they begin first, and what is left at the end is short.
    uint t = get_local_id(0);
    int tiles = (call.token_count + ROW_TILE - 1) / ROW_TILE, head = get_group_id(1);
    int token = (tiles - 1 - (int)get_group_id(0)) * ROW_TILE, rows = min(ROW_TILE, call.token_count - token);
    tile_source s;
    tile_place place, *at = &place;
    place.x = t % KEY_SIDE;
    place.y = t / KEY_SIDE;
    find_source(&s, query, key, key_rope, value, &call, token, head);
    __global float *out = output + call.output + token * call.output_token + head * call.output_head;

    heads_range least = heads_visible(&call, token), most = heads_visible(&call, token + rows - 1);
    if (t < ROW_TILE) {
        heads_range range = heads_visible(&call, token + min((int)t, rows - 1));
        first[t] = range.first;
        end[t] = range.end;
    }

    __local float *row_shares = shares + place.y * KEY_SIDE, *row_weights = shared + place.y * WEIGHT_STRIDE;
    const __local int *row_first = first + place.y, *row_end = end + place.y;
    float4 sums[SUMS];
    float top[ITEM_ROWS], total[ITEM_ROWS], rescale[ITEM_ROWS]; // total: of the work-item's keys alone
#define BEGIN(i) top[i] = -INFINITY, total[i] = 0.0f;
    EACH_4(BEGIN)
#undef BEGIN
#define BEGIN(n)                                                                                                       \
    if (n < SUMS) sums[AT(n, SUMS)] = (float4)0.0f;
    EACH_16(BEGIN)
#undef BEGIN

    for (int first_key = least.first; first_key < most.end; first_key += KEY_TILE) {
        int own_key = first_key + (int)place.x, masked = first_key < most.first || first_key + KEY_TILE > least.end;
        float4 scores[ITEM_ROWS], block[SUMS];
        uint hidden = 0;
        score_tile(scores, shared, &s, at, first_key, t);
#define FINISH(i)                                                                                                      \
    {                                                                                                                  \
        if (call.softcap != 0.0f) scores[i] = cap_scores(scores[i], call.softcap);                                     \
        if (masked)                                                                                                    \
            hidden |= hide_scores(&scores[i], row_first[i * ROW_SIDE], row_end[i * ROW_SIDE], own_key) << i * 4;       \
        row_shares[i * ROW_SIDE * KEY_SIDE + at->x] = quad_most(scores[i]);                                            \
    }
        EACH_4(FINISH)
#undef FINISH
        barrier(CLK_LOCAL_MEM_FENCE);
#define SOFTEN(i)                                                                                                      \
    rescale[i] = soften_row(row_weights + i * ROW_SIDE * WEIGHT_STRIDE + at->x, &top[i], &total[i], scores[i],         \
                            hidden >> i * 4, row_shares + i * ROW_SIDE * KEY_SIDE);
        EACH_4(SOFTEN)
#undef SOFTEN
        sum_tile(block, values, row_weights, &s, at, first_key, min(KEY_TILE, most.end - first_key), masked, t);
#define ADD(n)                                                                                                         \
    if (n < SUMS) sums[AT(n, SUMS)] = fma(sums[AT(n, SUMS)], (float4)rescale[SUM_ROW(n)], block[AT(n, SUMS)]);
        EACH_16(ADD)
#undef ADD
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    finish_rows(out, lse, sums, top, total, row_shares, at, &call, token, head, rows);
}
