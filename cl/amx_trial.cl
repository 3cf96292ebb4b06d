// SPDX-License-Identifier: Apache-2.0
// For a CPU to be tried with before its AMX tiles are used (host/instruction_dot.c).
//   trial_sum   out [16][16] f32: the product of in, a [16][32] and behind it b [16][16][2], both bf16
//   trial_rate  `turns` times four such products, their sums independent, and the loads that attend_amx gives four
// grid: global and local (1)
#include "common/amx.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void trial_sum(const __global uint *in, __global uint *out,
                                                                       int turns) {
    amx_tiles amx;
    amx_begin(&amx);
    AMX_ZERO(&amx, 0);
    AMX_LOAD(&amx, 1, in, AMX_ROW_BYTES);
    AMX_LOAD(&amx, 2, in + AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_ADD_BF16(&amx, 0, 1, 2);
    AMX_STORE(&amx, 0, out, AMX_ROW_BYTES);
    amx_end(&amx);
}

static inline void one_turn(amx_tiles *amx, const __global uint *in) {
    AMX_LOAD(amx, 4, in, AMX_ROW_BYTES);
    AMX_LOAD(amx, 6, in + AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_ADD_BF16(amx, 0, 4, 6);
    AMX_LOAD(amx, 7, in + AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_ADD_BF16(amx, 1, 4, 7);
    AMX_LOAD(amx, 5, in, AMX_ROW_BYTES);
    AMX_ADD_BF16(amx, 2, 5, 6);
    AMX_ADD_BF16(amx, 3, 5, 7);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void trial_rate(const __global uint *in, __global uint *out,
                                                                        int turns) {
    amx_tiles amx;
    amx_begin(&amx);
    AMX_ZERO(&amx, 0);
    AMX_ZERO(&amx, 1);
    AMX_ZERO(&amx, 2);
    AMX_ZERO(&amx, 3);
    for (int t = 0; t < turns; t++) one_turn(&amx, in);
    AMX_STORE(&amx, 0, out, AMX_ROW_BYTES);
    AMX_STORE(&amx, 1, out + AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_STORE(&amx, 2, out + 2 * AMX_TILE_WORDS, AMX_ROW_BYTES);
    AMX_STORE(&amx, 3, out + 3 * AMX_TILE_WORDS, AMX_ROW_BYTES);
    amx_end(&amx);
}
