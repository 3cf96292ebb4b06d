// SPDX-License-Identifier: Apache-2.0
// output: every variant of the W_UV product, followed by o_proj, against tests/ref/ref_output.c.
#include "tests/ref/ref_output.h"
#include "tests/support/compare.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include "tests/support/weights.h"
#include <stdlib.h>

enum { TYPE, LAST_TYPE, HEADS, TOKENS, NOPE, VALUE, LATENT, HIDDEN, STRIDE, BIAS, FACTORS };
static const uint32_t head_counts[] = {1, 3, 5, 20}, token_counts[] = {1, 2, 4, 9}, nopes[] = {0, 1, 6, 128};
static const uint32_t values[] = {1, 8, 33, 128}, latents[] = {1, 5, 37, 512}, hiddens[] = {1, 7, 64, 130};

typedef struct shape {
    ref_type type, last_type;
    uint32_t heads, tokens, nope, value, latent, hidden;
    bool strided, bias;
} shape;

typedef struct fixture {
    clmla_output_params params;
    test_weights up, last;
    test_buffer attended, heads, output;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_output(test_device_get()->context, payload, queue, count, wait, event);
}

// All data have a mean: what is summed twice must not cancel, or the row's peak is no measure.
static void make_weights(fixture *f, const shape *s, test_random *random) {
    test_weights_shape up = {.type = s->type,
                             .rows = s->heads * (s->nope + s->value),
                             .columns = s->latent,
                             .window = s->strided,
                             .mean = 0.25,
                             .deviation = 0.5};
    test_weights_shape last = {.type = s->last_type,
                               .rows = s->hidden,
                               .columns = s->heads * s->value,
                               .window = s->strided,
                               .bias = s->bias,
                               .mean = 0.25,
                               .deviation = 0.5};
    test_weights_make(&f->up, &up, random);
    test_weights_make(&f->last, &last, random);
    f->up.matrix.scale_column = 0;
    f->up.reference.scale_column = 0;
}

static void make(fixture *f, const shape *s, test_random *random) {
    uint32_t stride = s->hidden + (s->strided ? 6 : 0);
    *f = (fixture){0};
    make_weights(f, s, random);
    test_buffer_make_rows(&f->attended, random, (size_t)s->tokens * s->heads, s->latent, s->latent, 0.5, 1.0);
    test_buffer_make(&f->heads, (size_t)s->tokens * s->heads * s->value * sizeof(float), NULL);
    test_buffer_make(&f->output, (size_t)s->tokens * stride * sizeof(float), NULL);
    f->params = (clmla_output_params){
        .token_count = s->tokens,
        .head_count = s->heads,
        .nope_dim = s->nope,
        .value_dim = s->value,
        .kv_b = f->up.matrix,
        .o_proj = f->last.matrix,
        .attended = f->attended.view,
        .heads = f->heads.view,
        .output = f->output.view,
        .output_stride = stride,
    };
    f->run = (test_run){
        .enqueue = enqueue, .payload = &f->params, .inputs = {&f->attended}, .outputs = {&f->heads, &f->output}};
    int count = test_weights_inputs(f->run.inputs + 1, &f->up);
    test_weights_inputs(f->run.inputs + 1 + count, &f->last);
}

static void finish(fixture *f) {
    test_weights_free(&f->up);
    test_weights_free(&f->last);
    test_buffer_free(&f->attended);
    test_buffer_free(&f->heads);
    test_buffer_free(&f->output);
}

static void check_variants(fixture *f) {
    const clmla_output_params *p = &f->params;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.weights = p->kv_b.type,
                         .latent_dim = p->kv_b.columns,
                         .head_count = p->head_count,
                         .row_count = p->token_count};
    size_t count = test_variants(variants, CLMLA_OP_OUTPUT, &shape), width = p->o_proj.columns, hidden = p->o_proj.rows;
    double *heads = test_allocate(p->token_count * width, sizeof *heads);
    double *expected = test_allocate(p->token_count * hidden, sizeof *expected);
    ref_output_dims dims = {p->token_count, p->head_count, p->nope_dim, p->value_dim};
    ref_output(expected, heads, &f->up.reference, &f->last.reference, test_buffer_floats(&f->attended), &dims);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        test_run_twice(&f->run);
        test_compare_rows(test_buffer_found(&f->heads), width, heads, p->token_count, width, TEST_BAR_F32, "heads");
        test_compare_rows(test_buffer_found(&f->output), (size_t)p->output_stride, expected, p->token_count, hidden,
                          TEST_BAR_F32, variants[i].name);
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_OUTPUT, &shape);
    free(heads);
    free(expected);
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    uint64_t heads = head_counts[chosen[HEADS]], value = values[chosen[VALUE]], latent = latents[chosen[LATENT]];
    uint64_t cost = heads * (nopes[chosen[NOPE]] + value) * latent + heads * value * hiddens[chosen[HIDDEN]];
    return cost * token_counts[chosen[TOKENS]] <= (test_device_get()->short_form ? 20000u : 6000000u);
}

static void run_case(int number, const int *chosen) {
    shape s = {
        .type = (ref_type)chosen[TYPE],
        .last_type = (ref_type)chosen[LAST_TYPE],
        .heads = head_counts[chosen[HEADS]],
        .tokens = token_counts[chosen[TOKENS]],
        .nope = nopes[chosen[NOPE]],
        .value = values[chosen[VALUE]],
        .latent = latents[chosen[LATENT]],
        .hidden = hiddens[chosen[HIDDEN]],
        .strided = chosen[STRIDE],
        .bias = chosen[BIAS],
    };
    test_random random = test_random_make((uint64_t)number + 6000);
    test_case_begin("output", number,
                    "%s and %s, heads %u, tokens %u, N %u, V %u, L %u, hidden %u, strided %d, bias %d, seed %d",
                    test_type_name(s.type), test_type_name(s.last_type), s.heads, s.tokens, s.nope, s.value, s.latent,
                    s.hidden, s.strided, s.bias, number + 6000);
    fixture f;
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS, .levels = {4, 4, 4, 4, 4, 4, 4, 4, 2, 2}, .accept = accept, .seed = 16};
    pairwise_run(&cases, "output", run_case);
}
END_TEST

static void make_small(fixture *f) {
    test_random random = test_random_make(17);
    shape s = {.type = REF_F8_E4M3,
               .last_type = REF_BF16,
               .heads = 3,
               .tokens = 5,
               .nope = 6,
               .value = 50,
               .latent = 37,
               .hidden = 70,
               .bias = true};
    test_case_begin("output small", 0, "f8_e4m3 and bf16, heads 3, tokens 5, N 6, V 50, L 37, hidden 70");
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

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_output_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f);
    REFUSED(head_count = 0, "head_count");
    REFUSED(value_dim = 0, "value_dim");
    REFUSED(value_dim = 49, "kv_b");
    REFUSED(kv_b.values = test_buffer_tiny(), "kv_b");
    REFUSED(kv_b.scale_stride = 0, "scale_stride");
    REFUSED(kv_b.bias = f.attended.view, "bias");
    REFUSED(o_proj.columns = 149, "o_proj");
    REFUSED(o_proj.rows = 0, "o_proj");
    REFUSED(o_proj.values = test_buffer_tiny(), "o_proj");
    REFUSED(o_proj.bias = test_buffer_tiny(), "bias");
    REFUSED(attended = test_buffer_tiny(), "attended");
    REFUSED(attended.memory = NULL, "attended");
    REFUSED(heads = test_buffer_tiny(), "heads");
    REFUSED(heads.memory = NULL, "heads");
    REFUSED(output = test_buffer_tiny(), "output");
    REFUSED(output.memory = NULL, "output");
    REFUSED(output_stride = 69, "output");
    REFUSED(project_variant = "no_such_variant", "no_such_variant");
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
    return test_main("check_output", add);
}
