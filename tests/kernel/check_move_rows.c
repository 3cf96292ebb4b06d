// SPDX-License-Identifier: Apache-2.0
// move_rows: every variant and row format, moves within pages, between pages and of parts of pages, in several layers,
// against tests/ref/ref_move_rows.c: every byte, scales that lie apart and the space between layers included.
#include "tests/kernel/row_layers_fixture.h"
#include "tests/ref/ref_move_rows.h"
#include "tests/support/variants.h"
#include <stdlib.h>
#include <string.h>

#define MOVES 3

typedef struct shape {
    clmla_row_format format;
    uint32_t latent, rope, page_tokens, layers;
} shape;

static const shape shapes[] = {
    {CLMLA_ROWS_F32, 37, 6, 5, 1},         {CLMLA_ROWS_F16, 512, 64, 64, 2},    {CLMLA_ROWS_BF16, 1, 0, 2, 3},
    {CLMLA_ROWS_FP8, 130, 8, 16, 2},       {CLMLA_ROWS_FP8_FLAT, 64, 16, 7, 3}, {CLMLA_ROWS_FP8_PAGED, 100, 8, 11, 2},
    {CLMLA_ROWS_FP8_PAGED, 448, 64, 3, 1}, {CLMLA_ROWS_F16, 256, 32, 1, 4},     {CLMLA_ROWS_Q5, 100, 12, 7, 2},
    {CLMLA_ROWS_Q8, 37, 6, 4, 2},
};

typedef struct fixture {
    row_layers_fixture rows;
    test_buffer moves;
    int32_t list[MOVES][8];
    const char *variant;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    fixture *f = payload;
    clmla_context *context = test_device_get()->context;
    host_chain chain;
    clmla_status status = host_chain_begin(&chain, &context->host, queue, count, wait, event != NULL);
    if (status != CLMLA_OK) return status;
    return host_chain_finish(
        &chain, move_rows_enqueue(context, &f->rows.layers, f->moves.view, MOVES, f->variant, &chain), event);
}

// Down within page 1, a whole page to another, a part of one into the middle of another.
static void make(fixture *f, const shape *s, test_random *random) {
    clmla_row_layout layout;
    int32_t page = (int32_t)s->page_tokens, part = page > 1 ? page / 2 : 1, down = page > 1 ? 1 : 0;
    const int32_t list[MOVES][8] = {
        {1, down, 1, 0, page - down}, {4, 0, 2, 0, page}, {4, page - part, 6, page / 3, part}};
    *f = (fixture){0};
    TEST_OK(clmla_row_layout_make(&layout, s->format, CLMLA_ROPE_INTERLEAVED, s->latent, s->rope));
    row_layers_make(&f->rows, &layout, s->page_tokens, s->layers, random);
    memcpy(f->list, list, sizeof list);
    test_buffer_make(&f->moves, sizeof list, list);
    f->run = (test_run){.enqueue = enqueue, .payload = f, .inputs = {&f->moves}, .outputs = {&f->rows.rows}};
}

static void finish(fixture *f) {
    test_buffer_free(&f->rows.rows);
    test_buffer_free(&f->moves);
}

static void check_result(const fixture *f) {
    const row_layers *layers = &f->rows.layers;
    unsigned char *expected = test_allocate(f->rows.rows.bytes, 1);
    memcpy(expected, f->rows.rows.initial, f->rows.rows.bytes);
    for (uint32_t layer = 0; layer < layers->layer_count; layer++) {
        ref_pages pages = {expected + layer * layers->layer_stride, (size_t)f->rows.page_bytes, layers->page_tokens,
                           layers->layout.row_bytes, layers->layout.scales_apart ? layers->layout.scale_row_bytes : 0};
        for (int i = 0; i < MOVES; i++) {
            const int32_t *m = f->list[i];
            ref_move_rows(&pages, (size_t)m[0], (size_t)m[1], (size_t)m[2], (size_t)m[3], (size_t)m[4]);
        }
    }
    for (size_t i = 0; i < f->rows.rows.bytes; i++)
        TEST_ASSERT(f->rows.rows.found[i] == expected[i], "%s: byte %zu of %zu is 0x%02x, expected 0x%02x", f->variant,
                    i, f->rows.rows.bytes, f->rows.rows.found[i], expected[i]);
    free(expected);
}

START_TEST(matches_the_reference) {
    const shape *s = &shapes[_i];
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape asked = {.format = s->format, .latent_dim = s->latent, .rope_dim = s->rope, .row_count = MOVES};
    test_random random = test_random_make(40 + (uint64_t)_i);
    fixture f;
    if (!test_case_wanted(_i) || (test_device_get()->short_form && s->latent * s->page_tokens > 200)) return;
    test_case_begin("move_rows", _i, "%s %u + %u, page %u, layers %u", clmla_row_format_name(s->format), s->latent,
                    s->rope, s->page_tokens, s->layers);
    make(&f, s, &random);
    size_t count = test_variants(variants, CLMLA_OP_MOVE_ROWS, &asked);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f.variant = variants[i].name;
        for (uint32_t r = 0; test_variant_run(&variants[i], r); r++) {
            test_run_twice(&f.run);
            check_result(&f);
        }
        if (_i == 0) test_run_gated(&f.run);
    }
    test_variants_refused(&f.run, &f.variant, CLMLA_OP_MOVE_ROWS, &asked);
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, matches_the_reference, 0, sizeof shapes / sizeof *shapes);
}

int main(void) {
    return test_main("check_move_rows", add);
}
