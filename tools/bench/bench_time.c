// SPDX-License-Identifier: Apache-2.0
#include "bench_time.h"
#include "stopwatch.h"
#include <stdlib.h>

static bool run_once(double *seconds, const session *session, bench_run run, void *payload, failure *failure) {
    double begin = stopwatch_now();
    if (!run(payload, failure)) return false;
    cl_int code = clFinish(session->queue);
    *seconds = stopwatch_now() - begin;
    return code == CL_SUCCESS || failure_opencl(failure, "clFinish", code);
}

int bench_compare_seconds(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static bool enough(const bench_effort *effort, uint32_t runs, double spent) {
    if (effort->repeat) return runs >= effort->repeat;
    return runs >= BENCH_MOST_RUNS || (runs >= BENCH_LEAST_RUNS && spent >= effort->seconds);
}

bool bench_time(bench_times *out, const session *session, const bench_effort *effort, bench_run run, void *payload,
                failure *failure) {
    uint32_t capacity = effort->repeat ? effort->repeat : BENCH_MOST_RUNS, runs = 0;
    double *seconds = malloc(capacity * sizeof *seconds), spent = 0.0, unmeasured;
    if (!seconds) return failure_memory(failure);
    bool done =
        run_once(&unmeasured, session, run, payload, failure) && run_once(&unmeasured, session, run, payload, failure);
    while (done && !enough(effort, runs, spent)) {
        done = run_once(&seconds[runs], session, run, payload, failure);
        spent += seconds[runs++];
    }
    if (done) {
        qsort(seconds, runs, sizeof *seconds, bench_compare_seconds);
        *out =
            (bench_times){seconds[0], runs % 2 ? seconds[runs / 2] : 0.5 * (seconds[runs / 2 - 1] + seconds[runs / 2])};
    }
    free(seconds);
    return done;
}
