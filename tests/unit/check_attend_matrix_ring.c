// SPDX-License-Identifier: Apache-2.0
// attend_matrix_ring from made-up device facts: where it is chosen, what it refuses and why, and its tile.
#include "cl/common/attend_matrix_ring.h"
#include "lib/attend_matrix_ring.h"
#include "tests/unit/made_up_devices.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define TOLD (48 * KIB) // what NVIDIA's driver tells of

static clmla_device_facts nvidia(uint32_t capability) {
    clmla_device_facts facts = made_up_gpu(VENDOR_NVIDIA, TOLD, 1024);
    facts.compute_capability = capability;
    return facts;
}

static clmla_variant listed(const clmla_device_facts *facts, clmla_shape shape, const char *name) {
    clmla_variant variants[16];
    size_t count = 0;
    ck_assert_int_eq(clmla_variant_list(variants, 16, &count, facts, CLMLA_OP_ATTEND, &shape), CLMLA_OK);
    for (size_t i = 0; i < count; i++)
        if (strcmp(variants[i].name, name) == 0) return variants[i];
    ck_abort_msg("attend has no variant %s", name);
}

static clmla_shape deepseek(clmla_row_format format, clmla_compute compute) {
    return (clmla_shape){.format = format, .latent_dim = 512, .rope_dim = 64, .head_count = 128, .compute = compute};
}

// From sm_80 on but on Hopper, which has wgmma.
START_TEST(is_chosen_from_sm_80_on) {
    static const struct {
        uint32_t capability;
        const char *chosen;
    } devices[] = {{75, "matrix"}, {80, "matrix_ring"},  {86, "matrix_ring"},  {89, "matrix_ring"},
                   {90, "wgmma"},  {100, "matrix_ring"}, {120, "matrix_ring"}, {0, "matrix"}};
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        clmla_device_facts facts = nvidia(devices[i].capability);
        ck_assert(listed(&facts, deepseek(CLMLA_ROWS_F16, CLMLA_COMPUTE_FAST), devices[i].chosen).chosen);
        ck_assert(listed(&facts, deepseek(CLMLA_ROWS_BF16, CLMLA_COMPUTE_FAST), devices[i].chosen).chosen);
        ck_assert(listed(&facts, deepseek(CLMLA_ROWS_F16, CLMLA_COMPUTE_EXACT), devices[i].chosen).chosen);
        ck_assert(listed(&facts, deepseek(CLMLA_ROWS_BF16, CLMLA_COMPUTE_EXACT), "matrix").chosen);
    }
}
END_TEST

START_TEST(says_what_it_does_not_serve) {
    static const struct {
        clmla_shape shape;
        const char *says;
    } refused[] = {
        {{.format = CLMLA_ROWS_BF16, .latent_dim = 512, .rope_dim = 64}, "exact compute"},
        {{.format = CLMLA_ROWS_Q8, .latent_dim = 512, .rope_dim = 64, .compute = CLMLA_COMPUTE_FAST},
         "f16 or bf16 rows"},
        {{.format = CLMLA_ROWS_F16, .latent_dim = 320, .rope_dim = 64, .compute = CLMLA_COMPUTE_FAST}, "128, 256, 384"},
        {{.format = CLMLA_ROWS_F16, .latent_dim = 640, .rope_dim = 64, .compute = CLMLA_COMPUTE_FAST}, "128, 256, 384"},
        {{.format = CLMLA_ROWS_F16, .latent_dim = 512, .rope_dim = 32, .compute = CLMLA_COMPUTE_FAST},
         "multiple of 64"},
        {{.format = CLMLA_ROWS_F16, .latent_dim = 512, .rope_dim = 128, .compute = CLMLA_COMPUTE_FAST}, "576"},
        {{.format = CLMLA_ROWS_F16, .latent_dim = 512, .rope_dim = 64, .head_count = 4, .compute = CLMLA_COMPUTE_FAST},
         "padding"},
        {{.format = CLMLA_ROWS_F16, .latent_dim = 512, .rope_dim = 64, .value_dim = 576, .compute = CLMLA_COMPUTE_FAST},
         "rope part"},
    };
    clmla_device_facts facts = nvidia(80);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        clmla_variant variant = listed(&facts, refused[i].shape, "matrix_ring");
        ck_assert(!variant.accepted);
        ck_assert_msg(strstr(variant.reason, refused[i].says) != NULL, "%s", variant.reason);
    }
    facts.local_bytes = 32 * KIB;
    ck_assert_ptr_nonnull(strstr(attend_ring_refuse(&facts, 512, 64), "local memory"));
    ck_assert_ptr_null(attend_ring_refuse(&facts, 128, 64));
    ck_assert_ptr_null(attend_ring_refuse(&facts, 0, 0)); // of widths that are not known yet
    facts.max_group_size = 128;
    ck_assert_ptr_nonnull(strstr(attend_ring_refuse(&facts, 512, 64), "256 work-items"));
}
END_TEST

// Other devices run it in OpenCL C, when it is named.
START_TEST(other_devices_do_not_choose_it) {
    for (size_t d = 1; d < sizeof made_up_matrix_devices / sizeof *made_up_matrix_devices; d++) {
        clmla_device_facts facts = made_up_matrix_devices[d];
        facts.local_bytes = 64 * KIB;
        facts.max_group_size = 1024;
        clmla_variant variant = listed(&facts, deepseek(CLMLA_ROWS_F16, CLMLA_COMPUTE_FAST), "matrix_ring");
        ck_assert(!variant.chosen && !variant.accepted);
        ck_assert_msg(strstr(variant.reason, "sm_80") != NULL, "%s", variant.reason);
    }
}
END_TEST

// By the local memory that a trial found: keys, then blocks of them.
START_TEST(the_ring_fits) {
    static const struct {
        uint32_t kib, latent, keys, stages;
    } found[] = {{48, 512, 16, 2}, {99, 512, 16, 3}, {163, 512, 16, 3}, {227, 512, 16, 3},
                 {48, 256, 16, 3}, {99, 256, 32, 3}, {32, 128, 16, 3},  {24, 128, 16, 2}};
    clmla_device_facts facts = nvidia(80);
    char reason[ATTEND_TILE_REASON_MAX];
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        attend_tile tile;
        attend_tile_shape shape = {
            .format = CLMLA_ROWS_F16, .latent_dim = found[i].latent, .rope_dim = 64, .exact = _i};
        uint32_t width = found[i].latent + 64, parts = _i ? 2 : 1;
        ck_assert(attend_ring_choose(&tile, reason, &facts, found[i].kib * KIB, &(attend_tile_limits){0}, &shape));
        ck_assert_uint_eq(tile.group, 256);
        uint32_t keys = _i ? 16 : found[i].keys, stages = _i && found[i].kib > TOLD / KIB ? 3 : found[i].stages;
        ck_assert_uint_eq(tile.key_tile, keys);
        ck_assert_uint_eq(tile.stages, stages);
        ck_assert_uint_eq(tile.row_tile * parts, 32);
        ck_assert_uint_eq(tile.query_stride, width * parts / 2 + (_i ? 1 : 0));
        ck_assert_uint_eq(tile.local_bytes, RING_LOCAL_BYTES(keys, stages, width));
        ck_assert_uint_le(tile.local_bytes, found[i].kib * KIB);
        ck_assert_uint_gt(RING_FACT_SLOTS, tile.stages);
    }
}
END_TEST

START_TEST(limits_are_kept) {
    attend_tile tile;
    attend_tile_shape shape = {.format = CLMLA_ROWS_F16, .latent_dim = 512, .rope_dim = 64, .value_dim = 512};
    clmla_device_facts facts = nvidia(80);
    char reason[ATTEND_TILE_REASON_MAX];
    ck_assert(attend_ring_choose(&tile, reason, &facts, 163 * KIB, &(attend_tile_limits){.keys = 16}, &shape));
    ck_assert_uint_eq(tile.key_tile, 16);
    ck_assert(attend_ring_choose(&tile, reason, &facts, 163 * KIB, &(attend_tile_limits){.local_bytes = TOLD}, &shape));
    ck_assert_uint_le(tile.local_bytes, TOLD);
    ck_assert(!attend_ring_choose(&tile, reason, &facts, 40 * KIB, &(attend_tile_limits){0}, &shape));
    ck_assert_msg(strstr(reason, "a ring of rows of 576 values, the device has 40960") != NULL, "%s", reason);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attend_matrix_ring");
    TCase *tests = tcase_create("attend_matrix_ring");
    SRunner *runner = srunner_create(suite);
    tcase_add_test(tests, is_chosen_from_sm_80_on);
    tcase_add_test(tests, says_what_it_does_not_serve);
    tcase_add_test(tests, other_devices_do_not_choose_it);
    tcase_add_loop_test(tests, the_ring_fits, 0, 2); // of fast and of exact compute
    tcase_add_test(tests, limits_are_kept);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
