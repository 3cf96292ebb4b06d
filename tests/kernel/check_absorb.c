// SPDX-License-Identifier: Apache-2.0
// absorb: every variant and weight type against tests/ref/ref_absorb.c; what it rotates on the way against
// tests/ref/ref_rope.c, both orders in and out, with and without positions.
#include "tests/ref/ref_absorb.h"
#include "tests/ref/ref_rope.h"
#include "tests/support/compare.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include "tests/support/weights.h"
#include <math.h>
#include <stdlib.h>

enum { TYPE, HEADS, TOKENS, NOPE, VALUE, LATENT, STRIDE, SPECIAL, ROPE, ORDERS, POSITIONS, FACTORS };
static const uint32_t head_counts[] = {1, 3, 5, 20}, token_counts[] = {1, 2, 4, 9}, nopes[] = {1, 6, 64, 128};
static const uint32_t values[] = {1, 8, 33, 128}, latents[] = {1, 5, 37, 64, 512};
static const uint32_t ropes[] = {0, 2, 6, 64};

#define TABLE_ROWS 11u

typedef struct shape {
    ref_type type;
    uint32_t heads, tokens, nope, value, latent;
    bool strided, special;
    uint32_t rope;
    bool input_halves, output_halves, positions;
} shape;

typedef struct fixture {
    clmla_absorb_params params;
    test_weights weights;
    test_buffer query, output, table, positions;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_absorb(test_device_get()->context, payload, queue, count, wait, event);
}

// A window of fp8 weights: kv_b is never cut by columns, so its grid of scales starts with column 0.
static void make_weights(fixture *f, const shape *s, test_random *random) {
    bool narrow = s->latent < 16;
    test_weights_shape shape = {
        .type = s->type,
        .rows = s->heads * (s->nope + s->value),
        .columns = s->latent,
        .window = s->strided,
        .special = s->special,
        .mean = narrow ? 0.5 : 0.0,
        .deviation = 0.3,
    };
    test_weights_make(&f->weights, &shape, random);
    f->weights.matrix.scale_column = 0;
    f->weights.reference.scale_column = 0;
}

// Positions among which are rows outside the table, which count as its first and last.
static void make_rotation(fixture *f, const shape *s, test_random *random) {
    static const int32_t some[] = {7, -3, 0, 10, 2000000000};
    float table[TABLE_ROWS * CLMLA_MAX_ROPE_DIM];
    int32_t positions[9];
    for (uint32_t i = 0; i < TABLE_ROWS * s->rope / 2; i++) {
        double angle = 6.28 * test_random_uniform(random);
        table[2 * i] = (float)cos(angle);
        table[2 * i + 1] = (float)sin(angle);
    }
    for (uint32_t t = 0; t < s->tokens; t++) positions[t] = some[t % 5];
    test_buffer_make(&f->table, TABLE_ROWS * s->rope * sizeof *table, table);
    test_buffer_make(&f->positions, s->tokens * sizeof *positions, positions);
    f->params.rope_dim = s->rope;
    f->params.rope_table = f->table.view;
    f->params.rope_table_rows = TABLE_ROWS;
    if (s->positions) f->params.rope_positions = f->positions.view;
    f->params.input_order = s->input_halves ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED;
    f->params.output_order = s->output_halves ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED;
    size_t inputs = 0;
    while (f->run.inputs[inputs]) inputs++;
    f->run.inputs[inputs] = &f->table;
    f->run.inputs[inputs + 1] = &f->positions;
}

static void make(fixture *f, const shape *s, test_random *random) {
    uint32_t head = s->nope + s->rope + (s->strided ? 7 : 0), token = s->heads * head + (s->strided ? 2 : 0);
    uint32_t out_head = s->latent + s->rope + (s->strided ? 4 : 0),
             out_token = s->heads * out_head + (s->strided ? 1 : 0);
    float *query = test_nan_bytes((size_t)s->tokens * token * sizeof *query);
    *f = (fixture){0};
    for (uint32_t i = 0; i < s->tokens * s->heads; i++)
        test_random_fill(random, query + (size_t)(i / s->heads) * token + (size_t)(i % s->heads) * head,
                         s->nope + s->rope, s->latent < 16 ? 0.5 : 0.0, 1.0);
    make_weights(f, s, random);
    test_buffer_make(&f->query, (size_t)s->tokens * token * sizeof *query, query);
    test_buffer_make(&f->output, (size_t)s->tokens * out_token * sizeof(float), NULL);
    free(query);
    f->params = (clmla_absorb_params){
        .token_count = s->tokens,
        .head_count = s->heads,
        .nope_dim = s->nope,
        .value_dim = s->value,
        .kv_b = f->weights.matrix,
        .query = f->query.view,
        .query_token_stride = token,
        .query_head_stride = head,
        .output = f->output.view,
        .output_token_stride = out_token,
        .output_head_stride = out_head,
    };
    f->run = (test_run){.enqueue = enqueue, .payload = &f->params, .inputs = {&f->query}, .outputs = {&f->output}};
    test_weights_inputs(f->run.inputs + 1, &f->weights);
    if (s->rope) make_rotation(f, s, random);
}

static void finish(fixture *f) {
    test_weights_free(&f->weights);
    test_buffer_free(&f->query);
    test_buffer_free(&f->output);
    if (!f->params.rope_dim) return;
    test_buffer_free(&f->table);
    test_buffer_free(&f->positions);
}

static double *expect(const fixture *f) {
    const clmla_absorb_params *p = &f->params;
    size_t latent = p->kv_b.columns;
    double *expected = test_allocate((size_t)p->token_count * p->head_count * latent, sizeof *expected);
    for (uint32_t t = 0; t < p->token_count; t++)
        for (uint32_t h = 0; h < p->head_count; h++)
            ref_absorb(expected + ((size_t)t * p->head_count + h) * latent, &f->weights.reference,
                       test_buffer_floats(&f->query) + t * p->query_token_stride + h * p->query_head_stride, h,
                       p->nope_dim, p->value_dim);
    return expected;
}

static const float *angles_of(const fixture *f, uint32_t token) {
    int64_t row = token;
    if (f->params.rope_positions.memory) row = ((const int32_t *)(const void *)f->positions.initial)[token];
    row = row < 0 ? 0 : row >= TABLE_ROWS ? TABLE_ROWS - 1 : row;
    return test_buffer_floats(&f->table) + (size_t)row * f->params.rope_dim;
}

static void compare_rotated(const fixture *f, uint32_t token, uint32_t head, const char *variant) {
    const clmla_absorb_params *p = &f->params;
    double input[CLMLA_MAX_ROPE_DIM], expected[CLMLA_MAX_ROPE_DIM];
    const float *in =
        test_buffer_floats(&f->query) + token * p->query_token_stride + head * p->query_head_stride + p->nope_dim;
    for (uint32_t i = 0; i < p->rope_dim; i++) input[i] = (double)in[i];
    ref_rope(expected, input, angles_of(f, token), p->rope_dim, p->input_order == CLMLA_ROPE_HALVES,
             p->output_order == CLMLA_ROPE_HALVES);
    test_compare_rows(test_buffer_found(&f->output) + token * p->output_token_stride + head * p->output_head_stride +
                          p->kv_b.columns,
                      p->rope_dim, expected, 1, p->rope_dim, TEST_BAR_F32, variant);
}

static void compare(const fixture *f, const double *expected, const char *variant) {
    const clmla_absorb_params *p = &f->params;
    for (uint32_t t = 0; t < p->token_count; t++)
        test_compare_rows(test_buffer_found(&f->output) + t * p->output_token_stride, (size_t)p->output_head_stride,
                          expected + (size_t)t * p->head_count * p->kv_b.columns, p->head_count, p->kv_b.columns,
                          TEST_BAR_F32, variant);
    for (uint32_t i = 0; p->rope_dim > 0 && i < p->token_count * p->head_count; i++)
        compare_rotated(f, i / p->head_count, i % p->head_count, variant);
}

static void check_variants(fixture *f) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.weights = f->params.kv_b.type,
                         .latent_dim = f->params.kv_b.columns,
                         .head_count = f->params.head_count,
                         .row_count = f->params.token_count};
    size_t count = test_variants(variants, CLMLA_OP_ABSORB, &shape);
    double *expected = expect(f);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        test_run_twice(&f->run);
        compare(f, expected, variants[i].name);
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_ABSORB, &shape);
    free(expected);
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    uint64_t weights =
        (uint64_t)head_counts[chosen[HEADS]] * (nopes[chosen[NOPE]] + values[chosen[VALUE]]) * latents[chosen[LATENT]];
    return weights * token_counts[chosen[TOKENS]] <= (test_device_get()->short_form ? 20000u : 6000000u);
}

static void run_case(int number, const int *chosen) {
    shape s = {
        .type = (ref_type)chosen[TYPE],
        .heads = head_counts[chosen[HEADS]],
        .tokens = token_counts[chosen[TOKENS]],
        .nope = nopes[chosen[NOPE]],
        .value = values[chosen[VALUE]],
        .latent = latents[chosen[LATENT]],
        .strided = chosen[STRIDE],
        .special = chosen[SPECIAL],
        .rope = ropes[chosen[ROPE]],
        .input_halves = chosen[ORDERS] & 1,
        .output_halves = chosen[ORDERS] >> 1,
        .positions = chosen[POSITIONS],
    };
    test_random random = test_random_make((uint64_t)number + 5000);
    test_case_begin(
        "absorb", number,
        "%s, heads %u, tokens %u, N %u, V %u, L %u, strided %d, special %d, R %u, orders %d, positions %d, seed %d",
        test_type_name(s.type), s.heads, s.tokens, s.nope, s.value, s.latent, s.strided, s.special, s.rope,
        chosen[ORDERS], s.positions, number + 5000);
    fixture f;
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {
        .factor_count = FACTORS, .levels = {4, 4, 4, 4, 4, 5, 2, 2, 4, 4, 2}, .accept = accept, .seed = 15};
    pairwise_run(&cases, "absorb", run_case);
}
END_TEST

static void make_small(fixture *f) {
    test_random random = test_random_make(9);
    shape s = {.type = REF_F8_E4M3,
               .heads = 3,
               .tokens = 5,
               .nope = 6,
               .value = 50,
               .latent = 37,
               .strided = true,
               .rope = 6,
               .output_halves = true,
               .positions = true};
    test_case_begin("absorb small", 0, "f8_e4m3, heads 3, tokens 5, N 6, V 50, L 37, R 6");
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

// N = 0 (heads with a rotary part alone): an empty sum.
START_TEST(writes_zeros_without_nope) {
    fixture f;
    test_random random = test_random_make(10);
    shape s = {.type = REF_F32, .heads = 2, .tokens = 3, .nope = 0, .value = 4, .latent = 5, .rope = 2};
    test_case_begin("absorb N 0", 0, "heads 2, tokens 3, R 2");
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_absorb_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f);
    REFUSED(head_count = 0, "head_count");
    REFUSED(head_count = CLMLA_MAX_HEADS + 1, "head_count");
    REFUSED(head_count = 2, "kv_b");
    REFUSED(nope_dim = 7, "kv_b");
    REFUSED(value_dim = 0, "value_dim");
    REFUSED(kv_b.type = CLMLA_TYPE_F64, "kv_b");
    REFUSED(kv_b.columns = 0, "kv_b");
    REFUSED(kv_b.row_stride = 36, "row_stride");
    REFUSED(kv_b.values = test_buffer_tiny(), "kv_b");
    REFUSED(kv_b.scales = test_buffer_tiny(), "kv_b");
    REFUSED(kv_b.scale_column = 128, "scale_column");
    REFUSED(kv_b.bias = f.query.view, "bias");
    REFUSED(query = test_buffer_tiny(), "query");
    REFUSED(query.memory = NULL, "query");
    REFUSED(query_head_stride = 11, "query");
    REFUSED(query_token_stride = 36, "query");
    REFUSED(output = test_buffer_tiny(), "output");
    REFUSED(output_head_stride = 42, "output");
    REFUSED(output_token_stride = 136, "output");
    REFUSED(rope_dim = 5, "rope_dim");
    REFUSED(rope_dim = CLMLA_MAX_ROPE_DIM + 2, "rope_dim");
    REFUSED(input_order = (clmla_rope_order)2, "input_order");
    REFUSED(output_order = (clmla_rope_order)2, "output_order");
    REFUSED(rope_table_rows = 0, "rope_table_rows");
    f.params.rope_positions.memory = NULL;
    REFUSED(rope_table_rows = 4, "rope_table_rows");
    f.params.rope_positions = f.positions.view;
    REFUSED(rope_table = test_buffer_tiny(), "rope_table");
    REFUSED(rope_table.memory = NULL, "rope_table");
    REFUSED(rope_positions = test_buffer_tiny(), "rope_positions");
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
    tcase_add_test(tcase, writes_zeros_without_nope);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_absorb", add);
}
