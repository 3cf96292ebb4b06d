// SPDX-License-Identifier: Apache-2.0
// Where the time of a layer's step goes: each launch on the device's own clock, by the library's profile callback.
#ifndef TOOLS_BENCH_PROFILE_H
#define TOOLS_BENCH_PROFILE_H

#include "bench_time.h"

#define BENCH_MOST_LAUNCHES 24

// One launch of a step, over its runs; seconds from its start to its end.
typedef struct bench_launch {
    char operation[24], kernel[48];
    double minimum, median;
} bench_launch;

typedef struct bench_launches {
    bench_launch list[BENCH_MOST_LAUNCHES]; // in the step's order
    uint32_t count;                         // 0 = not profiled
    double between;                         // seconds between launches, in all, of the median run
} bench_launches;

typedef struct bench_profile bench_profile;

// What a context's callback writes to; to be given to bench_profile_destroy when the context is gone. NULL: no memory.
bench_profile *bench_profile_create(void);
void bench_profile_destroy(bench_profile **profile);
clmla_profile bench_profile_callback(bench_profile *profile);

// Runs a step, whose context has the callback, on a queue of its own that measures. `run` enqueues on the queue of the
// session it is given by `set`. Fails with a sentence if the runs did not tell of the same launches.
typedef void (*bench_profile_set)(void *payload, const session *session);
bool bench_profile_run(bench_launches *out, bench_profile *profile, const session *session, bench_run run,
                       bench_profile_set set, void *payload, failure *failure);

#endif
