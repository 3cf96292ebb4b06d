// SPDX-License-Identifier: Apache-2.0
// attend_heads_matrix's tile from made-up device facts: it fits the device and the kernel's rules.
#include "cl/common/attend_heads_matrix.h"
#include "lib/attend_heads_matrix.h"
#include "tests/support/suite.h"
#include "tests/unit/made_up_devices.h"
#include <check.h>
#include <string.h>

static const attend_heads_shape shapes[] = {{128, 64, 128}, {64, 32, 64}, {33, 2, 1}, {5, 10, 7}, {0, 6, 33}};

static bool is_tile(uint32_t value) {
    return value == 16 || value == 32 || value == 64;
}

// The rules that cl/attend_heads_matrix.cl and cl/common/attend_heads_matrix.h state.
static void check_rules(const attend_heads_matrix *t, const clmla_device_facts *facts, const attend_heads_shape *s) {
    uint32_t wave = host_matrix_find(facts)->wave, width = s->nope_dim + s->rope_dim;
    ck_assert_uint_le(t->group, facts->max_group_size);
    ck_assert(is_tile(t->row_tile) && is_tile(t->key_tile));
    ck_assert_uint_eq(t->group % (wave * (t->row_tile / 16)), 0);
    ck_assert_uint_eq(t->group % t->row_tile, 0);
    ck_assert_uint_le(HEADS_FRAGMENTS(t->group, wave, t->row_tile, t->key_tile), 4);
    ck_assert_uint_le(HEADS_FRAGMENTS(t->group, wave, t->row_tile, s->value_dim), 16);
    ck_assert_uint_eq(t->local_bytes,
                      HEADS_MATRIX_LOCAL_BYTES((uint64_t)t->group, t->row_tile, t->key_tile, width, s->value_dim));
    ck_assert_uint_le(t->local_bytes, facts->local_bytes);
}

START_TEST(every_device_gets_a_tile_that_fits) {
    static const uint32_t locals[] = {32, 48, 64, 128, 228}, groups[] = {64, 256, 512, 1024};
    for (size_t d = 0; d < sizeof made_up_matrix_devices / sizeof *made_up_matrix_devices; d++)
        for (size_t l = 0; l < sizeof locals / sizeof *locals; l++)
            for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
                for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
                    clmla_device_facts facts = made_up_matrix_devices[d];
                    facts.local_bytes = locals[l] * KIB;
                    facts.max_group_size = groups[g];
                    char reason[ATTEND_TILE_REASON_MAX];
                    attend_heads_matrix tile;
                    ck_assert_msg(
                        attend_heads_matrix_choose(&tile, reason, &facts, &(attend_tile_limits){0}, &shapes[s]),
                        "device %zu, %u KiB, groups of %u, shape %zu: %s", d, locals[l], groups[g], s, reason);
                    check_rules(&tile, &facts, &shapes[s]);
                }
}
END_TEST

// Many tokens a tile where local memory allows it: fewer values are rounded.
START_TEST(uses_what_there_is) {
    clmla_device_facts facts = made_up_matrix_devices[0];
    uint32_t before = 0;
    facts.max_group_size = 1024;
    for (uint32_t local = 32; local <= 96; local += 16) {
        char reason[ATTEND_TILE_REASON_MAX];
        attend_heads_matrix tile;
        attend_tile_limits limits = {.local_bytes = local * KIB};
        facts.local_bytes = 228 * KIB;
        ck_assert(attend_heads_matrix_choose(&tile, reason, &facts, &limits, &shapes[0]));
        ck_assert_uint_le(tile.local_bytes, local * KIB);
        ck_assert_uint_ge(tile.row_tile * tile.key_tile, before);
        before = tile.row_tile * tile.key_tile;
    }
    ck_assert_uint_ge(before, 64 * 32);
}
END_TEST

static void refused(uint64_t local, uint64_t group, uint32_t value_dim, const char *says) {
    clmla_device_facts facts = made_up_matrix_devices[0];
    attend_heads_shape shape = {128, 64, value_dim};
    char reason[ATTEND_TILE_REASON_MAX];
    attend_heads_matrix tile;
    facts.local_bytes = local;
    facts.max_group_size = group;
    ck_assert(!attend_heads_matrix_choose(&tile, reason, &facts, &(attend_tile_limits){0}, &shape));
    ck_assert_msg(strstr(reason, says) != NULL, "'%s' does not say '%s'", reason, says);
}

START_TEST(says_what_does_not_fit) {
    refused(16 * KIB, 1024, 128, "bytes of local memory");
    refused(48 * KIB, 32, 128, "groups of 64");
    refused(1024 * KIB, 1024, 8192, "registers");
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, every_device_gets_a_tile_that_fits);
    tcase_add_test(tests, uses_what_there_is);
    tcase_add_test(tests, says_what_does_not_fit);
}

int main(void) {
    return test_run_apart("attend_heads_matrix", add_tests);
}
