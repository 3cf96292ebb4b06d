// SPDX-License-Identifier: Apache-2.0
// append that norms other rows in the same launch: cached rows and normed rows have the bits that append and rms_norm
// of the same variant give one after the other, which check_append.c and check_rms_norm.c check.
#include "lib/operation.h"
#include "tests/support/run.h"
#include "tests/support/variants.h"
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4, PAGES = 8, WIDTH_MOST = 1536 };

typedef struct norm_case {
    clmla_row_format format;
    uint32_t latent, rope, tokens, width;
} norm_case;
// Normed rows narrower and wider than what is cached, and of no whole vectors.
static const norm_case cases[] = {
    {CLMLA_ROWS_F16, 512, 64, 1, WIDTH_MOST}, {CLMLA_ROWS_F32, 37, 6, 9, 23},
    {CLMLA_ROWS_Q8, 64, 16, 3, 140},          {CLMLA_ROWS_BF16, 5, 2, 2, 1},
    {CLMLA_ROWS_FP8, 128, 0, 5, 77},
};
#define CASES (int)(sizeof cases / sizeof *cases)

typedef struct fixture {
    const char *variant;
    clmla_append_params append;
    clmla_rms_norm_params norm;
    test_buffer cache, latent, rope, slots, latent_norm, normed, weight;
    test_run run;
} fixture;

static clmla_status enqueue_together(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                     cl_event *event) {
    fixture *f = payload;
    host_chain chain;
    clmla_status status =
        operation_begin(&chain, test_device_get()->context, &f->append, "append", queue, count, wait, event);
    if (status != CLMLA_OK) return status;
    return host_chain_finish(&chain, append_enqueue(test_device_get()->context, &f->append, &f->norm, &chain), event);
}

static clmla_status enqueue_apart(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                  cl_event *event) {
    fixture *f = payload;
    clmla_context *context = test_device_get()->context;
    clmla_status status = clmla_rms_norm(context, &f->norm, queue, count, wait, NULL);
    return status == CLMLA_OK ? clmla_append(context, &f->append, queue, 0, NULL, event) : status;
}

// One token in three has no row; its other row is normed all the same.
static void make_slots(fixture *f, uint32_t tokens) {
    int64_t slots[16];
    for (uint32_t t = 0; t < tokens; t++) slots[t] = t % 3 == 1 ? -1 : (int64_t)(t * 5 % (PAGE * PAGES));
    test_buffer_make(&f->slots, tokens * sizeof *slots, slots);
}

static void make_norm(fixture *f, const norm_case *c, test_random *random) {
    size_t stride = c->width + 3, count = c->tokens * stride;
    float *values = test_nan_bytes(count * sizeof *values);
    for (uint32_t t = 0; t < c->tokens; t++) test_random_fill(random, values + t * stride, c->width, 0.0, 1.0);
    test_buffer_make(&f->normed, count * sizeof *values, values);
    free(values);
    test_buffer_make_rows(&f->weight, random, 1, c->width, c->width, 1.0, 0.2);
    f->norm = (clmla_rms_norm_params){.row_count = c->tokens,
                                      .width = c->width,
                                      .input = f->normed.view,
                                      .input_stride = stride,
                                      .weight = f->weight.view,
                                      .epsilon = 1e-6f,
                                      .output = f->normed.view,
                                      .output_stride = stride};
}

static void make(fixture *f, const norm_case *c) {
    test_random random = test_random_make(500 + (uint64_t)(c - cases));
    clmla_row_layout layout;
    *f = (fixture){0};
    TEST_OK(clmla_row_layout_make(&layout, c->format, CLMLA_ROPE_INTERLEAVED, c->latent, c->rope));
    test_buffer_make(&f->cache, (size_t)PAGE * PAGES * layout.row_bytes, NULL);
    test_buffer_make_rows(&f->latent, &random, c->tokens, c->latent, c->latent, 0.0, 1.0);
    if (c->rope) test_buffer_make_rows(&f->rope, &random, c->tokens, c->rope, c->rope, 0.0, 1.0);
    test_buffer_make_rows(&f->latent_norm, &random, 1, c->latent, c->latent, 1.0, 0.2);
    make_slots(f, c->tokens);
    make_norm(f, c, &random);
    f->append = (clmla_append_params){.token_count = c->tokens,
                                      .latent = f->latent.view,
                                      .latent_stride = c->latent,
                                      .rope = f->rope.view,
                                      .rope_stride = c->rope,
                                      .latent_norm = f->latent_norm.view,
                                      .latent_norm_epsilon = 1e-5f,
                                      .places = {.slots = f->slots.view}};
    TEST_OK(clmla_rows_from_tensor(&f->append.rows, &layout, f->cache.view, PAGE, PAGES));
    f->run = (test_run){.payload = f,
                        .inputs = {&f->latent, &f->latent_norm, &f->slots, &f->weight, c->rope ? &f->rope : NULL},
                        .outputs = {&f->cache, &f->normed}};
}

static void finish(fixture *f) {
    test_buffer *all[] = {&f->cache, &f->latent, &f->rope, &f->slots, &f->latent_norm, &f->normed, &f->weight};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_buffer_free(all[i]);
}

static void check_variant(fixture *f, const char *name) {
    unsigned char *cache = test_allocate(f->cache.bytes, 1), *normed = test_allocate(f->normed.bytes, 1);
    f->append.variant = f->norm.variant = name;
    f->run.enqueue = enqueue_apart;
    test_run_twice(&f->run);
    memcpy(cache, f->cache.found, f->cache.bytes);
    memcpy(normed, f->normed.found, f->normed.bytes);
    ck_assert(memcmp(normed, f->normed.initial, f->normed.bytes) != 0);
    f->run.enqueue = enqueue_together;
    test_run_twice(&f->run);
    TEST_ASSERT(memcmp(cache, f->cache.found, f->cache.bytes) == 0, "%s: cached rows differ", name);
    TEST_ASSERT(memcmp(normed, f->normed.found, f->normed.bytes) == 0, "%s: normed rows differ", name);
    free(cache);
    free(normed);
}

START_TEST(norming_beside_changes_no_bit) {
    const norm_case *c = &cases[_i];
    fixture f;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.format = c->format, .latent_dim = c->latent, .rope_dim = c->rope, .row_count = c->tokens};
    if (!test_case_wanted(_i) || (test_device_get()->short_form && c->latent > 100)) return;
    test_case_begin("append norm", _i, "%s, %u + %u, %u tokens, %u wide", clmla_row_format_name(c->format), c->latent,
                    c->rope, c->tokens, c->width);
    make(&f, c);
    size_t count = test_variants(variants, CLMLA_OP_APPEND, &shape);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f.append.variant = variants[i].name;
        bool naive = strcmp(variants[i].name, "naive") == 0;
        ck_assert(naive == (append_norm_refusal(test_device_get()->context, &f.append) != NULL));
        if (!naive) check_variant(&f, variants[i].name);
    }
    finish(&f);
}
END_TEST

START_TEST(refuses_what_it_cannot_norm) {
    fixture f;
    test_case_begin("append norm refused", 1, "9 tokens");
    make(&f, &cases[1]);
    f.run.enqueue = enqueue_together;
    TEST_REFUSED(&f.run, clmla_rms_norm_params, &f.norm, f.norm.row_count = 8, "a row a token");
    TEST_REFUSED(&f.run, clmla_rms_norm_params, &f.norm, f.norm.output.offset += 4, "in place");
    TEST_REFUSED(&f.run, clmla_rms_norm_params, &f.norm, f.norm.width = 0, "width");
    f.append.variant = "naive";
    test_run_refused(&f.run, "naive");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, norming_beside_changes_no_bit, 0, CASES);
    tcase_add_test(tcase, refuses_what_it_cannot_norm);
}

int main(void) {
    return test_main("check_append_norm", add);
}
