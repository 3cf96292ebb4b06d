// SPDX-License-Identifier: Apache-2.0
// Attention with keys and values of its own for every kv head: multi-head (a kv head a head), grouped-query and
// multi-query. These are the measure that clmla's attention is compared with, so they are written to be as fast as the
// device allows. The text of baseline_tile.cl stands before this.                     ref: tests/ref/ref_attend_heads.c
//
//   query  [token][head][KEY_DIM + SHARED_DIM] f32
//   keys   value d of token j of kv head g at keys[g * head_stride + j * token_stride + d]; values likewise, from
//          value_offset on
//   shared [token][shared_stride] f32, from shared_offset on: SHARED_DIM more key values, which all kv heads have in
//   common output [split][token][head][VALUE_DIM] f32, lse [split][token][head] f32, natural log; an empty split: 0 and
//          -infinity. Splits are counted from first_split on
//
// Query token t of T sees keys [0, kv_tokens - T + t]; split s of them [s * split_tokens, (s + 1) * split_tokens).
// grid: (kv heads, splits, T), local 1.
// options: KEY_DIM, VALUE_DIM, SHARED_DIM (multiples of 16; SHARED_DIM may be 0), GROUP_HEADS (heads of a kv head)
#define ROWS ((GROUP_HEADS + 15) / 16 * 16)
#define QUERY_DIM (KEY_DIM + SHARED_DIM)
#define LN_2 0.693147180559945309f
#define LOG2_E 1.44269504088896341f

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

// A span of keys for one work-item.
typedef struct span {
    int begin, end;
    long state; // of the first of its heads
} span;

INLINE span find_span(int heads, int kv_tokens, int split_tokens, int first_split) {
    int g = get_global_id(0), s = get_global_id(1), t = get_global_id(2), T = get_global_size(2);
    span span;
    span.begin = s * split_tokens;
    span.end = min(span.begin + split_tokens, kv_tokens - T + t + 1);
    span.state = ((long)(first_split + s) * T + t) * heads + g * GROUP_HEADS;
    return span;
}

INLINE void write_state(__global float *output, __global float *lse, const float *sums, float top, float total) {
    float factor = total > 0.0f ? 1.0f / total : 0.0f;
    for (int d = 0; d < VALUE_DIM; d += 16) vstore16(vload16(0, sums + d) * factor, 0, output + d);
    *lse = total > 0.0f ? (top + log2(total)) * LN_2 : -INFINITY;
}

// --- stream_heads: few heads a kv head. Each key is read once from memory and multiplied where it is. ----------------
// A block's keys and values are a page each: what is asked for one phase ahead has come by then, and is still in the
// first-level cache.
#define STREAM_BLOCK 16
#define STREAM_KEYS 4 // scored at a time: their sums do not wait for one another
// of columns whose values are summed at a time: twice as many registers where a vector takes two
#define STREAM_VECTORS 4
#define LINE_ELEMENTS (64 / (int)sizeof(element_t))

// Asks for a row that will be read in the next phase: values while scores are made, the next block's keys while values
// are summed. The hardware's own prefetch starts anew at each change between them, which costs a quarter of the read
// rate. OpenCL's prefetch does nothing on PoCL; the compiler's builtin takes the address as it is on CPUs. Past the
// last block it asks for what is not read, which is harmless.
#ifdef __has_builtin
#if __has_builtin(__builtin_prefetch)
#define FETCH(pointer) __builtin_prefetch((const void *)(size_t)(pointer))
#endif
#endif
#ifndef FETCH
#define FETCH(pointer) prefetch((const __global uchar *)(pointer), 64)
#endif
INLINE void fetch_row(const __global element_t *row, const int width) {
#pragma unroll
    for (int d = 0; d < width; d += LINE_ELEMENTS) FETCH(row + d);
}

INLINE float stream_score(const __global float *q, const __global element_t *key, const __global float *shared) {
    float16 sum = (float16)0.0f;
    for (int d = 0; d < KEY_DIM; d += 16) sum = fma(vload16(0, q + d), load_elements(key + d), sum);
    for (int d = 0; d < SHARED_DIM; d += 16) sum = fma(vload16(0, q + KEY_DIM + d), vload16(0, shared + d), sum);
    return sum16(sum);
}

INLINE void stream_scores(float *scores, const __global float *q, const __global element_t *keys, long stride,
                          const __global float *shared, long shared_stride, int count, float factor,
                          const __global element_t *next, long next_stride) {
    int i = 0;
    for (; i + STREAM_KEYS <= count; i += STREAM_KEYS) {
        float16 sum[STREAM_KEYS];
#pragma unroll
        for (int k = 0; k < STREAM_KEYS; k++) {
            fetch_row(next + (i + k) * next_stride, VALUE_DIM);
            sum[k] = (float16)0.0f;
        }
#pragma unroll
        for (int d = 0; d < KEY_DIM; d += 16) {
            float16 a = vload16(0, q + d);
#pragma unroll
            for (int k = 0; k < STREAM_KEYS; k++) sum[k] = fma(a, load_elements(keys + (i + k) * stride + d), sum[k]);
        }
#pragma unroll
        for (int d = 0; d < SHARED_DIM; d += 16) {
            float16 a = vload16(0, q + KEY_DIM + d);
#pragma unroll
            for (int k = 0; k < STREAM_KEYS; k++)
                sum[k] = fma(a, vload16(0, shared + (i + k) * shared_stride + d), sum[k]);
        }
        vstore4(sum16_four(sum[0], sum[1], sum[2], sum[3]) * factor, 0, scores + i);
    }
    for (; i < count; i++) scores[i] = stream_score(q, keys + i * stride, shared + i * shared_stride) * factor;
    for (; i < STREAM_BLOCK; i++) scores[i] = -INFINITY;
}

// Of STREAM_VECTORS vectors of columns. A block is summed apart first, which keeps the rounding error of long contexts
// small; so in value_tile.
INLINE void stream_strip(float *sums, const float *weights, const __global element_t *values, long stride, int count,
                         float factor, const __global element_t *next, long next_stride) {
    float16 o[STREAM_VECTORS];
#pragma unroll
    for (int v = 0; v < STREAM_VECTORS; v++) o[v] = (float16)0.0f;
    for (int i = 0; i < count; i++) {
        float16 weight = (float16)weights[i];
        fetch_row(next + i * next_stride, STREAM_VECTORS * 16);
#pragma unroll
        for (int v = 0; v < STREAM_VECTORS; v++) o[v] = fma(weight, load_elements(values + i * stride + v * 16), o[v]);
    }
#pragma unroll
    for (int v = 0; v < STREAM_VECTORS; v++)
        vstore16(fma(vload16(0, sums + v * 16), (float16)factor, o[v]), 0, sums + v * 16);
}

INLINE void stream_vector(float *sums, const float *weights, const __global element_t *values, long stride, int count,
                          float factor, const __global element_t *next, long next_stride) {
    float16 o = (float16)0.0f;
    for (int i = 0; i < count; i++) {
        fetch_row(next + i * next_stride, 16);
        o = fma((float16)weights[i], load_elements(values + i * stride), o);
    }
    vstore16(fma(vload16(0, sums), (float16)factor, o), 0, sums);
}

// Keys are as wide as values, or what is more of them comes without being asked for.
INLINE void stream_values(float *sums, const float *weights, const __global element_t *values, long stride, int count,
                          float factor, const __global element_t *next, long next_stride) {
    int d = 0;
    for (; d + STREAM_VECTORS * 16 <= VALUE_DIM; d += STREAM_VECTORS * 16)
        stream_strip(sums + d, weights, values + d, stride, count, factor, next + d, next_stride);
    for (; d < VALUE_DIM; d += 16)
        stream_vector(sums + d, weights, values + d, stride, count, factor, next + d, next_stride);
}

// Scores become weights; answers what older sums are multiplied by.
INLINE float stream_soften(float *scores, float *top, float *total) {
    float16 peak = vload16(0, scores), sum = (float16)0.0f;
    for (int i = 16; i < STREAM_BLOCK; i += 16) peak = fmax(peak, vload16(0, scores + i));
    float now = fmax(*top, max16(peak)), factor = exp2(*top - now);
    for (int i = 0; i < STREAM_BLOCK; i += 16) {
        float16 weight = exp2(vload16(0, scores + i) - now);
        vstore16(weight, 0, scores + i);
        sum += weight;
    }
    *top = now;
    *total = fma(*total, factor, sum16(sum));
    return factor;
}

__kernel ONE_ITEM void stream_heads(const __global float *query, const __global element_t *keys,
                                    const __global element_t *values, const __global float *shared,
                                    __global float *output, __global float *lse, long key_head_stride,
                                    long key_token_stride, long value_head_stride, long value_token_stride,
                                    long value_offset, int heads, int kv_tokens, int split_tokens, int first_split,
                                    long shared_stride, long shared_offset, float scale) {
    float sums[GROUP_HEADS * VALUE_DIM] ALIGNED, scores[STREAM_BLOCK] ALIGNED, top[GROUP_HEADS], total[GROUP_HEADS];
    int g = get_global_id(0);
    span span = find_span(heads, kv_tokens, split_tokens, first_split);
    const __global float *q = query + ((long)get_global_id(2) * heads + g * GROUP_HEADS) * QUERY_DIM;
    for (int r = 0; r < GROUP_HEADS; r++) {
        top[r] = -INFINITY;
        total[r] = 0.0f;
        for (int d = 0; d < VALUE_DIM; d += 16) vstore16((float16)0.0f, 0, sums + r * VALUE_DIM + d);
    }
    for (int key = span.begin; key < span.end; key += STREAM_BLOCK) {
        int count = min(STREAM_BLOCK, span.end - key);
        const __global element_t *k = keys + g * key_head_stride + key * key_token_stride;
        const __global element_t *v = values + value_offset + g * value_head_stride + key * value_token_stride;
        for (int r = 0; r < GROUP_HEADS; r++) {
            stream_scores(scores, q + r * QUERY_DIM, k, key_token_stride, shared + shared_offset + key * shared_stride,
                          shared_stride, count, scale * LOG2_E, v, value_token_stride);
            float factor = stream_soften(scores, top + r, total + r);
            stream_values(sums + r * VALUE_DIM, scores, v, value_token_stride, count, factor,
                          k + STREAM_BLOCK * key_token_stride, key_token_stride);
        }
    }
    for (int r = 0; r < GROUP_HEADS; r++)
        write_state(output + (span.state + r) * VALUE_DIM, lse + span.state + r, sums + r * VALUE_DIM, top[r],
                    total[r]);
}

// --- tile_heads: many heads a kv head. Keys are converted once for all of them, which then share registers. ----------
// packed [token][kv head][ceil(GROUP_HEADS / 16)][KEY_DIM][16]: queries times scale * log2(e), by pack
#define TILE_BLOCK 48

__kernel ONE_ITEM void tile_heads(const __global float *packed, const __global element_t *keys,
                                  const __global element_t *values, __global float *output, __global float *lse,
                                  long key_head_stride, long key_token_stride, long value_head_stride,
                                  long value_token_stride, long value_offset, int heads, int kv_tokens,
                                  int split_tokens, int first_split) {
    float block[TILE_BLOCK * (KEY_DIM > VALUE_DIM ? KEY_DIM : VALUE_DIM)] ALIGNED, scores[TILE_BLOCK * ROWS] ALIGNED;
    float sums[ROWS * VALUE_DIM] ALIGNED, top[ROWS] ALIGNED, total[ROWS] ALIGNED, rescale[ROWS] ALIGNED;
    int g = get_global_id(0);
    span span = find_span(heads, kv_tokens, split_tokens, first_split);
    const __global float *q = packed + ((long)get_global_id(2) * get_global_size(0) + g) * ROWS * KEY_DIM;
    for (int r = 0; r < ROWS; r++) {
        top[r] = -INFINITY;
        total[r] = 0.0f;
        for (int d = 0; d < VALUE_DIM; d += 16) vstore16((float16)0.0f, 0, sums + r * VALUE_DIM + d);
    }
    for (int key = span.begin; key < span.end; key += TILE_BLOCK) {
        int count = min(TILE_BLOCK, span.end - key);
        load_block(block, keys + g * key_head_stride + key * key_token_stride, key_token_stride, count, TILE_BLOCK,
                   KEY_DIM);
        dot_block(q, ROWS / 16, block, count, KEY_DIM, scores, ROWS);
        for (int r = 0; r < ROWS; r += 16) soften(scores + r, ROWS, count, top + r, total + r, rescale + r);
        load_block(block, values + value_offset + g * value_head_stride + key * value_token_stride, value_token_stride,
                   count, count, VALUE_DIM);
        value_block(ROWS, VALUE_DIM, sums, block, scores, ROWS, count, rescale);
    }
    for (int r = 0; r < GROUP_HEADS; r++)
        write_state(output + (span.state + r) * VALUE_DIM, lse + span.state + r, sums + r * VALUE_DIM, top[r],
                    total[r]);
}
