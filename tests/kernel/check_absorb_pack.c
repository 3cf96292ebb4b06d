// SPDX-License-Identifier: Apache-2.0
// absorb that packs queries for attend: attention over them has the bits that absorb, and attend that packs by itself,
// give one after the other; what both compute is checked in check_absorb.c and check_attend.c.
#include "lib/operation.h"
#include "lib/plan.h"
#include "tests/kernel/attend_fixture.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NOPE = 9, VALUE = 3 };

typedef struct fixture {
    attend_fixture attend; // its own queries are not used
    test_weights kv_b;
    test_buffer input, table, query, nans;
    uint32_t first_count; // tokens of the first of two calls of absorb
    test_run run;
} fixture;

static clmla_absorb_params absorb_of(const fixture *f, uint32_t first, uint32_t count) {
    const attend_shape *s = &f->attend.shape;
    uint64_t in = NOPE + s->rope, out = s->latent + s->rope;
    return (clmla_absorb_params){
        .token_count = count,
        .head_count = s->heads,
        .nope_dim = NOPE,
        .value_dim = VALUE,
        .kv_b = f->kv_b.matrix,
        .query = {f->input.view.memory, f->input.view.offset + first * s->heads * in * sizeof(float)},
        .query_token_stride = s->heads * in,
        .query_head_stride = in,
        .output = {f->query.view.memory, f->query.view.offset + first * s->heads * out * sizeof(float)},
        .output_token_stride = s->heads * out,
        .output_head_stride = out,
        .rope_dim = s->rope,
        .rope_table = {f->table.view.memory, f->table.view.offset + (uint64_t)first * s->rope * sizeof(float)},
        .rope_table_rows = count,
        .output_order = CLMLA_ROPE_HALVES,
    };
}

static clmla_attend_params attend_of(const fixture *f, const test_buffer *query) {
    const attend_shape *s = &f->attend.shape;
    clmla_attend_params params = f->attend.params;
    params.query = query->view;
    params.query_head_stride = s->latent + s->rope;
    params.query_token_stride = s->heads * params.query_head_stride;
    return params;
}

// absorb of the first tokens and of the others, then attention over what they packed.
static clmla_status enqueue_packed(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                   cl_event *event) {
    fixture *f = payload;
    clmla_plan *plan = f->attend.plan;
    uint32_t tokens = f->attend.tokens, first = f->first_count < tokens ? f->first_count : tokens;
    host_chain chain;
    clmla_status status = plan_chain_begin(&chain, plan, queue, count, wait);
    if (status != CLMLA_OK) return status;
    for (int part = 0; part < 2 && status == CLMLA_OK; part++) {
        absorb_packed packed = {plan, part ? first : 0, ATTEND_SCALE};
        clmla_absorb_params params = absorb_of(f, packed.first_token, part ? tokens - first : first);
        status = absorb_enqueue(test_device_get()->context, &params, &packed, &chain);
    }
    clmla_attend_params attend = attend_of(f, &f->query);
    if (status == CLMLA_OK) status = attend_enqueue_between(plan, &attend, (attend_neighbours){.packed = true}, &chain);
    return plan_chain_finish(&chain, plan, status, event);
}

static clmla_status enqueue_apart(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                  cl_event *event) {
    fixture *f = payload;
    clmla_absorb_params params = absorb_of(f, 0, f->attend.tokens);
    clmla_attend_params attend = attend_of(f, &f->query);
    clmla_status status = clmla_absorb(test_device_get()->context, &params, queue, count, wait, NULL);
    return status == CLMLA_OK ? clmla_attend(f->attend.plan, &attend, queue, 0, NULL, event) : status;
}

static void make_table(fixture *f, test_random *random) {
    uint32_t pairs = f->attend.tokens * f->attend.shape.rope / 2;
    float *table = test_allocate(2 * (size_t)pairs, sizeof *table);
    for (uint32_t i = 0; i < pairs; i++) {
        double angle = 6.28 * test_random_uniform(random);
        table[2 * i] = (float)cos(angle);
        table[2 * i + 1] = (float)sin(angle);
    }
    test_buffer_make(&f->table, 2 * (size_t)pairs * sizeof *table, table);
    free(table);
}

static void make(fixture *f, const attend_shape *s, uint32_t first_count) {
    test_random random = test_random_make(s->seed + 1);
    test_weights_shape kv_b = {
        .type = REF_BF16, .rows = s->heads * (NOPE + VALUE), .columns = s->latent, .deviation = 0.3};
    *f = (fixture){.first_count = first_count};
    attend_make(&f->attend, s);
    attend_plan(&f->attend, NULL);
    size_t rows = (size_t)f->attend.tokens * s->heads;
    test_weights_make(&f->kv_b, &kv_b, &random);
    test_buffer_make_rows(&f->input, &random, rows, NOPE + s->rope, NOPE + s->rope, 0.0, 1.0);
    make_table(f, &random);
    test_buffer_make(&f->query, rows * (s->latent + s->rope) * sizeof(float), NULL);
    test_buffer_make(&f->nans, rows * (s->latent + s->rope) * sizeof(float), NULL);
    f->run = f->attend.run;
    f->run.payload = f;
    f->run.outputs[0] = &f->attend.output;
    f->run.outputs[1] = &f->query;
    f->run.outputs[2] = NULL;
}

static void finish(fixture *f) {
    attend_finish(&f->attend);
    test_weights_free(&f->kv_b);
    test_buffer *all[] = {&f->input, &f->table, &f->query, &f->nans};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_buffer_free(all[i]);
}

// Packs queries that are no numbers: no place of the packed ones holds what it should.
static void spoil(fixture *f) {
    clmla_attend_params attend = attend_of(f, &f->nans);
    TEST_OK(clmla_attend(f->attend.plan, &attend, test_device_get()->queue, 0, NULL, NULL));
    TEST_CL(clFinish(test_device_get()->queue));
}

static void check_both_ways(fixture *f) {
    spoil(f);
    f->run.enqueue = enqueue_packed;
    test_run_twice(&f->run);
    unsigned char *packed = test_allocate(f->attend.output.bytes, 1);
    memcpy(packed, f->attend.output.found, f->attend.output.bytes);
    f->run.enqueue = enqueue_apart;
    test_run_twice(&f->run);
    TEST_ASSERT(memcmp(packed, f->attend.output.found, f->attend.output.bytes) == 0, "outputs differ, %s",
                "packed and apart");
    free(packed);
    for (size_t i = 0; i < f->attend.output.bytes / sizeof(float); i++)
        TEST_ASSERT(isfinite(test_buffer_found(&f->attend.output)[i]), "output %zu is no number", i);
}

// Rows that fill pairs of vectors, one vector, and none; of one token and of several, of sequences without tokens among
// others. Widths and heads that check_attend.c has too: the driver keeps what it compiled for them.
typedef struct pack_case {
    uint32_t latent, rope, value, heads, sequences, query_tokens[5], first_count;
} pack_case;
static const pack_case cases[] = {
    {512, 64, 0, 16, 1, {1}, 1},      {256, 64, 0, 128, 2, {1, 2}, 1},      {37, 6, 0, 5, 5, {1, 3, 0, 9, 1}, 6},
    {512, 0, 0, 12, 3, {2, 1, 4}, 0}, {37, 6, 0, 1, 4, {40, 1, 8, 15}, 41}, {5, 2, 6, 20, 2, {7, 1}, 3},
};
#define CASES (int)(sizeof cases / sizeof *cases)

static attend_shape shape_of(int number) {
    const pack_case *c = &cases[number];
    attend_shape s = {.format = CLMLA_ROWS_F16,
                      .latent = c->latent,
                      .rope = c->rope,
                      .value = c->value,
                      .heads = c->heads,
                      .sequences = c->sequences,
                      .page_tokens = 16,
                      .seed = 170 + (uint64_t)number};
    memcpy(s.query_tokens, c->query_tokens, sizeof c->query_tokens);
    for (uint32_t i = 0; i < c->sequences; i++) s.kv_tokens[i] = c->query_tokens[i] + 11 * i;
    return s;
}

static const char *refusal(const fixture *f) {
    clmla_absorb_params params = absorb_of(f, 0, f->attend.tokens);
    return absorb_pack_refusal(test_device_get()->context, &params, f->attend.plan);
}

START_TEST(packing_changes_no_bit) {
    attend_shape s = shape_of(_i);
    fixture f;
    if (!test_case_wanted(_i)) return;
    // The short form has the widths that check_attend.c's has.
    if (test_left_out(test_device_get()->short_form && (s.latent * s.heads > 400 || s.latent != 37), "case %d", _i))
        return;
    test_case_begin("absorb pack", _i, "%u + %u, heads %u, %u sequences", s.latent, s.rope, s.heads, s.sequences);
    make(&f, &s, cases[_i].first_count);
    bool vectors = strcmp(clmla_plan_facts_get(f.attend.plan).attend_variant, "vector") == 0;
    ck_assert(vectors == (refusal(&f) == NULL));
    if (vectors) check_both_ways(&f);
    finish(&f);
}
END_TEST

START_TEST(honours_events) {
    attend_shape s = shape_of(2);
    fixture f;
    test_case_begin("absorb pack events", 2, "five sequences");
    make(&f, &s, 6);
    f.run.enqueue = enqueue_packed;
    if (!refusal(&f)) {
        spoil(&f);
        test_run_events(&f.run);
    }
    finish(&f);
}
END_TEST

START_TEST(says_why_not) {
    attend_shape s = shape_of(2);
    fixture f;
    test_case_begin("absorb pack refused", 2, "five sequences");
    make(&f, &s, 0);
    attend_plan(&f.attend, "naive");
    ck_assert_ptr_nonnull(refusal(&f));
    ck_assert_ptr_nonnull(strstr(refusal(&f), "as they are"));
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, packing_changes_no_bit, 0, CASES);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, says_why_not);
}

int main(void) {
    return test_main("check_absorb_pack", add);
}
