// SPDX-License-Identifier: Apache-2.0
// What a device can do at most: rates of multiply-adds and of short dot products with operands in registers, and of
// reading memory. A program is built for one of them: -D FMA, INT16_DOT, BF16_DOT, INT8_DOT or READ, and of INT16_DOT's
// lanes LANE_COUNT, 8 or 16.
//
// Twelve independent accumulators hide the latency of two pipes of four cycles and, with both operands, still fit the
// 16 registers of AVX2. Operands are arguments, so that the compiler cannot fold the loop.
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

#ifdef FMA
// REAL: a vector of the device's native width.
#define START(i) REAL a##i = (REAL)(1e-3f * i);
#define STEP(i) a##i = fma(a##i, x, y);
#define ADD(i) total += a##i;

__kernel void rate(__global REAL *out, float scale, float shift, int rounds) {
    REAL x = (REAL)scale, y = (REAL)shift, total = (REAL)0.0f;
    EACH(START)
    for (int r = 0; r < rounds; r++) {
        EACH(STEP)
    }
    EACH(ADD)
    out[get_global_id(0)] = total;
}
#endif

#ifdef INT16_DOT
// Lane i of a += x[2i] y[2i] + x[2i+1] y[2i+1], 16-bit factors, int32 sums: by one instruction where the CPU has it
// (AVX512-VNNI, AVX-VNNI), else by AVX2's or AVX-512's product and a sum.
#define JOINED(a, b) a##b
#define UINTS(count) JOINED(uint, count)
#define LANES UINTS(LANE_COUNT)
#define FACTORS LANES
#if defined(__AVX512VNNI__) && (LANE_COUNT == 16 || defined(__AVX512VL__))
#define DOT(a, x, y) __asm__ volatile("vpdpwssd %2, %1, %0" : "+v"(a) : "v"(x), "v"(y));
#elif defined(__AVXVNNI__) && LANE_COUNT == 8
#define DOT(a, x, y) __asm__ volatile("%{vex%} vpdpwssd %2, %1, %0" : "+v"(a) : "v"(x), "v"(y));
#else
#define DOT(a, x, y)                                                                                                   \
    {                                                                                                                  \
        LANES product;                                                                                                 \
        __asm__ volatile("vpmaddwd %2, %1, %0" : "=v"(product) : "v"(x), "v"(y));                                      \
        a += product;                                                                                                  \
    }
#endif
#endif

#ifdef BF16_DOT
// Lane i of a += x[2i] y[2i] + x[2i+1] y[2i+1], bf16 factors, f32 sums (AVX512-BF16).
#define DOT(a, x, y) __asm__ volatile("vdpbf16ps %2, %1, %0" : "+v"(a) : "v"(x), "v"(y));
#define LANES float16
#define FACTORS uint16
#endif

#ifdef INT8_DOT
// Lane i of a += Σ x[4i+k] y[4i+k] over k < 4, x unsigned and y signed bytes, int32 sums (AVX512-VNNI).
#define DOT(a, x, y) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(a) : "v"(x), "v"(y));
#define LANES int16
#define FACTORS uint16
#endif

#ifdef DOT
#define START(i) LANES a##i = (LANES)(i);
#define STEP(i) DOT(a##i, x, y)
#define ADD(i) total += a##i;

__kernel void rate(__global LANES *out, uint left, uint right, int rounds) {
    FACTORS x = (FACTORS)left, y = (FACTORS)right;
    LANES total = (LANES)0;
    EACH(START)
    for (int r = 0; r < rounds; r++) {
        EACH(STEP)
    }
    EACH(ADD)
    out[get_global_id(0)] = total;
}

// One instruction, for the host to check: out = dot(left, right).
__kernel void check(__global const FACTORS *left, __global const FACTORS *right, __global LANES *out) {
    FACTORS x = left[0], y = right[0];
    LANES a = (LANES)0;
    DOT(a, x, y)
    out[0] = a;
}
#endif

#ifdef READ
// Work-item g sums `count` vectors from base + g * first on, `step` apart: on CPUs a piece of its own (first = count,
// step = 1), on GPUs the vectors that its neighbours leave (first = 1, step = work-items). count is a multiple of 8.
#define LOAD(i) s##i += from[(k + i) * step];

__kernel void rate(__global const REAL *in, __global REAL *out, ulong first, ulong step, ulong count, ulong base) {
    __global const REAL *from = in + base + get_global_id(0) * first;
    REAL s0 = (REAL)0.0f, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    for (ulong k = 0; k < count; k += 8) {
        LOAD(0) LOAD(1) LOAD(2) LOAD(3) LOAD(4) LOAD(5) LOAD(6) LOAD(7)
    }
    out[get_global_id(0)] = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
}
#endif
