// SPDX-License-Identifier: Apache-2.0
#include "bench_profile.h"
#include "stopwatch.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS 21
#define UNMEASURED 2
#define MOST_RECORDS ((RUNS + UNMEASURED) * BENCH_MOST_LAUNCHES)
#define WAIT_SECONDS 5.0 // for callbacks, which may come after the queue is done

typedef struct record {
    char operation[24], kernel[48];
    uint64_t start, end; // nanoseconds of the device
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
        *r = (record){.start = start_ns, .end = end_ns};
        strncpy(r->operation, operation, sizeof r->operation - 1);
        strncpy(r->kernel, kernel, sizeof r->kernel - 1);
    }
    pthread_mutex_unlock(&profile->lock);
}

clmla_profile bench_profile_callback(bench_profile *profile) {
    return (clmla_profile){note, profile};
}

// --- runs

static size_t told(bench_profile *profile, bool open) {
    pthread_mutex_lock(&profile->lock);
    size_t count = profile->told;
    profile->open = open;
    pthread_mutex_unlock(&profile->lock);
    return count;
}

static void begin(bench_profile *profile) {
    pthread_mutex_lock(&profile->lock);
    profile->told = 0;
    profile->open = true;
    pthread_mutex_unlock(&profile->lock);
}

// Until `count` have come (0: until some have, and no more come).
static size_t wait_for(bench_profile *profile, size_t count) {
    const struct timespec pause = {0, 20000000};
    double deadline = stopwatch_now() + WAIT_SECONDS;
    size_t before = 0, now = told(profile, true);
    while (stopwatch_now() < deadline && (count ? now < count : now == 0 || now != before)) {
        before = now;
        nanosleep(&pause, NULL);
        now = told(profile, true);
    }
    return now;
}

static bool run_step(const session *session, bench_run run, void *payload, failure *failure) {
    if (!run(payload, failure)) return false;
    cl_int code = clFinish(session->queue);
    return code == CL_SUCCESS || failure_opencl(failure, "clFinish", code);
}

// The number of launches of a step, by a first run of it alone.
static bool count_launches(size_t *out, bench_profile *profile, const session *session, bench_run run, void *payload,
                           failure *failure) {
    begin(profile);
    if (!run_step(session, run, payload, failure)) return false;
    *out = wait_for(profile, 0);
    if (*out >= 1 && *out <= BENCH_MOST_LAUNCHES) return true;
    return failure_set(failure, "a step's profile tells of %zu launches; from 1 to %d are expected", *out,
                       BENCH_MOST_LAUNCHES);
}

static bool run_all(bench_profile *profile, size_t launches, const session *session, bench_run run, void *payload,
                    failure *failure) {
    size_t expected = (RUNS + UNMEASURED) * launches;
    begin(profile);
    for (int i = 0; i < RUNS + UNMEASURED; i++)
        if (!run_step(session, run, payload, failure)) return false;
    size_t found = wait_for(profile, expected);
    told(profile, false);
    return found == expected || failure_set(failure, "a step's profile tells of %zu launches of %zu", found, expected);
}

// --- figures

static int by_start(const void *a, const void *b) {
    const record *left = a, *right = b;
    return (left->start > right->start) - (left->start < right->start);
}

static int by_size(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
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
    qsort(seconds, RUNS, sizeof *seconds, by_size);
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
    qsort(seconds, RUNS, sizeof *seconds, by_size);
    return seconds[RUNS / 2];
}

static bool sum_up(bench_launches *out, bench_profile *profile, size_t count, failure *failure) {
    qsort(profile->list, (RUNS + UNMEASURED) * count, sizeof *profile->list, by_start);
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
    bool done = count_launches(&launches, profile, &measuring, run, payload, failure) &&
                run_all(profile, launches, &measuring, run, payload, failure) &&
                sum_up(out, profile, launches, failure);
    clFinish(measuring.queue);
    set(payload, session);
    clReleaseCommandQueue(measuring.queue);
    return done;
}
