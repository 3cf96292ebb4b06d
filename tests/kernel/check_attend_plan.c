// SPDX-License-Identifier: Apache-2.0
// attend and its plan: events, fixed splits, reuse, refused plans and arguments.
#include "tests/kernel/attend_fixture.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static attend_shape small(void) {
    return (attend_shape){.format = CLMLA_ROWS_BF16,
                          .latent = 37,
                          .rope = 6,
                          .heads = 5,
                          .sequences = 4,
                          .query_tokens = {1, 3, 0, 2},
                          .kv_tokens = {9, 120, 4, 50},
                          .page_tokens = 4,
                          .layout = TEST_ROWS_APART,
                          .split_tokens = 16,
                          .lse = true,
                          .seed = 78};
}

// Runs a test for each accepted variant over the small shape.
static void for_each_variant(const char *name, const attend_shape *shape, void (*check)(attend_fixture *f)) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape of = attend_variant_shape(shape);
    size_t count = test_variants(variants, CLMLA_OP_ATTEND, &of);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        attend_fixture f;
        test_case_begin(name, 0, "%s", variants[i].name);
        attend_make(&f, shape);
        attend_plan(&f, variants[i].name);
        check(&f);
        attend_finish(&f);
    }
}

static void check_events(attend_fixture *f) {
    test_run_twice(&f->run);
    test_run_gated(&f->run);
}

START_TEST(honours_events) {
    attend_shape s = small();
    for_each_variant("attend events", &s, check_events);
}
END_TEST

// The plan is updated behind the caller's events, from arrays that are gone at once; attend, on another queue, waits
// for the plan by itself.
static clmla_status update_then_attend(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                       cl_event *event) {
    attend_fixture *f = payload;
    const test_device *device = test_device_get();
    clmla_lengths lengths = attend_lengths(f);
    uint32_t query[ATTEND_SEQUENCES_MAX], kv[ATTEND_SEQUENCES_MAX];
    memcpy(query, lengths.query_tokens, sizeof query);
    memcpy(kv, lengths.kv_tokens, sizeof kv);
    lengths.query_tokens = query;
    lengths.kv_tokens = kv;
    clmla_status status = clmla_plan_update_lengths(f->plan, &lengths, queue, count, wait, NULL);
    memset(query, 0x55, sizeof query);
    memset(kv, 0x55, sizeof kv);
    if (status != CLMLA_OK) return status;
    cl_command_queue other = queue == device->queue && device->unordered ? device->unordered : device->queue;
    status = clmla_attend(f->plan, &f->params, other, 0, NULL, event);
    TEST_CL(clFlush(other));
    return status;
}

static void check_update_events(attend_fixture *f) {
    test_run_twice(&f->run);
    f->run.enqueue = update_then_attend;
    test_run_gated(&f->run);
}

START_TEST(waits_for_its_plan) {
    attend_shape s = small();
    for_each_variant("plan events", &s, check_update_events);
}
END_TEST

// More updates than the plan has room to stage, each with lengths of its own, none waited for by the caller.
static void check_many_updates(attend_fixture *f) {
    const test_device *device = test_device_get();
    clmla_lengths lengths = attend_lengths(f);
    attend_expect(f);
    for (uint32_t i = 0; i < 11; i++) {
        uint32_t one[ATTEND_SEQUENCES_MAX] = {i, 1, 2, 3};
        clmla_lengths other = {4, NULL, one};
        TEST_OK(clmla_plan_update_lengths(f->plan, i % 2 ? &other : &lengths, device->queue, 0, NULL, NULL));
        if (i % 2 == 0) TEST_OK(clmla_attend(f->plan, &f->params, device->queue, 0, NULL, NULL));
    }
    TEST_CL(clFinish(device->queue));
    test_buffer_fetch(&f->output);
    test_buffer_fetch(&f->lse);
    attend_compare(f, clmla_plan_facts_get(f->plan).attend_variant);
}

START_TEST(survives_many_updates) {
    attend_shape s = small();
    for_each_variant("plan updates", &s, check_many_updates);
}
END_TEST

// With a fixed split, sequence `i` alone gives the bits it gives among others.
static void check_alone(attend_fixture *f, uint32_t i, uint32_t token, const float *together) {
    const attend_shape *s = &f->shape;
    const test_device *device = test_device_get();
    clmla_lengths alone = {1, s->query_tokens + i, s->kv_tokens + i};
    size_t values = (size_t)s->query_tokens[i] * s->heads * s->latent, before = (size_t)token * s->heads * s->latent;
    clmla_attend_params params = f->params;
    params.query.offset += token * params.query_token_stride * sizeof(float);
    params.page_table.offset += i * params.page_table_stride * sizeof(int32_t);
    TEST_OK(clmla_plan_update_lengths(f->plan, &alone, device->queue, 0, NULL, NULL));
    test_buffer_reset(&f->output);
    TEST_OK(clmla_attend(f->plan, &params, device->queue, 0, NULL, NULL));
    TEST_CL(clFinish(device->queue));
    test_buffer_fetch(&f->output);
    for (size_t v = 0; v < values; v++)
        TEST_ASSERT(memcmp(together + before + v, test_buffer_found(&f->output) + v, sizeof(float)) == 0,
                    "sequence %u, value %zu: %.9g alone, %.9g among others", i, v,
                    (double)test_buffer_found(&f->output)[v], (double)together[before + v]);
}

static void check_fixed_split(attend_fixture *f) {
    float *together = test_allocate(f->output.bytes, 1);
    uint32_t token = 0;
    test_run_twice(&f->run);
    TEST_ASSERT(clmla_plan_facts_get(f->plan).split_count > 0, "nothing was split");
    memcpy(together, f->output.found, f->output.bytes);
    for (uint32_t i = 0; i < f->shape.sequences; i++) {
        if (f->shape.query_tokens[i]) check_alone(f, i, token, together);
        token += f->shape.query_tokens[i];
    }
    free(together);
}

START_TEST(fixed_splits_do_not_depend_on_the_batch) {
    attend_shape s = small();
    for_each_variant("attend fixed split", &s, check_fixed_split);
    s.split_tokens = 48;
    s.heads = 40; // rows of several tokens share a work item
    for_each_variant("attend fixed split", &s, check_fixed_split);
}
END_TEST

// Nor on what the plan expects of steps.
static void check_expectations(attend_fixture *f) {
    float *before = test_allocate(f->output.bytes, 1);
    char variant[48];
    snprintf(variant, sizeof variant, "%s", clmla_plan_facts_get(f->plan).attend_variant);
    test_run_twice(&f->run);
    memcpy(before, f->output.found, f->output.bytes);
    f->shape.expected_tokens = 9;
    f->shape.capacity = true;
    attend_plan(f, variant);
    test_run_twice(&f->run);
    TEST_ASSERT(memcmp(before, f->output.found, f->output.bytes) == 0, "%s", "other bits with 9 tokens expected");
    free(before);
}

START_TEST(fixed_splits_do_not_depend_on_expectations) {
    attend_shape s = small();
    for_each_variant("attend fixed split, expectations", &s, check_expectations);
}
END_TEST

static void check_nothing(attend_fixture *f) {
    clmla_lengths empty[] = {{0, NULL, NULL}, {2, (uint32_t[]){0, 0}, (uint32_t[]){5, 0}}};
    for (int i = 0; i < 2; i++) {
        TEST_OK(clmla_plan_update_lengths(f->plan, &empty[i], test_device_get()->queue, 0, NULL, NULL));
        test_run_twice(&f->run);
        test_buffer_check_unchanged(&f->output);
        test_buffer_check_unchanged(&f->lse);
        test_run_gated(&f->run);
    }
}

START_TEST(takes_empty_steps) {
    attend_shape s = small();
    for_each_variant("attend empty", &s, check_nothing);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_attend_params, &f.params, f.params.change, word)

static void refuse_arguments(bool contiguous) {
    attend_fixture f;
    attend_shape s = small();
    if (contiguous) s.page_tokens = 0;
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    REFUSED(query = test_buffer_tiny(), "query");
    REFUSED(query.memory = NULL, "query");
    REFUSED(query.offset += 2, "query");
    REFUSED(query_head_stride = 42, "query");
    REFUSED(query_token_stride = 5 * 43 - 1, "query");
    REFUSED(rows.layout.format = CLMLA_ROWS_F32, "rows");
    REFUSED(rows.layout.latent_dim = 36, "rows");
    REFUSED(rows.layout.rope_dim = 0, "rows");
    REFUSED(rows.latent = test_buffer_tiny(), "rows.latent");
    REFUSED(rows.latent.offset += 2, "rows.latent");
    REFUSED(rows.latent_row_stride = 72, "rows.latent");
    REFUSED(rows.rope.memory = NULL, "rows.rope");
    REFUSED(rows.page_count += 1000, "rows.latent");
    REFUSED(rows.page_tokens = 0, "page_tokens");
    REFUSED(softmax_scale = 0.0f, "softmax_scale");
    REFUSED(softmax_scale = NAN, "softmax_scale");
    REFUSED(output = test_buffer_tiny(), "output");
    REFUSED(lse = test_buffer_tiny(), "lse");
    if (!contiguous) {
        REFUSED(page_table = test_buffer_tiny(), "page_table");
        REFUSED(page_table.offset += 1, "page_table");
        REFUSED(page_table_stride = 29, "page_table_stride"); // 120 keys of 4 a page
        REFUSED(page_table = (clmla_buffer){0}, "page table");
    }
    test_run_wrong_waits(&f.run);
    attend_finish(&f);
}

START_TEST(refuses_wrong_arguments) {
    test_case_begin("attend arguments", 0, "paged");
    refuse_arguments(false);
    test_case_begin("attend arguments", 1, "contiguous");
    refuse_arguments(true);
}
END_TEST

START_TEST(refuses_a_plan_without_a_step) {
    attend_fixture f;
    attend_shape s = small();
    test_case_begin("attend without a step", 0, "a plan that was not updated");
    attend_make(&f, &s);
    clmla_plan_params params = {.head_count = s.heads, .layout = f.rows.view.layout};
    TEST_OK(clmla_plan_create(&f.plan, test_device_get()->context, &params));
    test_run_refused(&f.run, "update");
    clmla_plan_destroy(&f.plan);
    test_run_refused(&f.run, "NULL");
    attend_finish(&f);
}
END_TEST

static void expect_refusal(const clmla_plan_params *params, const char *word) {
    clmla_plan *plan = (clmla_plan *)(void *)&plan;
    clmla_status status = clmla_plan_create(&plan, test_device_get()->context, params);
    TEST_ASSERT(status == CLMLA_E_ARGUMENT, "%s instead of a refusal that says '%s'", clmla_status_name(status), word);
    TEST_ASSERT(strstr(clmla_last_error(), word), "'%s' is not in: %s", word, clmla_last_error());
    TEST_ASSERT(plan == NULL, "a refused plan is not NULL");
}

START_TEST(refuses_wrong_plans) {
    clmla_plan_params good = {.head_count = 4}, p;
    test_case_begin("plan arguments", 0, "f16 2040 + 10, then changes");
    TEST_OK(clmla_row_layout_make(&good.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 2040, 10));
    p = good, p.head_count = 0, expect_refusal(&p, "head_count");
    p = good, p.head_count = CLMLA_MAX_HEADS + 1, expect_refusal(&p, "head_count");
    p = good, p.split_tokens = UINT32_MAX, expect_refusal(&p, "split_tokens");
    p = good, p.layout.format = (clmla_row_format)99, expect_refusal(&p, "format");
    p = good, p.layout.latent_dim = 0, expect_refusal(&p, "latent_dim");
    p = good, p.attend_variant = "no_such_variant", expect_refusal(&p, "no_such_variant");
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.format = CLMLA_ROWS_F16, .latent_dim = 2040, .rope_dim = 10, .head_count = 4};
    size_t count = test_variants(variants, CLMLA_OP_ATTEND, &shape);
    for (size_t i = 0; i < count; i++) {
        if (variants[i].accepted) continue;
        p = good, p.attend_variant = variants[i].name, expect_refusal(&p, variants[i].reason);
    }
}
END_TEST

START_TEST(refuses_wrong_lengths) {
    attend_fixture f;
    attend_shape s = small();
    uint32_t kv[] = {1, UINT32_MAX};
    clmla_lengths none = {2, NULL, NULL}, long_one = {2, NULL, kv};
    cl_command_queue queue = test_device_get()->queue;
    test_case_begin("plan lengths", 0, "missing and too long");
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    ck_assert_int_eq(clmla_plan_update_lengths(f.plan, NULL, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_plan_update_lengths(NULL, &none, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_plan_update_lengths(f.plan, &none, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_plan_update_lengths(f.plan, &long_one, queue, 0, NULL, NULL), CLMLA_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "4294967295"));
    test_run_refused(&f.run, "update"); // after a failure the plan must be updated again
    attend_plan(&f, NULL);
    attend_expect(&f);
    test_run_twice(&f.run);
    attend_compare(&f, "after a refusal");
    attend_finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, waits_for_its_plan);
    tcase_add_test(tcase, survives_many_updates);
    tcase_add_test(tcase, fixed_splits_do_not_depend_on_the_batch);
    tcase_add_test(tcase, fixed_splits_do_not_depend_on_expectations);
    tcase_add_test(tcase, takes_empty_steps);
    tcase_add_test(tcase, refuses_wrong_arguments);
    tcase_add_test(tcase, refuses_a_plan_without_a_step);
    tcase_add_test(tcase, refuses_wrong_plans);
    tcase_add_test(tcase, refuses_wrong_lengths);
}

int main(void) {
    return test_main("check_attend_plan", add);
}
