// SPDX-License-Identifier: Apache-2.0
// Calls that answer a value instead of a status have no way to refuse: of nothing they answer nothing.
#include "tests/support/suite.h"
#include <check.h>
#include <clmla/clmla.h>
#include <string.h>

START_TEST(context) {
    ck_assert_ptr_null(clmla_context_opencl(NULL));
    ck_assert_ptr_null(clmla_context_device(NULL));
    ck_assert_ptr_null(clmla_context_facts(NULL));
    clmla_program_counts counts = clmla_context_programs(NULL);
    ck_assert_uint_eq(counts.built + counts.loaded + counts.stored + counts.rejected, 0);
    ck_assert_str_eq(clmla_tuning_file(NULL), "");
}
END_TEST

START_TEST(objects) {
    clmla_plan_facts plan = clmla_plan_facts_get(NULL);
    ck_assert_str_eq(plan.attend_variant, "");
    ck_assert_str_eq(plan.absorbed_reason, "");
    ck_assert_uint_eq(plan.query_tokens + plan.work_count + plan.workspace_bytes, 0);
    ck_assert_uint_eq(clmla_cache_usage_get(NULL).pages, 0);
    ck_assert_ptr_null(clmla_cache_config(NULL));
    ck_assert_uint_eq(clmla_layer_bytes(NULL), 0);
    ck_assert_uint_eq(clmla_checkpoint_count(NULL), 0);
    ck_assert_str_eq(clmla_recording_facts_get(NULL).reason, "recording is NULL");
    ck_assert_str_eq(clmla_recording_support(NULL).reason, "context is NULL");
}
END_TEST

START_TEST(layouts) {
    const clmla_row_layout empty = {.scales_apart = true};
    clmla_rows rows = {.page_tokens = 5};
    ck_assert_uint_eq(clmla_row_layout_page_bytes(NULL, 64), 0);
    ck_assert_uint_eq(clmla_row_layout_page_bytes(&empty, 64), 0);
    ck_assert_int_eq(clmla_rows_from_tensor(&rows, &empty, (clmla_buffer){(cl_mem)&rows, 0}, 64, 1), CLMLA_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "row_bytes is 0"));
    ck_assert_uint_eq(rows.page_tokens, 5);
    ck_assert_uint_eq(clmla_copy_pages_scratch(NULL, 1), 0);
    ck_assert_uint_eq(clmla_context_parallel_share(NULL, 7), 7);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, context);
    tcase_add_test(tests, objects);
    tcase_add_test(tests, layouts);
}

int main(void) {
    return test_run_apart("getters", add_tests);
}
