// SPDX-License-Identifier: Apache-2.0
// Sizes of groups and tiles on made-up device facts, and the variants chosen there.
#include "lib/group.h"
#include "tests/support/suite.h"
#include <check.h>
#include <clmla/clmla.h>
#include <string.h>

#define MOST 16

// An NVIDIA H200 as its driver is known to tell.
static const clmla_device_facts h200 = {.type = CL_DEVICE_TYPE_GPU,
                                        .vendor_id = 0x10de,
                                        .compute_units = 132,
                                        .local_bytes = 48 << 10,
                                        .max_group_size = 1024,
                                        .max_group_dims = {1024, 1024, 64}};
// The least this library asks of a GPU.
static const clmla_device_facts small = {.type = CL_DEVICE_TYPE_GPU,
                                         .compute_units = 2,
                                         .local_bytes = 16 << 10,
                                         .max_group_size = 64,
                                         .max_group_dims = {64, 64, 64}};

static clmla_variant variant_of(const char *name, const clmla_device_facts *facts, clmla_operation operation,
                                clmla_shape shape) {
    clmla_variant variants[MOST];
    size_t count = 0;
    ck_assert_int_eq(clmla_variant_list(variants, MOST, &count, facts, operation, &shape), CLMLA_OK);
    for (size_t i = 0; i < count; i++)
        if (strcmp(variants[i].name, name) == 0) return variants[i];
    ck_abort_msg("%s has no variant %s", clmla_operation_name(operation), name);
}

START_TEST(test_groups_fit_the_device) {
    clmla_device_facts facts = {0};
    ck_assert_uint_eq(group_size(&h200), 128);
    ck_assert_uint_eq(group_size(&small), 64);
    ck_assert_uint_eq(group_size(&facts), 64); // nothing is known
    facts.max_group_size = 1000;
    ck_assert_uint_eq(group_size(&facts), 128);
    facts.max_group_dims[0] = 48;
    ck_assert_uint_eq(group_size(&facts), 32);
    facts.max_group_dims[0] = 16;
    ck_assert_uint_eq(group_size(&facts), 0);
    facts = h200;
    facts.local_bytes = 8 << 10;
    ck_assert_uint_eq(group_size(&facts), 0);
    facts = h200;
    facts.is_interpreter = true;
    ck_assert_uint_eq(group_size(&facts), 32);
    for (facts.group_items = 32; facts.group_items <= 256; facts.group_items *= 2)
        ck_assert_uint_eq(group_size(&facts), facts.group_items);
    facts.group_items = 256;
    facts.local_bytes = 16 << 10;
    ck_assert_uint_eq(group_size(&facts), 128);
    facts = small;
    facts.group_items = 256;
    ck_assert_uint_eq(group_size(&facts), 64);
}
END_TEST

// A lane has four eights of a row or more, unless the row is shorter than eight lanes' worth.
START_TEST(test_lanes_follow_the_columns) {
    static const uint32_t columns[] = {1, 8, 511, 512, 1536, 2048, 7168, 16384, UINT32_MAX};
    static const uint32_t lanes[] = {8, 8, 8, 16, 32, 64, 128, 128, 128};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        ck_assert_uint_eq(group_lanes(128, columns[i]), lanes[i]);
    ck_assert_uint_eq(group_lanes(64, 7168), 64);
    ck_assert_uint_eq(group_lanes(32, 7168), 32);
}
END_TEST

START_TEST(test_kernels_follow_the_tokens) {
    static const uint32_t tokens[] = {1, 2, 3, 4, 5, 8, 9, 1000}, taken[] = {1, 2, 4, 4, 8, 8, 8, 8};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) ck_assert_uint_eq(group_tokens(tokens[i]), taken[i]);
}
END_TEST

static void check_tile(const clmla_device_facts *facts, uint32_t rows, uint32_t tokens, group_tile expected) {
    group_tile found = group_tile_choose(facts, rows, tokens);
    ck_assert_uint_eq(found.group, expected.group);
    ck_assert_uint_eq(found.rows, expected.rows);
    ck_assert_uint_eq(found.tokens, expected.tokens);
    ck_assert_uint_eq(found.item_rows, expected.item_rows);
}

START_TEST(test_tiles_fit_the_device) {
    clmla_device_facts facts = h200;
    check_tile(&h200, 7168, 4096, (group_tile){256, 128, 64, 8});
    check_tile(&h200, 7168, 64, (group_tile){256, 64, 64, 4}); // 56 tiles of 128 rows would leave most units idle
    check_tile(&h200, 0, 0, (group_tile){256, 128, 64, 8});
    check_tile(&small, 7168, 4096, (group_tile){64, 64, 32, 8});
    facts.local_bytes = 12 << 10;
    check_tile(&facts, 7168, 4096, (group_tile){256, 64, 64, 4});
    facts.local_bytes = 8 << 10;
    check_tile(&facts, 7168, 4096, (group_tile){64, 64, 32, 8});
    facts.local_bytes = 4 << 10;
    check_tile(&facts, 7168, 4096, (group_tile){0});
    facts = h200;
    facts.vendor_id = 0x8086;
    check_tile(&facts, 7168, 4096, (group_tile){256, 64, 64, 4});
    facts.max_group_size = 32;
    check_tile(&facts, 7168, 4096, (group_tile){0});
}
END_TEST

START_TEST(test_gpus_get_them) {
    clmla_shape few = {.weights = CLMLA_TYPE_BF16, .row_count = 8},
                many = {.weights = CLMLA_TYPE_BF16, .row_count = 32};
    clmla_device_facts cpu = h200, narrow = h200;
    cpu.type = CL_DEVICE_TYPE_CPU;
    narrow.max_group_size = 16;
    ck_assert(variant_of("group", &h200, CLMLA_OP_PROJECT, few).chosen);
    ck_assert(variant_of("tile", &h200, CLMLA_OP_PROJECT, many).chosen);
    ck_assert_ptr_nonnull(strstr(variant_of("tile", &h200, CLMLA_OP_PROJECT, few).reason, "32 rows"));
    ck_assert(variant_of("group", &cpu, CLMLA_OP_PROJECT, few).accepted);
    ck_assert(variant_of("vector", &cpu, CLMLA_OP_PROJECT, few).chosen);
    ck_assert(variant_of("naive", &narrow, CLMLA_OP_PROJECT, few).chosen);
    ck_assert(variant_of("naive", &narrow, CLMLA_OP_PROJECT, many).chosen);
    ck_assert_ptr_nonnull(strstr(variant_of("group", &narrow, CLMLA_OP_PROJECT, few).reason, "the device has 16"));
    ck_assert(variant_of("group", &h200, CLMLA_OP_ABSORB, few).chosen);
    ck_assert(variant_of("group", &h200, CLMLA_OP_OUTPUT, many).chosen);
    static const clmla_operation others[] = {CLMLA_OP_RMS_NORM,   CLMLA_OP_ROPE,  CLMLA_OP_GATHER,
                                             CLMLA_OP_COPY_PAGES, CLMLA_OP_MERGE, CLMLA_OP_MOVE_ROWS,
                                             CLMLA_OP_SHIFT};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ck_assert(variant_of("group", &small, others[i], few).chosen);
        ck_assert(!variant_of("group", &cpu, others[i], few).chosen);
        ck_assert(variant_of("naive", &narrow, others[i], few).chosen);
    }
}
END_TEST

// A group holds a whole row.
START_TEST(test_rows_must_fit) {
    for (int format = 0; format < CLMLA_ROW_FORMAT_COUNT; format++) {
        clmla_shape shape = {.format = (clmla_row_format)format, .latent_dim = 512, .rope_dim = 64, .row_count = 1};
        ck_assert(variant_of("group", &small, CLMLA_OP_APPEND, shape).chosen);
        ck_assert(variant_of("group", &small, CLMLA_OP_CONVERT_ROWS, shape).chosen);
        shape.latent_dim = 4096;
        clmla_variant refused = variant_of("group", &small, CLMLA_OP_APPEND, shape);
        ck_assert(!refused.accepted);
        ck_assert_ptr_nonnull(strstr(refused.reason, "rows of 4096 + 64 values, the device has 16384"));
        ck_assert(variant_of("naive", &small, CLMLA_OP_APPEND, shape).chosen);
    }
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, test_groups_fit_the_device);
    tcase_add_test(tests, test_lanes_follow_the_columns);
    tcase_add_test(tests, test_kernels_follow_the_tokens);
    tcase_add_test(tests, test_tiles_fit_the_device);
    tcase_add_test(tests, test_gpus_get_them);
    tcase_add_test(tests, test_rows_must_fit);
}

int main(void) {
    return test_run_apart("group", add_tests);
}
