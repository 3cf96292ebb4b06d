// SPDX-License-Identifier: Apache-2.0
// shift: every variant and plain format, both rotary orders, several layers and deltas, against tests/ref/ref_shift.c;
// bytes outside the rotated parts stay as they are.
#include "tests/kernel/row_layers_fixture.h"
#include "tests/ref/ref_shift.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHIFTS 3
#define DELTAS 2
#define THETA 10000.0

typedef struct shape {
    clmla_row_format format;
    clmla_rope_order order;
    uint32_t latent, rope, page_tokens, layers;
} shape;

static const shape shapes[] = {
    {CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 37, 6, 5, 1}, {CLMLA_ROWS_F16, CLMLA_ROPE_HALVES, 512, 64, 64, 2},
    {CLMLA_ROWS_BF16, CLMLA_ROPE_INTERLEAVED, 1, 2, 2, 3}, {CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 65, 30, 3, 2},
    {CLMLA_ROWS_F32, CLMLA_ROPE_HALVES, 16, 256, 4, 1},    {CLMLA_ROWS_BF16, CLMLA_ROPE_HALVES, 64, 32, 1, 4},
};
static const int deltas[DELTAS] = {-64, 131071};

typedef struct fixture {
    row_layers_fixture rows;
    test_buffer shifts, table;
    int32_t list[SHIFTS][8];
    const char *variant;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    fixture *f = payload;
    clmla_context *context = test_device_get()->context;
    uint32_t most = f->rows.layers.page_tokens;
    host_chain chain;
    clmla_status status = host_chain_begin(&chain, &context->host, queue, count, wait, event != NULL);
    if (status != CLMLA_OK) return status;
    status = shift_enqueue(context, &f->rows.layers, f->shifts.view, SHIFTS, most, f->table.view, f->variant, &chain);
    return host_chain_finish(&chain, status, event);
}

static void make_table(fixture *f, uint32_t rope) {
    float *table = test_allocate(DELTAS * rope, sizeof *table), *out = table;
    for (int i = 0; i < DELTAS; i++)
        for (uint32_t pair = 0; pair < rope / 2; pair++) {
            double angle = deltas[i] * pow(THETA, -2.0 * pair / rope);
            *out++ = (float)cos(angle);
            *out++ = (float)sin(angle);
        }
    test_buffer_make(&f->table, DELTAS * rope * sizeof *table, table);
    free(table);
}

// A whole page, a page's first row, its last rows.
static void make(fixture *f, const shape *s, test_random *random) {
    clmla_row_layout layout;
    int32_t page = (int32_t)s->page_tokens, part = page > 1 ? page / 2 : 1;
    const int32_t list[SHIFTS][8] = {{5, 0, page, 0}, {2, 0, 1, 1}, {0, page - part, part, 1}};
    *f = (fixture){0};
    TEST_OK(clmla_row_layout_make(&layout, s->format, s->order, s->latent, s->rope));
    row_layers_make(&f->rows, &layout, s->page_tokens, s->layers, random);
    memcpy(f->list, list, sizeof list);
    test_buffer_make(&f->shifts, sizeof list, list);
    make_table(f, s->rope);
    f->run =
        (test_run){.enqueue = enqueue, .payload = f, .inputs = {&f->shifts, &f->table}, .outputs = {&f->rows.rows}};
}

static void finish(fixture *f) {
    test_buffer_free(&f->rows.rows);
    test_buffer_free(&f->shifts);
    test_buffer_free(&f->table);
}

static ref_type type_of(clmla_row_format format) {
    return format == CLMLA_ROWS_F32 ? REF_F32 : format == CLMLA_ROWS_F16 ? REF_F16 : REF_BF16;
}

// Checks one rotated row and puts what it should be there into `initial`'s place in `found`, so that the rest can be
// compared byte for byte.
static void check_row(fixture *f, size_t at, int delta) {
    static const double steps[] = {[REF_F32] = 2.5e-7, [REF_F16] = 5.5e-4, [REF_BF16] = 4.5e-3};
    const clmla_row_layout *layout = &f->rows.layers.layout;
    ref_type type = type_of(layout->format);
    double expected[CLMLA_MAX_ROPE_DIM];
    bool halves = layout->rope_order == CLMLA_ROPE_HALVES;
    ref_shift(expected, type, f->rows.rows.initial + at, layout->rope_dim, halves, THETA, delta);
    for (uint32_t i = 0; i < layout->rope_dim; i++) {
        uint32_t other = halves ? (i + layout->rope_dim / 2) % layout->rope_dim : i ^ 1u;
        double size = fabs(expected[i]) + fabs(expected[other]), found = ref_load(type, f->rows.rows.found + at, i);
        TEST_ASSERT(fabs(found - expected[i]) <= steps[type] * size, "%s: rope value %u is %g, expected %g", f->variant,
                    i, found, expected[i]);
    }
    memcpy(f->rows.rows.found + at, f->rows.rows.initial + at, layout->rope_dim * ref_bytes(type));
}

static void check_result(fixture *f) {
    const row_layers *layers = &f->rows.layers;
    for (uint32_t layer = 0; layer < layers->layer_count; layer++)
        for (int i = 0; i < SHIFTS; i++)
            for (int32_t row = 0; row < f->list[i][2]; row++) {
                uint64_t in_page =
                    (uint64_t)(f->list[i][1] + row) * layers->layout.row_bytes + layers->layout.rope_offset;
                uint64_t at = layer * layers->layer_stride + (uint64_t)f->list[i][0] * f->rows.page_bytes + in_page;
                check_row(f, (size_t)at, deltas[f->list[i][3]]);
            }
    TEST_ASSERT(memcmp(f->rows.rows.found, f->rows.rows.initial, f->rows.rows.bytes) == 0, "%s: other bytes changed",
                f->variant);
}

START_TEST(matches_the_reference) {
    const shape *s = &shapes[_i];
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape asked = {.format = s->format, .latent_dim = s->latent, .rope_dim = s->rope, .row_count = SHIFTS};
    test_random random = test_random_make(60 + (uint64_t)_i);
    fixture f;
    if (!test_case_wanted(_i) || (test_device_get()->short_form && s->latent * s->page_tokens > 200)) return;
    test_case_begin("shift", _i, "%s %u + %u, order %d, page %u, layers %u", clmla_row_format_name(s->format),
                    s->latent, s->rope, (int)s->order, s->page_tokens, s->layers);
    make(&f, s, &random);
    size_t count = test_variants(variants, CLMLA_OP_SHIFT, &asked);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f.variant = variants[i].name;
        for (uint32_t r = 0; test_variant_run(&variants[i], r); r++) {
            test_run_twice(&f.run);
            if (_i == 0 && r == 0) test_run_gated(&f.run);
            check_result(&f);
        }
    }
    test_variants_refused(&f.run, &f.variant, CLMLA_OP_SHIFT, &asked);
    finish(&f);
}
END_TEST

// Scaled rows are never rotated where they lie.
START_TEST(refuses_scaled_rows) {
    fixture f;
    shape s = {CLMLA_ROWS_F32, CLMLA_ROPE_HALVES, 128, 8, 4, 1};
    test_random random = test_random_make(70);
    test_case_begin("shift refused", 0, "fp8");
    make(&f, &s, &random);
    f.rows.layers.layout.format = CLMLA_ROWS_FP8;
    test_run_refused(&f.run, "fp8");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, matches_the_reference, 0, sizeof shapes / sizeof *shapes);
    tcase_add_test(tcase, refuses_scaled_rows);
}

int main(void) {
    return test_main("check_shift", add);
}
