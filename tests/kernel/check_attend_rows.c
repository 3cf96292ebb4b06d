// SPDX-License-Identifier: Apache-2.0
// Every number of rows: kernels for CPUs lay rows out in ways that hang on how many there are
// (cl/common/packed_lane.clh: pairs of vectors of 1, 2 or 4 columns a row, and rows one after the other).
#include "tests/kernel/attend_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/run.h"
#include <stdio.h>

#define MOST_ROWS 132
#define MOST_COSINE 1e-5 // of bf16 products

typedef struct rows_case {
    const char *variant;
    clmla_row_format format;
    uint32_t latent, rope, value;
    clmla_compute compute;
    uint32_t from; // fewer heads are a program of their own (tests/kernel/check_attend.c)
} rows_case;

static const rows_case cases[] = {
    {"vector", CLMLA_ROWS_F16, 64, 16, 70, CLMLA_COMPUTE_EXACT, 5},
    {"vector", CLMLA_ROWS_Q4, 64, 16, 64, CLMLA_COMPUTE_EXACT, 5},
    {"vector", CLMLA_ROWS_BF16, 64, 6, 64, CLMLA_COMPUTE_EXACT, 5}, // widths that 4 does not divide
    {"bf16_dot", CLMLA_ROWS_BF16, 64, 6, 64, CLMLA_COMPUTE_FAST, 1},
    {"int8_dot", CLMLA_ROWS_Q8, 64, 16, 64, CLMLA_COMPUTE_FAST, 1},
};

static attend_shape shape_of(const rows_case *c, uint32_t heads) {
    return (attend_shape){.format = c->format,
                          .latent = c->latent,
                          .rope = c->rope,
                          .value = c->value,
                          .heads = heads,
                          .sequences = 3,
                          .query_tokens = {1, 1, 1},
                          .kv_tokens = {1, 37, 131},
                          .page_tokens = 16,
                          // their bytes are a score's whole error
                          .queries_times = c->format == CLMLA_ROWS_Q8 ? 0.5f : 0.0f,
                          .lse = true,
                          .compute = c->compute,
                          .seed = heads};
}

static bool is_served(const rows_case *c) {
    clmla_plan *plan = NULL;
    clmla_plan_params params = {.head_count = 8, .attend_variant = c->variant, .compute = c->compute};
    TEST_OK(clmla_row_layout_make(&params.layout, c->format, CLMLA_ROPE_INTERLEAVED, c->latent, c->rope));
    clmla_status status = clmla_plan_create(&plan, test_device_get()->context, &params);
    if (status != CLMLA_OK) printf("attend rows: %s is left out: %s\n", c->variant, clmla_last_error());
    TEST_ASSERT(status == CLMLA_OK || status == CLMLA_E_ARGUMENT, "%s", clmla_last_error());
    clmla_plan_destroy(&plan);
    return status == CLMLA_OK;
}

static void check_rows(const rows_case *c, uint32_t heads) {
    attend_shape s = shape_of(c, heads);
    attend_fixture f;
    test_case_begin("attend rows", (int)heads, "%s, %s, %u + %u, %u heads", c->variant,
                    clmla_row_format_name(c->format), c->latent, c->rope, heads);
    attend_make(&f, &s);
    attend_expect(&f);
    attend_plan(&f, c->variant);
    test_run_twice(&f.run);
    if (c->compute == CLMLA_COMPUTE_EXACT)
        attend_compare(&f, c->variant);
    else
        attend_compare_fast(&f, c->variant, c->format == CLMLA_ROWS_Q8 ? 10 * MOST_COSINE : MOST_COSINE);
    attend_finish(&f);
}

START_TEST(serves_every_number_of_rows) {
    const rows_case *c = &cases[_i];
    if (!is_served(c)) return;
    for (uint32_t heads = c->from; heads <= MOST_ROWS; heads++) check_rows(c, heads);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, serves_every_number_of_rows, 0, (int)(sizeof cases / sizeof *cases));
}

int main(void) {
    return test_main("check_attend_rows", add);
}
