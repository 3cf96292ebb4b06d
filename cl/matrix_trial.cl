// SPDX-License-Identifier: Apache-2.0
// matrix_trial: one product of 16 x 16 tiles by each way to load them, for a device to be tried with before its matrix
// units are used (host/instruction_matrix.c).
//   values: a [16][16], b [16][16]       packed: space for 256 values       sums: [2][16][16] f32, both a b
// grid: global and local (MATRIX_WAVE).   options: MATRIX_*, ROWS_F16 or ROWS_BF16 (common/matrix.clh)
#include "common/matrix.clh"

#define STRIDE 24 // as in attend_matrix's local memory: rows do not follow each other

MATRIX_SUB_GROUP __kernel __attribute__((reqd_work_group_size(MATRIX_WAVE, 1, 1))) void matrix_trial(
    const __global ushort *values, __global ushort *packed, __global float *sums) {
    __local ushort first[16 * STRIDE] __attribute__((aligned(16)));
    __local ushort second[16 * STRIDE] __attribute__((aligned(16)));
    __local ushort turned[16 * STRIDE] __attribute__((aligned(16)));
    uint lane = get_local_id(0);
    matrix_a a;
    matrix_b b;
    matrix_c c;
    for (uint p = lane; p < 256; p += MATRIX_WAVE) {
        first[p / 16 * STRIDE + p % 16] = values[p];
        second[p / 16 * STRIDE + p % 16] = values[256 + p];
        turned[p % 16 * STRIDE + p / 16] = values[256 + p];
        packed[p] = values[matrix_packed_row(p) * 16 + matrix_packed_depth(p)];
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    matrix_load_a(&a, first, STRIDE, lane);
    matrix_load_b(&b, second, STRIDE, lane);
    matrix_clear(&c);
    matrix_multiply_add(&c, &a, &b);
#define STORE(i) sums[matrix_row(lane, i) * 16 + matrix_column(lane, i)] = matrix_value(&c, i);
    MATRIX_EACH(STORE)
#undef STORE
    matrix_load_a_packed(&a, packed, lane);
    matrix_load_b_turned(&b, turned, STRIDE, lane);
    matrix_clear(&c);
    matrix_multiply_add(&c, &a, &b);
#define STORE(i) sums[256 + matrix_row(lane, i) * 16 + matrix_column(lane, i)] = matrix_value(&c, i);
    MATRIX_EACH(STORE)
#undef STORE
}
