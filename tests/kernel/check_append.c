// SPDX-License-Identifier: Apache-2.0
// append: every variant, format, input type, form of places and way rows can lie, rotated or not, against
// tests/ref/ref_append.c: every byte, padding and the space between rows included.
#include "tests/ref/ref_append.h"
#include "tests/ref/ref_rope.h"
#include "tests/support/pairwise.h"
#include "tests/support/row_places.h"
#include "tests/support/row_view.h"
#include "tests/support/rows.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT, WIDTHS, PAGE, LIE, HEADS, TOKENS, FORM, SKIP, TYPE, ROTATE, POSITIONS, DATA, SCALES, FACTORS };
enum { DATA_PLAIN, DATA_SPECIAL, DATA_GROUPS, DATA_KINDS };
enum { ROTATE_NOT, ROTATE_KINDS = 5 }; // the others: bit 0 input in halves, bit 1 rows in halves
static const uint32_t pages[] = {1, 2, 16, 53, 64}, token_counts[] = {1, 3, 20}, head_counts[] = {1, 3};

#define TABLE_ROWS 24u

typedef struct shape {
    test_view_shape view;
    uint32_t tokens;
    test_places_form form;
    test_places_skip skip;
    ref_type type;
    bool rotate, input_halves, positions, power_of_two;
    int data;
} shape;

typedef struct fixture {
    shape shape;
    clmla_append_params params;
    test_view view;
    test_places places;
    test_buffer latent, rope, table, positions, norm;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_append(test_device_get()->context, payload, queue, count, wait, event);
}

// Ties, overflow, the ends of the subnormals, infinities, NaN and both zeros of each format.
static const float specials[] = {
    0.0f,       -0.0f,       INFINITY,    -INFINITY, NAN,       65504.0f,   65519.99f,   65520.0f,
    -65536.0f,  1e30f,       0x1p-14f,    0x1p-24f,  0x1p-25f,  0x1.8p-25f, 0x1p-26f,    2049.0f,
    2051.0f,    1.00390625f, 1.01171875f, 3.39e38f,  0x1p-126f, 0x1p-133f,  0x1p-134f,   1e-45f,
    0x1.002p0f, 0x1.006p0f,  448.0f,      464.0f,    -465.0f,   0x1p-9f,    0x1p-10f,    0x1.8p-10f,
    0x1p-6f,    0x1.cp-7f,   1.0625f,     1.1875f,   -1.8125f,  240.0f,     0x1.ffp127f, -0x1.ffcp-15f,
};

// By turns of `run` values: zeros, a peak that 448 divides evenly, tiny ones, the least and the largest there are,
// ordinary ones.
static float of_group(size_t i, size_t run, test_random *random) {
    double value = test_random_uniform(random) * 2 - 1;
    switch (i / run % 6) {
    case 0:
        return i % 2 ? 0.0f : -0.0f;
    case 1:
        return i % run == 7 ? 448.0f * 0x1p-12f : (float)(value * 0x1p-4);
    case 2:
        return (float)(value * 1e-9);
    case 3:
        return (float)(value * 0x1p-136);
    case 4:
        return (float)(value * 0x1p127);
    default:
        return (float)value;
    }
}

static float latent_value(int data, size_t i, test_random *random) {
    if (data == DATA_GROUPS) return of_group(i, 32, random);
    bool special = data == DATA_SPECIAL && test_random_below(random, 8) == 0;
    if (special) return specials[test_random_below(random, sizeof specials / sizeof *specials)];
    return (float)test_random_normal(random);
}

static void make_input(test_buffer *out, const shape *s, bool rope, size_t count, test_random *random) {
    unsigned char *bytes = test_allocate(count, ref_bytes(s->type));
    for (size_t i = 0; i < count; i++) {
        // What is rotated are small integers, by multiples of 1/256: nothing is rounded, whichever way the sum is made.
        float value =
            rope && s->rotate ? (float)test_random_below(random, 513) - 256.0f : latent_value(s->data, i, random);
        ref_store(s->type, bytes, i, value);
    }
    test_buffer_make(out, count * ref_bytes(s->type), bytes);
    free(bytes);
}

static void make_rotation(fixture *f, test_random *random) {
    static const int32_t some[] = {7, -3, 0, 23, 2000000000, 24, INT32_MIN};
    float table[TABLE_ROWS * CLMLA_MAX_ROPE_DIM];
    int32_t positions[TEST_PLACES_MOST];
    const shape *s = &f->shape;
    for (uint32_t i = 0; i < TABLE_ROWS * s->view.rope; i++)
        table[i] = ((float)test_random_below(random, 513) - 256.0f) / 256.0f;
    for (uint32_t t = 0; t < s->tokens; t++) positions[t] = some[t % 7];
    test_buffer_make(&f->table, TABLE_ROWS * s->view.rope * sizeof *table, table);
    if (s->positions) test_buffer_make(&f->positions, s->tokens * sizeof *positions, positions);
}

static void make_params(fixture *f, size_t latent_head, size_t latent_stride, size_t rope_head, size_t rope_stride) {
    const shape *s = &f->shape;
    static const clmla_type types[] = {
        [REF_F32] = CLMLA_TYPE_F32, [REF_F16] = CLMLA_TYPE_F16, [REF_BF16] = CLMLA_TYPE_BF16};
    f->params = (clmla_append_params){
        .token_count = s->tokens,
        .input_type = s->type == REF_F32 && s->positions ? CLMLA_TYPE_NONE : types[s->type],
        .latent = f->latent.view,
        .latent_stride = latent_stride,
        .latent_head_stride = latent_head,
        .rope = f->rope.view,
        .rope_stride = rope_stride,
        .rope_head_stride = rope_head,
        .rope_table = f->table.view,
        .rope_table_rows = s->rotate ? TABLE_ROWS : 0,
        .rope_positions = f->positions.view,
        .input_order = s->input_halves ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED,
        .power_of_two_scales = s->power_of_two,
        .places = f->places.view,
        .rows = f->view.rows,
    };
}

static void make(fixture *f, const shape *s, test_random *random) {
    *f = (fixture){.shape = *s};
    const test_view_shape *v = &f->shape.view;
    size_t latent_head = v->latent + 1, latent_stride = latent_head * v->kv_heads + 2;
    size_t rope_head = v->rope + 2, rope_stride = rope_head * v->kv_heads + 1;
    if (v->rope == 0) f->shape.rotate = false;
    make_input(&f->latent, s, false, latent_stride * s->tokens, random);
    if (v->rope) make_input(&f->rope, &f->shape, true, rope_stride * s->tokens, random);
    if (f->shape.rotate) make_rotation(f, random);
    test_view_make(&f->view, v);
    f->view.kind.power_of_two = s->power_of_two;
    test_places_make(&f->places, s->form, s->skip, s->tokens, v->page_tokens, v->page_count, random);
    make_params(f, latent_head, latent_stride, rope_head, rope_stride);
    f->run = (test_run){.enqueue = enqueue, .payload = &f->params, .inputs = {&f->latent}};
    int inputs = 1;
    if (v->rope) f->run.inputs[inputs++] = &f->rope;
    if (f->table.view.memory) f->run.inputs[inputs++] = &f->table;
    if (f->positions.view.memory) f->run.inputs[inputs++] = &f->positions;
    test_places_list(f->run.inputs, &f->places);
    test_view_list(f->run.outputs, &f->view);
}

static void finish(fixture *f) {
    test_view_free(&f->view);
    test_places_free(&f->places);
    test_buffer_free(&f->latent);
    test_buffer_free(&f->rope);
    test_buffer_free(&f->table);
    test_buffer_free(&f->positions);
    test_buffer_free(&f->norm);
}

static const float *angles_of(const fixture *f, uint32_t token) {
    int64_t row = token;
    if (f->positions.view.memory) row = ((const int32_t *)(const void *)f->positions.initial)[token];
    row = row < 0 ? 0 : row >= TABLE_ROWS ? TABLE_ROWS - 1 : row;
    return test_buffer_floats(&f->table) + (size_t)row * f->shape.view.rope;
}

static void norm_values(const fixture *f, float *latent, uint32_t width) {
    double sum = 0.0;
    for (uint32_t i = 0; i < width; i++) sum += (double)latent[i] * (double)latent[i];
    double factor = 1.0 / sqrt(sum / width + (double)f->params.latent_norm_epsilon);
    for (uint32_t i = 0; i < width; i++)
        latent[i] = (float)((double)latent[i] * factor * (double)test_buffer_floats(&f->norm)[i]);
}

// What a token and head are to be stored as, before rounding to the format.
static void expected_values(const fixture *f, uint32_t token, uint32_t head, float *latent, float *rope) {
    const shape *s = &f->shape;
    const clmla_append_params *p = &f->params;
    double before[CLMLA_MAX_ROPE_DIM], after[CLMLA_MAX_ROPE_DIM];
    for (uint32_t i = 0; i < s->view.latent; i++)
        latent[i] =
            (float)ref_load(s->type, f->latent.initial, token * p->latent_stride + head * p->latent_head_stride + i);
    if (f->norm.view.memory) norm_values(f, latent, s->view.latent);
    for (uint32_t i = 0; i < s->view.rope; i++)
        after[i] = before[i] =
            ref_load(s->type, f->rope.initial, token * p->rope_stride + head * p->rope_head_stride + i);
    if (s->rotate)
        ref_rope(after, before, angles_of(f, token), s->view.rope, s->input_halves, s->view.order == CLMLA_ROPE_HALVES);
    for (uint32_t i = 0; i < s->view.rope; i++) rope[i] = (float)after[i];
}

static void check_result(fixture *f, const char *variant) {
    const shape *s = &f->shape;
    float latent[512], rope[CLMLA_MAX_ROPE_DIM];
    for (uint32_t t = 0; t < s->tokens; t++)
        for (uint32_t h = 0; h < s->view.kv_heads && f->places.present[t]; h++) {
            unsigned char parts[3][2304];
            ref_row expected = {parts[0], parts[1], parts[2]};
            expected_values(f, t, h, latent, rope);
            ref_append(&expected, &f->view.kind, latent, rope);
            test_view_compare_row(&f->view, &expected, f->places.at[t].page, f->places.at[t].row, h, variant);
        }
    test_view_check_untouched(&f->view, variant);
}

static void check_variants(fixture *f) {
    const test_view_shape *v = &f->shape.view;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {
        .format = v->format, .latent_dim = v->latent, .rope_dim = v->rope, .row_count = f->shape.tokens};
    size_t count = test_variants(variants, CLMLA_OP_APPEND, &shape);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        for (uint32_t r = 0; test_variant_without(&variants[i], r); r++) {
            test_run_twice(&f->run);
            check_result(f, variants[i].name);
        }
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_APPEND, &shape);
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    return !test_device_get()->short_form || test_widths[chosen[WIDTHS]].latent < 128;
}

static shape shape_of(const int *chosen) {
    int rotate = chosen[ROTATE] - 1;
    uint32_t page_tokens = pages[chosen[PAGE]];
    return (shape){
        .view = {.format = (clmla_row_format)chosen[FORMAT],
                 .order = rotate >= 0 && rotate >> 1 ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED,
                 .latent = test_widths[chosen[WIDTHS]].latent,
                 .rope = test_widths[chosen[WIDTHS]].rope,
                 .page_tokens = page_tokens,
                 .page_count = (TEST_PLACES_MOST + page_tokens - 1) / page_tokens + 2,
                 .kv_heads = head_counts[chosen[HEADS]],
                 .lie = (test_view_lie)chosen[LIE],
                 .flat_scales = chosen[SCALES] & 1},
        .tokens = token_counts[chosen[TOKENS]],
        .form = (test_places_form)chosen[FORM],
        .skip = (test_places_skip)chosen[SKIP],
        .type = (ref_type)chosen[TYPE],
        .rotate = rotate >= 0,
        .input_halves = rotate >= 0 && rotate & 1,
        .positions = chosen[POSITIONS] && rotate >= 0,
        .power_of_two = chosen[SCALES] >> 1,
        .data = chosen[DATA],
    };
}

static void run_case(int number, const int *chosen) {
    shape s = shape_of(chosen);
    test_random random = test_random_make((uint64_t)number + 7000);
    test_case_begin(
        "append", number,
        "%s %u + %u, page %u, lie %d, heads %u, tokens %u, places %d, skip %d, type %d, rotate %d, positions %d, "
        "data %d, scales %d, seed %d",
        clmla_row_format_name(s.view.format), s.view.latent, s.view.rope, s.view.page_tokens, (int)s.view.lie,
        s.view.kv_heads, s.tokens, (int)s.form, (int)s.skip, (int)s.type, chosen[ROTATE], s.positions, s.data,
        chosen[SCALES], number + 7000);
    fixture f;
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS,
                      .levels = {CLMLA_ROW_FORMAT_COUNT, TEST_WIDTHS, 5, TEST_VIEW_LIES, 2, 3, TEST_PLACES_FORMS,
                                 TEST_SKIPS, 3, ROTATE_KINDS, 2, DATA_KINDS, 4},
                      .accept = accept,
                      .seed = 17};
    pairwise_run(&cases, "append", run_case);
}
END_TEST

// --- every e4m3 code -----------------------------------------------------------------------------------------------

// By the definition alone: the nearest of all codes, of two as near the even one.
static unsigned char nearest_code(float value) {
    unsigned best = 0;
    if (isnan(value)) return (unsigned char)(signbit(value) ? 0xff : 0x7f);
    for (unsigned code = 1; code < 0x7f; code++) {
        unsigned char a = (unsigned char)best, b = (unsigned char)code;
        double before = fabs(ref_load(REF_F8_E4M3, &a, 0) - fabs((double)value));
        double now = fabs(ref_load(REF_F8_E4M3, &b, 0) - fabs((double)value));
        if (now < before || (now == before && code % 2 == 0)) best = code;
    }
    return (unsigned char)(best | (signbit(value) ? 0x80u : 0u));
}

#define CODES_WIDTH 512u
#define CODES_TOKENS 3u

// Each code's value, the middle between it and the next one and that middle's two neighbours, of both signs; NaN,
// infinities.
static void fill_codes(float *values) {
    size_t n = 0;
    for (unsigned code = 0; code < 0x7f; code++) {
        unsigned char at = (unsigned char)code, next = (unsigned char)(code + 1);
        float value = (float)ref_load(REF_F8_E4M3, &at, 0);
        float middle = code == 0x7e ? 464.0f : 0.5f * (value + (float)ref_load(REF_F8_E4M3, &next, 0));
        const float four[] = {value, middle, nextafterf(middle, 0.0f), nextafterf(middle, 1e9f)};
        for (int i = 0; i < 8; i++) values[n++] = i < 4 ? four[i] : -four[i - 4];
    }
    const float rest[] = {NAN, -NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 449.0f, 1e-30f};
    while (n < CODES_WIDTH * CODES_TOKENS) values[n] = rest[n % 8], n++;
}

START_TEST(reaches_every_code) {
    static float values[CODES_WIDTH * CODES_TOKENS];
    test_random random = test_random_make(3);
    shape s = {.view = {CLMLA_ROWS_FP8_FLAT, CLMLA_ROPE_INTERLEAVED, CODES_WIDTH, 0, CODES_TOKENS, 3, 1,
                        TEST_VIEW_DENSE, false},
               .tokens = CODES_TOKENS};
    fixture f;
    test_case_begin("append codes", 0, "fp8_flat 512 + 0, every code and every tie");
    make(&f, &s, &random);
    fill_codes(values);
    test_buffer_free(&f.latent);
    test_buffer_make(&f.latent, sizeof values, values);
    f.params.latent = f.latent.view;
    f.params.latent_stride = CODES_WIDTH;
    f.params.rows.latent_scale = 0; // the same as 1
    for (int v = 0; v < 2; v++) {
        bool seen[256] = {false};
        f.params.variant = v ? "naive" : NULL;
        test_run_twice(&f.run);
        for (size_t i = 0; i < CODES_WIDTH * CODES_TOKENS; i++) {
            ref_place at = f.places.at[i / CODES_WIDTH];
            unsigned char found = test_view_row(&f.view, true, at.page, at.row, 0).latent[i % CODES_WIDTH];
            unsigned char expected = nearest_code(values[i]);
            bool nans = (found & 0x7f) == 0x7f && (expected & 0x7f) == 0x7f;
            TEST_ASSERT(nans || found == expected, "%.9g became 0x%02x, expected 0x%02x", (double)values[i], found,
                        expected);
            seen[found] = true;
        }
        for (int code = 0; code < 256; code++)
            TEST_ASSERT(seen[code] || (code & 0x7f) == 0x7f, "code 0x%02x was never written", code);
        TEST_ASSERT(seen[0x7f] || seen[0xff], "no NaN was written");
    }
    finish(&f);
}
END_TEST

// --- every kind of peak ---------------------------------------------------------------------------------------------

// With groups that are all of one kind, where above they meet in one.
START_TEST(scales_every_peak) {
    static const clmla_row_format formats[] = {CLMLA_ROWS_FP8, CLMLA_ROWS_FP8, CLMLA_ROWS_FP8_FLAT, CLMLA_ROWS_FP8_FLAT,
                                               CLMLA_ROWS_FP8_PAGED};
    static float values[CODES_WIDTH * CODES_TOKENS];
    for (int i = 0; i < 5; i++) {
        test_random random = test_random_make((uint64_t)i);
        shape s = {.view = {formats[i], CLMLA_ROPE_INTERLEAVED, CODES_WIDTH, 2, 2, 3, 1, TEST_VIEW_DENSE, true},
                   .tokens = CODES_TOKENS,
                   .power_of_two = i % 2};
        fixture f;
        test_case_begin("append peaks", i, "%s 512 + 2, powers of two %d", clmla_row_format_name(formats[i]), i % 2);
        make(&f, &s, &random);
        for (size_t v = 0; v < CODES_WIDTH * CODES_TOKENS; v++) values[v] = of_group(v, 128, &random);
        test_buffer_free(&f.latent);
        test_buffer_make(&f.latent, sizeof values, values);
        f.params.latent = f.latent.view;
        f.params.latent_stride = CODES_WIDTH;
        check_variants(&f);
        finish(&f);
    }
}
END_TEST

// --- the norm ------------------------------------------------------------------------------------------------------

// Values of one magnitude, a power of two, and weights of few bits: whichever way the sum is made, nothing is rounded.
static void norm_latent(fixture *f, test_random *random) {
    const shape *s = &f->shape;
    float values[TEST_PLACES_MOST * 2 * 256], norm[128];
    size_t head = s->view.latent, token = head * s->view.kv_heads;
    for (size_t i = 0; i < s->tokens * token; i++)
        values[i] = ldexpf(test_random_below(random, 2) ? 1.0f : -1.0f, (int)(i / head % 5) - 2);
    for (size_t i = 0; i < head; i++) norm[i] = (float)test_random_below(random, 33) / 16.0f - 1.0f;
    test_buffer_free(&f->latent);
    test_buffer_make(&f->latent, s->tokens * token * sizeof *values, values);
    test_buffer_make(&f->norm, head * sizeof *norm, norm);
    f->params.latent = f->latent.view;
    f->params.latent_stride = token;
    f->params.latent_head_stride = head;
    f->params.latent_norm = f->norm.view;
}

START_TEST(norms_the_latent_part) {
    for (int format = 0; format < CLMLA_ROW_FORMAT_COUNT; format++) {
        test_random random = test_random_make((uint64_t)format + 300);
        shape s = {.view = {(clmla_row_format)format, CLMLA_ROPE_INTERLEAVED, 128, 16, 4, 6, 1 + (uint32_t)format % 2,
                            TEST_VIEW_DENSE, false},
                   .tokens = 5,
                   .rotate = format % 2};
        fixture f;
        test_case_begin("append norm", format, "%s 128 + 16", clmla_row_format_name(s.view.format));
        make(&f, &s, &random);
        norm_latent(&f, &random);
        check_variants(&f);
        finish(&f);
    }
}
END_TEST

// --- the rest ------------------------------------------------------------------------------------------------------

static void make_small(fixture *f, clmla_row_format format, test_places_form form) {
    test_random random = test_random_make(19);
    shape s = {.view = {format, CLMLA_ROPE_HALVES, 37, 6, 4, 3, 2, TEST_VIEW_APART, true},
               .tokens = 5,
               .form = form,
               .skip = TEST_SKIP_SOME,
               .type = REF_F32,
               .rotate = true,
               .positions = true};
    test_case_begin("append small", 0, "%s 37 + 6, 2 heads, page 4, tokens 5, parts in tensors of their own",
                    clmla_row_format_name(format));
    make(f, &s, &random);
}

START_TEST(honours_events) {
    for (int i = 0; i < 2; i++) {
        fixture f;
        make_small(&f, i ? CLMLA_ROWS_FP8_FLAT : CLMLA_ROWS_BF16, i ? TEST_PLACES_CSR : TEST_PLACES_SLOTS);
        test_run_events(&f.run);
        finish(&f);
    }
}
END_TEST

START_TEST(takes_no_tokens) {
    fixture f;
    make_small(&f, CLMLA_ROWS_BF16, TEST_PLACES_TABLE);
    f.params.token_count = 0;
    test_run_nothing(&f.run);
    finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_append_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_inputs) {
    fixture f;
    make_small(&f, CLMLA_ROWS_BF16, TEST_PLACES_SLOTS);
    REFUSED(input_type = CLMLA_TYPE_F64, "input_type must be f32, f16 or bf16, not f64");
    REFUSED(latent = test_buffer_tiny(), "latent");
    REFUSED(latent.memory = NULL, "latent");
    REFUSED(latent.offset += 2, "latent");
    REFUSED(latent_stride = 36, "latent");
    REFUSED(latent_head_stride = 36, "a head stride of 36");
    REFUSED(rope = test_buffer_tiny(), "rope");
    REFUSED(rope.memory = NULL, "rope");
    REFUSED(rope_stride = 5, "rope");
    REFUSED(rope_head_stride = 5, "rope");
    REFUSED(latent_norm = test_buffer_tiny(), "latent_norm");
    f.params.latent_norm = f.table.view;
    REFUSED(latent_norm_epsilon = -1e-6f, "latent_norm_epsilon");
    REFUSED(latent_norm_epsilon = NAN, "latent_norm_epsilon");
    f.params.latent_norm.memory = NULL;
    REFUSED(rope_table.memory = NULL, "rope_table");
    REFUSED(rope_table = test_buffer_tiny(), "rope_table");
    REFUSED(rope_table_rows = 0, "rope_table_rows");
    REFUSED(rope_table_rows = 1000, "rope_table");
    REFUSED(rope_positions = test_buffer_tiny(), "rope_positions");
    REFUSED(rope_positions.offset += 1, "rope_positions");
    REFUSED(input_order = (clmla_rope_order)2, "input_order");
    f.params.rope_positions.memory = NULL;
    REFUSED(rope_table_rows = 4, "rope_table_rows 4: 5"); // row t for token t
    test_run_wrong_waits(&f.run);
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
}
END_TEST

START_TEST(refuses_wrong_rows) {
    fixture f;
    make_small(&f, CLMLA_ROWS_FP8_FLAT, TEST_PLACES_SLOTS);
    REFUSED(rows.layout.format = CLMLA_ROW_FORMAT_COUNT, "format");
    REFUSED(rows.layout.latent_dim = 0, "latent_dim");
    REFUSED(rows.layout.rope_dim = 5, "rope_table");
    REFUSED(rows.page_tokens = 0, "page_tokens");
    REFUSED(rows.page_count += 100, "rows.latent");
    REFUSED(rows.latent = test_buffer_tiny(), "rows.latent");
    REFUSED(rows.latent.offset += 2, "rows.latent");
    REFUSED(rows.latent_row_stride = 36, "rows.latent");
    REFUSED(rows.latent_row_stride += 2, "rows.latent");
    REFUSED(rows.latent_page_stride = 40, "rows.latent");
    REFUSED(rows.latent_head_stride = 36, "rows.latent");
    REFUSED(rows.rope = test_buffer_tiny(), "rows.rope");
    REFUSED(rows.rope.memory = NULL, "rows.rope");
    REFUSED(rows.rope_row_stride = 4, "rows.rope");
    REFUSED(rows.rope_page_stride += 1, "rows.rope");
    REFUSED(rows.scales = test_buffer_tiny(), "rows.scales");
    REFUSED(rows.scale_head_stride = 0, "rows.scales");
    REFUSED(rows.latent_scale = NAN, "rows.latent_scale");
    REFUSED(rows.rope_scale = INFINITY, "rows.rope_scale");
    REFUSED(rows.kv_head_count = CLMLA_MAX_HEADS + 1, "kv_head_count");
    finish(&f);
}
END_TEST

START_TEST(refuses_wrong_places) {
    fixture f;
    make_small(&f, CLMLA_ROWS_F16, TEST_PLACES_SLOTS);
    REFUSED(places.slots = test_buffer_tiny(), "places.slots");
    REFUSED(places.slots.memory = NULL, "places.slots");
    REFUSED(places.slots.offset += 4, "places.slots");
    REFUSED(places.sequences = f.places.view.slots, "places.slots and places.sequences");
    finish(&f);
    make_small(&f, CLMLA_ROWS_F16, TEST_PLACES_TABLE);
    REFUSED(places.sequences = test_buffer_tiny(), "places.sequences");
    REFUSED(places.sequences.memory = NULL, "places.sequences");
    REFUSED(places.indices = test_buffer_tiny(), "places.indices");
    REFUSED(places.indices.memory = NULL, "places.indices");
    REFUSED(places.page_table = test_buffer_tiny(), "places.page_table");
    REFUSED(places.page_table.offset += 2, "places.page_table");
    REFUSED(places.sequence_count = 1000, "places.page_table");
    REFUSED(places.page_table_stride = 1000, "places.page_table");
    REFUSED(places.page_table_stride = 0, "page_table_stride 0");
    REFUSED(places.sequence_count = 0, "places.sequence_count is 0");
    finish(&f);
    make_small(&f, CLMLA_ROWS_F16, TEST_PLACES_CSR);
    REFUSED(places.page_indptr = test_buffer_tiny(), "places.page_indptr");
    REFUSED(places.sequence_count = 1000, "places.page_indptr");
    REFUSED(places.page_table_count = 1000, "places.page_table");
    REFUSED(places.page_table_count = 0, "page_table_count 0");
    REFUSED(places.page_table.memory = NULL, "places.page_table");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, reaches_every_code);
    tcase_add_test(tcase, scales_every_peak);
    tcase_add_test(tcase, norms_the_latent_part);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, takes_no_tokens);
    tcase_add_test(tcase, refuses_wrong_inputs);
    tcase_add_test(tcase, refuses_wrong_rows);
    tcase_add_test(tcase, refuses_wrong_places);
}

int main(void) {
    return test_main("check_append", add);
}
