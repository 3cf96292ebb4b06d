// SPDX-License-Identifier: Apache-2.0
// attend_wgmma from made-up device facts: where it is chosen, what it refuses and why, and its tile.
#include "lib/attend_wgmma.h"
#include "tests/support/suite.h"
#include <check.h>
#include <clmla/clmla.h>
#include <string.h>

#define KIB 1024u
#define SM_90A_LOCAL (227 * KIB)

// As NVIDIA's driver tells them: less local memory than a program may have.
static const clmla_device_facts hopper = {.type = CL_DEVICE_TYPE_GPU,
                                          .vendor_id = 0x10de,
                                          .compute_capability = 90,
                                          .local_bytes = 48 * KIB,
                                          .max_group_size = 1024,
                                          .compute_units = 132};
static const clmla_device_facts cpu = {.type = CL_DEVICE_TYPE_CPU,
                                       .local_bytes = 256 * KIB,
                                       .max_group_size = 4096,
                                       .float_vector_width = 16,
                                       .compute_units = 1};

static clmla_variant wgmma(const clmla_device_facts *facts, clmla_shape shape) {
    clmla_variant variants[16];
    size_t count = 0;
    ck_assert_int_eq(clmla_variant_list(variants, 16, &count, facts, CLMLA_OP_ATTEND, &shape), CLMLA_OK);
    for (size_t i = 0; i < count; i++)
        if (strcmp(variants[i].name, "wgmma") == 0) return variants[i];
    ck_abort_msg("attend has no variant wgmma");
}

START_TEST(hoppers_choose_it) {
    static const clmla_row_format formats[] = {CLMLA_ROWS_F16, CLMLA_ROWS_BF16};
    for (int f = 0; f < 2; f++)
        for (uint32_t latent = 256; latent <= 512; latent *= 2) {
            clmla_shape shape = {.format = formats[f],
                                 .latent_dim = latent,
                                 .rope_dim = 64,
                                 .head_count = 128,
                                 .compute = CLMLA_COMPUTE_FAST};
            clmla_device_facts facts = hopper;
            ck_assert(wgmma(&facts, shape).chosen);
            shape.compute = CLMLA_COMPUTE_EXACT;
            ck_assert(wgmma(&facts, shape).chosen == (formats[f] == CLMLA_ROWS_F16));
            facts.compute_capability = 100;
            ck_assert(!wgmma(&facts, shape).accepted);
        }
    ck_assert_ptr_null(attend_wgmma_refuse(&hopper, 0, 0)); // of widths that are not known yet
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
        {{.format = CLMLA_ROWS_F16, .latent_dim = 128, .rope_dim = 64, .compute = CLMLA_COMPUTE_FAST}, "256 nor 512"},
        {{.format = CLMLA_ROWS_F16, .latent_dim = 512, .rope_dim = 0, .compute = CLMLA_COMPUTE_FAST}, "not 64"},
        {{.format = CLMLA_ROWS_F16, .latent_dim = 512, .rope_dim = 64, .value_dim = 576, .compute = CLMLA_COMPUTE_FAST},
         "rope part"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        clmla_variant variant = wgmma(&hopper, refused[i].shape);
        ck_assert(!variant.accepted);
        ck_assert_msg(strstr(variant.reason, refused[i].says) != NULL, "%s", variant.reason);
    }
}
END_TEST

// In OpenCL C it takes what the device says it has.
START_TEST(other_devices_need_room) {
    clmla_device_facts facts = cpu;
    ck_assert_ptr_null(attend_wgmma_refuse(&facts, 512, 64));
    facts.local_bytes = 200 * KIB;
    ck_assert_ptr_nonnull(strstr(attend_wgmma_refuse(&facts, 512, 64), "local memory"));
    ck_assert_ptr_null(attend_wgmma_refuse(&facts, 256, 64));
    ck_assert_ptr_null(attend_wgmma_refuse(&facts, 0, 0));
    facts.local_bytes = 64 * KIB;
    ck_assert_ptr_nonnull(strstr(attend_wgmma_refuse(&facts, 0, 0), "local memory"));
    facts.local_bytes = 256 * KIB;
    facts.max_group_size = 128;
    ck_assert_ptr_nonnull(strstr(attend_wgmma_refuse(&facts, 512, 64), "256 work-items"));
    clmla_shape shape = {.format = CLMLA_ROWS_F16, .latent_dim = 512, .rope_dim = 64, .compute = CLMLA_COMPUTE_FAST};
    ck_assert(!wgmma(&cpu, shape).chosen); // for tests alone
}
END_TEST

START_TEST(its_tile_fits) {
    for (uint32_t latent = 256; latent <= 512; latent *= 2) {
        attend_tile tile = attend_wgmma_tile(latent, 64, _i);
        uint32_t parts = _i ? 2 : 1;
        ck_assert_uint_eq(tile.group, 256);
        ck_assert_uint_eq(tile.row_tile * parts, 64);
        ck_assert_uint_eq(tile.key_tile, 64);
        ck_assert_uint_eq(tile.query_stride, (latent + 64) * parts / 2 + (_i ? 1 : 0));
        ck_assert_uint_ge(tile.local_bytes, 3ull * 64 * 2 * (latent + 64));
        ck_assert_uint_le(tile.local_bytes, SM_90A_LOCAL);
    }
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, hoppers_choose_it);
    tcase_add_test(tests, says_what_it_does_not_serve);
    tcase_add_test(tests, other_devices_need_room);
    tcase_add_loop_test(tests, its_tile_fits, 0, 2); // of fast and of exact compute
}

int main(void) {
    return test_run_apart("attend_wgmma", add_tests);
}
