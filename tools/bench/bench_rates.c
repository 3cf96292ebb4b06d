// SPDX-License-Identifier: Apache-2.0
// From what a case did and took to rates, and to what the device's limits leave possible.
#include "bench.h"
#include <math.h>
#include <string.h>

static double over(double amount, double rate) {
    return rate > 0.0 ? amount / rate : 0.0;
}

static double work_limit(const bench_limits *limits, bench_work work) {
    return fmax(over(work.flops, limits->fma.rate * 1e9), over(work.bytes, limits->read.rate * 1e9));
}

// Operations of a layer wait for one another: what one leaves of the memory's time the next cannot have.
static double limit_seconds(const bench_limits *limits, const bench_result *result) {
    double seconds = 0.0;
    if (result->work_count == 0) return work_limit(limits, (bench_work){NULL, result->flops, result->bytes});
    for (uint32_t i = 0; i < result->work_count; i++) seconds += work_limit(limits, result->works[i]);
    return seconds;
}

// Attention lays out queries before its kernel, and merges behind it.
static bool does_the_work(const bench_launch *launch) {
    return !strstr(launch->kernel, "_pack") && !strstr(launch->kernel, "_merge");
}

// Works are in the step's order, launches too: the n-th launch of an operation that does its work does its n-th one.
double bench_launch_limit(const bench_limits *limits, const bench_result *result, uint32_t launch) {
    const bench_launch *list = result->launches.list;
    const char *operation = list[launch].operation;
    uint32_t before = 0;
    if (!does_the_work(&list[launch])) return 0.0;
    for (uint32_t i = 0; i < launch; i++)
        before += strcmp(list[i].operation, operation) == 0 && does_the_work(&list[i]);
    for (uint32_t i = 0; i < result->work_count; i++)
        if (strcmp(result->works[i].operation, operation) == 0 && before-- == 0)
            return work_limit(limits, result->works[i]);
    return 0.0;
}

bench_rates bench_rates_of(const bench_limits *limits, const bench_result *result) {
    double seconds = result->times.minimum;
    bench_rates rates = {.gflops = result->flops / seconds * 1e-9,
                         .cache_gbps = result->bytes / seconds * 1e-9,
                         .limit_seconds = limit_seconds(limits, result)};
    rates.fraction_of_fma = over(rates.gflops, limits->fma.rate);
    rates.fraction_of_read = over(rates.cache_gbps, limits->read.rate);
    rates.times_limit = over(seconds, rates.limit_seconds);
    return rates;
}
