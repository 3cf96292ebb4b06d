// SPDX-License-Identifier: Apache-2.0
// Attention with keys and values of its own for every kv head, for GPUs. Data as in baseline_attention.cl; the text of
// baseline_group.cl stands before this.                                               ref: tests/ref/ref_attend_heads.c
//
// Query token t of T sees keys [0, kv_tokens - T + t]; split s of them [s * split_tokens, (s + 1) * split_tokens).
// options: KEY_DIM, VALUE_DIM, SHARED_DIM (multiples of 16; SHARED_DIM may be 0), GROUP_HEADS (heads of a kv head);
// with
//   HEAD_TILE tile_group, else stream_group: LANES, work-items that share a row, a power of two from 4 on; UNROLL, keys
//   that each of them has at hand
#define QUERY_DIM (KEY_DIM + SHARED_DIM)
#ifdef KEYS_F16
#define store_element(to, value) vstore_half_rte(value, 0, to)
#elif defined(KEYS_BF16)
static inline void store_element(__global element_t *to, float value) {
    uint bits = as_uint(value);
    *to = (ushort)(isnan(value) ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#else
#define store_element(to, value) (*(to) = (value))
#endif

// K [T][kv heads][KEY_DIM] and V [T][kv heads][VALUE_DIM] f32 become cached tokens from `first` on.
// grid: (kv heads * max(KEY_DIM, VALUE_DIM), T)
__kernel void append_heads(const __global float *k, const __global float *v, __global element_t *keys,
                           __global element_t *values, long key_head_stride, long key_token_stride,
                           long value_head_stride, long value_token_stride, int kv_heads, int first) {
    int width = max(KEY_DIM, VALUE_DIM), g = get_global_id(0) / width, d = get_global_id(0) % width,
        t = get_global_id(1);
    if (d < KEY_DIM)
        store_element(keys + g * key_head_stride + (first + t) * key_token_stride + d,
                      k[((long)t * kv_heads + g) * KEY_DIM + d]);
    if (d < VALUE_DIM)
        store_element(values + g * value_head_stride + (first + t) * value_token_stride + d,
                      v[((long)t * kv_heads + g) * VALUE_DIM + d]);
}

// What a group does: keys [begin, end) of a kv head, and the state of the first of its heads.
typedef struct span {
    int begin, end;
    long state;
} span;

INLINE span find_span(int first_head, int heads, int kv_tokens, int split_tokens, int first_split) {
    int s = get_group_id(1), t = get_group_id(2), T = get_num_groups(2);
    span span;
    span.begin = s * split_tokens;
    span.end = min(span.begin + split_tokens, kv_tokens - T + t + 1);
    span.state = ((long)(first_split + s) * T + t) * heads + first_head;
    return span;
}

#define HEADS_ARGUMENTS                                                                                                \
    const __global float *query, const __global element_t *keys, const __global element_t *values,                     \
        const __global float *shared, __global float *output, __global float *lse, long key_head_stride,               \
        long key_token_stride, long value_head_stride, long value_token_stride, long value_offset, int heads,          \
        int kv_tokens, int split_tokens, int first_split, long shared_stride, long shared_offset, float scale

#ifndef HEAD_TILE
// --- stream_group: few heads a kv head, bound by the memory's rate. LANES work-items share a row, 16 bytes each,
// neighbours beside each other; the group's SETS of them take neighbouring keys, so that the group reads GROUP * 16
// bytes in one piece.
// Parts of scores are added up through local memory, which takes one barrier for SETS * UNROLL keys. Each set has a
// softmax of its own; at the end they are merged. Values are asked for before the scores are made of the keys, and the
// next keys before the values are used: something is always on its way.
// grid: (kv heads * GROUP, splits, T), local (GROUP).
// local memory: PARTIAL + GROUP_HEADS * (QUERY_DIM + 2 * SETS) floats
#define SETS (GROUP / LANES)
#define BLOCK (SETS * UNROLL)
#define KEY_PASSES ((KEY_DIM / WIDTH + LANES - 1) / LANES)
#define VALUE_PASSES ((VALUE_DIM / WIDTH + LANES - 1) / LANES)
#define SHARED_PASSES ((SHARED_DIM / 4 + LANES - 1) / LANES)
#define ROOM(count) ((count) > 0 ? (count) : 1)
#define TURN (UNROLL * GROUP_HEADS * GROUP) // floats of partial scores of a block; two blocks take turns
#define PARTIAL (2 * TURN > WIDTH * GROUP ? 2 * TURN : WIDTH * GROUP)

// A work-item's share of UNROLL rows, `key` the first and SETS apart; past `last` that one again.
INLINE void fetch(raw_t *to, const __global element_t *rows, long stride, int key, int last, const int vectors,
                  const int passes) {
    int lane = get_local_id(0) % LANES;
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
        const __global element_t *row = rows + min(key + u * SETS, last) * stride;
#pragma unroll
        for (int p = 0; p < passes; p++)
            to[u * passes + p] = vectors % LANES == 0 || lane + p * LANES < vectors
                                     ? raw_load(row + (lane + p * LANES) * WIDTH)
                                     : (raw_t)0;
    }
}

INLINE float wide_dot(wide_t a, wide_t b, float sum) {
#if WIDTH == 8
    sum = fma(a.s7, b.s7, fma(a.s6, b.s6, fma(a.s5, b.s5, fma(a.s4, b.s4, sum))));
#endif
    return fma(a.s3, b.s3, fma(a.s2, b.s2, fma(a.s1, b.s1, fma(a.s0, b.s0, sum))));
}

// Queries times factor, one after the other. Those of several heads would take more registers than the rest.
INLINE void stage_queries(__local float *to, const __global float *query, float factor) {
    for (int i = get_local_id(0); i < GROUP_HEADS * QUERY_DIM; i += GROUP) to[i] = query[i] * factor;
}

// A work-item's share of a head's queries.
INLINE wide_t query_part(const __local float *query, int p) {
    int at = (get_local_id(0) % LANES + p * LANES) * WIDTH;
    if (KEY_DIM / WIDTH % LANES && at >= KEY_DIM) return (wide_t)0.0f;
    const __local float4 *from = (const __local float4 *)(query + at);
#if WIDTH == 8
    return (wide_t)(from[0], from[1]);
#else
    return from[0];
#endif
}

INLINE float4 shared_part(const __local float *query, int p) {
    int at = (get_local_id(0) % LANES + p * LANES) * 4;
    return at < SHARED_DIM ? *(const __local float4 *)(query + KEY_DIM + at) : (float4)0.0f;
}

// The lanes' parts of a block's scores.
INLINE void put_scores(__local float *partial, const __local float *query, const raw_t *k, const float4 *k_shared) {
    wide_t keys[UNROLL * KEY_PASSES];
#pragma unroll
    for (int i = 0; i < UNROLL * KEY_PASSES; i++) keys[i] = widened(k[i]);
#pragma unroll
    for (int h = 0; h < GROUP_HEADS; h++) {
        float sums[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; u++) sums[u] = 0.0f;
#pragma unroll
        for (int p = 0; p < KEY_PASSES; p++) {
            wide_t q = query_part(query + h * QUERY_DIM, p);
#pragma unroll
            for (int u = 0; u < UNROLL; u++) sums[u] = wide_dot(q, keys[u * KEY_PASSES + p], sums[u]);
        }
#pragma unroll
        for (int p = 0; p < SHARED_PASSES; p++) {
            float4 q = shared_part(query + h * QUERY_DIM, p);
#pragma unroll
            for (int u = 0; u < UNROLL; u++) sums[u] += dot(q, k_shared[u * SHARED_PASSES + p]);
        }
#pragma unroll
        for (int u = 0; u < UNROLL; u++) partial[(u * GROUP_HEADS + h) * GROUP + get_local_id(0)] = sums[u];
    }
}

// Scores of the set's UNROLL keys for one head, in units of log2; from `end` on -infinity.
INLINE void add_scores(float *scores, const __local float *partial, int h, int key, int end) {
    int set = get_local_id(0) / LANES;
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
        const __local float4 *parts = (const __local float4 *)(partial + (u * GROUP_HEADS + h) * GROUP + set * LANES);
        float4 sum = parts[0];
#pragma unroll
        for (int i = 1; i < LANES / 4; i++) sum += parts[i];
        scores[u] = key + u * SETS < end ? (sum.x + sum.y) + (sum.z + sum.w) : -INFINITY;
    }
}

// Scores become weights; answers what older sums are multiplied by.
INLINE float soften(float *scores, float *top, float *total) {
    float now = *top, sum = 0.0f;
#pragma unroll
    for (int u = 0; u < UNROLL; u++) now = fmax(now, scores[u]);
    // A set that has seen no key yet: every difference must be -infinity, not NaN.
    float base = now == -INFINITY ? 0.0f : now, factor = exp2(*top - base);
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
        scores[u] = exp2(scores[u] - base);
        sum += scores[u];
    }
    *top = now;
    *total = fma(*total, factor, sum);
    return factor;
}

// A block is summed apart first, which keeps the rounding error of long contexts small.
INLINE void sum_values(wide_t *sums, const raw_t *v, const float *weights, const float *factors) {
#pragma unroll
    for (int p = 0; p < VALUE_PASSES; p++) {
        wide_t values[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; u++) values[u] = widened(v[u * VALUE_PASSES + p]);
#pragma unroll
        for (int h = 0; h < GROUP_HEADS; h++) {
            wide_t block = weights[h * UNROLL] * values[0];
#pragma unroll
            for (int u = 1; u < UNROLL; u++) block = fma((wide_t)weights[h * UNROLL + u], values[u], block);
            sums[h * VALUE_PASSES + p] = fma(sums[h * VALUE_PASSES + p], (wide_t)factors[h], block);
        }
    }
}

// Adds up what the sets have of one head. partial: what it held is no longer needed.
INLINE void merge_sets(__global float *output, __global float *lse, const wide_t *sums, __local float *partial,
                       const __local float *tops, const __local float *totals) {
    int item = get_local_id(0);
    float now = tops[0], total = 0.0f;
    for (int i = 1; i < SETS; i++) now = fmax(now, tops[i]);
    float base = now == -INFINITY ? 0.0f : now;
    for (int i = 0; i < SETS; i++) total = fma(totals[i], exp2(tops[i] - base), total);
    float share = total > 0.0f ? exp2(tops[item / LANES] - base) / total : 0.0f;
    if (item == 0) *lse = total > 0.0f ? (now + log2(total)) * LN_2 : -INFINITY;
#pragma unroll
    for (int p = 0; p < VALUE_PASSES; p++) {
        barrier(CLK_LOCAL_MEM_FENCE);
        store_wide(partial + item * WIDTH, sums[p] * share);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int d = item; d < LANES * WIDTH; d += GROUP) {
            float sum = 0.0f;
            for (int i = 0; i < SETS; i++) sum += partial[i * LANES * WIDTH + d];
            if (p * LANES * WIDTH + d < VALUE_DIM) output[p * LANES * WIDTH + d] = sum;
        }
    }
}

IN_GROUPS __kernel void stream_group(HEADS_ARGUMENTS) {
    __local float partial[PARTIAL] ALIGNED, queries[GROUP_HEADS * QUERY_DIM] ALIGNED;
    __local float tops[GROUP_HEADS * SETS], totals[GROUP_HEADS * SETS];
    wide_t sums[GROUP_HEADS * VALUE_PASSES];
    raw_t k[UNROLL * KEY_PASSES], v[UNROLL * VALUE_PASSES];
    float4 k_shared[ROOM(UNROLL * SHARED_PASSES)];
    float top[GROUP_HEADS], total[GROUP_HEADS];
    int g = get_group_id(0), item = get_local_id(0), set = item / LANES, turn = 0;
    span span = find_span(g * GROUP_HEADS, heads, kv_tokens, split_tokens, first_split);
    keys += g * key_head_stride;
    values += value_offset + g * value_head_stride;
    stage_queries(queries, query + ((long)get_group_id(2) * heads + g * GROUP_HEADS) * QUERY_DIM, scale * LOG2_E);
#pragma unroll
    for (int h = 0; h < GROUP_HEADS; h++) {
        top[h] = -INFINITY;
        total[h] = 0.0f;
    }
#pragma unroll
    for (int i = 0; i < GROUP_HEADS * VALUE_PASSES; i++) sums[i] = (wide_t)0.0f;
    if (span.begin < span.end)
        fetch(k, keys, key_token_stride, span.begin + set, span.end - 1, KEY_DIM / WIDTH, KEY_PASSES);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int block = span.begin; block < span.end; block += BLOCK, turn ^= TURN) {
        int key = block + set, last = span.end - 1;
        float weights[GROUP_HEADS * UNROLL], factors[GROUP_HEADS];
        fetch(v, values, value_token_stride, key, last, VALUE_DIM / WIDTH, VALUE_PASSES);
#pragma unroll
        for (int i = 0; i < UNROLL * SHARED_PASSES; i++) {
            int at = (item % LANES + i % ROOM(SHARED_PASSES) * LANES) * 4;
            const __global float *row =
                shared + shared_offset + min(key + i / ROOM(SHARED_PASSES) * SETS, last) * shared_stride;
            k_shared[i] = at < SHARED_DIM ? *(const __global float4 *)(row + at) : (float4)0.0f;
        }
        put_scores(partial + turn, queries, k, k_shared);
        barrier(CLK_LOCAL_MEM_FENCE);
        fetch(k, keys, key_token_stride, min(key + BLOCK, last), last, KEY_DIM / WIDTH, KEY_PASSES);
#pragma unroll
        for (int h = 0; h < GROUP_HEADS; h++) {
            add_scores(weights + h * UNROLL, partial + turn, h, key, span.end);
            factors[h] = soften(weights + h * UNROLL, top + h, total + h);
        }
        sum_values(sums, v, weights, factors);
    }
    if (item % LANES == 0)
#pragma unroll
        for (int h = 0; h < GROUP_HEADS; h++) {
            tops[h * SETS + set] = top[h];
            totals[h * SETS + set] = total[h];
        }
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int h = 0; h < GROUP_HEADS; h++)
        merge_sets(output + (span.state + h) * VALUE_DIM, lse + span.state + h, sums + h * VALUE_PASSES, partial,
                   tops + h * SETS, totals + h * SETS);
}

#else
// --- tile_group: many heads a kv head, which share each staged key and value.
// grid: (kv heads * ceil(GROUP_HEADS / HEAD_TILE) * GROUP, splits, T), local (GROUP).
// local memory: STAGED + DEPTH * HEAD_TILE + KEY_TILE * HEAD_TILE + GROUP + 2 * HEAD_TILE floats
#define HEAD_TILES ((GROUP_HEADS + HEAD_TILE - 1) / HEAD_TILE)
#define PARTS (GROUP / HEAD_TILE) // work-items that share a head's softmax

// Online softmax of a tile's scores [key][HEAD_TILE], in units of log2, which become weights. space: GROUP floats.
// total: the head's, kept by the first of its work-items.
INLINE void soften_tile(__local float *weights, __local float *space, __local float *top, __local float *rescale,
                        float *total) {
    int item = get_local_id(0), head = item % HEAD_TILE, part = item / HEAD_TILE;
    float peak = -INFINITY, sum = 0.0f;
#pragma unroll 4
    for (int i = part; i < KEY_TILE; i += PARTS) peak = fmax(peak, weights[i * HEAD_TILE + head]);
    space[item] = peak;
    barrier(CLK_LOCAL_MEM_FENCE);
    float before = top[head], now = before;
    for (int i = 0; i < PARTS; i++) now = fmax(now, space[i * HEAD_TILE + head]);
    float base = now == -INFINITY ? 0.0f : now;
#pragma unroll 4
    for (int i = part; i < KEY_TILE; i += PARTS) {
        float weight = exp2(weights[i * HEAD_TILE + head] - base);
        weights[i * HEAD_TILE + head] = weight;
        sum += weight;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    space[item] = sum;
    if (part == 0) {
        top[head] = now;
        rescale[head] = exp2(before - base);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (part > 0) return;
    for (int i = 1; i < PARTS; i++) sum += space[i * HEAD_TILE + head];
    *total = fma(*total, rescale[head], sum);
}

// All sums times their head's factor, to the states.
INLINE void write_sums(__global float *output, const float4 *sums, const __local float *factors, int heads) {
    if (!has_values()) return;
#define WRITE(i)                                                                                                       \
    if (i < ITEM_HEADS * ITEM_QUADS) {                                                                                 \
        int head = value_head() + i / ITEM_QUADS, column = value_column(i % ITEM_QUADS);                               \
        if (head < heads && column < VALUE_DIM)                                                                        \
            *(__global float4 *)(output + (long)head * VALUE_DIM + column) = sums[i] * factors[head];                  \
    }
    EACH_16(WRITE)
#undef WRITE
}

IN_GROUPS __kernel void tile_group(HEADS_ARGUMENTS) {
    __local float staged[STAGED] ALIGNED, queries[DEPTH * HEAD_TILE] ALIGNED, weights[KEY_TILE * HEAD_TILE] ALIGNED;
    __local float space[GROUP], top[HEAD_TILE], rescale[HEAD_TILE] ALIGNED;
    int item = get_local_id(0), g = get_group_id(0) / HEAD_TILES, first = get_group_id(0) % HEAD_TILES * HEAD_TILE;
    int there = min(HEAD_TILE, GROUP_HEADS - first), head = g * GROUP_HEADS + first;
    span span = find_span(head, heads, kv_tokens, split_tokens, first_split);
    float total = 0.0f;
    float4 sums[16];
#define CLEAR(i) sums[i] = (float4)0.0f;
    EACH_16(CLEAR)
    keys += g * key_head_stride;
    values += value_offset + g * value_head_stride;
    tile_source source;
    source.query = query + ((long)get_group_id(2) * heads + head) * QUERY_DIM;
    source.query_stride = QUERY_DIM;
    source.row_stride = key_token_stride;
    source.heads = there;
    source.factor = scale * LOG2_E;
    if (item < HEAD_TILE) top[item] = -INFINITY;
    for (int key = span.begin; key < span.end; key += KEY_TILE) {
        int count = min(KEY_TILE, span.end - key);
        const __global element_t *tile_values = values + key * value_token_stride;
        float4 scores[4];
        raw_t fetched[VALUE_LOADS];
        source.rows = keys + key * key_token_stride;
        source.keys = count;
        score_tile(scores, staged, queries, &source);
        fetch_values(fetched, tile_values, value_token_stride, 0, count);
#define PUT(i)                                                                                                         \
    if (i < ITEM_KEYS)                                                                                                 \
        *(__local float4 *)(weights + item_key(i) * HEAD_TILE + item_head()) =                                         \
            item_key(i) < count ? scores[i] : (float4)-INFINITY;
        EACH_4(PUT)
        barrier(CLK_LOCAL_MEM_FENCE);
        soften_tile(weights, space, top, rescale, &total);
        // A tile is summed apart first, which keeps the rounding error of long contexts small.
        float4 tile[16];
#define CLEAR_TILE(i) tile[i] = (float4)0.0f;
        EACH_16(CLEAR_TILE)
        add_tile(tile, weights, HEAD_TILE, staged, fetched, tile_values, value_token_stride, count);
#define RESCALE(i)                                                                                                     \
    if (i < ITEM_HEADS * ITEM_QUADS) sums[i] = fma(sums[i], (float4)rescale[value_head() + i / ITEM_QUADS], tile[i]);
        if (has_values()) {
            EACH_16(RESCALE)
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < HEAD_TILE) rescale[item] = total > 0.0f ? 1.0f / total : 0.0f;
    if (item < there) lse[span.state + item] = total > 0.0f ? (top[item] + log2(total)) * LN_2 : -INFINITY;
    barrier(CLK_LOCAL_MEM_FENCE);
    write_sums(output + span.state * VALUE_DIM, sums, rescale, there);
}
#endif
