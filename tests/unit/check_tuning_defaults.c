// SPDX-License-Identifier: Apache-2.0
// What numbers begin with, on made-up device facts: which rows fit, which of them counts, and the order of the
// library's own.
#include "lib/tuning_defaults.h"
#include "tests/support/suite.h"
#include <check.h>
#include <stdio.h>

#define NUMBER TUNING_ATTEND_TILE_KEYS
#define BEFORE 7 // no row's value

static const clmla_device_facts h200 = {
    .type = CL_DEVICE_TYPE_GPU, .vendor = "NVIDIA Corporation", .name = "NVIDIA H200"};

static uint32_t value_of(const clmla_device_facts *facts, const tuning_default *rows, size_t count) {
    uint32_t values[TUNING_COUNT] = {[NUMBER] = BEFORE};
    tuning_take_rows(values, facts, rows, count);
    for (int i = 0; i < TUNING_COUNT; i++) ck_assert(i == NUMBER || values[i] == 0);
    return values[NUMBER];
}

START_TEST(each_part_fits_or_not) {
    static const struct {
        cl_device_type type;
        const char *vendor, *device;
        bool fits;
    } cases[] = {
        {TUNING_ANY, NULL, NULL, true},
        {CL_DEVICE_TYPE_GPU, NULL, NULL, true},
        {CL_DEVICE_TYPE_CPU, NULL, NULL, false},
        {CL_DEVICE_TYPE_CPU | CL_DEVICE_TYPE_GPU, NULL, NULL, true},
        {TUNING_ANY, "NVIDIA", NULL, true},
        {TUNING_ANY, "NVIDIA Corporation", NULL, true},
        {TUNING_ANY, "nvidia", NULL, false},
        {TUNING_ANY, "Intel", NULL, false},
        {TUNING_ANY, NULL, "H200", true},
        {TUNING_ANY, NULL, "NVIDIA H200", true},
        {TUNING_ANY, NULL, "NVIDIA", true},
        {TUNING_ANY, NULL, "H100", false},
        {TUNING_ANY, NULL, "NVIDIA H200 NVL", false},
        {TUNING_ANY, NULL, "h200", false},
        {TUNING_ANY, NULL, "H20", false},   // another device's name
        {TUNING_ANY, NULL, "200", false},   // of a word
        {TUNING_ANY, NULL, "VIDIA", false}, // its end
        {TUNING_ANY, NULL, "", false},
        {CL_DEVICE_TYPE_GPU, "NVIDIA", "H200", true},
        {CL_DEVICE_TYPE_CPU, "NVIDIA", "H200", false},
        {CL_DEVICE_TYPE_GPU, "AMD", "H200", false},
        {CL_DEVICE_TYPE_GPU, "NVIDIA", "H100", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tuning_default row = {cases[i].type, cases[i].vendor, cases[i].device, NUMBER, 64};
        ck_assert_msg(value_of(&h200, &row, 1) == (cases[i].fits ? 64 : BEFORE), "case %zu", i);
    }
}
END_TEST

// Names as drivers tell them, and the words of a row.
START_TEST(devices_are_told_by_words) {
    static const struct {
        const char *name, *device;
        bool fits;
    } cases[] = {
        {"NVIDIA GH200 480GB", "H200", false},
        {"NVIDIA A100-SXM4-80GB", "A100", true},
        {"NVIDIA A100-SXM4-80GB", "A10", false},
        {"NVIDIA A10", "A10", true},
        {"NVIDIA L40S", "L4", false},
        {"gfx90a:sramecc+:xnack-", "gfx90a", true},
        {"gfx90a:sramecc+:xnack-", "gfx90a:", true},
        {"gfx90a:sramecc+:xnack-", "gfx90", false},
        {"Intel(R) Data Center GPU Max 1550", "GPU Max", true},
        {"Intel(R) Data Center GPU Max 1550", "GPU Max 155", false},
        {"pthread-skylake-avx512-AMD EPYC", "AMD EPYC", true},
        {"H2000 beside an H200", "H200", true}, // not the first that is alike
        {"", "H200", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clmla_device_facts facts = h200;
        tuning_default row = {TUNING_ANY, NULL, cases[i].device, NUMBER, 64};
        snprintf(facts.name, sizeof facts.name, "%s", cases[i].name);
        ck_assert_msg(value_of(&facts, &row, 1) == (cases[i].fits ? 64 : BEFORE), "%s in %s", cases[i].device,
                      cases[i].name);
    }
}
END_TEST

// A device may claim several types, and tell nothing at all.
START_TEST(types_may_be_several) {
    const clmla_device_facts both = {.type = CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_CPU}, nothing = {0};
    const tuning_default cpu = {CL_DEVICE_TYPE_CPU, NULL, NULL, NUMBER, 16}, all = {TUNING_ANY, NULL, NULL, NUMBER, 8},
                         named = {TUNING_ANY, "NVIDIA", NULL, NUMBER, 4};
    ck_assert_uint_eq(value_of(&both, &cpu, 1), 16);
    ck_assert_uint_eq(value_of(&nothing, &cpu, 1), BEFORE);
    ck_assert_uint_eq(value_of(&nothing, &all, 1), 8);
    ck_assert_uint_eq(value_of(&nothing, &named, 1), BEFORE);
}
END_TEST

START_TEST(the_last_that_fits_counts) {
    static const tuning_default rows[] = {
        {TUNING_ANY, NULL, NULL, NUMBER, 8},
        {CL_DEVICE_TYPE_GPU, NULL, NULL, NUMBER, 16},
        {CL_DEVICE_TYPE_GPU, "NVIDIA", NULL, NUMBER, 24},
        {CL_DEVICE_TYPE_GPU, "NVIDIA", "H200", NUMBER, 32},
        {CL_DEVICE_TYPE_GPU, "NVIDIA", "H200", NUMBER, 40}, // found later
        {CL_DEVICE_TYPE_GPU, "NVIDIA", "H100", NUMBER, 48},
    };
    static const uint32_t expected[] = {8, 16, 24, 32, 40, 40};
    clmla_device_facts other = h200, amd = h200, cpu = h200;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_uint_eq(value_of(&h200, rows, i + 1), expected[i]);
    snprintf(other.name, sizeof other.name, "NVIDIA A100-SXM4-80GB");
    ck_assert_uint_eq(value_of(&other, rows, 6), 24);
    snprintf(amd.vendor, sizeof amd.vendor, "Advanced Micro Devices, Inc.");
    ck_assert_uint_eq(value_of(&amd, rows, 6), 16);
    cpu.type = CL_DEVICE_TYPE_CPU;
    ck_assert_uint_eq(value_of(&cpu, rows, 6), 8);
}
END_TEST

// 0 to 3: a row for every device, a type, a vendor, a device.
static int level(const tuning_default *row) {
    return row->device ? 3 : row->vendor ? 2 : row->type != TUNING_ANY ? 1 : 0;
}

START_TEST(the_librarys_rows) {
    const clmla_device_facts nothing = {0};
    size_t count = 0;
    const tuning_default *rows = tuning_default_rows(&count);
    bool seen[TUNING_COUNT] = {false};
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(i == 0 || level(&rows[i]) >= level(&rows[i - 1]), "row %zu is less particular than the last", i);
        ck_assert_msg(tuning_allowed(rows[i].index, rows[i].value), "row %zu: %u is out of range", i, rows[i].value);
        ck_assert(!rows[i].vendor || rows[i].vendor[0] != '\0');
        ck_assert(!rows[i].device || rows[i].device[0] != '\0');
        if (level(&rows[i]) == 0) {
            ck_assert_msg(!seen[rows[i].index], "%s has two rows for every device", tuning_name(rows[i].index));
            seen[rows[i].index] = true;
        }
    }
    for (int i = 0; i < TUNING_COUNT; i++) ck_assert_msg(seen[i], "%s has none", tuning_name((tuning_index)i));
    // What is taken is what tuning_defaults fills.
    uint32_t filled[TUNING_COUNT], taken[TUNING_COUNT] = {0};
    tuning_defaults(filled, &nothing);
    tuning_take_rows(taken, &nothing, rows, count);
    for (int i = 0; i < TUNING_COUNT; i++) ck_assert_uint_eq(filled[i], taken[i]);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, each_part_fits_or_not);
    tcase_add_test(tests, devices_are_told_by_words);
    tcase_add_test(tests, types_may_be_several);
    tcase_add_test(tests, the_last_that_fits_counts);
    tcase_add_test(tests, the_librarys_rows);
}

int main(void) {
    return test_run_apart("tuning_defaults", add_tests);
}
