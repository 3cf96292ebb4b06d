// SPDX-License-Identifier: Apache-2.0
// Times work on a queue: wall time from its enqueue to the end of clFinish, so that the host's share counts too.
#ifndef TOOLS_BENCH_TIME_H
#define TOOLS_BENCH_TIME_H

#include "session.h"
#include <stdint.h>

// How long to measure: `repeat` runs, or with 0 as many as fit into `seconds`, at least BENCH_LEAST_RUNS.
typedef struct bench_effort {
    uint32_t repeat;
    double seconds;
    struct bench_profile *profile; // NULL = layers are not profiled (bench_profile.h)
} bench_effort;

#define BENCH_LEAST_RUNS 5
#define BENCH_MOST_RUNS 10000

typedef struct bench_times {
    double minimum, median; // seconds of a run
} bench_times;

// For qsort of doubles.
int bench_compare_seconds(const void *a, const void *b);

// Enqueues the work once on the session's queue, without waiting for it.
typedef bool (*bench_run)(void *payload, failure *failure);

// Runs it twice unmeasured, for what is made at first use, then as long as `effort` says.
bool bench_time(bench_times *out, const session *session, const bench_effort *effort, bench_run run, void *payload,
                failure *failure);

#endif
