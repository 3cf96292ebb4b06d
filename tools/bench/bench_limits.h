// SPDX-License-Identifier: Apache-2.0
// The device's own limits, measured in the process that measures the operations: absolute figures drift between
// machines and hours, ratios of one run do not.
#ifndef TOOLS_BENCH_LIMITS_H
#define TOOLS_BENCH_LIMITS_H

#include "session.h"

// A rate, or 0 with the reason why the device has none.
typedef struct bench_limit {
    double rate;
    char reason[160];
} bench_limit;

typedef struct bench_limits {
    bench_limit fma;       // f32 multiply-adds with operands in registers, GFLOP/s
    bench_limit int16_dot; // 16-bit dot products summed in int32, GOP/s
    bench_limit bf16_dot;  // bf16 dot products summed in f32, GFLOP/s
    bench_limit int8_dot;  // 8-bit dot products summed in int32, GOP/s
    bench_limit read;      // a buffer that no cache holds, read once, GB/s
    double read_bytes;     // of that buffer
} bench_limits;

// Work-items of a group of the limits' kernels: on CPUs one, elsewhere 256, or the power of two below that the device
// has.
static inline size_t bench_limits_group(const clmla_device_facts *facts) {
    size_t group = facts->type & CL_DEVICE_TYPE_CPU ? 1 : 256;
    while (group > 1 && facts->max_group_size && group > facts->max_group_size) group /= 2;
    return group;
}

#define BENCH_LIMIT_SECONDS 0.4 // enough that the best of a search is found again

// Best of repeated runs, for `seconds` three times at least. A limit the device does not have is no failure.
bool bench_limits_measure(bench_limits *out, const session *session, double seconds, failure *failure);
// Of them the rate of reads alone: out->read and read_bytes.
bool bench_limits_measure_read(bench_limits *out, const session *session, double seconds, failure *failure);

#endif
