// SPDX-License-Identifier: Apache-2.0
// Long contexts in one piece, by every variant of exact compute: sums of so many blocks, added one after the other,
// would lose what a value has behind the sums of all before (common/sum_run.h).
#include "host/instruction_wgmma.h"
#include "tests/kernel/attend_tiles.h"
#include "tests/support/compare.h"
#include <stdio.h>
#include <string.h>

#define KEYS 65536
// Of the bar: twice as many keys are within it then. Sums in one level took 1.8e-6 (matrix) to 5e-6 (tiles of 8 keys)
// of a row's largest.
#define SHARE_OF_BAR 0.7

typedef struct long_case {
    const char *variant;
    attend_tile_size tile;
    clmla_row_format format;
    uint32_t latent, rope, heads;
} long_case;

static const long_case cases[] = {
    {"naive", {0, 32, 32, 0}, CLMLA_ROWS_F16, 64, 16, 4},
    {"vector", {0, 32, 32, 0}, CLMLA_ROWS_F16, 64, 16, 4}, // few rows have a way of their own
    {"vector", {0, 32, 32, 0}, CLMLA_ROWS_F16, 64, 16, 8},
    {"tile", {64, 16, 8, 0}, CLMLA_ROWS_F16, 64, 16, 8},
    {"tile", {128, 16, 32, 0}, CLMLA_ROWS_F32, 12, 2, 8},
    {"matrix", {64, 16, 32, 0}, CLMLA_ROWS_F16, 64, 16, 8},
    {"matrix", {64, 16, 32, 0}, CLMLA_ROWS_BF16, 64, 16, 8},
    {"matrix_ring", {0, 32, 16, 24}, CLMLA_ROWS_F16, 128, 64, 8},
    {"wgmma", {0, 32, 32, 0}, CLMLA_ROWS_F16, 256, 64, 8},
};

static attend_shape shape_of(const long_case *c, uint32_t keys) {
    return (attend_shape){.format = c->format,
                          .latent = c->latent,
                          .rope = c->rope,
                          .heads = c->heads,
                          .sequences = 1,
                          .query_tokens = {1},
                          .kv_tokens = {keys},
                          .split_tokens = keys,
                          .page_tokens = 64,
                          .lse = true,
                          .seed = 5};
}

// Whether the device runs it when it is asked to. In OpenCL C a warpgroup's products take minutes here.
static bool is_served(const long_case *c) {
    clmla_plan *plan = NULL;
    clmla_plan_params params = {.head_count = c->heads, .attend_variant = c->variant};
    const clmla_device_facts *facts = test_device_get()->facts;
    if (test_device_get()->short_form || c->tile.group > facts->max_group_size) return false;
    if (strcmp(c->variant, "wgmma") == 0 && host_wgmma_find(facts) != HOST_INSTRUCTION_WGMMA) return false;
    TEST_OK(clmla_row_layout_make(&params.layout, c->format, CLMLA_ROPE_INTERLEAVED, c->latent, c->rope));
    clmla_status status = clmla_plan_create(&plan, test_device_get()->context, &params);
    if (status != CLMLA_OK) printf("attend long context: %s is left out: %s\n", c->variant, clmla_last_error());
    TEST_ASSERT(status == CLMLA_OK || status == CLMLA_E_ARGUMENT || status == CLMLA_E_LIMIT, "%s", clmla_last_error());
    clmla_plan_destroy(&plan);
    return status == CLMLA_OK;
}

START_TEST(sums_in_two_levels) {
    const long_case *c = &cases[_i];
    attend_shape s = shape_of(c, KEYS);
    attend_fixture f;
    // attend_matrix of few programs has f16 rows of these widths alone.
    bool alone = strcmp(c->variant, "matrix") == 0 && c->format == CLMLA_ROWS_BF16;
    if (test_left_out(alone && test_device_get()->few_programs, "%s over bf16 rows", c->variant)) return;
    attend_set_tile(c->tile);
    if (!is_served(c)) return;
    test_case_begin("attend long context", _i, "%s, %s rows of %u + %u, %u heads, tiles of %u keys", c->variant,
                    clmla_row_format_name(c->format), c->latent, c->rope, c->heads, c->tile.keys);
    attend_make(&f, &s);
    attend_expect(&f);
    attend_plan(&f, c->variant);
    test_run_twice(&f.run);
    attend_compare(&f, c->variant);
    attend_print_errors(&f, c->variant);
    double worst = attend_worst_error(&f);
    TEST_ASSERT(worst <= SHARE_OF_BAR * TEST_BAR_F32, "%s: %.1e of a row's largest", c->variant, worst);
    attend_reset_tile();
    attend_finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, sums_in_two_levels, 0, (int)(sizeof cases / sizeof *cases));
}

int main(void) {
    return test_main("check_attend_long", add);
}
