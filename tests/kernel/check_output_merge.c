// SPDX-License-Identifier: Apache-2.0
// output that merges what attend leaves of rows whose keys were cut: attended rows and heads have the bits that
// attend's own merge and output after it give; and attended rows match tests/ref/ref_attend.c.
#include "lib/operation.h"
#include "lib/plan.h"
#include "tests/kernel/attend_fixture.h"
#include "tests/support/variants.h"
#include <stdlib.h>
#include <string.h>

enum { NOPE = 3, VALUE = 50, HIDDEN = 7 };

typedef struct fixture {
    attend_fixture attend;
    test_weights up, last;
    test_buffer heads, output;
    uint32_t first_count; // tokens of the first of two calls of output
    test_run run;
} fixture;

static clmla_output_params output_of(const fixture *f, uint32_t first, uint32_t count) {
    const attend_shape *s = &f->attend.shape;
    uint64_t attended = (uint64_t)first * s->heads * s->latent, heads = (uint64_t)first * s->heads * VALUE;
    return (clmla_output_params){
        .token_count = count,
        .head_count = s->heads,
        .nope_dim = NOPE,
        .value_dim = VALUE,
        .kv_b = f->up.matrix,
        .o_proj = f->last.matrix,
        .attended = {f->attend.output.view.memory, f->attend.output.view.offset + attended * sizeof(float)},
        .heads = {f->heads.view.memory, f->heads.view.offset + heads * sizeof(float)},
        .output = {f->output.view.memory, f->output.view.offset + (uint64_t)first * HIDDEN * sizeof(float)},
        .output_stride = HIDDEN,
    };
}

// Attention that leaves states, then output of the first tokens and of the others.
static clmla_status enqueue_merging(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                    cl_event *event) {
    fixture *f = payload;
    clmla_plan *plan = f->attend.plan;
    clmla_context *context = test_device_get()->context;
    uint32_t tokens = f->attend.tokens, first = f->first_count < tokens ? f->first_count : tokens;
    host_chain chain;
    clmla_status status = plan_chain_begin(&chain, plan, queue, count, wait);
    if (status != CLMLA_OK) return status;
    status = attend_enqueue_between(plan, &f->attend.params, (attend_neighbours){.merges = true}, &chain);
    for (int part = 0; part < 2 && status == CLMLA_OK; part++) {
        output_states states = {plan, part ? first : 0};
        clmla_output_params params = output_of(f, states.first_token, part ? tokens - first : first);
        status = output_enqueue(context, &params, &states, &chain);
    }
    return plan_chain_finish(&chain, plan, status, event);
}

static clmla_status enqueue_apart(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                  cl_event *event) {
    fixture *f = payload;
    clmla_output_params params = output_of(f, 0, f->attend.tokens);
    clmla_status status = clmla_attend(f->attend.plan, &f->attend.params, queue, count, wait, NULL);
    return status == CLMLA_OK ? clmla_output(test_device_get()->context, &params, queue, 0, NULL, event) : status;
}

static void make(fixture *f, const attend_shape *s, uint32_t first_count) {
    test_random random = test_random_make(s->seed + 1);
    test_weights_shape up = {
        .type = REF_BF16, .rows = s->heads * (NOPE + VALUE), .columns = s->latent, .mean = 0.25, .deviation = 0.5};
    test_weights_shape last = {
        .type = REF_F32, .rows = HIDDEN, .columns = s->heads * VALUE, .mean = 0.25, .deviation = 0.5};
    *f = (fixture){.first_count = first_count};
    attend_make(&f->attend, s);
    attend_plan(&f->attend, NULL);
    test_weights_make(&f->up, &up, &random);
    test_weights_make(&f->last, &last, &random);
    test_buffer_make(&f->heads, (size_t)f->attend.tokens * s->heads * VALUE * sizeof(float), NULL);
    test_buffer_make(&f->output, (size_t)f->attend.tokens * HIDDEN * sizeof(float), NULL);
    f->run = f->attend.run;
    f->run.payload = f;
    f->run.outputs[0] = &f->attend.output;
    f->run.outputs[1] = &f->heads;
    f->run.outputs[2] = &f->output;
}

static void finish(fixture *f) {
    attend_finish(&f->attend);
    test_weights_free(&f->up);
    test_weights_free(&f->last);
    test_buffer_free(&f->heads);
    test_buffer_free(&f->output);
}

static void check_bits(const test_buffer *merged, const unsigned char *apart, const char *name) {
    TEST_ASSERT(memcmp(merged->found, apart, merged->bytes) == 0, "%s differ", name);
}

static void check_both_ways(fixture *f) {
    const test_buffer *all[] = {&f->attend.output, &f->heads, &f->output};
    static const char *const names[] = {"attended rows", "heads", "outputs"};
    unsigned char *apart[3];
    f->run.enqueue = enqueue_apart;
    test_run_twice(&f->run);
    for (int i = 0; i < 3; i++) {
        apart[i] = test_allocate(all[i]->bytes, 1);
        memcpy(apart[i], all[i]->found, all[i]->bytes);
    }
    f->run.enqueue = enqueue_merging;
    test_run_twice(&f->run);
    for (int i = 0; i < 3; i++) {
        check_bits(all[i], apart[i], names[i]);
        free(apart[i]);
    }
    attend_expect(&f->attend);
    attend_compare(&f->attend, "output's merge");
}

// Of lengths at the edges of blocks of 48 keys, the vector variant's: of some sequences the last tokens alone see the
// last piece, some have one piece, some no token or no key.
typedef struct merge_case {
    uint32_t latent, heads, sequences, query_tokens[6], kv_tokens[6], split_tokens, first_count, window, world;
} merge_case;
static const merge_case cases[] = {
    {512, 16, 1, {1}, {1500}, 0, 0, 0, 0},
    {64, 128, 1, {1}, {200}, 1, 1, 0, 0},
    {37, 5, 6, {1, 3, 0, 2, 9, 1}, {97, 98, 200, 0, 145, 48}, 1, 5, 0, 0},
    {37, 2, 2, {120, 7}, {110, 50}, 1, 11, 0, 0},
    {16, 3, 4, {2, 1, 4, 1}, {300, 10, 193, 96}, 1, 3, 60, 0},
    {5, 7, 3, {1, 2, 1}, {150, 400, 3}, 1, 2, 0, 2},
};
#define CASES (int)(sizeof cases / sizeof *cases)

static attend_shape shape_of(int number) {
    const merge_case *c = &cases[number];
    attend_shape s = {.format = CLMLA_ROWS_F16,
                      .latent = c->latent,
                      .rope = 6,
                      .heads = c->heads,
                      .sequences = c->sequences,
                      .page_tokens = 16,
                      .split_tokens = c->split_tokens,
                      .window = c->window,
                      .parallel = {.world = c->world, .rank = c->world ? 1 : 0},
                      .seed = 70 + (uint64_t)number};
    memcpy(s.query_tokens, c->query_tokens, sizeof c->query_tokens);
    memcpy(s.kv_tokens, c->kv_tokens, sizeof c->kv_tokens);
    return s;
}

static const char *refusal(const fixture *f) {
    clmla_output_params params = output_of(f, 0, f->attend.tokens);
    return output_merge_refusal(test_device_get()->context, &params, f->attend.plan);
}

START_TEST(merging_changes_no_bit) {
    attend_shape s = shape_of(_i);
    fixture f;
    if (!test_case_wanted(_i)) return;
    if (test_device_get()->short_form && s.latent * s.heads > 400) return;
    test_case_begin("output merge", _i, "L %u, heads %u, %u sequences", s.latent, s.heads, s.sequences);
    make(&f, &s, cases[_i].first_count);
    ck_assert(s.split_tokens == 0 || f.attend.plan->grid_items > 0);
    clmla_variant variants[TEST_VARIANTS_MAX];
    size_t count;
    clmla_shape shape = {
        .weights = CLMLA_TYPE_BF16, .latent_dim = s.latent, .head_count = s.heads, .row_count = f.attend.tokens};
    TEST_OK(clmla_variant_list_tried(variants, TEST_VARIANTS_MAX, &count, test_device_get()->context, CLMLA_OP_OUTPUT,
                                     &shape));
    for (size_t i = 0; i < count; i++)
        if (variants[i].chosen && f.attend.plan->grid_items > 0)
            ck_assert((strcmp(variants[i].name, "vector") == 0) == (refusal(&f) == NULL));
    if (!refusal(&f)) check_both_ways(&f);
    finish(&f);
}
END_TEST

START_TEST(honours_events) {
    attend_shape s = shape_of(4);
    fixture f;
    test_case_begin("output merge events", 4, "four sequences");
    make(&f, &s, 3);
    f.run.enqueue = enqueue_merging;
    if (!refusal(&f)) {
        test_run_events(&f.run);
    }
    finish(&f);
}
END_TEST

START_TEST(says_why_not) {
    attend_shape s = shape_of(2);
    fixture f;
    test_case_begin("output merge refused", 2, "six sequences");
    make(&f, &s, 0);
    clmla_output_params params = output_of(&f, 0, f.attend.tokens);
    params.variant = "naive";
    const char *naive = output_merge_refusal(test_device_get()->context, &params, f.attend.plan);
    ck_assert_ptr_nonnull(naive);
    ck_assert_ptr_nonnull(strstr(naive, "naive"));
    f.attend.shape.split_tokens = 1000;
    attend_plan(&f.attend, NULL);
    ck_assert_ptr_nonnull(refusal(&f));
    ck_assert_ptr_nonnull(strstr(refusal(&f), "cut"));
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, merging_changes_no_bit, 0, CASES);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, says_why_not);
}

int main(void) {
    return test_main("check_output_merge", add);
}
