// SPDX-License-Identifier: Apache-2.0
// project: every variant and weight type against tests/ref/ref_project.c.
#include "tests/ref/ref_project.h"
#include "tests/support/compare.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include "tests/support/weights.h"
#include <stdlib.h>
#include <string.h>

enum { TYPE, ROWS, COLUMNS, TOKENS, BIAS, WINDOW, SPECIAL, FACTORS };
static const uint32_t rows_of[] = {1, 3, 4, 17, 130}, columns_of[] = {1, 5, 16, 128, 129, 300, 1040, 2058};
static const uint32_t tokens_of[] = {1, 2, 4, 5, 9};

typedef struct fixture {
    clmla_project_params params;
    test_weights weights;
    test_buffer input, output;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_project(test_device_get()->context, payload, queue, count, wait, event);
}

// Few outputs could cancel to nothing: then the values have a mean, so that the row's peak stays a fair measure.
static void make(fixture *f, const test_weights_shape *shape, uint32_t tokens, test_random *random) {
    uint32_t pad = shape->window ? 5 : 0;
    *f = (fixture){0};
    test_weights_make(&f->weights, shape, random);
    test_buffer_make_rows(&f->input, random, tokens, shape->columns + pad, shape->columns, shape->mean, 1.0);
    test_buffer_make(&f->output, (size_t)tokens * (shape->rows + pad) * sizeof(float), NULL);
    f->params = (clmla_project_params){
        .matrix = f->weights.matrix,
        .row_count = tokens,
        .input = f->input.view,
        .input_stride = shape->columns + pad,
        .output = f->output.view,
        .output_stride = shape->rows + pad,
    };
    f->run = (test_run){.enqueue = enqueue, .payload = &f->params, .inputs = {&f->input}, .outputs = {&f->output}};
    test_weights_inputs(f->run.inputs + 1, &f->weights);
}

static void finish(fixture *f) {
    test_weights_free(&f->weights);
    test_buffer_free(&f->input);
    test_buffer_free(&f->output);
}

static clmla_shape shape_of(const fixture *f) {
    return (clmla_shape){.weights = f->params.matrix.type, .row_count = f->params.row_count};
}

static void check_variants(fixture *f) {
    const clmla_project_params *p = &f->params;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = shape_of(f);
    size_t count = test_variants(variants, CLMLA_OP_PROJECT, &shape);
    double *expected = test_allocate((size_t)p->row_count * p->matrix.rows, sizeof *expected);
    ref_project(expected, &f->weights.reference, test_buffer_floats(&f->input), p->row_count, (size_t)p->input_stride);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        test_run_twice(&f->run);
        test_compare_rows(test_buffer_found(&f->output), (size_t)p->output_stride, expected, p->row_count,
                          p->matrix.rows, TEST_BAR_F32, variants[i].name);
    }
    f->params.variant = NULL;
    test_run_twice(&f->run);
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_PROJECT, &shape);
    free(expected);
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    uint64_t cost = (uint64_t)rows_of[chosen[ROWS]] * columns_of[chosen[COLUMNS]] * tokens_of[chosen[TOKENS]];
    return cost <= (test_device_get()->short_form ? 20000u : 2000000u);
}

static void run_case(int number, const int *chosen) {
    bool few = rows_of[chosen[ROWS]] < 16;
    test_weights_shape shape = {
        .type = (ref_type)chosen[TYPE],
        .rows = rows_of[chosen[ROWS]],
        .columns = columns_of[chosen[COLUMNS]],
        .window = chosen[WINDOW],
        .bias = chosen[BIAS],
        .special = chosen[SPECIAL],
        .mean = few ? 0.5 : 0.0,
        .deviation = 0.5,
    };
    test_random random = test_random_make((uint64_t)number + 1000);
    test_case_begin("project", number, "%s %u x %u, %u tokens, window %d, bias %d, special %d, seed %d",
                    test_type_name(shape.type), shape.rows, shape.columns, tokens_of[chosen[TOKENS]], shape.window,
                    shape.bias, shape.special, number + 1000);
    fixture f;
    make(&f, &shape, tokens_of[chosen[TOKENS]], &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS, .levels = {4, 5, 8, 5, 2, 2, 2}, .accept = accept, .seed = 11};
    pairwise_run(&cases, "project", run_case);
}
END_TEST

// Many enough for variants that take them in blocks, and for more than a block.
START_TEST(takes_many_tokens) {
    static const struct {
        uint32_t rows, columns, tokens;
    } cases[] = {{17, 24, 33}, {17, 129, 200}, {130, 2058, 70}, {64, 1024, 64}};
    size_t count = test_device_get()->short_form ? 1 : sizeof cases / sizeof cases[0];
    for (int type = REF_F32; type <= REF_F8_E4M3; type++)
        for (size_t i = 0; i < count; i++) {
            test_random random = test_random_make(i + 40);
            test_weights_shape shape = {.type = (ref_type)type,
                                        .rows = cases[i].rows,
                                        .columns = cases[i].columns,
                                        .window = i % 2,
                                        .bias = i != 1,
                                        .deviation = 0.5};
            test_case_begin("project many", (int)i, "%s %u x %u, %u tokens", test_type_name(shape.type), shape.rows,
                            shape.columns, cases[i].tokens);
            fixture f;
            make(&f, &shape, cases[i].tokens, &random);
            check_variants(&f);
            finish(&f);
        }
}
END_TEST

// Rows of weights and inputs at multiples of 16 bytes, which test buffers do not begin at.
static void align(fixture *f) {
    size_t weight = f->params.matrix.type == CLMLA_TYPE_F8_E4M3 ? 0 : 8 / clmla_type_bytes(f->params.matrix.type);
    f->params.input.offset += 2 * sizeof(float);
    f->params.matrix.values.offset += weight * clmla_type_bytes(f->params.matrix.type);
    f->params.matrix.columns -= 8;
    f->weights.reference.values =
        (const char *)f->weights.reference.values + weight * clmla_type_bytes(f->params.matrix.type);
    f->weights.reference.columns -= 8;
}

// The variants for GPUs then take eight weights at a time, those of 16 and 8 bits through halves where the device has
// them: an interpreter says so and has not. They run where they are named, too.
START_TEST(takes_aligned_rows) {
    static const struct {
        const char *variant;
        uint32_t tokens;
    } cases[] = {{"group", 2}, {"tile", 33}};
    for (int type = REF_F32; type <= REF_F8_E4M3; type++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            test_random random = test_random_make(6);
            test_weights_shape shape = {.type = (ref_type)type, .rows = 9, .columns = 136, .deviation = 0.5};
            test_case_begin("project aligned", type, "%s 9 x 128, %s", test_type_name(shape.type), cases[i].variant);
            fixture f;
            double expected[33 * 9];
            make(&f, &shape, cases[i].tokens, &random);
            align(&f);
            f.params.variant = cases[i].variant;
            ref_project(expected, &f.weights.reference, test_buffer_floats(&f.input) + 2, f.params.row_count,
                        (size_t)f.params.input_stride);
            test_run_twice(&f.run);
            test_compare_rows(test_buffer_found(&f.output), (size_t)f.params.output_stride, expected,
                              f.params.row_count, 9, TEST_BAR_F32, cases[i].variant);
            finish(&f);
        }
}
END_TEST

static void make_small(fixture *f, ref_type type, uint32_t tokens) {
    test_random random = test_random_make(5);
    test_weights_shape shape = {.type = type, .rows = 9, .columns = 140, .bias = true, .deviation = 0.5};
    make(f, &shape, tokens, &random);
}

START_TEST(honours_events) {
    fixture f;
    test_case_begin("project events", 0, "9 x 140");
    make_small(&f, REF_F8_E4M3, 6);
    test_run_events(&f.run);
    finish(&f);
}
END_TEST

START_TEST(takes_no_tokens) {
    fixture f;
    test_case_begin("project empty", 0, "no tokens");
    make_small(&f, REF_F32, 3);
    f.params.row_count = 0;
    f.params.input = f.params.output = (clmla_buffer){0};
    test_run_nothing(&f.run);
    finish(&f);
}
END_TEST

// The first token's sums are the same bits, however many tokens there are beside it, from `least` on: of one variant,
// or of those that are chosen on a CPU.
static void check_order(fixture *f, const char *variant, uint32_t least) {
    static const uint32_t others[] = {2, 3, 4, 5, 8, 9, 16, 17, 24, 49, 197};
    const clmla_matrix *matrix = &f->params.matrix;
    float *alone = test_allocate(matrix->rows, sizeof *alone);
    f->params.variant = variant;
    f->params.row_count = least;
    test_run_twice(&f->run);
    memcpy(alone, test_buffer_found(&f->output), matrix->rows * sizeof *alone);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (others[i] < least) continue;
        test_case_begin("project order", (int)i, "%s %s, %u and %u tokens", variant ? variant : "chosen",
                        clmla_type_name(matrix->type), least, others[i]);
        f->params.row_count = others[i];
        test_run_twice(&f->run);
        ck_assert_mem_eq(alone, test_buffer_found(&f->output), matrix->rows * sizeof *alone);
    }
    free(alone);
}

START_TEST(sums_in_one_order) {
    bool cpu = test_device_get()->facts->type & CL_DEVICE_TYPE_CPU;
    if (test_left_out(test_device_get()->short_form, "sums in one order")) return;
    for (int type = REF_F32; type <= REF_F8_E4M3; type++) {
        test_random random = test_random_make(77);
        test_weights_shape shape = {.type = (ref_type)type,
                                    .rows = 70,
                                    .columns = 1304,
                                    .window = type == REF_F16,
                                    .bias = true,
                                    .deviation = 0.5};
        fixture f;
        make(&f, &shape, 197, &random);
        if (cpu) check_order(&f, NULL, 1);
        check_order(&f, "group", 1);
        check_order(&f, "tile", 32);
        finish(&f);
    }
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_project_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    test_case_begin("project arguments", 0, "9 x 140");
    make_small(&f, REF_F8_E4M3, 3);
    REFUSED(matrix.type = CLMLA_TYPE_NONE, "none");
    REFUSED(matrix.type = CLMLA_TYPE_I8, "i8");
    REFUSED(matrix.rows = 0, "rows");
    REFUSED(matrix.columns = 0, "columns");
    REFUSED(matrix.row_stride = 139, "row_stride");
    REFUSED(matrix.row_stride = UINT64_MAX, "row_stride");
    REFUSED(matrix.values = test_buffer_tiny(), "matrix");
    REFUSED(matrix.values = (clmla_buffer){0}, "matrix");
    REFUSED(matrix.scales = test_buffer_tiny(), "matrix");
    REFUSED(matrix.scale_stride = 1, "scale_stride");
    REFUSED(matrix.bias = test_buffer_tiny(), "bias");
    REFUSED(input = test_buffer_tiny(), "input");
    REFUSED(input.memory = NULL, "input");
    REFUSED(input.offset += 2, "input");
    REFUSED(input.offset = UINT64_MAX - 3, "input");
    REFUSED(input_stride = 139, "input");
    REFUSED(output = test_buffer_tiny(), "output");
    REFUSED(output_stride = 8, "output");
    REFUSED(output.memory = (cl_mem)NULL, "output");
    test_run_wrong_waits(&f.run);
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, takes_many_tokens);
    tcase_add_test(tcase, takes_aligned_rows);
    tcase_add_test(tcase, sums_in_one_order);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, takes_no_tokens);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_project", add);
}
