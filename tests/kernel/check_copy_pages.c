// SPDX-License-Identifier: Apache-2.0
// copy_pages: every variant, format and way rows can lie, against tests/ref/ref_copy_pages.c: permutations and cycles
// within a cache, copies between two that lie differently, skipped pairs; every byte between the parts as it was.
#include "tests/ref/ref_copy_pages.h"
#include "tests/support/pairwise.h"
#include "tests/support/row_view.h"
#include "tests/support/rows.h"
#include "tests/support/variants.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT, WIDTHS, PAGE, LIE_FROM, LIE_TO, HEADS, PAIRS, SKIP, SCALES, FACTORS };
// One cache, its pages permuted by way of scratch; one cache, from its first half into its second; two caches, directly
// and by way of scratch.
enum { PAIRS_PERMUTED, PAIRS_HALVES, PAIRS_TWO, PAIRS_TWO_SCRATCH, PAIRS_KINDS };
enum { SKIP_NONE, SKIP_SOME, SKIP_ALL, SKIPS };
static const uint32_t pages[] = {1, 2, 5, 16}, head_counts[] = {1, 3};

#define FROM_PAGES 6
#define TO_PAGES 8
#define PAIRS_MOST 6

typedef struct shape {
    test_view_shape from; // to: the same but for lie and page_count
    test_view_lie to_lie;
    int pairs, skip;
} shape;

typedef struct fixture {
    shape shape;
    clmla_copy_pages_params params;
    test_view from, to; // in one cache `to` is unused
    test_buffer pairs, scratch;
    uint32_t pair_count;
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_copy_pages(test_device_get()->context, payload, queue, count, wait, event);
}

static bool one_cache(const fixture *f) {
    return f->shape.pairs == PAIRS_PERMUTED || f->shape.pairs == PAIRS_HALVES;
}

static bool uses_scratch(const fixture *f) {
    return f->shape.pairs == PAIRS_PERMUTED || f->shape.pairs == PAIRS_TWO_SCRATCH;
}

// A page that is written only if it is not skipped; with scratch all pages of one cache move at once, in cycles.
static void make_pairs(fixture *f, test_random *random) {
    static const int32_t outside[] = {-1, INT32_MIN, INT32_MAX, TO_PAGES};
    int32_t from[FROM_PAGES], to[TO_PAGES], pairs[PAIRS_MOST][2];
    test_random_permutation(random, from, FROM_PAGES);
    test_random_permutation(random, to, one_cache(f) ? FROM_PAGES : TO_PAGES);
    f->pair_count = f->shape.pairs == PAIRS_HALVES ? FROM_PAGES / 2 : PAIRS_MOST;
    for (uint32_t i = 0; i < f->pair_count; i++) {
        pairs[i][0] = from[i];
        pairs[i][1] = f->shape.pairs == PAIRS_HALVES ? from[FROM_PAGES / 2 + i] : to[i];
        bool skipped = f->shape.skip == SKIP_ALL || (f->shape.skip == SKIP_SOME && i % 3 == 1);
        if (skipped) pairs[i][i % 2] = outside[i % 4];
        if (skipped && i == 4) pairs[i][0] = FROM_PAGES; // the first that is no page of `from`
    }
    test_buffer_make(&f->pairs, f->pair_count * sizeof *pairs, pairs);
}

// Every byte of the parts, and of what lies between them, is something of its own.
static void fill(test_view *view, test_random *random) {
    for (int b = 0; b < view->buffer_count; b++)
        for (size_t i = 0; i < view->buffers[b].bytes; i++)
            view->buffers[b].initial[i] = (unsigned char)test_random_bits(random);
    test_view_upload(view);
}

static void make(fixture *f, const shape *s, test_random *random) {
    *f = (fixture){.shape = *s};
    test_view_shape to = s->from;
    to.lie = s->to_lie;
    to.page_count = TO_PAGES;
    test_view_make(&f->from, &s->from);
    fill(&f->from, random);
    if (!one_cache(f)) {
        test_view_make(&f->to, &to);
        fill(&f->to, random);
    }
    make_pairs(f, random);
    f->params = (clmla_copy_pages_params){
        .pair_count = f->pair_count,
        .pairs = f->pairs.view,
        .from = f->from.rows,
        .to = one_cache(f) ? f->from.rows : f->to.rows,
    };
    if (uses_scratch(f))
        test_buffer_make(&f->scratch, (size_t)clmla_copy_pages_scratch(&f->params.from, f->pair_count), NULL);
    f->params.scratch = f->scratch.view;
    f->run = (test_run){.enqueue = enqueue, .payload = &f->params, .inputs = {&f->pairs}};
    if (!one_cache(f)) test_view_list(f->run.inputs, &f->from);
    test_view_list(f->run.outputs, one_cache(f) ? &f->from : &f->to);
}

static void finish(fixture *f) {
    test_view_free(&f->from);
    test_view_free(&f->to);
    test_buffer_free(&f->pairs);
    test_buffer_free(&f->scratch);
}

static ref_copy_part part_of(const test_view_part *part, unsigned char *bytes) {
    return (ref_copy_part){bytes + part->offset, part->row, part->page, part->head};
}

static void check_result(fixture *f, const char *variant) {
    const shape *s = &f->shape;
    test_view *to = one_cache(f) ? &f->from : &f->to;
    unsigned char *expected[TEST_PARTS] = {NULL};
    for (int b = 0; b < to->buffer_count; b++) {
        expected[b] = test_allocate(to->buffers[b].bytes, 1);
        memcpy(expected[b], to->buffers[b].initial, to->buffers[b].bytes);
    }
    for (int i = 0; i < TEST_PARTS; i++) {
        if (!to->parts[i].buffer) continue;
        ref_copy_part into = part_of(&to->parts[i], expected[to->parts[i].buffer - to->buffers]);
        ref_copy_part from = part_of(&f->from.parts[i], f->from.parts[i].buffer->initial);
        ref_copy_pages(&into, (int64_t)to->rows.page_count, &from, FROM_PAGES,
                       (const int32_t(*)[2])(const void *)f->pairs.initial, f->pair_count, s->from.page_tokens,
                       s->from.kv_heads, to->parts[i].bytes);
    }
    for (int b = 0; b < to->buffer_count; b++) {
        for (size_t i = 0; i < to->buffers[b].bytes; i++)
            TEST_ASSERT(to->buffers[b].found[i] == expected[b][i],
                        "%s: tensor %d: byte %zu of %zu is 0x%02x, expected 0x%02x", variant, b, i,
                        to->buffers[b].bytes, to->buffers[b].found[i], expected[b][i]);
        free(expected[b]);
    }
    if (uses_scratch(f)) test_buffer_fetch(&f->scratch); // its canaries
}

static void check_variants(fixture *f) {
    const test_view_shape *v = &f->shape.from;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.format = v->format, .latent_dim = v->latent, .rope_dim = v->rope, .row_count = f->pair_count};
    size_t count = test_variants(variants, CLMLA_OP_COPY_PAGES, &shape);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        f->params.variant = variants[i].name;
        test_run_twice(&f->run);
        check_result(f, variants[i].name);
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_COPY_PAGES, &shape);
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    return !test_device_get()->short_form || test_widths[chosen[WIDTHS]].latent < 128;
}

static void run_case(int number, const int *chosen) {
    shape s = {
        .from = {.format = (clmla_row_format)chosen[FORMAT],
                 .latent = test_widths[chosen[WIDTHS]].latent,
                 .rope = test_widths[chosen[WIDTHS]].rope,
                 .page_tokens = pages[chosen[PAGE]],
                 .page_count = FROM_PAGES,
                 .kv_heads = head_counts[chosen[HEADS]],
                 .lie = (test_view_lie)chosen[LIE_FROM],
                 .flat_scales = chosen[SCALES]},
        .to_lie = (test_view_lie)chosen[LIE_TO],
        .pairs = chosen[PAIRS],
        .skip = chosen[SKIP],
    };
    test_random random = test_random_make((uint64_t)number + 11000);
    test_case_begin("copy_pages", number,
                    "%s %u + %u, page %u, lie %d to %d, heads %u, pairs %d, skip %d, scales %d, seed %d",
                    clmla_row_format_name(s.from.format), s.from.latent, s.from.rope, s.from.page_tokens,
                    (int)s.from.lie, (int)s.to_lie, s.from.kv_heads, s.pairs, s.skip, chosen[SCALES], number + 11000);
    fixture f;
    make(&f, &s, &random);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {
        .factor_count = FACTORS,
        .levels = {CLMLA_ROW_FORMAT_COUNT, TEST_WIDTHS, 4, TEST_VIEW_LIES, TEST_VIEW_LIES, 2, PAIRS_KINDS, SKIPS, 2},
        .accept = accept,
        .seed = 23};
    pairwise_run(&cases, "copy_pages", run_case);
}
END_TEST

static void make_small(fixture *f, int pairs) {
    test_random random = test_random_make(19);
    shape s = {.from = {CLMLA_ROWS_FP8_PAGED, CLMLA_ROPE_HALVES, 37, 6, 4, FROM_PAGES, 2, TEST_VIEW_GAPS, false},
               .to_lie = TEST_VIEW_HEADS_OUT,
               .pairs = pairs,
               .skip = SKIP_SOME};
    test_case_begin("copy_pages small", pairs, "fp8_paged 37 + 6, 2 heads, page 4, pairs %d", pairs);
    make(f, &s, &random);
}

START_TEST(honours_events) {
    for (int pairs = 0; pairs < PAIRS_KINDS; pairs++) {
        fixture f;
        make_small(&f, pairs);
        test_run_events(&f.run);
        finish(&f);
    }
}
END_TEST

START_TEST(takes_no_pairs) {
    fixture f;
    make_small(&f, PAIRS_TWO_SCRATCH);
    f.params.pair_count = 0;
    test_run_nothing(&f.run);
    finish(&f);
}
END_TEST

START_TEST(tells_scratch) {
    clmla_row_layout layout;
    clmla_rows rows = {.page_tokens = 64};
    TEST_OK(clmla_row_layout_make(&layout, CLMLA_ROWS_FP8, CLMLA_ROPE_INTERLEAVED, 512, 64));
    rows.layout = layout;
    ck_assert_uint_eq(clmla_copy_pages_scratch(&rows, 3), 3 * 64 * 656);
    rows.kv_head_count = 2;
    ck_assert_uint_eq(clmla_copy_pages_scratch(&rows, 3), 2 * 3 * 64 * 656);
    ck_assert_uint_eq(clmla_copy_pages_scratch(&rows, 0), 0);
    ck_assert_uint_eq(clmla_copy_pages_scratch(NULL, 1), 0);
    rows.page_tokens = UINT32_MAX;
    rows.kv_head_count = 1024;
    ck_assert_uint_eq(clmla_copy_pages_scratch(&rows, UINT32_MAX), 0);
    rows.layout.format = CLMLA_ROW_FORMAT_COUNT;
    ck_assert_uint_eq(clmla_copy_pages_scratch(&rows, 1), 0);
}
END_TEST

// --- far pages -----------------------------------------------------------------------------------------------------
// check_far.c takes a whole step there, with the variants chosen; here append, gather and copy go there with each one.

// The furthest of three pages is past 2^31 bytes, or past 2^32 where one allocation may be so large; what is between
// them is never touched, so it costs address space alone.
static cl_mem make_far_memory(uint64_t *page_stride) {
    cl_int code;
    cl_ulong most = 0;
    TEST_CL(clGetDeviceInfo(test_device_get()->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof most, &most, NULL));
    for (uint64_t stride = UINT64_C(2200) << 20; stride >= UINT64_C(1100) << 20; stride /= 2) {
        if (2 * stride + 4096 > most) continue;
        cl_mem memory =
            clCreateBuffer(test_device_get()->cl, CL_MEM_READ_WRITE, (size_t)(2 * stride + 4096), NULL, &code);
        *page_stride = stride;
        if (code == CL_SUCCESS) return memory;
    }
    return NULL;
}

typedef struct far_pages {
    clmla_rows rows; // 3 pages of 2 f32 rows of 16
    test_buffer latent, output, slots, pairs;
} far_pages;

static void make_far(far_pages *wide, cl_mem memory, uint64_t stride) {
    static const int64_t slots[] = {1, 5}; // in pages 0 and 2
    static const int32_t pair[] = {0, 2};
    clmla_row_layout layout;
    test_random random = test_random_make(2);
    TEST_OK(clmla_row_layout_make(&layout, CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 16, 0));
    TEST_OK(clmla_rows_from_tensor(&wide->rows, &layout, (clmla_buffer){memory, 0}, 2, 3));
    wide->rows.latent_page_stride = stride;
    test_buffer_make_rows(&wide->latent, &random, 1, 16, 16, 0, 1);
    test_buffer_make(&wide->output, 16 * sizeof(float), NULL);
    test_buffer_make(&wide->slots, sizeof slots, slots);
    test_buffer_make(&wide->pairs, sizeof pair, pair);
}

static clmla_buffer slot_of(const far_pages *wide, bool far_page) {
    return (clmla_buffer){wide->slots.view.memory, wide->slots.view.offset + (far_page ? sizeof(int64_t) : 0)};
}

static void append_far(far_pages *wide, bool far_page, const char *variant) {
    clmla_append_params append = {.token_count = 1,
                                  .latent = wide->latent.view,
                                  .latent_stride = 16,
                                  .rows = wide->rows,
                                  .places.slots = slot_of(wide, far_page),
                                  .variant = variant};
    wide->latent.initial[0] ^= 1; // another row each time
    test_buffer_reset(&wide->latent);
    TEST_OK(clmla_append(test_device_get()->context, &append, test_device_get()->queue, 0, NULL, NULL));
}

static void check_far(far_pages *wide, const char *variant, const char *what) {
    clmla_gather_params gather = {.token_count = 1,
                                  .rows = wide->rows,
                                  .output = wide->output.view,
                                  .output_stride = 16,
                                  .places.slots = slot_of(wide, true),
                                  .variant = variant};
    test_buffer_reset(&wide->output);
    TEST_OK(clmla_gather(test_device_get()->context, &gather, test_device_get()->queue, 0, NULL, NULL));
    test_buffer_fetch(&wide->output);
    TEST_ASSERT(memcmp(wide->output.found, wide->latent.initial, 16 * sizeof(float)) == 0,
                "page 2 has another row after %s", what);
}

START_TEST(reaches_far_pages) {
    const test_device *device = test_device_get();
    uint64_t stride = 0;
    far_pages wide;
    cl_mem memory = device->facts->is_interpreter ? NULL : make_far_memory(&stride);
    test_case_begin("copy_pages far", 0, "f32 16 + 0, page 2");
    if (!memory) {
        printf("copy_pages: no memory for pages past 2^31 bytes here: not tested\n");
        return;
    }
    make_far(&wide, memory, stride);
    for (int v = 0; v < 2; v++) {
        const char *variant = v ? "naive" : NULL;
        clmla_copy_pages_params copy = {
            .pair_count = 1, .pairs = wide.pairs.view, .from = wide.rows, .to = wide.rows, .variant = variant};
        append_far(&wide, false, variant);
        TEST_OK(clmla_copy_pages(device->context, &copy, device->queue, 0, NULL, NULL));
        check_far(&wide, variant, "a copy");
        append_far(&wide, true, variant);
        check_far(&wide, variant, "an append");
    }
    printf("copy_pages: page 2 at byte %llu\n", (unsigned long long)(2 * stride));
    test_buffer_free(&wide.latent);
    test_buffer_free(&wide.output);
    test_buffer_free(&wide.slots);
    test_buffer_free(&wide.pairs);
    TEST_CL(clReleaseMemObject(memory));
}
END_TEST

// --- refusals ------------------------------------------------------------------------------------------------------

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_copy_pages_params, &f.params, f.params.change, word)
#define LIMITED(change, word) TEST_LIMITED(&f.run, clmla_copy_pages_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f, PAIRS_TWO_SCRATCH);
    REFUSED(pairs = test_buffer_tiny(), "copy_pages: pairs");
    REFUSED(pairs.memory = NULL, "copy_pages: pairs");
    REFUSED(pairs.offset += 2, "copy_pages: pairs");
    REFUSED(scratch = test_buffer_tiny(), "copy_pages: scratch");
    REFUSED(scratch.offset += 2, "copy_pages: scratch");
    REFUSED(from.page_count += 100, "copy_pages: from: rows.latent");
    REFUSED(from.latent = test_buffer_tiny(), "copy_pages: from: rows.latent");
    REFUSED(from.rope.memory = NULL, "copy_pages: from: rows.rope");
    REFUSED(to.scales = test_buffer_tiny(), "copy_pages: to: rows.scales");
    REFUSED(to.latent_row_stride = 4, "copy_pages: to: rows.latent");
    REFUSED(to.layout.format = CLMLA_ROWS_FP8_FLAT, "fp8_paged rows of 37 + 6");
    REFUSED(to.layout.rope_order = CLMLA_ROPE_INTERLEAVED, "order 0");
    REFUSED(to.layout.latent_dim = 36, "36 + 6");
    REFUSED(to.layout.rope_dim = 4, "37 + 4");
    REFUSED(to.page_tokens = 3, "page_tokens");
    LIMITED(from.page_tokens = INT32_MAX / 2 + 1, "page_tokens x kv_head_count: 2147483648 is over the limit");
    REFUSED(from.page_tokens = INT32_MAX / 2, "copy_pages: from: rows.latent"); // within it, but not in its buffers
    REFUSED(to.kv_head_count = 1, "kv_head_count");
    test_run_wrong_waits(&f.run);
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
}
END_TEST

// Bytes that mean something else over there.
START_TEST(refuses_other_scales) {
    test_random random = test_random_make(5);
    shape s = {.from = {CLMLA_ROWS_FP8_FLAT, CLMLA_ROPE_HALVES, 37, 6, 4, FROM_PAGES, 1, TEST_VIEW_APART, true},
               .to_lie = TEST_VIEW_APART,
               .pairs = PAIRS_TWO};
    fixture f;
    test_case_begin("copy_pages scales", 0, "fp8_flat 37 + 6");
    make(&f, &s, &random);
    REFUSED(to.latent_scale *= 2, "copy_pages: from is scaled by 0.375");
    REFUSED(to.rope_scale *= 2, "copy_pages: from is scaled by 0.375");
    REFUSED(to.scales.memory = NULL, "and scales");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, takes_no_pairs);
    tcase_add_test(tcase, tells_scratch);
    tcase_add_test(tcase, reaches_far_pages);
    tcase_add_test(tcase, refuses_wrong_arguments);
    tcase_add_test(tcase, refuses_other_scales);
}

int main(void) {
    return test_main("check_copy_pages", add);
}
