// SPDX-License-Identifier: Apache-2.0
// append: every variant, format and way rows can lie, against tests/ref/ref_append.c: every byte, padding and the space
// between rows included.
#include "tests/ref/ref_append.h"
#include "tests/support/pairwise.h"
#include "tests/support/rows.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT, WIDTHS, PAGE, LAYOUT, TOKENS, SLOTS, DATA, FACTORS };
enum { SLOTS_SPREAD, SLOTS_SOME_SKIPPED, SLOTS_ALL_SKIPPED, SLOTS_KINDS };
static const uint32_t pages[] = {1, 2, 16, 53, 64}, token_counts[] = {1, 3, 20};

typedef struct shape {
    clmla_row_format format;
    uint32_t latent, rope, page_tokens, tokens;
    test_rows_layout layout;
    int slots;
    bool special;
} shape;

typedef struct fixture {
    clmla_append_params params;
    test_rows rows;
    test_buffer latent, rope, slots;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait, cl_event *event) {
    return clmla_append(test_device_get()->context, payload, queue, count, wait, event);
}

// Ties, overflow, the ends of the subnormals, infinities, NaN and both zeros of each format.
static const float specials[] = {
    0.0f,      -0.0f,      INFINITY,   -INFINITY,  NAN,        65504.0f,   65519.99f, 65520.0f,   -65536.0f,  1e30f,
    0x1p-14f,  0x1p-24f,   0x1p-25f,   0x1.8p-25f, 0x1.8p-24f, 0x1p-26f,   2049.0f,   2051.0f,    1.00390625f, 1.01171875f,
    3.39e38f,  0x1.ffp127f, 0x1p-126f, 0x1p-133f,  0x1p-134f,  0x1.8p-133f, 1e-45f,   0x1.002p0f, 0x1.006p0f,  -0x1.ffcp-15f,
};

static void fill(float *values, size_t count, bool special, test_random *random) {
    test_random_fill(random, values, count, 0.0, 1.0);
    for (size_t i = 0; special && i < count; i++)
        if (test_random_below(random, 2)) values[i] = specials[test_random_below(random, sizeof specials / sizeof *specials)];
}

static void make_slots(fixture *f, const shape *s, uint64_t page_count, test_random *random) {
    static const int64_t outside[] = {-1, INT64_MIN, INT64_MAX, 0, -64};
    int64_t total = (int64_t)(page_count * s->page_tokens), slots[20];
    int32_t *order = test_allocate((size_t)total, sizeof *order);
    test_random_permutation(random, order, (size_t)total);
    for (uint32_t t = 0; t < s->tokens; t++) {
        bool skip = s->slots == SLOTS_ALL_SKIPPED || (s->slots == SLOTS_SOME_SKIPPED && t % 3 == 1);
        slots[t] = skip ? outside[t % 5] : order[t];
        if (skip && slots[t] == 0) slots[t] = total; // the first that is past the end
    }
    test_buffer_make(&f->slots, s->tokens * sizeof *slots, slots);
    free(order);
}

static void make(fixture *f, const shape *s, test_random *random) {
    *f = (fixture){0};
    uint32_t stride = s->latent + 3, rope_stride = s->rope + 1;
    float *latent = test_allocate((size_t)s->tokens * stride, sizeof *latent);
    float *rope = test_allocate((size_t)s->tokens * rope_stride, sizeof *rope);
    fill(latent, (size_t)s->tokens * stride, s->special, random);
    fill(rope, (size_t)s->tokens * rope_stride, s->special, random);
    test_buffer_make(&f->latent, (size_t)s->tokens * stride * sizeof *latent, latent);
    test_buffer_make(&f->rope, (size_t)s->tokens * rope_stride * sizeof *rope, rope);
    free(latent);
    free(rope);
    test_rows_make(&f->rows, s->format, s->latent, s->rope, s->page_tokens, (20 + s->page_tokens - 1) / s->page_tokens + 1,
                   s->layout);
    make_slots(f, s, f->rows.view.page_count, random);
    f->params = (clmla_append_params){
        .token_count = s->tokens,
        .latent = f->latent.view,
        .latent_stride = stride,
        .rope = s->rope ? f->rope.view : (clmla_buffer){0},
        .rope_stride = s->rope ? rope_stride : 0,
        .places = {.slots = f->slots.view},
        .rows = f->rows.view,
    };
    f->run = (test_run){.enqueue = enqueue, .payload = &f->params, .inputs = {&f->latent, &f->rope, &f->slots},
                        .outputs = {&f->rows.latent}};
    if (f->rows.rope.view.memory) f->run.outputs[1] = &f->rows.rope;
}

static void finish(fixture *f) {
    test_rows_free(&f->rows);
    test_buffer_free(&f->latent);
    test_buffer_free(&f->rope);
    test_buffer_free(&f->slots);
}

static bool is_nan(clmla_row_format format, const unsigned char *bytes, size_t index) {
    return isnan(ref_load(test_ref_type_of(format), bytes, index));
}

// Bytes are equal, or the elements at them are both NaN: which NaN is not promised.
static void compare(const test_buffer *found, const unsigned char *expected, clmla_row_format format, const char *variant) {
    size_t size = ref_bytes(test_ref_type_of(format));
    for (size_t i = 0; i < found->bytes; i++) {
        if (found->found[i] == expected[i]) continue;
        TEST_ASSERT(is_nan(format, found->found, i / size) && is_nan(format, expected, i / size),
                    "%s: byte %zu of %zu is 0x%02x, expected 0x%02x", variant, i, found->bytes, found->found[i], expected[i]);
    }
}

static void check_result(fixture *f, const char *variant) {
    test_rows *rows = &f->rows;
    const clmla_append_params *p = &f->params;
    const clmla_row_layout *layout = &rows->view.layout;
    unsigned char *latent = test_allocate(rows->latent.bytes, 1), *apart = test_allocate(rows->rope.bytes, 1);
    memcpy(latent, rows->latent.initial, rows->latent.bytes);
    if (rows->rope.bytes) memcpy(apart, rows->rope.initial, rows->rope.bytes);
    ref_part latent_part = {latent, (size_t)rows->view.latent_row_stride, (size_t)rows->view.latent_page_stride, layout->latent_dim};
    ref_part rope_part = {rows->rope.bytes ? apart : latent + layout->rope_offset, (size_t)rows->view.rope_row_stride,
                          (size_t)rows->view.rope_page_stride, layout->rope_dim};
    const int64_t *slots = (const int64_t *)(const void *)f->slots.initial;
    for (uint32_t t = 0; t < p->token_count; t++) {
        ref_append(&latent_part, test_ref_type_of(layout->format), test_buffer_floats(&f->latent) + t * p->latent_stride, slots[t],
                   rows->view.page_tokens, (size_t)rows->view.page_count);
        ref_append(&rope_part, test_ref_type_of(layout->format), test_buffer_floats(&f->rope) + t * p->rope_stride, slots[t],
                   rows->view.page_tokens, (size_t)rows->view.page_count);
    }
    compare(&rows->latent, latent, layout->format, variant);
    if (rows->rope.bytes) compare(&rows->rope, apart, layout->format, variant);
    free(latent);
    free(apart);
}

static void check_variants(fixture *f) {
    const clmla_row_layout *layout = &f->rows.view.layout;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.format = layout->format, .latent_dim = layout->latent_dim, .rope_dim = layout->rope_dim,
                         .row_count = f->params.token_count};
    size_t count = test_variants(variants, CLMLA_OP_APPEND, &shape);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        test_run_twice(&f->run);
        check_result(f, variants[i].name);
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_APPEND, &shape);
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    return !test_device_get()->short_form || test_widths[chosen[WIDTHS]].latent < 128;
}

static void run_case(int number, const int *chosen) {
    shape s = {
        .format = (clmla_row_format)chosen[FORMAT],
        .latent = test_widths[chosen[WIDTHS]].latent,
        .rope = test_widths[chosen[WIDTHS]].rope,
        .page_tokens = pages[chosen[PAGE]],
        .tokens = token_counts[chosen[TOKENS]],
        .layout = (test_rows_layout)chosen[LAYOUT],
        .slots = chosen[SLOTS],
        .special = chosen[DATA],
    };
    test_random random = test_random_make((uint64_t)number + 7000);
    test_case_begin("append", number, "%s %u + %u, page %u, layout %d, tokens %u, slots %d, special %d, seed %d",
                    clmla_row_format_name(s.format), s.latent, s.rope, s.page_tokens, (int)s.layout, s.tokens, s.slots, s.special,
                    number + 7000);
    fixture f;
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS,
                      .levels = {CLMLA_ROW_FORMAT_COUNT, TEST_WIDTHS, 5, TEST_ROWS_LAYOUTS, 3, SLOTS_KINDS, 2},
                      .accept = accept,
                      .seed = 17};
    pairwise_run(&cases, "append", run_case);
}
END_TEST

static void make_small(fixture *f) {
    test_random random = test_random_make(19);
    shape s = {.format = CLMLA_ROWS_BF16, .latent = 37, .rope = 6, .page_tokens = 4, .tokens = 5, .layout = TEST_ROWS_APART};
    test_case_begin("append small", 0, "bf16 37 + 6, page 4, tokens 5, latent and rope in two tensors");
    make(f, &s, &random);
}

START_TEST(honours_events) {
    fixture f;
    make_small(&f);
    test_run_twice(&f.run);
    test_run_gated(&f.run);
    finish(&f);
}
END_TEST

START_TEST(takes_no_tokens) {
    fixture f;
    make_small(&f);
    f.params.token_count = 0;
    test_run_twice(&f.run);
    test_buffer_check_unchanged(&f.rows.latent);
    test_run_gated(&f.run);
    finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_append_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f);
    REFUSED(latent = test_buffer_tiny(), "latent");
    REFUSED(latent.memory = NULL, "latent");
    REFUSED(latent_stride = 36, "latent");
    REFUSED(rope = test_buffer_tiny(), "rope");
    REFUSED(rope.memory = NULL, "rope");
    REFUSED(rope_stride = 5, "rope");
    REFUSED(places.slots = test_buffer_tiny(), "slots");
    REFUSED(places.slots.memory = NULL, "slots");
    REFUSED(places.slots.offset += 4, "slots");
    REFUSED(rows.layout.format = CLMLA_ROW_FORMAT_COUNT, "format");
    REFUSED(rows.layout.latent_dim = 0, "latent_dim");
    REFUSED(rows.page_tokens = 0, "page_tokens");
    REFUSED(rows.page_count += 100, "rows.latent");
    REFUSED(rows.latent = test_buffer_tiny(), "rows.latent");
    REFUSED(rows.latent.offset += 2, "rows.latent");
    REFUSED(rows.latent_row_stride = 76 - 4, "rows.latent");
    REFUSED(rows.latent_row_stride += 2, "rows.latent");
    REFUSED(rows.latent_page_stride = 4 * 76 - 4, "rows.latent");
    REFUSED(rows.rope = test_buffer_tiny(), "rows.rope");
    REFUSED(rows.rope.memory = NULL, "rows.rope");
    REFUSED(rows.rope_row_stride = 8, "rows.rope");
    REFUSED(rows.rope_page_stride += 1, "rows.rope");
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
    return test_main("check_append", add);
}
