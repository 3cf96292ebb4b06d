// SPDX-License-Identifier: Apache-2.0
// clmla bench: rates, and what a device's limits leave possible, of made-up limits and times.
#include "bench.h"
#include "tests/support/suite.h"

static const bench_limits limits = {.fma = {.rate = 100.0}, .read = {.rate = 10.0}}; // GFLOP/s, GB/s

static bench_result took(double seconds, double flops, double bytes) {
    return (bench_result){.times = {.minimum = seconds, .median = 2.0 * seconds}, .flops = flops, .bytes = bytes};
}

static void expect(double found, double expected) {
    ck_assert_double_eq_tol(found, expected, 1e-12 * expected);
}

START_TEST(operation_bound_by_reads) {
    bench_result result = took(0.5, 10e9, 4e9); // 0.1 s of multiply-adds, 0.4 s of reads
    bench_rates rates = bench_rates_of(&limits, &result);
    expect(rates.gflops, 20.0);
    expect(rates.cache_gbps, 8.0);
    expect(rates.fraction_of_fma, 0.2);
    expect(rates.fraction_of_read, 0.8);
    expect(rates.limit_seconds, 0.4);
    expect(rates.times_limit, 1.25);
}
END_TEST

START_TEST(operation_bound_by_multiply_adds) {
    bench_result result = took(0.3, 20e9, 1e9); // 0.2 s, 0.1 s
    bench_rates rates = bench_rates_of(&limits, &result);
    expect(rates.limit_seconds, 0.2);
    expect(rates.times_limit, 1.5);
}
END_TEST

// Each operation has its own limit: that of the totals would be 0.6 s.
START_TEST(layer_is_the_sum_of_its_operations) {
    bench_result result = took(1.1, 60e9, 6e9);
    result.works[0] = (bench_work){"project", 10e9, 5e9}; // 0.5 s of reads
    result.works[1] = (bench_work){"attend", 50e9, 1e9};  // 0.5 s of multiply-adds
    result.works[2] = (bench_work){"project", 0.0, 0.0};
    result.work_count = 3;
    bench_rates rates = bench_rates_of(&limits, &result);
    expect(rates.limit_seconds, 1.0);
    expect(rates.times_limit, 1.1);
    expect(rates.fraction_of_read, 6.0 / 1.1 / 10.0);
}
END_TEST

// The n-th launch of an operation that does its work does its n-th one; launches beyond the works, of other operations,
// and those that lay out and merge have no limit.
START_TEST(launches_have_their_work_s_limit) {
    bench_result result = took(1.1, 60e9, 6e9);
    const char *const operations[] = {"project", "merge", "attend", "attend", "attend", "project", "attend"};
    const char *const kernels[] = {"project_vector", "merge_vector", "attend_pack_bf16", "attend_bf16_dot",
                                   "attend_merge",   "project_tile", "attend_vector"};
    result.works[0] = (bench_work){"project", 10e9, 5e9}; // 0.5 s
    result.works[1] = (bench_work){"attend", 20e9, 1e9};  // 0.2 s
    result.works[2] = (bench_work){"project", 0.0, 1e9};  // 0.1 s
    result.work_count = 3;
    result.launches.count = 7;
    for (uint32_t i = 0; i < 7; i++) {
        bench_launch *launch = &result.launches.list[i];
        snprintf(launch->operation, sizeof launch->operation, "%s", operations[i]);
        snprintf(launch->kernel, sizeof launch->kernel, "%s", kernels[i]);
    }
    const double expected[] = {0.5, 0.0, 0.0, 0.2, 0.0, 0.1, 0.0};
    for (uint32_t i = 0; i < 7; i++)
        ck_assert_double_eq_tol(bench_launch_limit(&limits, &result, i), expected[i], 1e-12);
}
END_TEST

// A limit that was not measured bounds nothing, and without any there is none.
START_TEST(limits_that_are_missing) {
    const bench_limits reads = {.read = {.rate = 10.0}}, none = {.read_bytes = 0.0};
    bench_result result = took(0.5, 100e9, 4e9);
    expect(bench_rates_of(&reads, &result).limit_seconds, 0.4);
    ck_assert(bench_rates_of(&none, &result).limit_seconds == 0.0);
    ck_assert(bench_rates_of(&none, &result).times_limit == 0.0);
    ck_assert(bench_rates_of(&none, &result).fraction_of_fma == 0.0);
}
END_TEST

// A device whose groups have just so many work-items gets such groups: in groups of one, most lanes of a GPU would
// idle.
START_TEST(groups_of_the_limits) {
    static const struct {
        cl_device_type type;
        uint64_t most;
        size_t group;
    } devices[] = {{CL_DEVICE_TYPE_GPU, 1024, 256}, {CL_DEVICE_TYPE_GPU, 256, 256}, {CL_DEVICE_TYPE_GPU, 100, 64},
                   {CL_DEVICE_TYPE_GPU, 1, 1},      {CL_DEVICE_TYPE_GPU, 0, 256},   {CL_DEVICE_TYPE_CPU, 4096, 1}};
    clmla_device_facts facts = {.type = devices[_i].type, .max_group_size = devices[_i].most};
    ck_assert_uint_eq(bench_limits_group(&facts), devices[_i].group);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, operation_bound_by_reads);
    tcase_add_test(tcase, operation_bound_by_multiply_adds);
    tcase_add_test(tcase, layer_is_the_sum_of_its_operations);
    tcase_add_test(tcase, launches_have_their_work_s_limit);
    tcase_add_test(tcase, limits_that_are_missing);
    tcase_add_loop_test(tcase, groups_of_the_limits, 0, 6);
}

int main(void) {
    return test_run("check_bench_rates", add_tests);
}
