// SPDX-License-Identifier: Apache-2.0
// wgmma_trial: one product of each kind that attend_wgmma makes, in as much local memory as its tiles take, for a
// device to be tried with (host/instruction_wgmma.c).
//   values: rows [64][64], keys [64][128]     sums: [64][32] f32: rows by the first 32 keys' first 64 columns;
//                                             [64][128] f32: rows, whose columns are keys, by all keys
// grid: global and local (128).   options: WGMMA_* (common/wgmma.clh), MATRIX_*, ROWS_F16 or ROWS_BF16
#include "common/matrix.clh"
#include "common/wgmma.clh"
#include "common/each.clh"

#define LOCAL_VALUES (27 * WGMMA_BLOCK)

__kernel __attribute__((reqd_work_group_size(WGMMA_GROUP, 1, 1))) void wgmma_trial(const __global ushort *values,
                                                                                   __global float *sums) {
    __local ushort tiles[LOCAL_VALUES] __attribute__((aligned(1024)));
    __local ushort *rows = tiles, *keys = tiles + LOCAL_VALUES - 2 * WGMMA_BLOCK; // the last there are
    uint t = get_local_id(0);
    __local uint4 *held = (__local uint4 *)(tiles + WGMMA_BLOCK);
    float s[16], o[64];
    for (uint i = t; i < 64 * 64; i += WGMMA_GROUP) {
        rows[wgmma_at(i / 64, i % 64)] = values[i];
        for (uint b = 0; b < 2; b++)
            keys[b * WGMMA_BLOCK + wgmma_at(i / 64, i % 64)] = values[64 * 64 + i / 64 * 128 + b * 64 + i % 64];
    }
    wgmma_publish();
    barrier(CLK_LOCAL_MEM_FENCE);
    uint4 p[4];
#define PAIR(c, i)                                                                                                     \
    (rows[wgmma_at(wgmma_row(t, 8 * c + i), c % 4 * 16 + wgmma_column(t, 8 * c + i) % 16)] |                           \
     (uint)rows[wgmma_at(wgmma_row(t, 8 * c + i), c % 4 * 16 + wgmma_column(t, 8 * c + i) % 16 + 1)] << 16)
#define HOLD(c) held[c * WGMMA_GROUP + t] = p[c] = (uint4)(PAIR(c, 0), PAIR(c, 2), PAIR(c, 4), PAIR(c, 6));
    HOLD(0)
    HOLD(1) HOLD(2) HOLD(3)
#undef HOLD
#undef PAIR
        barrier(CLK_LOCAL_MEM_FENCE);
#define CLEAR(i) s[i % 16] = o[i] = 0.0f;
    EACH_64(CLEAR)
#undef CLEAR
    wgmma_tile q = wgmma_uniform(wgmma_place(rows)), k = wgmma_uniform(wgmma_place(keys));
    wgmma_scores_first(s, q, k);
    wgmma_scores_next(s, q, k); // twice the sums
    wgmma_scores_finish();
    wgmma_values(o, p[0], p[1], p[2], p[3], held, k);
    wgmma_finish_scores(s);
    wgmma_finish_values(o, 0);
#define STORE(i)                                                                                                       \
    if (i < 16) sums[wgmma_row(t, i) * 32 + wgmma_column(t, i)] = 0.5f * s[i % 16];                                    \
    sums[64 * 32 + wgmma_row(t, i) * 128 + wgmma_column(t, i)] = o[i];
    EACH_64(STORE)
#undef STORE
}
