// SPDX-License-Identifier: Apache-2.0
// gather: every variant, format, output type, form of places and way rows can lie, against tests/ref/ref_gather.c: rows
// of any bytes, and rows that append wrote.
#include "tests/ref/ref_append.h"
#include "tests/ref/ref_gather.h"
#include "tests/support/pairwise.h"
#include "tests/support/row_places.h"
#include "tests/support/row_view.h"
#include "tests/support/rows.h"
#include "tests/support/variants.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT, WIDTHS, PAGE, LIE, HEADS, TOKENS, FORM, SKIP, TYPE, SCALES, FACTORS };
static const uint32_t pages[] = {1, 2, 16, 53, 64}, token_counts[] = {1, 3, 20}, head_counts[] = {1, 3};

typedef struct shape {
    test_view_shape view;
    uint32_t tokens;
    test_places_form form;
    test_places_skip skip;
    ref_type type;
} shape;

typedef struct fixture {
    shape shape;
    clmla_gather_params params;
    test_view view;
    test_places places;
    test_buffer output;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_gather(test_device_get()->context, payload, queue, count, wait, event);
}

// Any f32 may be a scale; most are such that values stay finite.
static float any_scale(test_random *random) {
    static const float specials[] = {0.0f, -0.0f, INFINITY, NAN, -2.5f, 1e38f, 0x1p-126f, 0x1p-140f};
    if (test_random_below(random, 6) == 0) return specials[test_random_below(random, 8)];
    return (float)exp(4 * test_random_normal(random));
}

// Rows hold every byte there is; f32 scales are what can be one. The bytes between rows stay NaN.
static void fill_row(const test_view *view, int64_t page, int64_t row, uint32_t head, test_random *random) {
    ref_row at = test_view_row(view, false, page, row, head);
    size_t scales = view->parts[TEST_SCALES].bytes, scale = ref_row_scale_bytes(&view->kind);
    for (size_t i = 0; i < view->parts[TEST_LATENT].bytes; i++) at.latent[i] = (unsigned char)test_random_bits(random);
    for (size_t i = 0; i < view->parts[TEST_ROPE].bytes; i++) at.rope[i] = (unsigned char)test_random_bits(random);
    for (size_t i = 0; scale == 1 && i < scales; i++)
        at.scales[i] = (unsigned char)(test_random_below(random, 4) ? 100 + test_random_below(random, 50)
                                                                    : test_random_bits(random));
    for (size_t i = 0; scale == 4 && i < scales / 4; i++) ref_store(REF_F32, at.scales, i, any_scale(random));
}

static void make(fixture *f, const shape *s, test_random *random) {
    static const clmla_type types[] = {
        [REF_F32] = CLMLA_TYPE_F32, [REF_F16] = CLMLA_TYPE_F16, [REF_BF16] = CLMLA_TYPE_BF16};
    *f = (fixture){.shape = *s};
    const test_view_shape *v = &s->view;
    size_t head = v->latent + v->rope + 1, stride = head * v->kv_heads + 2;
    test_view_make(&f->view, v);
    for (uint32_t p = 0; p < v->page_count; p++)
        for (uint32_t r = 0; r < v->page_tokens; r++)
            for (uint32_t h = 0; h < v->kv_heads; h++) fill_row(&f->view, p, r, h, random);
    test_view_upload(&f->view);
    test_places_make(&f->places, s->form, s->skip, s->tokens, v->page_tokens, v->page_count, random);
    test_buffer_make(&f->output, s->tokens * stride * ref_bytes(s->type), NULL);
    f->params = (clmla_gather_params){
        .token_count = s->tokens,
        .places = f->places.view,
        .rows = f->view.rows,
        .output_type = s->type == REF_F32 && s->tokens == 3 ? CLMLA_TYPE_NONE : types[s->type],
        .output = f->output.view,
        .output_stride = stride,
        .output_head_stride = head,
    };
    f->run = (test_run){.enqueue = enqueue, .payload = &f->params, .outputs = {&f->output}};
    test_view_list(f->run.inputs, &f->view);
    test_places_list(f->run.inputs, &f->places);
}

static void finish(fixture *f) {
    test_view_free(&f->view);
    test_places_free(&f->places);
    test_buffer_free(&f->output);
}

// Equal, or both NaN, or too small for a normal f32, where a device may have put zero in a product.
static bool alike(const fixture *f, size_t index, double expected) {
    unsigned char rounded[4];
    ref_store(f->shape.type, rounded, 0, (float)expected);
    double found = ref_load(f->shape.type, f->output.found, index), wanted = ref_load(f->shape.type, rounded, 0);
    if (isnan(wanted)) return isnan(found);
    if (fabs(expected) < 2 * (double)FLT_MIN) return fabs(found) <= 2 * (double)FLT_MIN;
    return found == wanted && signbit(found) == signbit(wanted);
}

static void compare_row(fixture *f, uint32_t token, uint32_t head, const char *variant) {
    const shape *s = &f->shape;
    double expected[512 + CLMLA_MAX_ROPE_DIM] = {0};
    size_t width = s->view.latent + s->view.rope, size = ref_bytes(s->type);
    size_t from = token * f->params.output_stride + head * f->params.output_head_stride;
    if (f->places.present[token]) {
        ref_row row = test_view_row(&f->view, false, f->places.at[token].page, f->places.at[token].row, head);
        ref_gather(expected, &row, &f->view.kind);
    }
    for (size_t d = 0; d < width; d++)
        TEST_ASSERT(alike(f, from + d, expected[d]), "%s: value %zu of token %u, head %u is %.9g, expected %.9g",
                    variant, d, token, head, ref_load(s->type, f->output.found, from + d), expected[d]);
    memcpy(f->output.found + from * size, f->output.initial + from * size, width * size);
}

static void check_result(fixture *f, const char *variant) {
    for (uint32_t t = 0; t < f->shape.tokens; t++)
        for (uint32_t h = 0; h < f->shape.view.kv_heads; h++) compare_row(f, t, h, variant);
    for (size_t i = 0; i < f->output.bytes; i++)
        TEST_ASSERT(f->output.found[i] == f->output.initial[i], "%s: byte %zu of %zu is no value's and was written",
                    variant, i, f->output.bytes);
}

static void check_variants(fixture *f) {
    const test_view_shape *v = &f->shape.view;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {
        .format = v->format, .latent_dim = v->latent, .rope_dim = v->rope, .row_count = f->shape.tokens};
    size_t count = test_variants(variants, CLMLA_OP_GATHER, &shape);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        test_run_twice(&f->run);
        check_result(f, variants[i].name);
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_GATHER, &shape);
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    return !test_device_get()->short_form || test_widths[chosen[WIDTHS]].latent < 128;
}

static void run_case(int number, const int *chosen) {
    uint32_t page_tokens = pages[chosen[PAGE]];
    shape s = {
        .view = {.format = (clmla_row_format)chosen[FORMAT],
                 .latent = test_widths[chosen[WIDTHS]].latent,
                 .rope = test_widths[chosen[WIDTHS]].rope,
                 .page_tokens = page_tokens,
                 .page_count = (TEST_PLACES_MOST + page_tokens - 1) / page_tokens + 2,
                 .kv_heads = head_counts[chosen[HEADS]],
                 .lie = (test_view_lie)chosen[LIE],
                 .flat_scales = chosen[SCALES]},
        .tokens = token_counts[chosen[TOKENS]],
        .form = (test_places_form)chosen[FORM],
        .skip = (test_places_skip)chosen[SKIP],
        .type = (ref_type)chosen[TYPE],
    };
    test_random random = test_random_make((uint64_t)number + 9000);
    test_case_begin("gather", number,
                    "%s %u + %u, page %u, lie %d, heads %u, tokens %u, places %d, skip %d, type %d, scales %d, seed %d",
                    clmla_row_format_name(s.view.format), s.view.latent, s.view.rope, s.view.page_tokens,
                    (int)s.view.lie, s.view.kv_heads, s.tokens, (int)s.form, (int)s.skip, (int)s.type, chosen[SCALES],
                    number + 9000);
    fixture f;
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {
        .factor_count = FACTORS,
        .levels = {CLMLA_ROW_FORMAT_COUNT, TEST_WIDTHS, 5, TEST_VIEW_LIES, 2, 3, TEST_PLACES_FORMS, TEST_SKIPS, 3, 2},
        .accept = accept,
        .seed = 21};
    pairwise_run(&cases, "gather", run_case);
}
END_TEST

// Every e4m3 code in each place a code can stand in a vector, latent and rope.
START_TEST(reads_every_code) {
    test_random random = test_random_make(4);
    shape s = {.view = {CLMLA_ROWS_FP8_FLAT, CLMLA_ROPE_INTERLEAVED, 512, 256, 4, 5, 1, TEST_VIEW_DENSE, false},
               .tokens = 20};
    fixture f;
    test_case_begin("gather codes", 0, "fp8_flat 512 + 256");
    make(&f, &s, &random);
    for (int64_t slot = 0; slot < 20; slot++) {
        ref_row row = test_view_row(&f.view, false, slot / 4, slot % 4, 0);
        for (int64_t d = 0; d < 512; d++) row.latent[d] = (unsigned char)(d + slot);
        for (int64_t d = 0; d < 256; d++) row.rope[d] = (unsigned char)(d - slot);
    }
    test_view_upload(&f.view);
    check_variants(&f);
    finish(&f);
}
END_TEST

// --- round trip ----------------------------------------------------------------------------------------------------

// Half a unit in the last place: of the value for plain formats; of 1.75 · 2^8, the largest code, for scaled ones; half
// the step between the outermost levels of the quantised ones, and a half more for the scale.
static double allowed(clmla_row_format format, double value, double peak) {
    switch (format) {
    case CLMLA_ROWS_F32:
        return 0;
    case CLMLA_ROWS_F16:
        return fabs(value) * 0x1p-11;
    case CLMLA_ROWS_BF16:
        return fabs(value) * 0x1p-8;
    case CLMLA_ROWS_FP8_PAGED:
        return peak * 2 * 16 / 448; // the scale may be up to twice as large
    case CLMLA_ROWS_Q8:
        return peak * 0.006;
    case CLMLA_ROWS_Q6:
        return peak * 0.038;
    case CLMLA_ROWS_Q5:
        return peak * 0.054;
    case CLMLA_ROWS_Q4:
        return peak * 0.158;
    default:
        return peak * 16 / 448;
    }
}

static void round_trip(clmla_row_format format) {
    const uint32_t latent_dim = 200, rope_dim = 8, tokens = 20;
    test_random random = test_random_make((uint64_t)format);
    shape s = {.view = {format, CLMLA_ROPE_HALVES, latent_dim, rope_dim, 7, 4, 1, TEST_VIEW_GAPS, true},
               .tokens = tokens,
               .form = TEST_PLACES_TABLE};
    fixture f;
    test_buffer latent, rope;
    test_case_begin("gather what was appended", (int)format, "%s 200 + 8", clmla_row_format_name(format));
    make(&f, &s, &random);
    test_buffer_make_rows(&latent, &random, tokens, latent_dim, latent_dim, 0, 0.5);
    test_buffer_make_rows(&rope, &random, tokens, rope_dim, rope_dim, 0, 0.5);
    clmla_append_params append = {.token_count = tokens,
                                  .latent = latent.view,
                                  .latent_stride = latent_dim,
                                  .rope = rope.view,
                                  .rope_stride = rope_dim,
                                  .places = f.places.view,
                                  .rows = f.view.rows};
    const test_device *device = test_device_get();
    TEST_OK(clmla_append(device->context, &append, device->queue, 0, NULL, NULL));
    TEST_OK(clmla_gather(device->context, &f.params, device->queue, 0, NULL, NULL));
    test_buffer_fetch(&f.output);
    for (uint32_t t = 0; t < tokens; t++)
        for (uint32_t d = 0; d < latent_dim + rope_dim; d++) {
            bool in_latent = d < latent_dim;
            double value = in_latent ? (double)test_buffer_floats(&latent)[t * latent_dim + d]
                                     : (double)test_buffer_floats(&rope)[t * rope_dim + d - latent_dim];
            double found = (double)test_buffer_found(&f.output)[t * f.params.output_stride + d];
            TEST_ASSERT(fabs(found - value) <= allowed(format, value, 3.0) + 1e-7,
                        "value %u of token %u is %.9g, was %.9g", d, t, found, value);
        }
    test_buffer_free(&latent);
    test_buffer_free(&rope);
    finish(&f);
}

START_TEST(gives_back_what_was_appended) {
    for (int format = 0; format < CLMLA_ROW_FORMAT_COUNT; format++) round_trip((clmla_row_format)format);
}
END_TEST

// --- rows that are turned on the way -------------------------------------------------------------------------------

#define TURNED_TOKENS 20u
#define TURNED_ROPE 6u

static void turn(double *rope, bool halves, int32_t delta) {
    for (uint32_t pair = 0; pair < TURNED_ROPE / 2; pair++) {
        double *a = &rope[halves ? pair : 2 * pair], *b = &rope[halves ? pair + TURNED_ROPE / 2 : 2 * pair + 1], x = *a;
        double angle = delta * pow(10000.0, -2.0 * pair / TURNED_ROPE);
        *a = x * cos(angle) - *b * sin(angle);
        *b = x * sin(angle) + *b * cos(angle);
    }
}

// Latent values are as without, in f32; rope values are off by what rounding a cosine costs.
static void check_turned(fixture *f, const int32_t *deltas, const char *variant) {
    const test_view_shape *v = &f->shape.view;
    for (uint32_t t = 0; t < TURNED_TOKENS; t++) {
        double expected[64];
        ref_row row = test_view_row(&f->view, false, f->places.at[t].page, f->places.at[t].row, 0);
        ref_gather(expected, &row, &f->view.kind);
        turn(expected + v->latent, v->order == CLMLA_ROPE_HALVES, deltas[t]);
        const float *found = test_buffer_found(&f->output) + t * f->params.output_stride;
        double peak = 0;
        for (uint32_t i = 0; i < v->rope; i++) peak = fmax(peak, fabs(expected[v->latent + i]));
        for (uint32_t i = 0; i < v->latent + v->rope; i++)
            TEST_ASSERT(
                fabs((double)found[i] - expected[i]) <= (i < v->latent ? 1.2e-7 * fabs(expected[i]) : 6e-7 * peak),
                "%s: value %u of token %u is %.9g, expected %.9g", variant, i, t, (double)found[i], expected[i]);
    }
}

static void turned_case(clmla_row_format format, clmla_rope_order order) {
    int32_t deltas[TURNED_TOKENS];
    uint64_t turns[TURNED_ROPE / 2];
    float values[40 + TURNED_ROPE];
    test_random random = test_random_make((uint64_t)format + 50);
    shape s = {.view = {format, order, 40, TURNED_ROPE, 7, 4, 1, TEST_VIEW_GAPS, true},
               .tokens = TURNED_TOKENS,
               .form = TEST_PLACES_SLOTS};
    fixture f;
    test_buffer deltas_buffer, turns_buffer;
    test_case_begin("gather turned", (int)format, "%s 40 + 6, order %d", clmla_row_format_name(format), (int)order);
    make(&f, &s, &random);
    for (uint32_t t = 0; t < TURNED_TOKENS; t++) {
        ref_row row = test_view_row(&f.view, false, f.places.at[t].page, f.places.at[t].row, 0);
        test_random_fill(&random, values, 40 + TURNED_ROPE, 0.0, 1.0);
        ref_append(&row, &f.view.kind, values, values + 40);
        deltas[t] = t % 4 == 0 ? 0 : (int32_t)(test_random_bits(&random) >> (t % 31)) * (t % 2 ? 1 : -1);
    }
    test_view_upload(&f.view);
    for (uint32_t pair = 0; pair < TURNED_ROPE / 2; pair++)
        turns[pair] = (uint64_t)(pow(10000.0, -2.0 * pair / TURNED_ROPE) / (2 * acos(-1.0)) * 0x1p64);
    test_buffer_make(&deltas_buffer, sizeof deltas, deltas);
    test_buffer_make(&turns_buffer, sizeof turns, turns);
    f.params.deltas = deltas_buffer.view;
    f.params.rope_turns = turns_buffer.view;
    for (int v = 0; v < 2; v++) {
        f.params.variant = v ? "naive" : NULL;
        test_run_twice(&f.run);
        check_turned(&f, deltas, v ? "naive" : "chosen");
    }
    test_buffer_free(&deltas_buffer);
    test_buffer_free(&turns_buffer);
    finish(&f);
}

START_TEST(turns_rows_on_the_way) {
    for (int format = CLMLA_ROWS_FP8; format < CLMLA_ROW_FORMAT_COUNT; format++)
        turned_case((clmla_row_format)format, format % 2 ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED);
}
END_TEST

// --- the rest ------------------------------------------------------------------------------------------------------

static void make_small(fixture *f, test_places_form form) {
    test_random random = test_random_make(19);
    shape s = {.view = {CLMLA_ROWS_FP8, CLMLA_ROPE_HALVES, 37, 6, 4, 3, 2, TEST_VIEW_APART, false},
               .tokens = 5,
               .form = form,
               .skip = TEST_SKIP_SOME,
               .type = REF_F16};
    test_case_begin("gather small", 0, "fp8 37 + 6, 2 heads, page 4, tokens 5, parts in tensors of their own");
    make(f, &s, &random);
}

START_TEST(honours_events) {
    for (int form = 0; form < TEST_PLACES_FORMS; form++) {
        fixture f;
        make_small(&f, (test_places_form)form);
        test_run_events(&f.run);
        finish(&f);
    }
}
END_TEST

START_TEST(takes_no_tokens) {
    fixture f;
    make_small(&f, TEST_PLACES_SLOTS);
    f.params.token_count = 0;
    test_run_nothing(&f.run);
    finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_gather_params, &f.params, f.params.change, word)
#define LIMITED(change, word) TEST_LIMITED(&f.run, clmla_gather_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f, TEST_PLACES_SLOTS);
    REFUSED(rows.layout.format = CLMLA_ROW_FORMAT_COUNT, "gather: ");
    REFUSED(rows.latent = test_buffer_tiny(), "gather: rows.latent");
    REFUSED(rows.rope = test_buffer_tiny(), "gather: rows.rope");
    REFUSED(rows.scales = test_buffer_tiny(), "gather: rows.scales");
    REFUSED(rows.scales.memory = NULL, "gather: rows.scales");
    LIMITED(token_count = INT32_MAX / 2 + 1, "gather: token_count x kv_head_count: 2147483648 is over the limit");
    REFUSED(token_count = INT32_MAX / 2, "gather: places.slots"); // within it, but not in its buffers
    REFUSED(places.slots = test_buffer_tiny(), "gather: places.slots");
    REFUSED(places.indices = f.places.view.slots, "gather: places.slots and places.indices");
    REFUSED(deltas = test_buffer_tiny(), "gather: deltas");
    REFUSED(deltas = f.places.view.slots, "gather: rope_turns");
    REFUSED(output_type = CLMLA_TYPE_F8_E4M3, "gather: output_type");
    REFUSED(output = test_buffer_tiny(), "gather: output");
    REFUSED(output.memory = NULL, "gather: output");
    REFUSED(output.offset += 1, "gather: output");
    REFUSED(output_stride = 42, "gather: output");
    REFUSED(output_head_stride = 42, "gather: output: a head stride of 42 is less than the 43");
    test_run_wrong_waits(&f.run);
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, turns_rows_on_the_way);
    tcase_add_test(tcase, reads_every_code);
    tcase_add_test(tcase, gives_back_what_was_appended);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, takes_no_tokens);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_gather", add);
}
