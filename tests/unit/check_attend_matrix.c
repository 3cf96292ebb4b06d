// SPDX-License-Identifier: Apache-2.0
// attend_matrix's tile from made-up device facts: it fits the device and the kernel's rules.
#include "cl/common/attend_matrix.h"
#include "lib/attend_matrix.h"
#include "tests/support/suite.h"
#include "tests/unit/made_up_devices.h"
#include <check.h>
#include <string.h>

// One value a query in fast compute; in exact compute as many as keep 22 bits and more.
static const struct {
    clmla_row_format format;
    bool exact;
    uint32_t parts;
} kept[] = {
    {CLMLA_ROWS_F16, false, 1}, {CLMLA_ROWS_F16, true, 2}, {CLMLA_ROWS_BF16, false, 1}, {CLMLA_ROWS_BF16, true, 3}};

// The rules that cl/attend_matrix.cl and cl/common/attend_matrix.h state.
static void check_rules(const attend_tile *t, const clmla_device_facts *facts, const attend_tile_shape *s) {
    uint32_t wave = host_matrix_find(facts)->wave, width = s->latent_dim + s->rope_dim;
    uint32_t parts = attend_matrix_parts(s->format, s->exact);
    ck_assert_uint_le(t->group, facts->max_group_size);
    ck_assert_uint_eq(t->group % wave, 0);
    ck_assert_uint_eq(t->group % t->row_tile, 0);
    ck_assert_uint_ge(t->group, t->key_tile);
    ck_assert(t->row_tile == 16 || t->row_tile == 32);
    ck_assert(t->key_tile == 16 || t->key_tile == 32);
    ck_assert_uint_ge(t->partials, 1);
    ck_assert_uint_eq(t->partials & (t->partials - 1), 0);
    ck_assert_uint_le(MATRIX_FRAGMENTS(t->group, wave, t->row_tile, s->latent_dim), 16);
    ck_assert_uint_eq(t->local_bytes,
                      MATRIX_LOCAL_BYTES((uint64_t)t->group, t->row_tile, t->key_tile, t->partials, width, parts));
    ck_assert_uint_le(t->local_bytes, facts->local_bytes);
    ck_assert_uint_eq(t->query_stride, MATRIX_QUERY_STRIDE(width, parts));
    ck_assert_uint_ge(t->query_stride * 4, width * 2 * parts);
}

START_TEST(every_device_gets_a_tile_that_fits) {
    size_t i = (size_t)_i;
    ck_assert_uint_eq(attend_matrix_parts(kept[i].format, kept[i].exact), kept[i].parts);
    static const uint32_t locals[] = {32, 48, 64, 128, 228}, groups[] = {256, 512, 1024},
                          rows[] = {1, 8, 16, 20, 40, 128, 1000};
    static const struct { uint32_t latent, rope; } widths[] = {{512, 64}, {512, 0}, {256, 64}, {37, 6}};
    for (size_t d = 0; d < sizeof made_up_matrix_devices / sizeof *made_up_matrix_devices; d++)
        for (size_t l = 0; l < sizeof locals / sizeof *locals; l++)
            for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
                for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
                    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
                        clmla_device_facts facts = made_up_matrix_devices[d];
                        facts.local_bytes = locals[l] * KIB;
                        facts.max_group_size = groups[g];
                        attend_tile_shape shape = {kept[i].format, widths[w].latent, widths[w].rope, 0,
                                                   rows[r],        kept[i].exact};
                        char reason[ATTEND_TILE_REASON_MAX];
                        attend_tile tile;
                        ck_assert_msg(attend_matrix_choose(&tile, reason, &facts, &(attend_tile_limits){0}, &shape),
                                      "device %zu, %u KiB, groups of %u: %s", d, locals[l], groups[g], reason);
                        check_rules(&tile, &facts, &shape);
                    }
}
END_TEST

START_TEST(says_what_does_not_fit) {
    clmla_device_facts facts = made_up_matrix_devices[0];
    attend_tile_shape shape = {CLMLA_ROWS_F16, 512, 64, 0, 128, false};
    char reason[ATTEND_TILE_REASON_MAX];
    attend_tile tile;
    facts.local_bytes = 16 * KIB;
    facts.max_group_size = 1024;
    ck_assert(!attend_matrix_choose(&tile, reason, &facts, &(attend_tile_limits){0}, &shape));
    ck_assert_ptr_nonnull(strstr(reason, "bytes of local memory"));
    facts.local_bytes = 48 * KIB;
    facts.max_group_size = 32;
    ck_assert(!attend_matrix_choose(&tile, reason, &facts, &(attend_tile_limits){0}, &shape));
    ck_assert_ptr_nonnull(strstr(reason, "groups of 64"));
    facts.max_group_size = 1024;
    shape.latent_dim = 8192;
    facts.local_bytes = 1024 * KIB;
    ck_assert(!attend_matrix_choose(&tile, reason, &facts, &(attend_tile_limits){0}, &shape));
    ck_assert_ptr_nonnull(strstr(reason, "registers"));
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, every_device_gets_a_tile_that_fits, 0, sizeof kept / sizeof *kept);
    tcase_add_test(tests, says_what_does_not_fit);
}

int main(void) {
    return test_run_apart("attend_matrix", add_tests);
}
