// SPDX-License-Identifier: Apache-2.0
// Kernels with faults that tools/offline_check must see on every target, or it does not read the compilers' figures.

// A private array that no register can hold, because its index is known at run time alone.
__kernel void planted_scratch(__global float *values, __global const int *order) {
    float held[200];
    size_t item = get_global_id(0);
    for (int i = 0; i < 200; i++) held[i] = values[item * 200 + i];
    for (int i = 0; i < 200; i++) values[item * 200 + i] = held[order[item * 200 + i]];
}

// More values alive at once than there are registers.
#define TIMES16(m) m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)
#define LOAD(n) float16 a##n = vload16(item * 40 + n, values), b##n = vload16(item * 40 + n + 16, values);
#define MIX(n) a##n = fma(a##n, b##n, x), b##n = fma(b##n, a##n, x);
#define STORE(n) vstore16(a##n, item * 40 + n, values), vstore16(b##n, item * 40 + n + 16, values);
__kernel void planted_spill(__global float *values, int count) {
    size_t item = get_global_id(0);
    TIMES16(LOAD)
    for (int i = 0; i < count; i++) {
        float16 x = vload16(i, values);
        TIMES16(MIX)
    }
    TIMES16(STORE)
}

__kernel void planted_local(__global float *values) {
    __local float held[512];
    size_t item = get_local_id(0);
    held[item] = values[item];
    barrier(CLK_LOCAL_MEM_FENCE);
    values[item] = held[511 - item];
}
