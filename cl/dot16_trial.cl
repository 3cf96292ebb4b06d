// SPDX-License-Identifier: Apache-2.0
// For a CPU to be tried with before its products of 16-bit codes are used (host/instruction_dot.c).
//   trial_sum   out [VECTOR_WIDTH] int32: 1 and of each lane's words of in, a and behind it b, both codes' products
//   trial_rate  `turns` times 12 of them and their sums, which are independent
//   trial_fma   as many f32 multiply-adds as that has sums
// options: VECTOR_WIDTH (8 or 16).   grid: global and local (1)
#include "common/vector.clh"
#include "common/dot16.clh"
#define SUMS 12

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void trial_sum(const __global uint *in, __global uint *out,
                                                                       int turns) {
    intv sum = dot_add((intv)1, VECTOR_NAME(vload)(0, in), VECTOR_NAME(vload)(1, in));
    VECTOR_NAME(vstore)(VECTOR_NAME(as_uint)(sum), 0, out);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void trial_rate(const __global uint *in, __global uint *out,
                                                                        int turns) {
    uintv a = VECTOR_NAME(vload)(0, in);
    intv sums[SUMS], total = (intv)0;
    for (int i = 0; i < SUMS; i++) sums[i] = (intv)i;
    for (int t = 0; t < turns; t++)
#pragma unroll
        for (int i = 0; i < SUMS; i++) sums[i] = dot_add(sums[i], a, VECTOR_NAME(as_uint)(sums[i]));
    for (int i = 0; i < SUMS; i++) total += sums[i];
    VECTOR_NAME(vstore)(VECTOR_NAME(as_uint)(total), 0, out);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void trial_fma(const __global uint *in, __global uint *out,
                                                                       int turns) {
    floatv a = VECTOR_NAME(convert_float)(VECTOR_NAME(vload)(0, in)) * 0x1p-32f,
           b = VECTOR_NAME(convert_float)(VECTOR_NAME(vload)(1, in));
    floatv sums[SUMS], total = (floatv)0;
    for (int i = 0; i < SUMS; i++) sums[i] = (floatv)i;
    for (int t = 0; t < turns; t++)
#pragma unroll
        for (int i = 0; i < SUMS; i++) sums[i] = fma(sums[i], a, b);
    for (int i = 0; i < SUMS; i++) total += sums[i];
    VECTOR_NAME(vstore)(VECTOR_NAME(as_uint)(total), 0, out);
}
