// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/attend_fixture.h"
#include "lib/plan.h"
#include "tests/support/compare.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LN_2 0.69314718055994530942
#define LSE_WIDTH 1u

clmla_status attend_enqueue_step(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                 cl_event *event) {
    attend_fixture *f = payload;
    return clmla_attend(f->plan, &f->params, queue, count, wait, event);
}

static uint32_t value_of(const attend_shape *s) {
    return s->value ? s->value : s->latent;
}

uint64_t attend_cost(const attend_shape *s) {
    uint64_t pairs = 0;
    for (uint32_t i = 0; i < s->sequences; i++) pairs += (uint64_t)s->query_tokens[i] * s->kv_tokens[i];
    return pairs * s->heads * (s->latent + s->rope + value_of(s));
}

clmla_shape attend_variant_shape(const attend_shape *s) {
    return (clmla_shape){.format = s->format,
                         .latent_dim = s->latent,
                         .rope_dim = s->rope,
                         .value_dim = s->value,
                         .head_count = s->heads,
                         .query_tokens = s->split_tokens ? 1 : s->expected_tokens,
                         .compute = s->compute};
}

const double **attend_keys(attend_fixture *f, uint32_t sequence, uint32_t kv_head) {
    return f->keys + f->key_first[(size_t)sequence * f->shape.kv_heads + kv_head];
}

static void make_sink(attend_fixture *f, test_random *random) {
    const attend_shape *s = &f->shape;
    float *sink = test_allocate(s->heads, sizeof *sink);
    if (s->sink == ATTEND_SINK_NONE) {
        free(sink);
        return;
    }
    test_random_fill(random, sink, s->heads, 3.0, 2.0);
    for (uint32_t h = 0; s->sink == ATTEND_SINK_INFINITE && h < s->heads; h++)
        if (h % 3 < 2) sink[h] = h % 3 ? -INFINITY : INFINITY;
    test_buffer_make(&f->sink, s->heads * sizeof *sink, sink);
    f->params.sink = f->sink.view;
    free(sink);
}

static void make_results(attend_fixture *f) {
    const attend_shape *s = &f->shape;
    clmla_attend_params *p = &f->params;
    size_t bytes = attend_form_bytes(s->output_form, f->tokens, s->heads, s->value, clmla_type_bytes(s->output_type),
                                     &p->output_token_stride, &p->output_head_stride);
    size_t lse_bytes = attend_form_bytes(s->base2 ? ATTEND_HEADS_FIRST : ATTEND_DENSE, f->tokens, s->heads, LSE_WIDTH,
                                         sizeof(float), &p->lse_token_stride, &p->lse_head_stride);
    test_buffer_make(&f->output, bytes, NULL);
    test_buffer_make(&f->lse, lse_bytes, NULL);
    test_buffer_make(&f->max_logit, lse_bytes, NULL);
    p->output_type = s->output_type;
    p->lse_base = s->base2 ? CLMLA_LSE_BASE2 : CLMLA_LSE_NATURAL;
    if (!s->no_output) p->output = f->output.view;
    if (s->lse) p->lse = f->lse.view;
    if (s->max_logit) p->max_logit = f->max_logit.view;
}

static void list_buffers(attend_fixture *f) {
    f->run = (test_run){.enqueue = attend_enqueue_step, .payload = f, .outputs = {&f->output, &f->lse, &f->max_logit}};
    test_buffer **inputs = f->run.inputs;
    test_buffer *others[] = {&f->query,     &f->query_rope,     &f->table,         &f->indptr,
                             &f->sink,      &f->indices[0],     &f->indices[1],    &f->counts[0],
                             &f->counts[1], &f->weights.values, &f->weights.scales};
    int count = test_rows_inputs(inputs, &f->rows);
    if (f->shape.list_count > 1) count += test_rows_inputs(inputs + count, &f->more);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i]->bytes) inputs[count++] = others[i];
}

void attend_make(attend_fixture *f, const attend_shape *shape) {
    test_random random = test_random_make(shape->seed);
    *f = (attend_fixture){.shape = *shape};
    attend_shape *s = &f->shape;
    s->value = value_of(s);
    if (s->kv_heads == 0) s->kv_heads = 1;
    if (s->query_type == CLMLA_TYPE_NONE) s->query_type = CLMLA_TYPE_F32;
    if (s->output_type == CLMLA_TYPE_NONE) s->output_type = CLMLA_TYPE_F32;
    if (s->no_output && !s->lse) s->max_logit = true;
    for (uint32_t i = 0; i < s->sequences; i++) f->tokens += s->query_tokens[i];
    size_t pairs = (size_t)f->tokens * s->heads;
    f->params.softmax_scale = ATTEND_SCALE;
    f->params.softcap = s->softcap;
    attend_make_queries(f, &random);
    attend_make_keys(f, &random);
    make_sink(f, &random);
    make_results(f);
    f->expected = test_allocate(pairs * s->value, sizeof(double));
    f->expected_lse = test_allocate(pairs, sizeof(double));
    f->expected_max = test_allocate(pairs, sizeof(double));
    f->largest_score = test_allocate(pairs, sizeof(double));
    list_buffers(f);
}

void attend_finish(attend_fixture *f) {
    test_buffer *buffers[] = {&f->query,      &f->query_rope, &f->table,     &f->indptr,
                              &f->output,     &f->lse,        &f->max_logit, &f->sink,
                              &f->indices[0], &f->indices[1], &f->counts[0], &f->counts[1]};
    void *arrays[] = {f->queries,    f->stored[0], f->stored[1],    (void *)f->keys, f->key_first,
                      f->key_counts, f->expected,  f->expected_lse, f->expected_max, f->largest_score};
    clmla_plan_destroy(&f->plan);
    test_rows_free(&f->rows);
    test_rows_free(&f->more);
    test_weights_free(&f->weights);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) test_buffer_free(buffers[i]);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

clmla_lengths attend_lengths(const attend_fixture *f) {
    return (clmla_lengths){f->shape.sequences, f->shape.query_tokens, f->shape.kv_tokens};
}

static clmla_plan_capacity capacity_of(const attend_fixture *f) {
    const attend_shape *s = &f->shape;
    clmla_plan_capacity capacity = {s->sequences, f->tokens, 0};
    for (uint32_t i = 0; i < s->sequences; i++)
        if (s->kv_tokens[i] > capacity.kv_tokens) capacity.kv_tokens = s->kv_tokens[i];
    return s->capacity ? capacity : (clmla_plan_capacity){0};
}

void attend_plan(attend_fixture *f, const char *variant) {
    const test_device *device = test_device_get();
    const attend_shape *s = &f->shape;
    clmla_plan_params params = {
        .head_count = s->heads,
        .kv_head_count = s->kv_heads,
        .layout = f->rows.view.layout,
        .value_dim = s->value,
        .split_tokens = s->split_tokens,
        .full = s->full,
        .window = s->window,
        .parallel = s->parallel,
        .compute = s->compute,
        .capacity = capacity_of(f),
        .query_tokens = s->expected_tokens,
        .attend_variant = variant,
    };
    clmla_lengths lengths = attend_lengths(f);
    clmla_plan_destroy(&f->plan);
    TEST_OK(clmla_plan_create(&f->plan, device->context, &params));
    TEST_OK(clmla_plan_update_lengths(f->plan, &lengths, device->queue, 0, NULL, NULL));
    clmla_plan_facts facts = clmla_plan_facts_get(f->plan);
    TEST_ASSERT(facts.query_tokens == f->tokens && facts.sequence_count == s->sequences, "%u tokens, %u sequences",
                facts.query_tokens, facts.sequence_count);
    TEST_ASSERT(!variant || strcmp(facts.attend_variant, variant) == 0, "%s instead of %s", facts.attend_variant,
                variant);
}

// --- the answer

static void expect_head(attend_fixture *f, uint32_t sequence, const bool *sees, size_t pair) {
    const attend_shape *s = &f->shape;
    uint32_t head = (uint32_t)(pair % s->heads), kv_head = head / (s->heads / s->kv_heads);
    ref_keys keys = {attend_keys(f, sequence, kv_head), f->key_counts[(size_t)sequence * s->kv_heads + kv_head],
                     s->latent + s->rope, s->value};
    const float *sink = f->sink.bytes ? test_buffer_floats(&f->sink) + head : NULL;
    ref_softmax softmax = {(double)f->params.softmax_scale, (double)s->softcap, sink};
    ref_attended found =
        ref_attend(f->expected + pair * s->value, f->queries + pair * keys.width, &keys, sees, &softmax);
    f->expected_lse[pair] = found.lse;
    f->expected_max[pair] = found.max;
    f->largest_score[pair] = found.largest_score;
}

void attend_expect(attend_fixture *f) {
    const attend_shape *s = &f->shape;
    size_t pair = 0;
    for (uint32_t i = 0; i < s->sequences; i++) {
        ref_mask mask = attend_mask(f, i);
        size_t count = f->key_counts[(size_t)i * s->kv_heads], *places = test_allocate(count, sizeof *places);
        bool *sees = test_allocate(count, sizeof *sees);
        ref_mask_places(places, &mask);
        for (uint32_t t = 0; t < s->query_tokens[i]; t++) {
            for (size_t j = 0; j < count; j++) sees[j] = ref_mask_sees(&mask, t, places[j]);
            for (uint32_t h = 0; h < s->heads; h++) expect_head(f, i, sees, pair++);
        }
        free(places);
        free(sees);
    }
}

// --- the comparison

// What FlashMLA's tests allow a 16-bit output.
#define HALF_ABSOLUTE 8e-4
#define HALF_RELATIVE (2.01 / 128.0)
#define HALF_COSINE 5e-6
// Below it f16 has fewer bits: values that are all so small, as a sink leaves them, have no cosine.
#define HALF_LEAST 0x1p-14

typedef struct found_output {
    ref_type type;
    bool *written;        // of each element
    float *values;        // [width] of the row at hand
    double both, product; // sums over the whole output, for its cosine
} found_output;

static void compare_half(found_output *o, const double *expected, size_t width, double bar, const char *name) {
    test_difference d = test_compare(o->values, expected, width);
    TEST_ASSERT(d.first_misplaced == width, "%s[%zu] is %g, expected %g", name, d.first_misplaced,
                (double)o->values[d.first_misplaced], expected[d.first_misplaced]);
    for (size_t i = 0; i < width; i++) {
        double x = (double)o->values[i], y = expected[i], error = fabs(x - y);
        if (!isfinite(y)) continue;
        TEST_ASSERT(error <= fmax(HALF_ABSOLUTE, HALF_RELATIVE * fabs(y)) + bar * d.peak,
                    "%s[%zu] is %.9g, expected %.9g", name, i, x, y);
        o->product += x * y;
        o->both += x * x + y * y;
    }
}

// A sink far above the scores leaves less than f32 resolves.
static bool vanishes(const double *expected, size_t width) {
    double peak = 0;
    for (size_t i = 0; i < width; i++) peak = fmax(peak, isnan(expected[i]) ? 1.0 : fabs(expected[i]));
    return peak < 1e-30;
}

static void compare_output(attend_fixture *f, found_output *o, size_t pair, double bar, const char *name) {
    const attend_shape *s = &f->shape;
    uint64_t at = attend_form_at(pair / s->heads, pair % s->heads, f->params.output_token_stride,
                                 f->params.output_head_stride, s->heads, s->value);
    const double *expected = f->expected + pair * s->value;
    for (uint32_t d = 0; d < s->value; d++) {
        o->values[d] = (float)ref_load(o->type, f->output.found, (size_t)at + d);
        o->written[at + d] = true;
    }
    if (vanishes(expected, s->value))
        for (uint32_t d = 0; d < s->value; d++)
            TEST_ASSERT(fabsf(o->values[d]) <= 1e-29f, "%s[%u] is %g, expected less than 1e-30", name, d,
                        (double)o->values[d]);
    else if (o->type == REF_F32)
        test_compare_rows(o->values, s->value, expected, 1, s->value, bar, name);
    else
        compare_half(o, expected, s->value, bar, name);
}

// What lies between the pieces was not touched.
static void compare_gaps(const attend_fixture *f, const found_output *o) {
    size_t element = ref_bytes(o->type);
    for (size_t i = 0; i < f->output.bytes / element; i++)
        TEST_ASSERT(o->written[i] ||
                        memcmp(f->output.found + i * element, f->output.initial + i * element, element) == 0,
                    "output element %zu lies between heads and was written", i);
}

static void compare_number(const attend_fixture *f, const test_buffer *buffer, size_t pair, double expected, double bar,
                           const char *what, const char *name) {
    uint64_t at = attend_form_at(pair / f->shape.heads, pair % f->shape.heads, f->params.lse_token_stride,
                                 f->params.lse_head_stride, f->shape.heads, LSE_WIDTH);
    test_difference d = test_compare(test_buffer_found(buffer) + at, &expected, 1);
    TEST_ASSERT(d.first_misplaced == 1 && d.largest_error <= bar, "%s: %s is %.9g, expected %.9g, allowed %.2e", name,
                what, (double)test_buffer_found(buffer)[at], expected, bar);
}

void attend_compare(attend_fixture *f, const char *variant) {
    const attend_shape *s = &f->shape;
    found_output o = {.type = (ref_type)(s->output_type - CLMLA_TYPE_F32)};
    o.written = test_allocate(f->output.bytes, sizeof *o.written);
    o.values = test_allocate(s->value, sizeof *o.values);
    for (size_t pair = 0; pair < (size_t)f->tokens * s->heads; pair++) {
        double lse = isfinite(f->expected_lse[pair]) ? fabs(f->expected_lse[pair]) : 0.0;
        double lse_bar = 1e-6 * fmax(1.0, fmax(f->largest_score[pair], lse)), unit = s->base2 ? LN_2 : 1.0;
        char name[64];
        snprintf(name, sizeof name, "%s token %zu head %zu", variant, pair / s->heads, pair % s->heads);
        // Through a sink, an error of the log-sum-exp becomes one of the output.
        double bar = TEST_BAR_F32 * fmax(1.0, f->largest_score[pair] / 8.0) + (s->sink ? lse_bar : 0.0);
        if (!s->no_output) compare_output(f, &o, pair, bar, name);
        if (s->lse) compare_number(f, &f->lse, pair, f->expected_lse[pair] / unit, lse_bar / unit, "lse", name);
        if (s->max_logit) compare_number(f, &f->max_logit, pair, f->expected_max[pair], lse_bar, "max_logit", name);
    }
    double least = o.type == REF_F16 ? 2.0 * f->tokens * s->heads * s->value * HALF_LEAST * HALF_LEAST : 0.0;
    double cosine = o.both > least ? 1 - 2 * o.product / o.both : 0;
    TEST_ASSERT(cosine < HALF_COSINE, "%s: cosine difference %.2e", variant, cosine);
    compare_gaps(f, &o);
    if (!s->lse) test_buffer_check_unchanged(&f->lse);
    if (!s->max_logit) test_buffer_check_unchanged(&f->max_logit);
    free(o.written);
    free(o.values);
}

double attend_worst_error(const attend_fixture *f) {
    const attend_shape *s = &f->shape;
    double worst = 0;
    for (size_t pair = 0; pair < (size_t)f->tokens * s->heads; pair++) {
        test_difference d =
            test_compare(test_buffer_found(&f->output) + pair * s->value, f->expected + pair * s->value, s->value);
        if (d.peak > 0) worst = fmax(worst, d.largest_error / d.peak);
    }
    return worst;
}

void attend_print_errors(const attend_fixture *f, const char *variant) {
    const attend_shape *s = &f->shape;
    double both = 0, product = 0, worst_lse = 0;
    for (size_t pair = 0; pair < (size_t)f->tokens * s->heads; pair++) {
        const double *expected = f->expected + pair * s->value;
        const float *found = test_buffer_found(&f->output) + pair * s->value;
        if (s->lse && isfinite(f->expected_lse[pair]))
            worst_lse = fmax(worst_lse, fabs((double)test_buffer_found(&f->lse)[pair] - f->expected_lse[pair]));
        for (uint32_t i = 0; i < s->value; i++) {
            product += (double)found[i] * expected[i];
            both += (double)found[i] * (double)found[i] + expected[i] * expected[i];
        }
    }
    printf("%s: cosine difference %.1e, largest error %.1e of its row's peak, of lse %.1e\n", variant,
           both > 0 ? fabs(1 - 2 * product / both) : 0.0, attend_worst_error(f), worst_lse);
}

// --- of fast compute

#define FAST_LSE 2e-2
#define FEW_KEYS 2.5 // ln of the keys that count as much as the largest

// Many keys' errors cancel in their lse; those of equal keys, of the largest one, or where few count, do not.
static void compare_fast_numbers(const attend_fixture *f, size_t pair, const char *variant) {
    bool few = f->expected_lse[pair] - f->expected_max[pair] < FEW_KEYS || f->shape.scores == ATTEND_SAME_KEYS;
    double bar = FAST_LSE * fmax(1.0, f->largest_score[pair] / 4.0);
    if (f->shape.lse) compare_number(f, &f->lse, pair, f->expected_lse[pair], few ? 2.0 * bar : bar, "lse", variant);
    if (f->shape.max_logit)
        compare_number(f, &f->max_logit, pair, f->expected_max[pair], 2.0 * bar, "max_logit", variant);
}

void attend_compare_fast(const attend_fixture *f, const char *variant, double most_cosine) {
    const attend_shape *s = &f->shape;
    double both = 0, product = 0;
    for (size_t pair = 0; pair < (size_t)f->tokens * s->heads; pair++) {
        const double *expected = f->expected + pair * s->value;
        const float *found = test_buffer_found(&f->output) + pair * s->value;
        test_difference d = test_compare(found, expected, s->value);
        TEST_ASSERT(d.first_misplaced == s->value, "%s pair %zu value %zu is %g, expected %g", variant, pair,
                    d.first_misplaced, (double)found[d.first_misplaced], expected[d.first_misplaced]);
        for (uint32_t i = 0; i < s->value; i++) {
            if (!isfinite(expected[i])) continue;
            product += (double)found[i] * expected[i];
            both += (double)found[i] * (double)found[i] + expected[i] * expected[i];
        }
        compare_fast_numbers(f, pair, variant);
    }
    double cosine = both > 0 ? 1 - 2 * product / both : 0;
    TEST_ASSERT(cosine < most_cosine, "%s: cosine difference %.2e", variant, cosine);
}

// --- the kernel for GPUs, on CPUs

#define GPU_PROGRAMS 12u      // at most in a test program
#define GPU_PROGRAMS_SHORT 1u // ... of its short form
#define GPU_PROGRAMS_LISTS 3u // ... that read lists, which no format has a way of its own for
#define GPU_PROGRAMS_AGAIN 2u // ... for formats that have one
#define GPU_PROGRAMS_FEW 6u   // of few programs, each of another format
#define GPU_PROGRAMS_FEW_LISTS 2u

typedef struct gpu_program {
    uint32_t format, latent, rope, value, group, row_tile, key_tile, score_rows, partials;
    bool lists;
} gpu_program;

static bool same_program(const gpu_program *a, const gpu_program *b) {
    return a->format == b->format && a->latent == b->latent && a->rope == b->rope && a->value == b->value &&
           a->group == b->group && a->row_tile == b->row_tile && a->key_tile == b->key_tile &&
           a->score_rows == b->score_rows && a->partials == b->partials && a->lists == b->lists;
}

// CPUs take seconds to compile one: there, one for each format and two more are, or three for lists, and these serve
// every case they can.
static bool has_gpu_program(const attend_fixture *f) {
    static gpu_program programs[GPU_PROGRAMS];
    static uint32_t count, again;
    const attend_shape *s = &f->shape;
    const attend_tile *t = &f->plan->tile;
    const test_device *device = test_device_get();
    uint32_t most = device->short_form     ? GPU_PROGRAMS_SHORT
                    : device->few_programs ? s->list_count ? GPU_PROGRAMS_FEW_LISTS : GPU_PROGRAMS_FEW
                    : s->list_count        ? GPU_PROGRAMS_LISTS
                                           : GPU_PROGRAMS;
    uint32_t most_again = device->few_programs && !device->short_form ? 0 : GPU_PROGRAMS_AGAIN;
    gpu_program program = {(uint32_t)s->format, s->latent,   s->rope,       s->value,    t->group,
                           t->row_tile,         t->key_tile, t->score_rows, t->partials, s->list_count > 0};
    bool known = false;
    for (uint32_t i = 0; i < count; i++) {
        if (same_program(&programs[i], &program)) return true;
        known = known || programs[i].format == program.format;
    }
    if (count == most || (known && again == most_again)) {
        static bool told;
        told = told || test_left_out(device->few_programs, "tiles by more than %u programs", most);
        return false;
    }
    again += known;
    programs[count++] = program;
    return true;
}

static bool left_out(const attend_fixture *f, const clmla_variant *variant) {
    bool on_cpu = test_device_get()->facts->type & CL_DEVICE_TYPE_CPU;
    return on_cpu && strcmp(variant->name, "tile") == 0 && !has_gpu_program(f);
}

void attend_check_variants(attend_fixture *f) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = attend_variant_shape(&f->shape);
    size_t count = test_variants(variants, CLMLA_OP_ATTEND, &shape);
    attend_expect(f);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        attend_plan(f, variants[i].name);
        if (left_out(f, &variants[i])) continue;
        test_run_twice(&f->run);
        attend_compare(f, variants[i].name);
    }
}
