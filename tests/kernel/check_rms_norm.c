// SPDX-License-Identifier: Apache-2.0
// rms_norm: every variant against tests/ref/ref_rms_norm.c, in place and apart.
#include "tests/ref/ref_rms_norm.h"
#include "tests/support/compare.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH, ROWS, STRIDE, IN_PLACE, DATA, FACTORS };
enum { DATA_RANDOM, DATA_LARGE, DATA_TINY, DATA_ZERO, DATA_SPECIAL, DATA_KINDS };
static const uint32_t widths[] = {1, 2, 15, 16, 33, 512, 1536}, row_counts[] = {1, 2, 7};

typedef struct fixture {
    clmla_rms_norm_params params;
    test_buffer input, weight, output;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_rms_norm(test_device_get()->context, payload, queue, count, wait, event);
}

// Squares of the extremes stay within f32.
static void fill(float *values, uint32_t rows, uint32_t stride, uint32_t width, int data, test_random *random) {
    double deviation = data == DATA_LARGE ? 1e16 : data == DATA_TINY ? 1e-12 : 1.0;
    for (uint32_t r = 0; r < rows; r++) {
        float *row = values + (size_t)r * stride;
        test_random_fill(random, row, width, 0.0, deviation);
        if (data == DATA_ZERO) memset(row, 0, width * sizeof *row);
        if (data == DATA_SPECIAL && r == 0) row[width / 2] = NAN;
        if (data == DATA_SPECIAL && r == 1) row[width - 1] = INFINITY;
    }
}

static void make(fixture *f, uint32_t width, uint32_t rows, uint32_t pad, bool in_place, int data,
                 test_random *random) {
    uint32_t stride = width + pad;
    float *values = test_nan_bytes((size_t)rows * stride * sizeof *values);
    fill(values, rows, stride, width, data, random);
    *f = (fixture){0};
    test_buffer_make(&f->input, (size_t)rows * stride * sizeof *values, values);
    test_buffer_make_rows(&f->weight, random, 1, width, width, 1.0, 0.3);
    test_buffer_make(&f->output, (size_t)rows * (stride + (in_place ? 0 : 2)) * sizeof *values,
                     in_place ? values : NULL);
    f->params = (clmla_rms_norm_params){
        .row_count = rows,
        .width = width,
        .input = in_place ? f->output.view : f->input.view,
        .input_stride = stride,
        .weight = f->weight.view,
        .epsilon = 1e-6f,
        .output = f->output.view,
        .output_stride = in_place ? stride : stride + 2,
    };
    f->run = (test_run){
        .enqueue = enqueue, .payload = &f->params, .inputs = {&f->weight, &f->input}, .outputs = {&f->output}};
    free(values);
}

static void finish(fixture *f) {
    test_buffer_free(&f->input);
    test_buffer_free(&f->weight);
    test_buffer_free(&f->output);
}

static void check_variants(fixture *f) {
    const clmla_rms_norm_params *p = &f->params;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.row_count = p->row_count};
    size_t count = test_variants(variants, CLMLA_OP_RMS_NORM, &shape), width = p->width;
    double *expected = test_allocate(p->row_count * width, sizeof *expected);
    for (uint32_t r = 0; r < p->row_count; r++)
        ref_rms_norm(expected + r * width, test_buffer_floats(&f->input) + r * p->input_stride,
                     test_buffer_floats(&f->weight), width, (double)p->epsilon);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        for (uint32_t r = 0; test_variant_run(&variants[i], r); r++)
            for (uint32_t w = 0; test_variant_without(&variants[i], w); w++) {
                test_run_twice(&f->run);
                test_compare_rows(test_buffer_found(&f->output), (size_t)p->output_stride, expected, p->row_count,
                                  width, TEST_BAR_F32, variants[i].name);
            }
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_RMS_NORM, &shape);
    free(expected);
}

static void run_case(int number, const int *chosen) {
    test_random random = test_random_make((uint64_t)number + 2000);
    test_case_begin("rms_norm", number, "width %u, rows %u, padded %d, in place %d, data %d, seed %d",
                    widths[chosen[WIDTH]], row_counts[chosen[ROWS]], chosen[STRIDE], chosen[IN_PLACE], chosen[DATA],
                    number + 2000);
    fixture f;
    make(&f, widths[chosen[WIDTH]], row_counts[chosen[ROWS]], chosen[STRIDE] ? 3 : 0, chosen[IN_PLACE], chosen[DATA],
         &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS, .levels = {7, 3, 2, 2, DATA_KINDS}, .seed = 12};
    pairwise_run(&cases, "rms_norm", run_case);
}
END_TEST

static void make_small(fixture *f, bool in_place) {
    test_random random = test_random_make(6);
    test_case_begin("rms_norm small", 0, "3 rows of 37, in place %d", in_place);
    make(f, 37, 3, 1, in_place, DATA_RANDOM, &random);
}

START_TEST(honours_events) {
    for (int in_place = 0; in_place < 2; in_place++) {
        fixture f;
        make_small(&f, in_place);
        test_run_events(&f.run);
        finish(&f);
    }
}
END_TEST

START_TEST(takes_no_rows) {
    fixture f;
    make_small(&f, false);
    f.params.row_count = 0;
    test_run_nothing(&f.run);
    finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_rms_norm_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f, false);
    REFUSED(width = 0, "width");
    REFUSED(epsilon = -1.0f, "epsilon");
    REFUSED(epsilon = NAN, "epsilon");
    REFUSED(input = test_buffer_tiny(), "input");
    REFUSED(input.memory = NULL, "input");
    REFUSED(input_stride = 36, "input");
    REFUSED(weight = test_buffer_tiny(), "weight");
    REFUSED(weight.memory = NULL, "weight");
    REFUSED(output = test_buffer_tiny(), "output");
    REFUSED(output.offset += 1, "output");
    REFUSED(output_stride = 36, "output");
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
    return test_main("check_rms_norm", add);
}
