// SPDX-License-Identifier: Apache-2.0
#include "bench_profile.h"
#include "stopwatch.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS 21
#define UNMEASURED 2
#define STEPS (RUNS + UNMEASURED)
#define MOST_RECORDS (STEPS * BENCH_MOST_LAUNCHES)
#define WAIT_SECONDS 5.0  // for callbacks, which may come after the queue is done
#define QUIET_SECONDS 0.1 // after the last of them

typedef struct record {
    char operation[24], kernel[48];
    uint64_t start, end; // nanoseconds of the device
    size_t number;       // in the order they were told
} record;

struct bench_profile {
    pthread_mutex_t lock; // drivers call from threads of their own
    record list[MOST_RECORDS];
    size_t told; // more than MOST_RECORDS are counted alone
    bool open;
};

bench_profile *bench_profile_create(void) {
    bench_profile *profile = calloc(1, sizeof *profile);
    if (profile) pthread_mutex_init(&profile->lock, NULL);
    return profile;
}

void bench_profile_destroy(bench_profile **profile) {
    if (!*profile) return;
    pthread_mutex_destroy(&(*profile)->lock);
    free(*profile);
    *profile = NULL;
}

static void note(void *payload, const char *operation, const char *kernel, uint64_t start_ns, uint64_t end_ns) {
    bench_profile *profile = payload;
    pthread_mutex_lock(&profile->lock);
    if (profile->open && profile->told++ < MOST_RECORDS) {
        record *r = &profile->list[profile->told - 1];
        *r = (record){.start = start_ns, .end = end_ns, .number = profile->told};
        strncpy(r->operation, operation, sizeof r->operation - 1);
        strncpy(r->kernel, kernel, sizeof r->kernel - 1);
    }
    pthread_mutex_unlock(&profile->lock);
}

clmla_profile bench_profile_callback(bench_profile *profile) {
    return (clmla_profile){note, profile};
}

// --- runs

static void listen(bench_profile *profile, bool open) {
    pthread_mutex_lock(&profile->lock);
    if (open) profile->told = 0;
    profile->open = open;
    pthread_mutex_unlock(&profile->lock);
}

static size_t told(bench_profile *profile) {
    pthread_mutex_lock(&profile->lock);
    size_t count = profile->told;
    pthread_mutex_unlock(&profile->lock);
    return count;
}

// What was told when for a while nothing more came and every step had told of as many launches.
static size_t settled(bench_profile *profile) {
    const struct timespec pause = {0, 10000000};
    double deadline = stopwatch_now() + WAIT_SECONDS, since = stopwatch_now();
    size_t before = told(profile), now = before;
    while (stopwatch_now() < deadline && (now == 0 || now % STEPS != 0 || stopwatch_now() - since < QUIET_SECONDS)) {
        nanosleep(&pause, NULL);
        now = told(profile);
        if (now != before) since = stopwatch_now();
        before = now;
    }
    return now;
}

static bool run_steps(size_t *launches, bench_profile *profile, const session *session, bench_run run, void *payload,
                      failure *failure) {
    listen(profile, true);
    for (int i = 0; i < STEPS; i++) {
        if (!run(payload, failure)) return false;
        cl_int code = clFinish(session->queue);
        if (code != CL_SUCCESS) return failure_opencl(failure, "clFinish", code);
    }
    size_t found = settled(profile);
    listen(profile, false);
    *launches = found / STEPS;
    if (found > 0 && found % STEPS == 0 && *launches <= BENCH_MOST_LAUNCHES) return true;
    return failure_set(failure, "the profile of %d steps tells of %zu launches; from 1 to %d a step are expected",
                       STEPS, found, BENCH_MOST_LAUNCHES);
}

// --- figures

static int by_start(const void *a, const void *b) {
    const record *left = a, *right = b;
    if (left->start == right->start) return (left->number > right->number) - (left->number < right->number);
    return left->start > right->start ? 1 : -1;
}

static double nanoseconds(uint64_t from, uint64_t to) {
    return to > from ? 1e-9 * (double)(to - from) : 0.0;
}

// Of launch i: run r's is records[r * count + i].
static bool sum_launch(bench_launch *out, const record *records, size_t count, size_t i, failure *failure) {
    double seconds[RUNS];
    for (size_t r = 0; r < RUNS; r++) {
        const record *of = &records[r * count + i];
        if (strcmp(of->kernel, records[i].kernel) != 0)
            return failure_set(failure, "a step's profile tells of %s in place of %s", of->kernel, records[i].kernel);
        seconds[r] = nanoseconds(of->start, of->end);
    }
    qsort(seconds, RUNS, sizeof *seconds, bench_compare_seconds);
    *out = (bench_launch){.minimum = seconds[0], .median = seconds[RUNS / 2]};
    memcpy(out->operation, records[i].operation, sizeof out->operation);
    memcpy(out->kernel, records[i].kernel, sizeof out->kernel);
    return true;
}

static double sum_between(const record *records, size_t count) {
    double seconds[RUNS] = {0.0};
    for (size_t r = 0; r < RUNS; r++)
        for (size_t i = 1; i < count; i++)
            seconds[r] += nanoseconds(records[r * count + i - 1].end, records[r * count + i].start);
    qsort(seconds, RUNS, sizeof *seconds, bench_compare_seconds);
    return seconds[RUNS / 2];
}

static bool sum_up(bench_launches *out, bench_profile *profile, size_t count, failure *failure) {
    qsort(profile->list, STEPS * count, sizeof *profile->list, by_start);
    const record *measured = profile->list + UNMEASURED * count;
    for (size_t i = 0; i < count; i++)
        if (!sum_launch(&out->list[i], measured, count, i, failure)) return false;
    out->count = (uint32_t)count;
    out->between = sum_between(measured, count);
    return true;
}

bool bench_profile_run(bench_launches *out, bench_profile *profile, const session *session, bench_run run,
                       bench_profile_set set, void *payload, failure *failure) {
    struct session measuring = *session;
    cl_int code;
    size_t launches = 0;
    measuring.queue = clCreateCommandQueue(clmla_context_opencl(session->context),
                                           clmla_context_device(session->context), CL_QUEUE_PROFILING_ENABLE, &code);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clCreateCommandQueue", code);
    set(payload, &measuring);
    bool done =
        run_steps(&launches, profile, &measuring, run, payload, failure) && sum_up(out, profile, launches, failure);
    clFinish(measuring.queue);
    set(payload, session);
    clReleaseCommandQueue(measuring.queue);
    return done;
}
