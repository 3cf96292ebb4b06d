// SPDX-License-Identifier: Apache-2.0
// convert_rows: every variant, with rows that lie and places that are told in every way on either side, against
// tests/ref/ref_convert_rows.c: every byte, padding and the space between rows included. Each format is read for one
// and written from one; CLMLA_TEST_FULL=1 takes every pair, each of which is a program of its own.
#include "tests/ref/ref_append.h"
#include "tests/ref/ref_convert_rows.h"
#include "tests/ref/ref_gather.h"
#include "tests/ref/ref_quantised.h"
#include "tests/support/pairwise.h"
#include "tests/support/row_places.h"
#include "tests/support/row_view.h"
#include "tests/support/rows.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TO,
    FROM,
    WIDTHS,
    PAGE,
    TO_PAGE,
    LIE,
    TO_LIE,
    HEADS,
    TOKENS,
    FORM,
    TO_FORM,
    SKIP,
    ORDERS,
    SCALES,
    DATA,
    FACTORS
};
enum { DATA_STORED, DATA_BYTES, DATA_KINDS, DATA_FINITE = DATA_KINDS };
static const uint32_t pages[] = {1, 2, 16, 53, 64}, token_counts[] = {1, 3, 20}, head_counts[] = {1, 3};

// What each format is written from: of a plain, a scaled and a quantised kind to another, within the kind, and a format
// from itself.
static const clmla_row_format written_from[CLMLA_ROW_FORMAT_COUNT] = {
    [CLMLA_ROWS_F32] = CLMLA_ROWS_FP8_PAGED, [CLMLA_ROWS_FP8_PAGED] = CLMLA_ROWS_F32,
    [CLMLA_ROWS_F16] = CLMLA_ROWS_Q8,        [CLMLA_ROWS_Q8] = CLMLA_ROWS_F16,
    [CLMLA_ROWS_BF16] = CLMLA_ROWS_BF16,     [CLMLA_ROWS_Q6] = CLMLA_ROWS_Q5,
    [CLMLA_ROWS_FP8] = CLMLA_ROWS_Q4,        [CLMLA_ROWS_Q4] = CLMLA_ROWS_FP8_FLAT,
    [CLMLA_ROWS_FP8_FLAT] = CLMLA_ROWS_FP8,  [CLMLA_ROWS_Q5] = CLMLA_ROWS_Q6};

typedef struct shape {
    test_view_shape from, to;
    uint32_t tokens;
    test_places_form from_form, to_form;
    test_places_skip skip; // of the places in `from`; those in `to` are left out by it or all there, in turn
    bool power_of_two;
    int data;
} shape;

typedef struct fixture {
    shape shape;
    clmla_convert_rows_params params;
    test_view from, to;
    test_places from_places, to_places;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_convert_rows(test_device_get()->context, payload, queue, count, wait, event);
}

// --- rows to read

static void store_row(const test_view *view, const ref_row *at, bool finite, test_random *random) {
    static const float specials[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 65520.0f, 448.0f, -464.0f, 0x1p-30f};
    float latent[512], rope[CLMLA_MAX_ROPE_DIM];
    for (size_t i = 0; i < view->kind.latent_dim; i++) latent[i] = (float)test_random_normal(random);
    for (size_t i = 0; i < view->kind.rope_dim; i++) rope[i] = (float)test_random_normal(random);
    if (!finite && test_random_below(random, 4) == 0)
        latent[test_random_below(random, (uint32_t)view->kind.latent_dim)] = specials[test_random_below(random, 9)];
    if (!finite && view->kind.rope_dim && test_random_below(random, 4) == 0)
        rope[test_random_below(random, (uint32_t)view->kind.rope_dim)] = specials[test_random_below(random, 9)];
    ref_append(at, &view->kind, latent, rope);
}

// Any f32 may be a scale; these leave no product too small to be a normal f32, which a device may flush.
static float any_scale(test_random *random) {
    static const float specials[] = {0.0f, -0.0f, INFINITY, NAN, -2.5f, 1e30f, 0x1p-100f};
    if (test_random_below(random, 8) == 0) return specials[test_random_below(random, 7)];
    return (float)exp(2 * test_random_normal(random));
}

// Numbers that are too small to be normal ones are left out likewise.
static void fill_elements(unsigned char *out, size_t bytes, ref_type type, test_random *random) {
    for (size_t i = 0; i < bytes; i++) out[i] = (unsigned char)test_random_bits(random);
    for (size_t i = 0; i < bytes / ref_bytes(type); i++)
        if (fabs(ref_load(type, out, i)) < 0x1p-120) ref_store(type, out, i, 0.0f);
}

static bool has_small_values(const ref_row *at, const ref_row_kind *kind) {
    double values[512 + CLMLA_MAX_ROPE_DIM];
    bool small = false;
    ref_gather(values, at, kind);
    for (size_t i = 0; i < kind->latent_dim + kind->rope_dim; i++)
        small = small || (values[i] != 0 && fabs(values[i]) < 0x1p-120);
    return small;
}

static void fill_quantised(const test_view *view, const ref_row *at, test_random *random) {
    do {
        for (size_t i = 0; i < view->parts[TEST_LATENT].bytes; i++)
            at->latent[i] = (unsigned char)test_random_bits(random);
        for (size_t i = 0; i < view->parts[TEST_ROPE].bytes; i++) at->rope[i] = (unsigned char)test_random_bits(random);
    } while (has_small_values(at, &view->kind));
}

static void fill_row(const test_view *view, const ref_row *at, test_random *random) {
    const ref_row_kind *kind = &view->kind;
    if (ref_is_quantised(kind->format)) {
        fill_quantised(view, at, random);
        return;
    }
    fill_elements(at->latent, view->parts[TEST_LATENT].bytes, ref_row_latent_type(kind->format), random);
    fill_elements(at->rope, view->parts[TEST_ROPE].bytes, ref_row_rope_type(kind->format), random);
    size_t bytes = view->parts[TEST_SCALES].bytes, scale = ref_row_scale_bytes(kind);
    for (size_t i = 0; scale == 1 && i < bytes; i++)
        at->scales[i] = (unsigned char)(test_random_below(random, 16) ? 100 + test_random_below(random, 50) : 255);
    for (size_t i = 0; scale == 4 && i < bytes / 4; i++) ref_store(REF_F32, at->scales, i, any_scale(random));
}

static void make_from(fixture *f, test_random *random) {
    test_view_make(&f->from, &f->shape.from);
    const test_view_shape *v = &f->shape.from;
    for (uint32_t page = 0; page < v->page_count; page++)
        for (uint32_t row = 0; row < v->page_tokens; row++)
            for (uint32_t head = 0; head < v->kv_heads; head++) {
                ref_row at = test_view_row(&f->from, false, page, row, head);
                if (f->shape.data != DATA_BYTES)
                    store_row(&f->from, &at, f->shape.data == DATA_FINITE, random);
                else
                    fill_row(&f->from, &at, random);
            }
    test_view_upload(&f->from);
}

static void make(fixture *f, const shape *s, test_random *random) {
    *f = (fixture){.shape = *s};
    make_from(f, random);
    test_view_make(&f->to, &s->to);
    f->to.kind.power_of_two = s->power_of_two;
    test_places_skip to_skip = s->skip == TEST_SKIP_SOME && s->power_of_two ? TEST_SKIP_SOME : TEST_SKIP_NONE;
    test_places_make(&f->from_places, s->from_form, s->skip, s->tokens, s->from.page_tokens, s->from.page_count,
                     random);
    test_places_make(&f->to_places, s->to_form, to_skip, s->tokens, s->to.page_tokens, s->to.page_count, random);
    f->params = (clmla_convert_rows_params){
        .token_count = s->tokens,
        .from_places = f->from_places.view,
        .to_places = f->to_places.view,
        .from = f->from.rows,
        .to = f->to.rows,
        .power_of_two_scales = s->power_of_two,
    };
    f->run = (test_run){.enqueue = enqueue, .payload = &f->params};
    test_view_list(f->run.inputs, &f->from);
    test_places_list(f->run.inputs, &f->from_places);
    test_places_list(f->run.inputs, &f->to_places);
    test_view_list(f->run.outputs, &f->to);
}

static void finish(fixture *f) {
    test_view_free(&f->from);
    test_view_free(&f->to);
    test_places_free(&f->from_places);
    test_places_free(&f->to_places);
}

static void check_row(fixture *f, uint32_t token, uint32_t head, const char *variant) {
    unsigned char parts[TEST_PARTS][2304] = {{0}};
    ref_row expected = {parts[0], parts[1], parts[2]};
    ref_place source = f->from_places.at[token], target = f->to_places.at[token];
    ref_row from = test_view_row(&f->from, false, source.page, source.row, head);
    ref_convert_rows(&expected, &f->to.kind, f->shape.to.order == CLMLA_ROPE_HALVES, &from, &f->from.kind,
                     f->shape.from.order == CLMLA_ROPE_HALVES);
    test_view_compare_row(&f->to, &expected, target.page, target.row, head, variant);
}

// The kernels for GPUs take CPUs long to compile: there, every other format is written, from one. check_append has all
// the writing, check_gather the reading.
static bool left_out(const fixture *f, const clmla_variant *variant) {
    clmla_row_format to = f->shape.to.format;
    return strcmp(variant->name, "group") == 0 && (test_device_get()->facts->type & CL_DEVICE_TYPE_CPU) &&
           (to % 2 == 0 || f->shape.from.format != written_from[to]);
}

static void check_variants(fixture *f) {
    const test_view_shape *v = &f->shape.to;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {
        .format = v->format, .latent_dim = v->latent, .rope_dim = v->rope, .row_count = f->shape.tokens};
    size_t count = test_variants(variants, CLMLA_OP_CONVERT_ROWS, &shape);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted || left_out(f, &variants[i])) continue;
        f->params.variant = variants[i].name;
        for (uint32_t r = 0; test_variant_without(&variants[i], r); r++) {
            test_run_twice(&f->run);
            for (uint32_t t = 0; t < f->shape.tokens; t++)
                for (uint32_t h = 0; h < v->kv_heads; h++)
                    if (f->from_places.present[t] && f->to_places.present[t]) check_row(f, t, h, variants[i].name);
            test_view_check_untouched(&f->to, variants[i].name);
        }
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_CONVERT_ROWS, &shape);
}

// --- every pair

static bool takes_every_pair(void) {
    const char *full = getenv("CLMLA_TEST_FULL");
    return full && strcmp(full, "1") == 0;
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    return !test_device_get()->short_form || test_widths[chosen[WIDTHS]].latent < 128;
}

static test_view_shape view_of(const int *chosen, int format, int page, int lie, int order, int flat_scales) {
    uint32_t page_tokens = pages[page];
    return (test_view_shape){.format = (clmla_row_format)format,
                             .order = order ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED,
                             .latent = test_widths[chosen[WIDTHS]].latent,
                             .rope = test_widths[chosen[WIDTHS]].rope,
                             .page_tokens = page_tokens,
                             .page_count = (TEST_PLACES_MOST + page_tokens - 1) / page_tokens + 2,
                             .kv_heads = head_counts[chosen[HEADS]],
                             .lie = (test_view_lie)lie,
                             .flat_scales = flat_scales};
}

static void run_case(int number, const int *chosen) {
    int from = takes_every_pair() ? chosen[FROM] : (int)written_from[chosen[TO]];
    shape s = {.from = view_of(chosen, from, chosen[PAGE], chosen[LIE], chosen[ORDERS] & 1, chosen[SCALES] & 1),
               .to = view_of(chosen, chosen[TO], chosen[TO_PAGE], chosen[TO_LIE], chosen[ORDERS] >> 1,
                             chosen[SCALES] >> 1 & 1),
               .tokens = token_counts[chosen[TOKENS]],
               .from_form = (test_places_form)chosen[FORM],
               .to_form = (test_places_form)chosen[TO_FORM],
               .skip = (test_places_skip)chosen[SKIP],
               .power_of_two = chosen[SCALES] >> 2,
               .data = chosen[DATA]};
    test_random random = test_random_make((uint64_t)number + 11000);
    test_case_begin(
        "convert_rows", number,
        "%s to %s, %u + %u, pages %u and %u, lie %d and %d, heads %u, tokens %u, places %d and %d, skip %d, "
        "orders %d, scales %d, data %d, seed %d",
        clmla_row_format_name(s.from.format), clmla_row_format_name(s.to.format), s.from.latent, s.from.rope,
        s.from.page_tokens, s.to.page_tokens, (int)s.from.lie, (int)s.to.lie, s.from.kv_heads, s.tokens,
        (int)s.from_form, (int)s.to_form, (int)s.skip, chosen[ORDERS], chosen[SCALES], s.data, number + 11000);
    fixture f;
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    int pairs = takes_every_pair() ? CLMLA_ROW_FORMAT_COUNT : 1;
    pairwise cases = {.factor_count = FACTORS,
                      .levels = {CLMLA_ROW_FORMAT_COUNT, pairs, TEST_WIDTHS, 5, 5, TEST_VIEW_LIES, TEST_VIEW_LIES, 2, 3,
                                 TEST_PLACES_FORMS, TEST_PLACES_FORMS, TEST_SKIPS, 4, 8, DATA_KINDS},
                      .accept = accept,
                      .seed = 31};
    pairwise_run(&cases, "convert_rows", run_case);
}
END_TEST

// --- rows that are turned on the way --------------------------------------------------------------------------------

#define TURNED_TOKENS 20u
#define TURNED_ROPE 6u

// f32 rows of pairs side by side, from rows in halves: what is found is off by what rounding a cosine costs.
static void check_turned(fixture *f, const int32_t *deltas, const char *variant) {
    size_t latent = f->shape.to.latent;
    for (uint32_t t = 0; t < TURNED_TOKENS; t++) {
        double before[64], peak = 0;
        ref_row from = test_view_row(&f->from, false, f->from_places.at[t].page, f->from_places.at[t].row, 0);
        ref_row found = test_view_row(&f->to, true, f->to_places.at[t].page, f->to_places.at[t].row, 0);
        ref_gather(before, &from, &f->from.kind);
        for (size_t i = 0; i < latent; i++)
            TEST_ASSERT(ref_load(REF_F32, found.latent, i) == (double)(float)before[i],
                        "%s: latent value %zu of token %u", variant, i, t);
        for (size_t i = 0; i < TURNED_ROPE; i++) peak = fmax(peak, fabs(before[latent + i]));
        for (size_t pair = 0; pair < TURNED_ROPE / 2; pair++) {
            double a = before[latent + pair], b = before[latent + pair + TURNED_ROPE / 2];
            double angle = deltas[t] * pow(10000.0, -2.0 * (double)pair / TURNED_ROPE);
            const double expected[2] = {a * cos(angle) - b * sin(angle), a * sin(angle) + b * cos(angle)};
            for (size_t half = 0; half < 2; half++) {
                double value = ref_load(REF_F32, found.rope, 2 * pair + half);
                TEST_ASSERT(fabs(value - expected[half]) <= 6e-7 * peak,
                            "%s: pair %zu of token %u is %.9g, expected %.9g", variant, pair, t, value, expected[half]);
            }
        }
    }
}

static void turned_case(clmla_row_format format) {
    int32_t deltas[TURNED_TOKENS];
    uint64_t turns[TURNED_ROPE / 2];
    test_random random = test_random_make((uint64_t)format + 60);
    test_view_shape from = {format, CLMLA_ROPE_HALVES, 40, TURNED_ROPE, 7, 4, 1, TEST_VIEW_GAPS, false}, to = from;
    to.format = CLMLA_ROWS_F32;
    to.order = CLMLA_ROPE_INTERLEAVED;
    shape s = {.from = from, .to = to, .tokens = TURNED_TOKENS, .data = DATA_FINITE};
    fixture f;
    test_buffer deltas_buffer, turns_buffer;
    test_case_begin("convert_rows turned", (int)format, "%s 40 + 6 to f32", clmla_row_format_name(format));
    make(&f, &s, &random);
    for (uint32_t t = 0; t < TURNED_TOKENS; t++)
        deltas[t] = t % 4 == 0 ? 0 : (int32_t)(test_random_bits(&random) >> (t % 31 + 1)) * (t % 2 ? 1 : -1);
    for (uint32_t pair = 0; pair < TURNED_ROPE / 2; pair++)
        turns[pair] = (uint64_t)(pow(10000.0, -2.0 * pair / TURNED_ROPE) / (2 * acos(-1.0)) * 0x1p64);
    test_buffer_make(&deltas_buffer, sizeof deltas, deltas);
    test_buffer_make(&turns_buffer, sizeof turns, turns);
    f.params.from_deltas = deltas_buffer.view;
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

// Of each way that rotated values are kept in scaled and quantised rows; with CLMLA_TEST_FULL=1 of every format.
START_TEST(turns_rows_on_the_way) {
    static const clmla_row_format formats[] = {CLMLA_ROWS_FP8, CLMLA_ROWS_FP8_FLAT, CLMLA_ROWS_FP8_PAGED, CLMLA_ROWS_Q8,
                                               CLMLA_ROWS_Q5};
    if (takes_every_pair())
        for (int format = CLMLA_ROWS_FP8; format < CLMLA_ROW_FORMAT_COUNT; format++)
            turned_case((clmla_row_format)format);
    else
        for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) turned_case(formats[f]);
}
END_TEST

// --- the rest ------------------------------------------------------------------------------------------------------

static void make_small(fixture *f, test_places_form form) {
    test_random random = test_random_make(23);
    test_view_shape view = {CLMLA_ROWS_BF16, CLMLA_ROPE_HALVES, 37, 6, 4, 3, 2, TEST_VIEW_APART, false};
    shape s = {.from = view, .to = view, .tokens = 5, .from_form = form, .to_form = form, .skip = TEST_SKIP_SOME};
    s.to.format = CLMLA_ROWS_FP8;
    s.to.order = CLMLA_ROPE_INTERLEAVED;
    s.to.page_tokens = 2;
    s.to.page_count = 5;
    test_case_begin("convert_rows small", 0, "bf16 to fp8 37 + 6, 2 heads, pages of 4 and 2, tokens 5");
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

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_convert_rows_params, &f.params, f.params.change, word)
#define LIMITED(change, word) TEST_LIMITED(&f.run, clmla_convert_rows_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f, TEST_PLACES_SLOTS);
    REFUSED(from.layout.format = CLMLA_ROW_FORMAT_COUNT, "convert_rows: from: ");
    REFUSED(to.layout.format = CLMLA_ROW_FORMAT_COUNT, "convert_rows: to: ");
    REFUSED(from.latent = test_buffer_tiny(), "convert_rows: from: rows.latent");
    REFUSED(from.rope.memory = NULL, "convert_rows: from: rows.rope");
    REFUSED(to.latent.memory = NULL, "convert_rows: to: rows.latent");
    REFUSED(to.rope = test_buffer_tiny(), "convert_rows: to: rows.rope");
    REFUSED(to.scales = test_buffer_tiny(), "convert_rows: to: rows.scales");
    REFUSED(to.layout.latent_dim = 36, "from has rows of 37 + 6 values, to of 36 + 6");
    REFUSED(from.layout.rope_dim = 4, "from has rows of 37 + 4 values, to of 37 + 6");
    REFUSED(to.kv_head_count = 1, "kv_head_count is 2 in from and 1 in to");
    REFUSED(to.latent_scale = NAN, "convert_rows: to: rows.latent_scale");
    REFUSED(from_deltas = f.from_places.view.slots, "from_deltas are given, but bf16 rows");
    LIMITED(token_count = INT32_MAX / 2 + 1, "convert_rows: token_count x kv_head_count: 2147483648 is over the limit");
    REFUSED(token_count = INT32_MAX / 2, "convert_rows: from: places.slots"); // within it, but not in its buffers
    REFUSED(from_places.slots = test_buffer_tiny(), "convert_rows: from: places.slots");
    REFUSED(from_places.slots.memory = NULL, "convert_rows: from: places.slots");
    REFUSED(to_places.slots = test_buffer_tiny(), "convert_rows: to: places.slots");
    REFUSED(to_places.indices = f.to_places.view.slots, "convert_rows: to: places.slots and places.indices");
    f.params.from.layout.rope_dim = f.params.to.layout.rope_dim = 5;
    test_run_refused(&f.run, "5 rope values do not pair up");
    f.params.from.layout.rope_dim = f.params.to.layout.rope_dim = 6;
    test_run_wrong_waits(&f.run);
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, turns_rows_on_the_way);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, takes_no_tokens);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_convert_rows", add);
}
