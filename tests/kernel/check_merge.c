// SPDX-License-Identifier: Apache-2.0
// merge and merge_pair: every variant against tests/ref/ref_merge.c, with empty states anywhere; types, bases, strides,
// masks, in place; every byte that is no result as it was.
#include "tests/ref/ref_merge.h"
#include "tests/ref/ref_number.h"
#include "tests/support/compare.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include "tests/support/weights.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STATES, TOKENS, HEADS, WIDTH, LSE, TYPE, BASE, LAYOUT, MASK, PLACE, OUT_LSE, FACTORS };
enum { LSE_RANDOM, LSE_EQUAL, LSE_HUGE, LSE_SOME_EMPTY, LSE_ALL_EMPTY, LSE_ONE_LEFT, LSE_NAN, LSE_KINDS };
// How tensors lie: dense with strides left 0, dense in two buffers (merge_pair), tokens outermost with gaps, heads
// outermost with gaps, states innermost.
enum { LIE_DENSE, LIE_PAIR, LIE_TOKENS, LIE_HEADS, LIE_STATES, LAYOUTS };
enum { OUT_LSE_NONE, OUT_LSE_APART, OUT_LSE_IN_PLACE, OUT_LSE_KINDS };
static const uint32_t state_counts[] = {1, 2, 5, 17}, token_counts[] = {1, 3}, head_counts[] = {1, 2, 7};
#define STATES_MOST 300 // more than a group has work-items
#define VALUES_MOST (70 * 150)
static const uint32_t widths[] = {1, 5, 16, 37, 128, 512};

typedef struct shape {
    uint32_t states, tokens, heads, width;
    int lse, layout, out_lse;
    ref_type type;
    bool base2, mask, in_place;
} shape;

typedef struct strides {
    size_t state, token, head;
} strides;

typedef struct fixture {
    shape shape;
    clmla_merge_params merge;
    clmla_merge_pair_params pair;
    // b, b_lse: of the pair's second state alone.
    test_buffer states, lse, b, b_lse, mask, output, output_lse;
    strides of_states, of_lse, of_output, of_output_lse;
    test_run run;
} fixture;

static clmla_status enqueue_merge(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                  cl_event *event) {
    return clmla_merge(test_device_get()->context, payload, queue, count, wait, event);
}

static clmla_status enqueue_pair(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                 cl_event *event) {
    return clmla_merge_pair(test_device_get()->context, payload, queue, count, wait, event);
}

static float lse_of(int kind, uint32_t state, uint32_t states, test_random *random) {
    float empty = test_random_below(random, 2) ? INFINITY : -INFINITY;
    float value = (float)(3.0 * test_random_normal(random));
    switch (kind) {
    case LSE_EQUAL:
        return 2.5f;
    case LSE_HUGE:
        return 1e4f * value;
    case LSE_SOME_EMPTY:
        return test_random_below(random, 2) ? empty : value;
    case LSE_ALL_EMPTY:
        return empty;
    case LSE_NAN:
        return state == states / 2 ? NAN : value; // not empty: it shows
    case LSE_ONE_LEFT:
        return state == states - 1 ? value : empty;
    default:
        return value;
    }
}

// Strides of [states][tokens][heads][width] in one of the layouts, each dimension with a gap of its own.
static strides strides_of(const shape *s, size_t states, size_t width, size_t gap) {
    size_t tokens = s->tokens, heads = s->heads;
    switch (s->layout) {
    case LIE_TOKENS: {
        size_t head = width + gap, token = heads * head + gap;
        return (strides){tokens * token + gap, token, head};
    }
    case LIE_HEADS: {
        size_t token = width + gap, head = tokens * token + gap;
        return (strides){heads * head + gap, token, head};
    }
    case LIE_STATES: {
        size_t state = width + gap, head = states * state + gap;
        return (strides){state, heads * head + gap, head};
    }
    default:
        return (strides){tokens * heads * width, heads * width, width};
    }
}

static size_t at(strides of, size_t state, size_t token, size_t head) {
    return state * of.state + token * of.token + head * of.head;
}

static size_t extent(const shape *s, strides of, size_t states, size_t width) {
    return at(of, states - 1, s->tokens - 1, s->heads - 1) + width;
}

// Whether state `s` of a pair is the one in the buffers of its own.
static bool is_b(const fixture *f, size_t state) {
    return f->shape.layout == LIE_PAIR && state == 1;
}

// Empty states keep NaN: their values must not be read. Narrow states have a mean, or their sum could cancel to
// nothing.
static void fill_state(fixture *f, uint32_t state, uint32_t token, uint32_t head, test_random *random) {
    const shape *s = &f->shape;
    test_buffer *states = is_b(f, state) ? &f->b : &f->states, *lses = is_b(f, state) ? &f->b_lse : &f->lse;
    size_t index = is_b(f, state) ? 0 : state;
    float lse = lse_of(s->lse, state, s->states, random);
    ref_store(REF_F32, lses->initial, at(f->of_lse, index, token, head), lse);
    if (isinf(lse)) return;
    float values[512];
    test_random_fill(random, values, s->width, s->width < 16 ? 2.0 : 0.0, s->width < 16 ? 0.5 : 1.0);
    for (uint32_t d = 0; d < s->width; d++)
        ref_store(s->type, states->initial, at(f->of_states, index, token, head) + d, values[d]);
}

static void make_inputs(fixture *f, test_random *random) {
    const shape *s = &f->shape;
    bool pair = s->layout == LIE_PAIR;
    size_t states = pair ? 1 : s->states, bytes = ref_bytes(s->type);
    f->of_states = strides_of(s, states, s->width, 3);
    f->of_lse = strides_of(s, states, 1, 2);
    test_buffer_make(&f->states, extent(s, f->of_states, states, s->width) * bytes, NULL);
    test_buffer_make(&f->lse, extent(s, f->of_lse, states, 1) * sizeof(float), NULL);
    if (pair) {
        test_buffer_make(&f->b, f->states.bytes, NULL);
        test_buffer_make(&f->b_lse, f->lse.bytes, NULL);
    }
    for (uint32_t i = 0; i < s->states; i++)
        for (uint32_t t = 0; t < s->tokens; t++)
            for (uint32_t h = 0; h < s->heads; h++) fill_state(f, i, t, h, random);
    test_buffer_reset(&f->states);
    test_buffer_reset(&f->lse);
    if (!pair) return;
    test_buffer_reset(&f->b);
    test_buffer_reset(&f->b_lse);
}

static void make_outputs(fixture *f) {
    const shape *s = &f->shape;
    shape apart = *s;
    if (s->layout == LIE_HEADS) apart.layout = LIE_TOKENS; // outputs need not lie as inputs do
    f->of_output = s->in_place ? f->of_states : strides_of(&apart, 1, s->width, 5);
    f->of_output_lse = s->out_lse == OUT_LSE_IN_PLACE ? f->of_lse : strides_of(&apart, 1, 1, 1);
    if (!s->in_place) test_buffer_make(&f->output, extent(s, f->of_output, 1, s->width) * ref_bytes(s->type), NULL);
    if (s->out_lse == OUT_LSE_APART)
        test_buffer_make(&f->output_lse, extent(s, f->of_output_lse, 1, 1) * sizeof(float), NULL);
    uint8_t mask[3] = {0, 1, 255};
    if (s->tokens == 1) mask[0] = 7;
    if (s->mask) test_buffer_make(&f->mask, s->tokens, mask);
}

static void make_run(fixture *f) {
    const shape *s = &f->shape;
    bool lse_in_place = s->out_lse == OUT_LSE_IN_PLACE;
    f->run = (test_run){.enqueue = s->layout == LIE_PAIR ? enqueue_pair : enqueue_merge,
                        .payload = s->layout == LIE_PAIR ? (void *)&f->pair : (void *)&f->merge};
    int inputs = 0, outputs = 0;
    test_buffer **in = f->run.inputs, **out = f->run.outputs;
    if (!s->in_place) in[inputs++] = &f->states;
    if (!lse_in_place) in[inputs++] = &f->lse;
    if (s->layout == LIE_PAIR) in[inputs++] = &f->b;
    if (s->layout == LIE_PAIR) in[inputs++] = &f->b_lse;
    if (s->mask) in[inputs++] = &f->mask;
    out[outputs++] = s->in_place ? &f->states : &f->output;
    if (s->out_lse != OUT_LSE_NONE) out[outputs++] = lse_in_place ? &f->lse : &f->output_lse;
}

static void make_params(fixture *f) {
    const shape *s = &f->shape;
    clmla_buffer output = s->in_place ? f->states.view : f->output.view;
    clmla_buffer lse = s->out_lse == OUT_LSE_IN_PLACE ? f->lse.view : f->output_lse.view;
    clmla_type type = s->type == REF_F32 && s->base2 ? CLMLA_TYPE_NONE : test_type_of(s->type);
    clmla_lse_base base = s->base2 ? CLMLA_LSE_BASE2 : CLMLA_LSE_NATURAL;
    f->pair = (clmla_merge_pair_params){s->tokens,      s->heads,    s->width,  type,          base,
                                        f->states.view, f->lse.view, f->b.view, f->b_lse.view, f->mask.view,
                                        output,         lse,         NULL};
    f->merge = (clmla_merge_params){
        .state_count = s->states,
        .token_count = s->tokens,
        .head_count = s->heads,
        .width = s->width,
        .type = type,
        .lse_base = base,
        .states = f->states.view,
        .lse = f->lse.view,
        .mask = f->mask.view,
        .output = output,
        .output_lse = lse,
    };
    if (s->layout == LIE_DENSE || s->layout == LIE_PAIR) return;
    clmla_merge_params *p = &f->merge;
    p->state_stride = f->of_states.state, p->token_stride = f->of_states.token, p->head_stride = f->of_states.head;
    p->lse_state_stride = f->of_lse.state, p->lse_token_stride = f->of_lse.token, p->lse_head_stride = f->of_lse.head;
    p->output_token_stride = f->of_output.token, p->output_head_stride = f->of_output.head;
    p->output_lse_token_stride = f->of_output_lse.token, p->output_lse_head_stride = f->of_output_lse.head;
}

static void make(fixture *f, const shape *s, test_random *random) {
    *f = (fixture){.shape = *s};
    make_inputs(f, random);
    make_outputs(f);
    make_params(f);
    make_run(f);
}

static void finish(fixture *f) {
    test_buffer *all[] = {&f->states, &f->lse, &f->b, &f->b_lse, &f->mask, &f->output, &f->output_lse};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_buffer_free(all[i]);
}

// Half a unit in the last place of the type, and the bar of f32 computation.
static double allowed(ref_type type, double expected, double peak) {
    static const double half[] = {[REF_F32] = 0, [REF_F16] = 0x1p-11, [REF_BF16] = 0x1p-8};
    return TEST_BAR_F32 * peak + half[type] * fabs(expected) * 1.001 + (type == REF_F16 ? 0x1p-25 : 0);
}

static void compare_values(const fixture *f, const double *expected, size_t from, const char *variant) {
    const shape *s = &f->shape;
    const test_buffer *out = f->run.outputs[0];
    double peak = 0;
    for (uint32_t d = 0; d < s->width; d++)
        if (isfinite(expected[d])) peak = fmax(peak, fabs(expected[d]));
    for (uint32_t d = 0; d < s->width; d++) {
        double found = ref_load(s->type, out->found, from + d);
        bool right =
            isnan(expected[d]) ? isnan(found) : fabs(found - expected[d]) <= allowed(s->type, expected[d], peak);
        TEST_ASSERT(right, "%s: value %u of a head is %.9g, expected %.9g", variant, d, found, expected[d]);
    }
}

// Compares one (token, head), and puts its initial bytes back, so that afterwards nothing may differ from the start.
static void compare_pair(fixture *f, uint32_t token, uint32_t head, const char *variant) {
    const shape *s = &f->shape;
    double states[VALUES_MOST], lse[STATES_MOST], expected[512];
    for (uint32_t i = 0; i < s->states; i++) {
        const test_buffer *from = is_b(f, i) ? &f->b : &f->states, *from_lse = is_b(f, i) ? &f->b_lse : &f->lse;
        size_t index = is_b(f, i) ? 0 : i;
        lse[i] = ref_load(REF_F32, from_lse->initial, at(f->of_lse, index, token, head));
        for (uint32_t d = 0; d < s->width; d++)
            states[i * s->width + d] = ref_load(s->type, from->initial, at(f->of_states, index, token, head) + d);
    }
    double joint = ref_merge(expected, states, lse, s->states, s->width, s->base2);
    test_buffer *out = f->run.outputs[0], *out_lse = f->run.outputs[1];
    size_t from = at(f->of_output, 0, token, head), bytes = ref_bytes(s->type);
    compare_values(f, expected, from, variant);
    memcpy(out->found + from * bytes, out->initial + from * bytes, s->width * bytes);
    if (s->out_lse == OUT_LSE_NONE) return;
    float *found = (float *)(void *)out_lse->found + at(f->of_output_lse, 0, token, head);
    test_difference d = test_compare(found, &joint, 1);
    TEST_ASSERT(d.first_misplaced == 1 && d.largest_error <= 1e-6 * fmax(1.0, fabs(joint)),
                "%s: lse of token %u, head %u is %.9g, expected %.9g", variant, token, head, (double)*found, joint);
    memcpy(found, test_buffer_floats(out_lse) + at(f->of_output_lse, 0, token, head), sizeof *found);
}

static void compare(fixture *f, const char *variant) {
    const shape *s = &f->shape;
    for (uint32_t t = 0; t < s->tokens; t++)
        for (uint32_t h = 0; h < s->heads && (!s->mask || f->mask.initial[t]); h++) compare_pair(f, t, h, variant);
    for (int i = 0; f->run.outputs[i]; i++) {
        const test_buffer *out = f->run.outputs[i];
        for (size_t b = 0; b < out->bytes; b++)
            TEST_ASSERT(out->found[b] == out->initial[b], "%s: output %d: byte %zu of %zu was touched", variant, i, b,
                        out->bytes);
    }
}

static void check_variants(fixture *f) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.latent_dim = f->shape.width, .head_count = f->shape.heads, .row_count = f->shape.tokens};
    const char **name = f->shape.layout == LIE_PAIR ? &f->pair.variant : &f->merge.variant;
    size_t count = test_variants(variants, CLMLA_OP_MERGE, &shape);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        *name = variants[i].name;
        for (uint32_t r = 0; test_variant_run(&variants[i], r); r++) {
            test_run_twice(&f->run);
            compare(f, variants[i].name);
        }
    }
    test_variants_refused(&f->run, name, CLMLA_OP_MERGE, &shape);
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    return !test_device_get()->short_form || widths[chosen[WIDTH]] < 128;
}

static void run_case(int number, const int *chosen) {
    shape s = {
        .states = chosen[LAYOUT] == LIE_PAIR ? 2 : state_counts[chosen[STATES]],
        .tokens = token_counts[chosen[TOKENS]],
        .heads = head_counts[chosen[HEADS]],
        .width = widths[chosen[WIDTH]],
        .lse = chosen[LSE],
        .layout = chosen[LAYOUT],
        .out_lse = chosen[OUT_LSE],
        .type = (ref_type)chosen[TYPE],
        .base2 = chosen[BASE],
        .mask = chosen[MASK],
        .in_place = chosen[PLACE],
    };
    test_random random = test_random_make((uint64_t)number + 4000);
    test_case_begin(
        "merge", number,
        "%s, states %u, tokens %u, heads %u, width %u, lse kind %d, base 2 %d, layout %d, mask %d, in place %d, "
        "lse out %d, seed %d",
        test_type_name(s.type), s.states, s.tokens, s.heads, s.width, s.lse, s.base2, s.layout, s.mask, s.in_place,
        s.out_lse, number + 4000);
    fixture f;
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS,
                      .levels = {4, 2, 3, 6, LSE_KINDS, 3, 2, LAYOUTS, 2, 2, OUT_LSE_KINDS},
                      .accept = accept,
                      .seed = 14};
    pairwise_run(&cases, "merge", run_case);
}
END_TEST

// More states than group has work-items, which it weighs by turns, and more columns than it sums at a time.
START_TEST(weighs_many_states) {
    bool brief = test_device_get()->short_form;
    for (int i = 0; i < 2 * LSE_KINDS; i += brief ? 6 : 1) {
        bool wide = i % 2;
        shape s = {.states = brief || wide ? 70 : STATES_MOST,
                   .tokens = 1,
                   .heads = 2,
                   .width = wide ? 150 : 5,
                   .lse = i / 2,
                   .layout = LIE_TOKENS,
                   .type = REF_F32,
                   .out_lse = OUT_LSE_IN_PLACE,
                   .in_place = true};
        test_random random = test_random_make(4900 + (uint64_t)i);
        fixture f;
        test_case_begin("merge of many states", i, "states %u, width %u, lse kind %d", s.states, s.width, s.lse);
        make(&f, &s, &random);
        check_variants(&f);
        finish(&f);
    }
}
END_TEST

// 4 states of 3 tokens and 2 heads of 5 values, or the two of a pair.
static void make_small(fixture *f, int layout, bool in_place) {
    test_random random = test_random_make(8);
    shape s = {.states = layout == LIE_PAIR ? 2 : 4,
               .tokens = 3,
               .heads = 2,
               .width = 5,
               .lse = LSE_SOME_EMPTY,
               .layout = layout,
               .type = REF_F16,
               .mask = true,
               .in_place = in_place,
               .out_lse = in_place ? OUT_LSE_IN_PLACE : OUT_LSE_APART};
    test_case_begin("merge small", 0, "%u f16 states of 3 tokens and 2 heads of 5, layout %d", s.states, layout);
    make(f, &s, &random);
}

START_TEST(honours_events) {
    static const int layouts[] = {LIE_DENSE, LIE_PAIR, LIE_TOKENS};
    for (int i = 0; i < 3; i++) {
        fixture f;
        make_small(&f, layouts[i], false);
        test_run_events(&f.run);
        finish(&f);
    }
}
END_TEST

START_TEST(takes_no_rows) {
    fixture f;
    make_small(&f, LIE_TOKENS, false);
    for (int i = 0; i < 2; i++) {
        f.merge.token_count = i ? 3 : 0;
        f.merge.head_count = i ? 0 : 2;
        test_run_nothing(&f.run);
    }
    finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_merge_params, &f.merge, f.merge.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f, LIE_TOKENS, false);
    REFUSED(state_count = 0, "state_count");
    REFUSED(width = 0, "width");
    REFUSED(type = CLMLA_TYPE_F64, "f64");
    REFUSED(lse_base = (clmla_lse_base)2, "lse_base");
    REFUSED(states = test_buffer_tiny(), "states");
    REFUSED(states.memory = NULL, "states");
    REFUSED(states.offset += 1, "multiple of 2");
    REFUSED(state_count += 100, "states");
    REFUSED(state_stride = 50, "a state stride of");
    REFUSED(state_stride = 0, "a state stride of 0");
    REFUSED(token_stride = 12, "a token stride of");
    REFUSED(head_stride = 4, "states: a head stride of 4 is less than the 5 elements of a head");
    REFUSED(lse = test_buffer_tiny(), "lse");
    REFUSED(lse.memory = NULL, "lse");
    REFUSED(lse.offset += 2, "lse");
    REFUSED(lse_head_stride = 0, "lse");
    REFUSED(lse_token_stride += 100, "lse");
    REFUSED(lse_state_stride += 100, "lse");
    REFUSED(mask.offset += 1u << 20, "mask");
    REFUSED(output = test_buffer_tiny(), "output");
    REFUSED(output.memory = NULL, "output");
    REFUSED(output.offset += 3, "output");
    REFUSED(output_head_stride = 4, "output");
    REFUSED(output_token_stride = 14, "output");
    REFUSED(output_lse = test_buffer_tiny(), "output_lse");
    REFUSED(output_lse_head_stride = 0, "output_lse");
    REFUSED(output_lse_token_stride = 1000, "output_lse");
    test_run_wrong_waits(&f.run);
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
    make_small(&f, LIE_TOKENS, true);
    REFUSED(output_token_stride += 1, "in place");
    REFUSED(output_lse_head_stride += 1, "in place");
    finish(&f);
}
END_TEST

#define PAIR_REFUSED(change, word) TEST_REFUSED(&f.run, clmla_merge_pair_params, &f.pair, f.pair.change, word)

START_TEST(refuses_wrong_pairs) {
    fixture f;
    make_small(&f, LIE_PAIR, false);
    PAIR_REFUSED(width = 0, "merge_pair: ");
    PAIR_REFUSED(type = CLMLA_TYPE_F8_E4M3, "merge_pair: type");
    PAIR_REFUSED(a = test_buffer_tiny(), "merge_pair: a:");
    PAIR_REFUSED(b = test_buffer_tiny(), "merge_pair: b:");
    PAIR_REFUSED(a_lse.memory = NULL, "merge_pair: a_lse:");
    PAIR_REFUSED(b_lse = test_buffer_tiny(), "merge_pair: b_lse:");
    PAIR_REFUSED(mask.offset += 1u << 20, "merge_pair: mask:");
    PAIR_REFUSED(output = test_buffer_tiny(), "merge_pair: output:");
    PAIR_REFUSED(output_lse = test_buffer_tiny(), "merge_pair: output_lse:");
    test_run_wrong_waits(&f.run);
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, weighs_many_states);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, takes_no_rows);
    tcase_add_test(tcase, refuses_wrong_arguments);
    tcase_add_test(tcase, refuses_wrong_pairs);
}

int main(void) {
    return test_main("check_merge", add);
}
