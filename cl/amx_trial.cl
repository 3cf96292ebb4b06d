// SPDX-License-Identifier: Apache-2.0
// For a CPU to be tried with before its AMX tiles are used (host/instruction.c).
//   trial_sum   out [16][16] f32: the product of in, a [16][32] and behind it b [16][16][2], both bf16
//   trial_rate  `turns` times four such products, their sums independent, and the loads that attend_amx gives four
// grid: global and local (1)
#include "common/amx.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void trial_sum(const __global uint *in, __global uint *out, int turns) {
    amx_begin();
    AMX_ZERO(0);
    AMX_LOAD(1, in, AMX_ROW_BYTES);
    AMX_LOAD(2, in + AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_ADD_BF16(0, 1, 2);
    AMX_STORE(0, out, AMX_ROW_BYTES);
    amx_end();
}

static inline void one_turn(const __global uint *in) {
    AMX_LOAD(4, in, AMX_ROW_BYTES);
    AMX_LOAD(6, in + AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_ADD_BF16(0, 4, 6);
    AMX_LOAD(7, in + AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_ADD_BF16(1, 4, 7);
    AMX_LOAD(5, in, AMX_ROW_BYTES);
    AMX_ADD_BF16(2, 5, 6);
    AMX_ADD_BF16(3, 5, 7);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void trial_rate(const __global uint *in, __global uint *out, int turns) {
    amx_begin();
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
    for (int t = 0; t < turns; t++) one_turn(in);
    AMX_STORE(0, out, AMX_ROW_BYTES);
    AMX_STORE(1, out + AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_STORE(2, out + 2 * AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_STORE(3, out + 3 * AMX_TILE_WORDS, AMX_ROW_BYTES);
    amx_end();
}
