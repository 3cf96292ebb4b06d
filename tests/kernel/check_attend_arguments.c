// SPDX-License-Identifier: Apache-2.0
// attend's parameters one by one out of range: each refused with a sentence that names it, and nothing enqueued. (Those
// of lists and of absorb stand beside their tests; rows, plan and page table in check_attend_plan.c.)
#include "lib/operation.h"
#include "tests/kernel/attend_fixture.h"
#include <math.h>
#include <string.h>

static attend_shape small(void) {
    return (attend_shape){.format = CLMLA_ROWS_FP8,
                          .latent = 37,
                          .rope = 6,
                          .heads = 6,
                          .kv_heads = 2,
                          .sequences = 3,
                          .query_tokens = {1, 3, 2},
                          .kv_tokens = {9, 30, 1},
                          .page_tokens = 4,
                          .lse = true,
                          .max_logit = true,
                          .output_type = CLMLA_TYPE_F16,
                          .sink = ATTEND_SINK_RANDOM,
                          .query_form = ATTEND_APART,
                          .csr = true,
                          .layout = TEST_ROWS_APART,
                          .seed = 81};
}

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_attend_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_numbers) {
    attend_fixture f;
    attend_shape s = small();
    test_case_begin("attend numbers", 0, "types, scale, softcap, base");
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    REFUSED(softmax_scale = 0.0f, "softmax_scale");
    REFUSED(softmax_scale = -1.0f, "softmax_scale");
    REFUSED(softmax_scale = INFINITY, "softmax_scale");
    REFUSED(softcap = -1.0f, "softcap");
    REFUSED(softcap = NAN, "softcap");
    REFUSED(softcap = INFINITY, "softcap");
    REFUSED(lse_base = (clmla_lse_base)2, "lse_base");
    REFUSED(query_type = CLMLA_TYPE_I8, "query_type");
    REFUSED(query_type = (clmla_type)99, "query_type");
    REFUSED(output_type = CLMLA_TYPE_F8_E4M3, "output_type");
    attend_finish(&f);
}
END_TEST

START_TEST(refuses_wrong_queries) {
    attend_fixture f;
    attend_shape s = small();
    test_case_begin("attend queries", 0, "in two tensors");
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    f.params.query_token_stride = 6 * 37, f.params.query_head_stride = 37;
    REFUSED(query_head_stride = 36, "query");
    REFUSED(query_token_stride = 6 * 37 - 1, "query");
    REFUSED(query_rope = test_buffer_tiny(), "query_rope");
    REFUSED(query_rope.offset += 2, "query_rope");
    REFUSED(query_rope_head_stride = 5, "query_rope");
    REFUSED(query_rope = (clmla_buffer){0}, "query"); // then 43 values a head, 37 apart
    attend_finish(&f);
}
END_TEST

START_TEST(refuses_wrong_results) {
    attend_fixture f;
    attend_shape s = small();
    clmla_buffer none = {0};
    test_case_begin("attend results", 0, "output, lse, max_logit, sink");
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    REFUSED(output.offset += 1, "output");
    REFUSED(output_type = CLMLA_TYPE_F32, "output");
    REFUSED(output_head_stride = 36, "output");
    REFUSED(output_token_stride = 1u << 20, "output");
    REFUSED(lse = test_buffer_tiny(), "lse");
    REFUSED(lse.offset += 2, "lse");
    REFUSED(lse_token_stride = 5, "lse");
    REFUSED(max_logit = test_buffer_tiny(), "max_logit");
    REFUSED(sink = test_buffer_tiny(), "sink");
    REFUSED(sink.offset += 2, "sink");
    clmla_attend_params saved = f.params;
    f.params.output = f.params.lse = f.params.max_logit = none;
    test_run_refused(&f.run, "output, lse and max_logit");
    f.params = saved;
    attend_finish(&f);
}
END_TEST

START_TEST(refuses_wrong_tables) {
    attend_fixture f;
    attend_shape s = small();
    test_case_begin("attend tables", 0, "CSR, two kv heads");
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    REFUSED(page_table = (clmla_buffer){0}, "page_table");
    REFUSED(page_table = test_buffer_tiny(), "page_table");
    REFUSED(page_table.offset += 2, "page_table");
    REFUSED(page_table_count = 1u << 20, "page_table");
    REFUSED(page_table_count = 7, "page_table_count"); // 30 keys are 8 pages
    REFUSED(page_table_count = 0, "page_table_count");
    REFUSED(page_indptr = test_buffer_tiny(), "page_indptr");
    REFUSED(page_indptr.offset += 2, "page_indptr");
    REFUSED(rows.kv_head_count = 1, "kv heads");
    REFUSED(rows.latent_head_stride = 2, "rows.latent");
    REFUSED(rows.scales = test_buffer_tiny(), "rows.scales");
    REFUSED(rows.scales.memory = NULL, "rows.scales");
    REFUSED(rows.scale_head_stride += 1u << 20, "rows.scales");
    attend_finish(&f);
}
END_TEST

static void expect_limit(attend_fixture *f, const char *word) {
    cl_event event = NULL;
    clmla_status status = clmla_attend(f->plan, &f->params, test_device_get()->queue, 0, NULL, &event);
    TEST_ASSERT(status == CLMLA_E_LIMIT && strstr(clmla_last_error(), word), "%s instead of a limit that says '%s': %s",
                clmla_status_name(status), word, clmla_last_error());
    TEST_ASSERT(!event, "an event was made by a call that was refused");
}

START_TEST(refuses_what_passes_64_bits) {
    attend_fixture f;
    attend_shape s = small();
    test_case_begin("attend limits", 0, "strides and counts near 2^64");
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    clmla_attend_params saved = f.params;
    f.params.query_token_stride = UINT64_MAX, f.params.query_head_stride = 37, expect_limit(&f, "query"),
    f.params = saved;
    f.params.output_token_stride = UINT64_MAX / 3, f.params.output_head_stride = 37, expect_limit(&f, "output"),
    f.params = saved;
    f.params.lse_token_stride = UINT64_MAX / 2, f.params.lse_head_stride = 1, expect_limit(&f, "lse"), f.params = saved;
    f.params.page_table_count = UINT64_MAX, expect_limit(&f, "page_table_count"), f.params = saved;
    attend_finish(&f);
}
END_TEST

// A program is built with all of its options, or not at all.
START_TEST(refuses_options_that_do_not_fit) {
    clmla_context *context = test_device_get()->context;
    char whole[OPTIONS_MAX], more[OPTIONS_MAX] = "";
    const variant *naive;
    test_case_begin("options", 0, "of the longest that fit, and of one more character");
    TEST_OK(variant_choose(&naive, context, CLMLA_OP_MERGE, &(clmla_shape){0}, "naive"));
    TEST_OK(operation_options(whole, context, naive, NULL, more));
    size_t room = OPTIONS_MAX - 1 - strlen(whole);
    memset(more, 'x', room);
    TEST_OK(operation_options(whole, context, naive, NULL, more));
    TEST_ASSERT(strlen(whole) == OPTIONS_MAX - 1, "%zu characters", strlen(whole));
    more[room] = 'x';
    clmla_status status = operation_options(whole, context, naive, NULL, more);
    TEST_ASSERT(status == CLMLA_E_LIMIT && strstr(clmla_last_error(), "merge_naive: options of 256 characters"),
                "%s: %s", clmla_status_name(status), clmla_last_error());
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, refuses_wrong_numbers);
    tcase_add_test(tcase, refuses_wrong_queries);
    tcase_add_test(tcase, refuses_wrong_results);
    tcase_add_test(tcase, refuses_wrong_tables);
    tcase_add_test(tcase, refuses_what_passes_64_bits);
    tcase_add_test(tcase, refuses_options_that_do_not_fit);
}

int main(void) {
    return test_main("check_attend_arguments", add);
}
