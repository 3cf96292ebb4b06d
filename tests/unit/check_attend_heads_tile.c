// SPDX-License-Identifier: Apache-2.0
// attend_heads_tile's tile from made-up device facts: it fits the device and the kernel's rules, and is of a size that
// pays.
#include "cl/common/attend_heads_tile.h"
#include "lib/attend_heads_tile.h"
#include "tests/support/suite.h"
#include "tests/unit/made_up_devices.h"
#include <check.h>
#include <string.h>

// DeepSeek's, MiniCPM3's, wide values, odd ones.
static const attend_heads_shape shapes[] = {{128, 64, 128}, {64, 32, 64}, {192, 64, 256}, {256, 0, 256},
                                            {33, 2, 1},     {5, 10, 7},   {0, 6, 33}};
#define SHAPES (sizeof shapes / sizeof *shapes)

static bool is_power(uint32_t value) {
    return value && (value & (value - 1)) == 0;
}

// The rules that cl/attend_heads_tile.cl and cl/common/attend_heads_tile.h state.
static void check_rules(const attend_heads_tile *t, const clmla_device_facts *facts, const attend_heads_shape *s) {
    uint64_t keys = HEADS_KEY_TILE(t->key_side), stage = t->group * HEADS_LOADS * 4;
    ck_assert_uint_ge(t->group, 32);
    ck_assert_uint_le(t->group, facts->max_group_size);
    ck_assert(is_power(t->group) && is_power(t->key_side) && t->key_side >= 8 && t->key_side <= t->group);
    ck_assert(t->depth == 8 || t->depth == 16);
    ck_assert_uint_eq(t->value_keys % 4, 0);
    ck_assert_uint_eq(keys % t->value_keys, 0);
    ck_assert_uint_eq(t->row_tile, HEADS_ROW_TILE(t->group, t->key_side));
    ck_assert_uint_le(t->row_tile, t->group);
    ck_assert_uint_le(HEADS_ITEM_ROWS * HEADS_QUADS(t->key_side, s->value_dim), HEADS_SUMS);
    ck_assert_uint_le((uint64_t)t->row_tile * t->depth, stage);
    ck_assert_uint_le(keys * t->depth, stage);
    ck_assert_uint_le((uint64_t)t->value_keys * HEADS_VALUE_STRIDE(s->value_dim), stage);
    ck_assert_uint_eq(t->local_bytes,
                      HEADS_LOCAL_BYTES((uint64_t)t->group, t->key_side, t->depth, t->value_keys, s->value_dim));
    ck_assert_uint_le(t->local_bytes, facts->local_bytes);
}

static attend_heads_tile choose(const clmla_device_facts *facts, attend_tile_limits limits,
                                const attend_heads_shape *shape) {
    attend_heads_tile tile;
    char reason[ATTEND_TILE_REASON_MAX];
    ck_assert_msg(attend_heads_tile_choose(&tile, reason, facts, &limits, shape),
                  "%u + %u, %u with %llu bytes, groups of %llu: %s", shape->nope_dim, shape->rope_dim, shape->value_dim,
                  (unsigned long long)facts->local_bytes, (unsigned long long)facts->max_group_size, reason);
    ck_assert_str_eq(reason, "");
    check_rules(&tile, facts, shape);
    return tile;
}

START_TEST(every_device_gets_a_tile_that_fits) {
    static const uint32_t vendors[] = {VENDOR_AMD, VENDOR_INTEL, VENDOR_NVIDIA, 0};
    static const uint64_t locals[] = {16, 32, 48, 64, 96, 128, 228}, groups[] = {64, 96, 128, 256, 1024};
    for (size_t v = 0; v < 4; v++)
        for (size_t l = 0; l < sizeof locals / sizeof *locals; l++)
            for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
                for (size_t s = 0; s < SHAPES; s++) {
                    clmla_device_facts facts = made_up_gpu(vendors[v], locals[l] * KIB, groups[g]);
                    choose(&facts, (attend_tile_limits){0}, &shapes[s]);
                }
}
END_TEST

START_TEST(uses_what_there_is) {
    clmla_device_facts amd = made_up_gpu(VENDOR_AMD, 64 * KIB, 1024),
                       nvidia = made_up_gpu(VENDOR_NVIDIA, 48 * KIB, 1024);
    clmla_device_facts intel = made_up_gpu(VENDOR_INTEL, 64 * KIB, 512), small = made_up_gpu(0, 16 * KIB, 64);
    // Two groups at a time, of many tokens.
    ck_assert_uint_le(choose(&amd, (attend_tile_limits){0}, &shapes[0]).local_bytes, 32 * KIB);
    ck_assert_uint_ge(choose(&amd, (attend_tile_limits){0}, &shapes[0]).row_tile, 64);
    ck_assert_uint_ge(choose(&nvidia, (attend_tile_limits){0}, &shapes[0]).row_tile, 32);
    ck_assert_uint_eq(choose(&nvidia, (attend_tile_limits){0}, &shapes[0]).group, 128);
    ck_assert_uint_ge(choose(&small, (attend_tile_limits){0}, &shapes[0]).row_tile, 16);
    // The compiler is told a width where Intel's GPU has no narrow one.
    ck_assert_uint_eq(choose(&intel, (attend_tile_limits){0}, &shapes[0]).sub_group, 0);
    intel.least_sub_group = 16;
    ck_assert_uint_eq(choose(&intel, (attend_tile_limits){0}, &shapes[0]).sub_group, 16);
    // Neither the number of units nor half arithmetic has a say.
    clmla_device_facts many = amd;
    many.compute_units = 304;
    many.has_half = true;
    attend_heads_tile a = choose(&amd, (attend_tile_limits){0}, &shapes[0]);
    attend_heads_tile b = choose(&many, (attend_tile_limits){0}, &shapes[0]);
    ck_assert_int_eq(memcmp(&a, &b, sizeof a), 0);
}
END_TEST

START_TEST(keeps_to_its_limits) {
    clmla_device_facts facts = made_up_gpu(VENDOR_NVIDIA, 228 * KIB, 1024);
    for (uint32_t group = 64; group <= 1024; group *= 2)
        for (uint32_t local = 16; local <= 64; local += 8) {
            attend_heads_tile tile = choose(&facts, (attend_tile_limits){group, 0, 0, local * KIB}, &shapes[0]);
            ck_assert_uint_le(tile.group, group);
            ck_assert_uint_le(tile.local_bytes, local * KIB);
        }
}
END_TEST

static void refused(const clmla_device_facts *facts, uint32_t value_dim, const char *first, const char *second) {
    attend_heads_shape shape = {128, 64, value_dim};
    attend_heads_tile tile;
    char reason[ATTEND_TILE_REASON_MAX];
    ck_assert(!attend_heads_tile_choose(&tile, reason, facts, &(attend_tile_limits){0}, &shape));
    ck_assert_msg(strstr(reason, first) && strstr(reason, second), "'%s' does not say '%s' and '%s'", reason, first,
                  second);
}

START_TEST(says_what_is_missing) {
    clmla_device_facts small = made_up_gpu(0, 4 * KIB, 256), narrow = made_up_gpu(0, 32 * KIB, 16),
                       none = made_up_gpu(0, 0, 256);
    clmla_device_facts large = made_up_gpu(0, 1024 * KIB, 256);
    refused(&small, 128, "bytes of local memory", "has 4096");
    refused(&none, 128, "bytes of local memory", "has 0");
    refused(&narrow, 128, "32 work-items", "of 16");
    refused(&large, 8192, "8192 values", "256 work-items");
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, every_device_gets_a_tile_that_fits);
    tcase_add_test(tests, uses_what_there_is);
    tcase_add_test(tests, keeps_to_its_limits);
    tcase_add_test(tests, says_what_is_missing);
}

int main(void) {
    return test_run_apart("attend_heads_tile", add_tests);
}
