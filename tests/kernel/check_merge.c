// SPDX-License-Identifier: Apache-2.0
// merge: every variant against tests/ref/ref_merge.c, with empty states anywhere.
#include "tests/ref/ref_merge.h"
#include "tests/support/compare.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdlib.h>

enum { STATES, ROWS, WIDTH, LSE, WITH_LSE, FACTORS };
enum { LSE_RANDOM, LSE_EQUAL, LSE_HUGE, LSE_SOME_EMPTY, LSE_ALL_EMPTY, LSE_ONE_LEFT, LSE_NAN, LSE_KINDS };
static const uint32_t state_counts[] = {1, 2, 5, 17}, row_counts[] = {1, 3, 20}, widths[] = {1, 5, 16, 37, 512};

typedef struct fixture {
    clmla_merge_params params;
    test_buffer states, lse, output, output_lse;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait, cl_event *event) {
    return clmla_merge(test_device_get()->context, payload, queue, count, wait, event);
}

static float lse_of(int kind, uint32_t state, uint32_t states, test_random *random) {
    float empty = test_random_below(random, 2) ? INFINITY : -INFINITY;
    float value = (float)(3.0 * test_random_normal(random));
    switch (kind) {
    case LSE_EQUAL: return 2.5f;
    case LSE_HUGE: return 1e4f * value;
    case LSE_SOME_EMPTY: return test_random_below(random, 2) ? empty : value;
    case LSE_ALL_EMPTY: return empty;
    case LSE_NAN: return state == states / 2 ? NAN : value; // not empty: it shows
    case LSE_ONE_LEFT: return state == states - 1 ? value : empty;
    default: return value;
    }
}

// Empty states hold NaN: their values must not be read. Narrow states have a mean, or their sum could cancel to nothing.
static void make(fixture *f, uint32_t states, uint32_t rows, uint32_t width, int kind, test_random *random) {
    size_t pairs = (size_t)states * rows;
    float *lse = test_allocate(pairs, sizeof *lse), *values = test_nan_bytes(pairs * width * sizeof *values);
    for (size_t i = 0; i < pairs; i++) {
        lse[i] = lse_of(kind, (uint32_t)(i / rows), states, random);
        if (!isinf(lse[i])) test_random_fill(random, values + i * width, width, width < 16 ? 2.0 : 0.0, width < 16 ? 0.5 : 1.0);
    }
    *f = (fixture){0};
    test_buffer_make(&f->states, pairs * width * sizeof *values, values);
    test_buffer_make(&f->lse, pairs * sizeof *lse, lse);
    test_buffer_make(&f->output, (size_t)rows * width * sizeof *values, NULL);
    test_buffer_make(&f->output_lse, rows * sizeof *lse, NULL);
    free(lse);
    free(values);
    f->params = (clmla_merge_params){
        .state_count = states,
        .token_count = rows,
        .head_count = 1,
        .width = width,
        .states = f->states.view,
        .lse = f->lse.view,
        .output = f->output.view,
        .output_lse = f->output_lse.view,
    };
    f->run = (test_run){.enqueue = enqueue, .payload = &f->params, .inputs = {&f->states, &f->lse},
                        .outputs = {&f->output, &f->output_lse}};
}

static void finish(fixture *f) {
    test_buffer_free(&f->states);
    test_buffer_free(&f->lse);
    test_buffer_free(&f->output);
    test_buffer_free(&f->output_lse);
}

static void compare(fixture *f, const char *variant) {
    const clmla_merge_params *p = &f->params;
    double *expected = test_allocate(p->width, sizeof *expected);
    for (uint32_t r = 0; r < p->token_count; r++) {
        double lse = ref_merge(expected, test_buffer_floats(&f->states) + (size_t)r * p->width, (size_t)p->token_count * p->width,
                               test_buffer_floats(&f->lse) + r, p->token_count, p->state_count, p->width);
        test_compare_rows(test_buffer_found(&f->output) + (size_t)r * p->width, p->width, expected, 1, p->width, TEST_BAR_F32,
                          variant);
        if (!p->output_lse.memory) continue;
        test_difference d = test_compare(test_buffer_found(&f->output_lse) + r, &lse, 1);
        TEST_ASSERT(d.first_misplaced == 1 && d.largest_error <= 1e-6 * fmax(1.0, fabs(lse)), "%s: lse[%u] is %.9g, expected %.9g",
                    variant, r, (double)test_buffer_found(&f->output_lse)[r], lse);
    }
    free(expected);
    if (!p->output_lse.memory) test_buffer_check_unchanged(&f->output_lse);
}

static void check_variants(fixture *f) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.latent_dim = f->params.width, .head_count = 1, .row_count = f->params.token_count};
    size_t count = test_variants(variants, CLMLA_OP_MERGE, &shape);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        test_run_twice(&f->run);
        compare(f, variants[i].name);
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_MERGE, &shape);
}

static void run_case(int number, const int *chosen) {
    uint32_t states = state_counts[chosen[STATES]], rows = row_counts[chosen[ROWS]], width = widths[chosen[WIDTH]];
    test_random random = test_random_make((uint64_t)number + 4000);
    test_case_begin("merge", number, "states %u, rows %u, width %u, lse kind %d, lse out %d, seed %d", states, rows, width,
                    chosen[LSE], chosen[WITH_LSE], number + 4000);
    fixture f;
    make(&f, states, rows, width, chosen[LSE], &random);
    if (!chosen[WITH_LSE]) f.params.output_lse = (clmla_buffer){0};
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS, .levels = {4, 3, 5, LSE_KINDS, 2}, .seed = 14};
    pairwise_run(&cases, "merge", run_case);
}
END_TEST

static void make_small(fixture *f) {
    test_random random = test_random_make(8);
    test_case_begin("merge small", 0, "4 states of 3 rows of 5");
    make(f, 4, 3, 5, LSE_SOME_EMPTY, &random);
}

START_TEST(honours_events) {
    fixture f;
    make_small(&f);
    test_run_twice(&f.run);
    test_run_gated(&f.run);
    finish(&f);
}
END_TEST

START_TEST(takes_no_rows) {
    fixture f;
    make_small(&f);
    f.params.token_count = 0;
    test_run_twice(&f.run);
    test_buffer_check_unchanged(&f.output);
    test_run_gated(&f.run);
    finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_merge_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f);
    REFUSED(state_count = 0, "state_count");
    REFUSED(width = 0, "width");
    REFUSED(states = test_buffer_tiny(), "states");
    REFUSED(states.memory = NULL, "states");
    REFUSED(lse = test_buffer_tiny(), "lse");
    REFUSED(lse.memory = NULL, "lse");
    REFUSED(output = test_buffer_tiny(), "output");
    REFUSED(output.offset += 3, "output");
    REFUSED(output_lse = test_buffer_tiny(), "output_lse");
    test_run_wrong_waits(&f.run);
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, takes_no_rows);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_merge", add);
}
