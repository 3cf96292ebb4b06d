// SPDX-License-Identifier: Apache-2.0
// For a CPU to be tried with before its dot products are used (host/instruction_dot.c).
//   trial_sum   out [16]: one instruction on in, 16 lanes of each operand
//   trial_rate  `turns` times 12 of them, whose sums are independent as in the kernels that use the instruction
// grid: global and local (1)
// options: INT8 or BF16; VECTOR_WIDTH=16
#include "common/vector.clh"
#include "common/turn.clh"
#include "common/dot.clh"
#ifdef BF16
#define SUMS float16
#define DOT_ADD dot_bf16
#elif defined(INT8)
#define SUMS int16
#define DOT_ADD dot_bytes
#else
#error "one of INT8, BF16 is missing"
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void trial_sum(const __global uint *in, __global uint *out,
                                                                       int turns) {
    vstore16(as_uint16(DOT_ADD((SUMS)0, vload16(0, in), vload16(1, in))), 0, out);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void trial_rate(const __global uint *in, __global uint *out,
                                                                        int turns) {
    uint16 a = vload16(0, in), b = vload16(1, in);
    SUMS sums[12], total = (SUMS)0;
    for (int i = 0; i < 12; i++) sums[i] = (SUMS)i;
    for (int t = 0; t < turns; t++)
#pragma unroll
        for (int i = 0; i < 12; i++) sums[i] = DOT_ADD(sums[i], a, b);
    for (int i = 0; i < 12; i++) total += sums[i];
    vstore16(as_uint16(total), 0, out);
}
