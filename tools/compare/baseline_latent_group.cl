// SPDX-License-Identifier: Apache-2.0
// MLA without what makes it fast, for GPUs: absorbed attention in kernels for scores, softmax and values. Keys and
// values are rebuilt by the library's own project. The text of baseline_group.cl stands before this.
//                                                                                     ref: tests/ref/ref_attend_heads.c
//
//   rows    [token][ROW_WIDTH] elements: LATENT_DIM latent, then ROPE_DIM rotary values
//   query   [H][ROW_WIDTH] f32, absorbed
//   weights [H rounded up to HEAD_TILE][stride] f32: scores in units of log2, then weights not divided by their sum yet
//   totals  [H] f32
// options: LATENT_DIM, ROPE_DIM (multiples of 16); VALUE_TILE divides LATENT_DIM
#define ROW_WIDTH (LATENT_DIM + ROPE_DIM)

// grid: (ceil(tokens / KEY_TILE) * GROUP, ceil(H / HEAD_TILE)), local (GROUP).
// local memory: STAGED + DEPTH * HEAD_TILE floats
IN_GROUPS __kernel void latent_scores_group(const __global float *query, const __global element_t *rows,
                                            __global float *weights, long stride, int heads, int tokens, float scale) {
    __local float staged[STAGED] ALIGNED, queries[DEPTH * HEAD_TILE] ALIGNED;
    int key = get_group_id(0) * KEY_TILE, head = get_group_id(1) * HEAD_TILE;
    float4 scores[4];
    tile_source source;
    source.query = query + (long)head * ROW_WIDTH;
    source.rows = rows + (long)key * ROW_WIDTH;
    source.query_stride = source.row_stride = ROW_WIDTH;
    source.heads = min(HEAD_TILE, heads - head);
    source.keys = min(KEY_TILE, tokens - key);
    source.factor = scale * LOG2_E;
    score_tile(scores, staged, queries, &source);
    weights += (head + item_head()) * stride + key;
#define PUT(i)                                                                                                         \
    if (i < ITEM_KEYS && key + item_key(i) < tokens) {                                                                 \
        weights[item_key(i)] = scores[i].x;                                                                            \
        weights[stride + item_key(i)] = scores[i].y;                                                                   \
        weights[2 * stride + item_key(i)] = scores[i].z;                                                               \
        weights[3 * stride + item_key(i)] = scores[i].w;                                                               \
    }
    EACH_4(PUT)
}

// Over the group, in an order that GROUP decides.
INLINE float group_peak(float value, __local float *space) {
    int item = get_local_id(0);
    space[item] = value;
    for (int half_group = GROUP / 2; half_group > 0; half_group /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < half_group) space[item] = fmax(space[item], space[item + half_group]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return space[0];
}

INLINE float group_total(float value, __local float *space) {
    int item = get_local_id(0);
    space[item] = value;
    for (int half_group = GROUP / 2; half_group > 0; half_group /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < half_group) space[item] += space[item + half_group];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return space[0];
}

// grid: (H * GROUP), local (GROUP)
IN_GROUPS __kernel void latent_softmax_group(__global float *weights, __global float *totals, long stride, int tokens) {
    __local float peaks[GROUP], sums[GROUP];
    int head = get_group_id(0), item = get_local_id(0);
    float peak = -INFINITY, sum = 0.0f;
    weights += head * stride;
#pragma unroll 4
    for (int i = item; i < tokens; i += GROUP) peak = fmax(peak, weights[i]);
    peak = group_peak(peak, peaks);
#pragma unroll 4
    for (int i = item; i < tokens; i += GROUP) {
        float weight = exp2(weights[i] - peak);
        weights[i] = weight;
        sum += weight;
    }
    sum = group_total(sum, sums);
    if (item == 0) totals[head] = sum;
}

// states [split][H][LATENT_DIM] f32 = weights by latents, tokens [split * split_tokens, ...).
// grid: (LATENT_DIM / VALUE_TILE * GROUP, ceil(H / HEAD_TILE), splits), local (GROUP).
// local memory: STAGED + KEY_TILE * WEIGHT_STRIDE floats
#define WEIGHT_STRIDE (HEAD_TILE + 4)
IN_GROUPS __kernel void latent_values_group(const __global float *weights, const __global element_t *rows,
                                            __global float *states, long stride, int heads, int tokens,
                                            int split_tokens) {
    __local float staged[STAGED] ALIGNED, copied[KEY_TILE * WEIGHT_STRIDE] ALIGNED;
    int column = get_group_id(0) * VALUE_TILE, head = get_group_id(1) * HEAD_TILE, split = get_group_id(2);
    int end = min((split + 1) * split_tokens, tokens);
    float4 sums[16];
#define CLEAR(i) sums[i] = (float4)0.0f;
    EACH_16(CLEAR)
    weights += head * stride;
    for (int key = split * split_tokens; key < end; key += KEY_TILE) {
        int count = min(KEY_TILE, end - key);
        const __global element_t *latents = rows + (long)key * ROW_WIDTH + column;
        float4 tile[16];
        raw_t fetched[VALUE_LOADS];
#define CLEAR_TILE(i) tile[i] = (float4)0.0f;
        EACH_16(CLEAR_TILE)
        fetch_values(fetched, latents, ROW_WIDTH, 0, count);
        barrier(CLK_LOCAL_MEM_FENCE);
        // 8 keys of 4 heads beside each other: whole sectors of memory, and banks of their own.
        for (int i = get_local_id(0); i < KEY_TILE * HEAD_TILE; i += GROUP) {
            int at = i / 32 % (KEY_TILE / 8) * 8 + i % 8, of = i / 32 / (KEY_TILE / 8) * 4 + i / 8 % 4;
            copied[at * WEIGHT_STRIDE + of] = at < count ? weights[of * stride + key + at] : 0.0f;
        }
        add_tile(tile, copied, WEIGHT_STRIDE, staged, fetched, latents, ROW_WIDTH, count);
#define ADD_TILE(i) sums[i] += tile[i];
        EACH_16(ADD_TILE)
    }
    if (!has_values()) return;
#define WRITE(i)                                                                                                       \
    if (i < ITEM_HEADS * ITEM_QUADS) {                                                                                 \
        int of = head + value_head() + i / ITEM_QUADS, at = value_column(i % ITEM_QUADS);                              \
        if (of < heads && at < VALUE_TILE)                                                                             \
            *(__global float4 *)(states + ((long)split * heads + of) * LATENT_DIM + column + at) = sums[i];            \
    }
    EACH_16(WRITE)
}

// output [H][LATENT_DIM] f32.    grid: (LATENT_DIM, H)
__kernel void latent_total(const __global float *states, const __global float *totals, __global float *output,
                           int splits) {
    long heads = get_global_size(1), at = get_global_id(1) * LATENT_DIM + get_global_id(0);
    float sum = 0.0f;
    for (int s = 0; s < splits; s++) sum += states[s * heads * LATENT_DIM + at];
    output[at] = sum / totals[get_global_id(1)];
}

// widened [token][ROW_WIDTH] f32 = rows from `first` on.    grid: (ROW_WIDTH / WIDTH, tokens)
__kernel void widen(const __global element_t *rows, __global float *widened_rows, int first) {
    long token = get_global_id(1), at = get_global_id(0) * WIDTH;
    wide_t values = widened(raw_load(rows + (first + token) * ROW_WIDTH + at));
    __global float4 *to = (__global float4 *)(widened_rows + token * ROW_WIDTH + at);
#if WIDTH == 8
    to[0] = values.lo;
    to[1] = values.hi;
#else
    to[0] = values;
#endif
}
