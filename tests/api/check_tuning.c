// SPDX-License-Identifier: Apache-2.0
// Tunable numbers: listed, read, set within their ranges; and whatever they are set to, attend answers the same.
#include "tests/support/buffer.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include <stdlib.h>
#include <string.h>

#define HEADS 20
#define LATENT 64
#define ROPE 16
#define KEYS 500
#define TOKENS 3

START_TEST(list_get_set) {
    clmla_context *context = test_device_context();
    clmla_tuning all[32];
    size_t count = 0;
    TEST_OK(clmla_tuning_list(all, 32, &count, context));
    ck_assert_uint_gt(count, 0);
    ck_assert_uint_le(count, 32);
    for (size_t i = 0; i < count; i++) {
        uint32_t value = 0;
        ck_assert_ptr_nonnull(strchr(all[i].name, '.'));
        ck_assert_uint_gt(strlen(all[i].meaning), 10);
        ck_assert(all[i].minimum <= all[i].value && all[i].value <= all[i].maximum);
        ck_assert_uint_eq(all[i].value, all[i].initial); // the test's contexts read no file
        ck_assert(all[i].step > 0 && all[i].initial % all[i].step == 0 && all[i].maximum % all[i].step == 0);
        TEST_OK(clmla_tuning_set(context, all[i].name, all[i].maximum));
        TEST_OK(clmla_tuning_get(&value, context, all[i].name));
        ck_assert_uint_eq(value, all[i].maximum);
        ck_assert_int_eq(clmla_tuning_set(context, all[i].name, all[i].maximum + 1), CLMLA_E_LIMIT);
        ck_assert_ptr_nonnull(strstr(clmla_last_error(), all[i].name));
        TEST_OK(clmla_tuning_get(&value, context, all[i].name));
        ck_assert_uint_eq(value, all[i].maximum);
    }
    uint32_t value = 7;
    ck_assert_int_eq(clmla_tuning_get(&value, context, "no.such"), CLMLA_E_ARGUMENT);
    ck_assert_uint_eq(value, 7);
    ck_assert_int_eq(clmla_tuning_set(context, "attend.vector.block_tokens", 25), CLMLA_E_LIMIT);
    ck_assert_int_eq(clmla_tuning_set(NULL, "attend.least_split", 64), CLMLA_E_ARGUMENT);
    clmla_context_destroy(&context);
}
END_TEST

typedef struct problem {
    test_buffer query, rows, output;
    clmla_row_layout layout;
} problem;

// Attends with a context whose numbers are `block`, `tile` and `works`; the result is in problem->output.found.
static void attend(problem *p, uint32_t block, uint32_t tile, uint32_t works) {
    clmla_context *context = test_device_get()->context;
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {
        {"attend.vector.block_tokens", block}, {"attend.vector.row_tile", tile}, {"attend.parts_per_unit", works}};
    for (int i = 0; i < 3; i++) TEST_OK(clmla_tuning_set(context, numbers[i].name, numbers[i].value));
    clmla_plan *plan;
    uint32_t query = TOKENS, keys = KEYS;
    TEST_OK(clmla_plan_create(&plan, context, &(clmla_plan_params){.head_count = HEADS, .layout = p->layout}));
    TEST_OK(
        clmla_plan_update_lengths(plan, &(clmla_lengths){1, &query, &keys}, test_device_get()->queue, 0, NULL, NULL));
    clmla_attend_params params = {.query = p->query.view,
                                  .query_token_stride = HEADS * (LATENT + ROPE),
                                  .query_head_stride = LATENT + ROPE,
                                  .softmax_scale = 0.1f,
                                  .output = p->output.view};
    TEST_OK(clmla_rows_from_tensor(&params.rows, &p->layout, p->rows.view, KEYS, 1));
    test_buffer_reset(&p->output);
    TEST_OK(clmla_attend(plan, &params, test_device_get()->queue, 0, NULL, NULL));
    test_buffer_fetch(&p->output);
    clmla_plan_destroy(&plan);
}

START_TEST(results_do_not_depend_on_tuning) {
    problem p;
    test_random random = test_random_make(11);
    size_t queries = TOKENS * HEADS * (LATENT + ROPE), rows = KEYS * (LATENT + ROPE), outputs = TOKENS * HEADS * LATENT;
    float *values = test_allocate(queries + rows, sizeof *values);
    test_random_fill(&random, values, queries + rows, 0.0, 1.0);
    test_buffer_make(&p.query, queries * sizeof(float), values);
    test_buffer_make(&p.rows, rows * sizeof(float), values + queries);
    test_buffer_make(&p.output, outputs * sizeof(float), NULL);
    TEST_OK(clmla_row_layout_make(&p.layout, CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, LATENT, ROPE));

    attend(&p, 48, 128, 4);
    double *expected = test_allocate(outputs, sizeof *expected);
    for (size_t i = 0; i < outputs; i++) expected[i] = (double)((const float *)(const void *)p.output.found)[i];
    // The ends of their ranges; each is a program to compile.
    const uint32_t settings[][3] = {{24, 512, 64}, {192, 32, 1}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        attend(&p, settings[i][0], settings[i][1], settings[i][2]);
        test_compare_rows((const float *)(const void *)p.output.found, LATENT, expected, TOKENS * HEADS, LATENT,
                          TEST_BAR_F32, "output");
    }
    attend(&p, 48, 128, 4);
    free(values);
    free(expected);
    test_buffer_free(&p.query);
    test_buffer_free(&p.rows);
    test_buffer_free(&p.output);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, list_get_set);
    tcase_add_test(tcase, results_do_not_depend_on_tuning);
}

int main(void) {
    return test_main("check_tuning", add_tests);
}
