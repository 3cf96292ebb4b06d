// SPDX-License-Identifier: Apache-2.0
// ring_trial: one product by each way of common/ring.clh, of rows that came by cp.async to the end of LOCAL_BYTES of
// local memory, for a device to be tried with before attend_matrix_ring is used (host/instruction_ring.c).
//   values: a [16][16], rows [16][64]       packed: space for 256 values
//   sums: f32 [16][16] a by rows' columns 32 on, each row a column; [16][16] a by rows' columns 16 on; [16][8] as the
//         first; and how many words of local memory did not keep what was put there
// grid: global and local (32).   options: MATRIX_*, ROWS_F16 or ROWS_BF16, LOCAL_BYTES (a multiple of 128)
#include "common/matrix.clh"
#include "common/ring.clh"
#ifndef LOCAL_BYTES
#error "LOCAL_BYTES is missing"
#endif

#define WAVE 32
#define WORDS ((LOCAL_BYTES - WAVE * 4) / 4)
#define RUNS 8 // of a row
#define A_RUNS 2

static inline uint count_wrong(__local uint *words, uint lane) {
    uint wrong = 0;
    for (uint i = lane; i < WORDS; i += WAVE) words[i] = i * 2654435761u;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = WAVE - 1 - lane; i < WORDS; i += WAVE) wrong += words[i] != i * 2654435761u;
    barrier(CLK_LOCAL_MEM_FENCE);
    return wrong;
}

static inline void store_sums(__global float *sums, uint width, uint column, float4 c, uint lane) {
    __global float *at = sums + lane / 4 * width + column + lane % 4 * 2;
    at[0] = c.x;
    at[1] = c.y;
    at[8 * width] = c.z;
    at[8 * width + 1] = c.w;
}

__kernel __attribute__((reqd_work_group_size(WAVE, 1, 1))) void ring_trial(const __global ushort *values,
                                                                           __global ushort *packed,
                                                                           __global float *sums) {
    __local uint words[WORDS] __attribute__((aligned(128)));
    __local uint wrong[WAVE];
    uint lane = get_local_id(0);
    __local ushort *a_tile = (__local ushort *)words, *rows = a_tile + WORDS * 2 - 16 * RUNS * 8;
    ring_query q;
    ring_a a;
    ring_b b;
    wrong[lane] = count_wrong(words, lane);
    for (uint i = lane; i < 16 * RUNS; i += WAVE)
        ring_begin(rows + ring_at(RUNS, i / RUNS, i % RUNS), values + 256 + i * 8);
    ring_close();
    for (uint i = lane; i < 256; i += WAVE) {
        a_tile[ring_at(A_RUNS, i / 16, i % 16 / 8) + i % 8] = values[i];
        packed[ring_packed_at(i / 16, i % 16)] = values[i];
    }
    ring_wait(0);
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    ring_query_load(&q, packed, lane);
    ring_load_b_turned(&b, ring_step(ring_columns(rows, RUNS, 0, 0, lane), RUNS, 0, 4), lane);
    for (int second = 0; second < 2; second++) {
        float4 c = (float4)0.0f;
        if (second == 0)
            ring_multiply_query(&c, &q, &b, 0);
        else
            ring_multiply_query(&c, &q, &b, 1);
        store_sums(sums, 16, second * 8, c, lane);
    }
    ring_load_a(&a, ring_rows(a_tile, A_RUNS, 0, 0, lane), lane);
    ring_load_b(&b, ring_step(ring_rows(rows, RUNS, 0, 0, lane), RUNS, 0, 2), lane);
    for (int second = 0; second < 2; second++) {
        float4 c = (float4)0.0f;
        if (second == 0)
            ring_multiply(&c, &a, &b, 0);
        else
            ring_multiply(&c, &a, &b, 1);
        store_sums(sums + 256, 16, second * 8, c, lane);
    }
    float4 c = (float4)0.0f;
    ring_load_b_turned_8(&b, ring_step(ring_columns(rows, RUNS, 0, 0, lane), RUNS, 0, 4), lane);
    ring_multiply_query(&c, &q, &b, 0);
    store_sums(sums + 512, 8, 0, c, lane);
    if (lane == 0) {
        uint total = 0;
        for (uint i = 0; i < WAVE; i++) total += wrong[i];
        sums[640] = (float)total;
    }
}
