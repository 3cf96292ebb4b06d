// SPDX-License-Identifier: Apache-2.0
// What the baseline attentions share: loads, packed operands and the two register tiles. For CPU devices: one work-item
// a group, float16 vectors. The text of baseline_attention.cl or baseline_latent.cl follows it.
// options: KEYS_F32, KEYS_F16 or KEYS_BF16, the type of cached keys and values; VECTOR_REGISTERS, 32 of 16 floats or 16
// of 8
#if defined(KEYS_F32)
typedef float element_t;
static inline float16 load_elements(const __global element_t *from) {
    return vload16(0, from);
}
static inline void store_element(__global element_t *to, float value) {
    *to = value;
}
#elif defined(KEYS_F16)
typedef half element_t;
static inline float16 load_elements(const __global element_t *from) {
    return vload_half16(0, from);
}
static inline void store_element(__global element_t *to, float value) {
    vstore_half_rte(value, 0, to);
}
#elif defined(KEYS_BF16)
typedef ushort element_t;
static inline float16 load_elements(const __global element_t *from) {
    return as_float16(convert_uint16(vload16(0, from)) << 16);
}
static inline void store_element(__global element_t *to, float value) {
    uint bits = as_uint(value);
    *to = (ushort)(isnan(value) ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#else
#error "KEYS_F32, KEYS_F16 or KEYS_BF16 is missing"
#endif

#define ALIGNED __attribute__((aligned(64)))
#define INLINE static inline __attribute__((always_inline))
#define ONE_ITEM __attribute__((reqd_work_group_size(1, 1, 1)))
#ifndef VECTOR_REGISTERS
#error "VECTOR_REGISTERS is missing"
#endif
#define DOT_RUN 64 // columns summed before the next rows: their operands stay in the first-level cache
#define VALUE_ROWS 4
#if VECTOR_REGISTERS >= 32
#define DOT_SUMS 24 // in registers: DOT_VECTORS vectors of rows by 12 keys, or 1 by 24
#define DOT_VECTORS 2
#define VALUE_VECTORS 4
#else // a vector takes two registers
#define DOT_SUMS 6
#define DOT_VECTORS 1
#define VALUE_VECTORS 1
#endif

INLINE float sum16(float16 v) {
    float8 a = v.lo + v.hi;
    float4 b = a.lo + a.hi;
    return (b.x + b.y) + (b.z + b.w);
}

INLINE float4 sum16_four(float16 a, float16 b, float16 c, float16 d) {
    float8 a8 = a.lo + a.hi, b8 = b.lo + b.hi, c8 = c.lo + c.hi, d8 = d.lo + d.hi;
    float8 ab = (float8)(a8.lo, b8.lo) + (float8)(a8.hi, b8.hi), cd = (float8)(c8.lo, d8.lo) + (float8)(c8.hi, d8.hi);
    float8 pairs = (float8)(ab.even, cd.even) + (float8)(ab.odd, cd.odd);
    return pairs.even + pairs.odd;
}

INLINE float max16(float16 v) {
    float8 a = fmax(v.lo, v.hi);
    float4 b = fmax(a.lo, a.hi);
    return fmax(fmax(b.x, b.y), fmax(b.z, b.w));
}

// rows [set][rows][width] f32, times factor, to packed [set][ceil(rows / 16)][width][16]; rows past the last are zeros.
// grid: (width, ceil(rows / 16), sets)
__kernel void pack(const __global float *rows, __global float *packed, int row_count, int width, float factor) {
    int d = get_global_id(0), tile = get_global_id(1), tiles = get_global_size(1);
    long set = get_global_id(2);
    __global float *to = packed + ((set * tiles + tile) * width + d) * 16;
    for (int i = 0; i < 16; i++) {
        int row = tile * 16 + i;
        to[i] = row < row_count ? rows[(set * row_count + row) * width + d] * factor : 0.0f;
    }
}

// Converts `count` rows of `width` elements to f32; rows up to `block` become zeros.
INLINE void load_block(float *to, const __global element_t *from, long stride, int count, int block, const int width) {
    for (int i = 0; i < block; i++)
        for (int d = 0; d < width; d += 16)
            vstore16(i < count ? load_elements(from + i * stride + d) : (float16)0.0f, 0, to + i * width + d);
}

// out[key][16 * vector + lane] (+)= sum over DOT_RUN or fewer columns: `vectors` packed vectors of rows by `keys` keys.
INLINE void dot_run(const int vectors, const int keys, const __global float *packed, long tile_stride,
                    const float *block, int key_stride, int width, float *out, int out_stride, int first_run) {
    float16 sums[DOT_SUMS];
#pragma unroll
    for (int i = 0; i < vectors * keys; i++) sums[i] = (float16)0.0f;
    for (int d = 0; d < width; d++) {
        float16 a[2];
#pragma unroll
        for (int v = 0; v < vectors; v++) a[v] = vload16(0, packed + v * tile_stride + d * 16);
#pragma unroll
        for (int i = 0; i < keys; i++) {
            float16 k = (float16)block[i * key_stride + d];
#pragma unroll
            for (int v = 0; v < vectors; v++) sums[i * vectors + v] = fma(a[v], k, sums[i * vectors + v]);
        }
    }
#pragma unroll
    for (int i = 0; i < keys; i++)
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            float *at = out + i * out_stride + v * 16;
            vstore16(first_run ? sums[i * vectors + v] : vload16(0, at) + sums[i * vectors + v], 0, at);
        }
}

// out[key][row] = packed[row] . block[key] for `tiles` vectors of rows and keys up to count, rounded up to DOT_SUMS.
INLINE void dot_block(const __global float *packed, int tiles, const float *block, int count, const int width,
                      float *out, int out_stride) {
    long tile_stride = (long)width * 16;
    for (int v = 0; v < tiles; v += DOT_VECTORS)
        for (int d = 0; d < width; d += DOT_RUN) {
            int run = min(DOT_RUN, width - d);
            const __global float *a = packed + v * tile_stride + (long)d * 16;
            float *to = out + v * 16;
            if (DOT_VECTORS == 2 && v + 1 < tiles)
                for (int i = 0; i < count; i += DOT_SUMS / 2)
                    dot_run(2, DOT_SUMS / 2, a, tile_stride, block + i * width + d, width, run, to + i * out_stride,
                            out_stride, d == 0);
            else
                for (int i = 0; i < count; i += DOT_SUMS)
                    dot_run(1, DOT_SUMS, a, tile_stride, block + i * width + d, width, run, to + i * out_stride,
                            out_stride, d == 0);
        }
}

// sums[row][16 * vector ..] = sums * rescale[row] + sum over keys of weights[key][row] * block[key], `rows` rows by
// `vectors` vectors of columns.
INLINE void value_tile(const int rows, const int vectors, float *sums, int sum_stride, const float *block,
                       int block_stride, const float *weights, int weight_stride, int count, const float *rescale) {
    float16 o[VALUE_ROWS][VALUE_VECTORS];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < vectors; v++) o[r][v] = (float16)0.0f;
    for (int i = 0; i < count; i++) {
        float16 c[VALUE_VECTORS];
#pragma unroll
        for (int v = 0; v < vectors; v++) c[v] = vload16(0, block + i * block_stride + v * 16);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            float16 weight = (float16)weights[i * weight_stride + r];
#pragma unroll
            for (int v = 0; v < vectors; v++) o[r][v] = fma(weight, c[v], o[r][v]);
        }
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            float *at = sums + r * sum_stride + v * 16;
            vstore16(fma(vload16(0, at), (float16)rescale[r], o[r][v]), 0, at);
        }
}

// The same for `rows` rows, rounded up to VALUE_ROWS, by `width` columns.
INLINE void value_block(int rows, const int width, float *sums, const float *block, const float *weights,
                        int weight_stride, int count, const float *rescale) {
    int column = 0;
    for (; column + 16 * VALUE_VECTORS <= width; column += 16 * VALUE_VECTORS)
        for (int r = 0; r < rows; r += VALUE_ROWS)
            value_tile(VALUE_ROWS, VALUE_VECTORS, sums + r * width + column, width, block + column, width, weights + r,
                       weight_stride, count, rescale + r);
    for (; column < width; column += 16)
        for (int r = 0; r < rows; r += VALUE_ROWS)
            value_tile(VALUE_ROWS, 1, sums + r * width + column, width, block + column, width, weights + r,
                       weight_stride, count, rescale + r);
}

// Online softmax of 16 rows over `count` scores, in units of log2: scores become weights; *rescale is what older sums
// are multiplied by.
INLINE void soften(float *scores, int stride, int count, float *top, float *total, float *rescale) {
    float16 before = vload16(0, top), now = before, sum = (float16)0.0f;
    for (int i = 0; i < count; i++) now = fmax(now, vload16(0, scores + i * stride));
    float16 factor = exp2(before - now);
    for (int i = 0; i < count; i++) {
        float16 weight = exp2(vload16(0, scores + i * stride) - now);
        vstore16(weight, 0, scores + i * stride);
        sum += weight;
    }
    vstore16(now, 0, top);
    vstore16(fma(vload16(0, total), factor, sum), 0, total);
    vstore16(factor, 0, rescale);
}
