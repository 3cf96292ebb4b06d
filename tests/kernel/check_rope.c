// SPDX-License-Identifier: Apache-2.0
// rope: every variant against tests/ref/ref_rope.c: both orders in and out, in place and apart, with and without
// positions.
#include "tests/ref/ref_rope.h"
#include "tests/support/compare.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdlib.h>

enum { DIM, HEADS, TOKENS, STRIDE, ORDERS, IN_PLACE, POSITIONS, FACTORS };
static const uint32_t dims[] = {2, 6, 32, 64, 256}, head_counts[] = {1, 3, 16}, token_counts[] = {1, 2, 5};

#define TABLE_ROWS 11u

typedef struct fixture {
    clmla_rope_params params;
    test_buffer input, output, table, positions;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_rope(test_device_get()->context, payload, queue, count, wait, event);
}

typedef struct shape {
    uint32_t dim, heads, tokens, pad; // pad: elements between heads
    bool input_halves, output_halves, in_place, positions;
} shape;

static void make_table(fixture *f, const shape *s, test_random *random) {
    float table[TABLE_ROWS * CLMLA_MAX_ROPE_DIM];
    for (uint32_t i = 0; i < TABLE_ROWS * s->dim / 2; i++) {
        double angle = 6.28 * test_random_uniform(random);
        table[2 * i] = (float)cos(angle);
        table[2 * i + 1] = (float)sin(angle);
    }
    test_buffer_make(&f->table, TABLE_ROWS * s->dim * sizeof *table, table);
}

// Among them rows outside the table, which count as its first and last.
static void make_positions(fixture *f, const shape *s) {
    static const int32_t some[] = {7, -3, 0, 10, 2000000000};
    int32_t positions[5];
    for (uint32_t t = 0; t < s->tokens; t++) positions[t] = some[t % 5];
    test_buffer_make(&f->positions, s->tokens * sizeof *positions, positions);
}

static void make(fixture *f, const shape *s, test_random *random) {
    *f = (fixture){0};
    uint32_t head = s->dim + s->pad, token = s->heads * head + s->pad;
    float *values = test_nan_bytes((size_t)s->tokens * token * sizeof *values);
    for (uint32_t i = 0; i < s->tokens * s->heads; i++)
        test_random_fill(random, values + (size_t)(i / s->heads) * token + (size_t)(i % s->heads) * head, s->dim, 0.0,
                         1.0);
    test_buffer_make(&f->input, (size_t)s->tokens * token * sizeof *values, values);
    uint32_t out_head = s->in_place ? head : s->dim + 1, out_token = s->in_place ? token : s->heads * out_head + 4;
    test_buffer_make(&f->output, (size_t)s->tokens * out_token * sizeof *values, s->in_place ? values : NULL);
    free(values);
    make_table(f, s, random);
    make_positions(f, s);
    f->params = (clmla_rope_params){
        .token_count = s->tokens,
        .head_count = s->heads,
        .rope_dim = s->dim,
        .input = s->in_place ? f->output.view : f->input.view,
        .input_token_stride = token,
        .input_head_stride = head,
        .output = f->output.view,
        .output_token_stride = out_token,
        .output_head_stride = out_head,
        .table = f->table.view,
        .table_rows = TABLE_ROWS,
        .input_order = s->input_halves ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED,
        .output_order = s->output_halves ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED,
    };
    if (s->positions) f->params.positions = f->positions.view;
    f->run = (test_run){.enqueue = enqueue,
                        .payload = &f->params,
                        .inputs = {&f->table, &f->positions, &f->input},
                        .outputs = {&f->output}};
}

static void finish(fixture *f) {
    test_buffer_free(&f->input);
    test_buffer_free(&f->output);
    test_buffer_free(&f->table);
    test_buffer_free(&f->positions);
}

static const float *angles_of(const fixture *f, uint32_t token) {
    int64_t row = token;
    if (f->params.positions.memory) row = ((const int32_t *)(const void *)f->positions.initial)[token];
    row = row < 0 ? 0 : row >= TABLE_ROWS ? TABLE_ROWS - 1 : row;
    return test_buffer_floats(&f->table) + (size_t)row * f->params.rope_dim;
}

static void compare(const fixture *f, const char *variant) {
    const clmla_rope_params *p = &f->params;
    double input[CLMLA_MAX_ROPE_DIM], expected[CLMLA_MAX_ROPE_DIM];
    for (uint32_t t = 0; t < p->token_count; t++)
        for (uint32_t h = 0; h < p->head_count; h++) {
            const float *in = test_buffer_floats(&f->input) + t * p->input_token_stride + h * p->input_head_stride;
            for (uint32_t i = 0; i < p->rope_dim; i++) input[i] = (double)in[i];
            ref_rope(expected, input, angles_of(f, t), p->rope_dim, p->input_order == CLMLA_ROPE_HALVES,
                     p->output_order == CLMLA_ROPE_HALVES);
            test_compare_rows(test_buffer_found(&f->output) + t * p->output_token_stride + h * p->output_head_stride,
                              p->rope_dim, expected, 1, p->rope_dim, TEST_BAR_F32, variant);
        }
}

static void check_variants(fixture *f) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {
        .rope_dim = f->params.rope_dim, .head_count = f->params.head_count, .row_count = f->params.token_count};
    size_t count = test_variants(variants, CLMLA_OP_ROPE, &shape);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        test_run_twice(&f->run);
        compare(f, variants[i].name);
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_ROPE, &shape);
}

static void run_case(int number, const int *chosen) {
    shape s = {
        .dim = dims[chosen[DIM]],
        .heads = head_counts[chosen[HEADS]],
        .tokens = token_counts[chosen[TOKENS]],
        .pad = chosen[STRIDE] ? 3 : 0,
        .input_halves = chosen[ORDERS] & 1,
        .output_halves = chosen[ORDERS] >> 1,
        .in_place = chosen[IN_PLACE],
        .positions = chosen[POSITIONS],
    };
    test_random random = test_random_make((uint64_t)number + 3000);
    test_case_begin("rope", number,
                    "dim %u, heads %u, tokens %u, pad %u, orders %d, in place %d, positions %d, seed %d", s.dim,
                    s.heads, s.tokens, s.pad, chosen[ORDERS], s.in_place, s.positions, number + 3000);
    fixture f;
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS, .levels = {5, 3, 3, 2, 4, 2, 2}, .seed = 13};
    pairwise_run(&cases, "rope", run_case);
}
END_TEST

static void make_small(fixture *f) {
    test_random random = test_random_make(7);
    shape s = {.dim = 6, .heads = 3, .tokens = 4, .pad = 1, .output_halves = true, .positions = true};
    test_case_begin("rope small", 0, "dim 6, heads 3, tokens 4");
    make(f, &s, &random);
}

START_TEST(honours_events) {
    fixture f;
    make_small(&f);
    test_run_events(&f.run);
    finish(&f);
}
END_TEST

START_TEST(takes_no_tokens) {
    fixture f;
    make_small(&f);
    f.params.token_count = 0;
    test_run_nothing(&f.run);
    finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_rope_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f);
    REFUSED(rope_dim = 0, "rope_dim");
    REFUSED(rope_dim = 5, "rope_dim");
    REFUSED(rope_dim = CLMLA_MAX_ROPE_DIM + 2, "rope_dim");
    REFUSED(input_order = (clmla_rope_order)2, "order");
    REFUSED(output_order = (clmla_rope_order)-1, "order");
    REFUSED(input = test_buffer_tiny(), "input");
    REFUSED(input.memory = NULL, "input");
    REFUSED(input_head_stride = 5, "input");
    REFUSED(input_token_stride = 19, "input");
    REFUSED(output = test_buffer_tiny(), "output");
    REFUSED(output_head_stride = 5, "output");
    REFUSED(output_token_stride = 19, "output");
    REFUSED(table = test_buffer_tiny(), "table");
    REFUSED(table.memory = NULL, "table");
    REFUSED(table_rows = 0, "table");
    REFUSED(positions = test_buffer_tiny(), "positions");
    f.params.positions.memory = NULL;
    REFUSED(table_rows = 3, "table"); // row t for token t: 4 rows are needed
    test_run_wrong_waits(&f.run);
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, takes_no_tokens);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_rope", add);
}
