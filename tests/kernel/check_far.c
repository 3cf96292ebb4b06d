// SPDX-License-Identifier: Apache-2.0
// Offsets past 2^31 elements and 2^32 bytes: the same step over a small cache and over one whose pages lie as far apart
// as the device's largest buffer allows, queries and outputs at its far end too. All results must have the same bits.
// Only the pages in use are ever touched, so a buffer of 5 GiB costs little memory.
#include "tests/support/buffer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAR_BYTES (5ull << 30)
enum { PAGES = 3, PAGE = 4, TOKENS = PAGES * PAGE, HEADS_MOST = 5, WIDTH_MOST = 576, ARRAY_BYTES = 32768 };

// Widths and heads that check_attend.c and check_attend_sparse.c have too: the driver keeps what it compiled for them.
typedef struct kind {
    clmla_row_format format;
    uint32_t latent, rope, value;
    // 3 are few rows, which read keys another way: of rows that are read where they lie, and of converted ones
    uint32_t heads;
    uint32_t heads_kept; // of few programs, where other tests have these; 0 = the same
    bool lists; // ... and lists of slots, and the naive variants: of one plain, one scaled and one quantised format
} kind;
static const kind kinds[] = {
    {CLMLA_ROWS_F16, 37, 6, 37, 3, 0, true},      {CLMLA_ROWS_FP8, 512, 64, 512, 5, 0, true},
    {CLMLA_ROWS_Q5, 40, 6, 43, 3, 0, true},       {CLMLA_ROWS_F32, 512, 64, 512, 5, 0, false},
    {CLMLA_ROWS_BF16, 448, 64, 512, 5, 0, false}, {CLMLA_ROWS_FP8_FLAT, 64, 16, 70, 5, 3, false},
    {CLMLA_ROWS_Q8, 512, 64, 512, 3, 5, false},   {CLMLA_ROWS_Q6, 256, 64, 256, 5, 3, false},
    {CLMLA_ROWS_Q4, 64, 16, 70, 5, 3, false}};

// One cache and what a step reads and writes, all in one buffer.
typedef struct place {
    const kind *kind;
    cl_mem memory;
    clmla_rows rows;
    clmla_buffer query, output, gathered;
    float attended[HEADS_MOST * WIDTH_MOST], sparse[HEADS_MOST * WIDTH_MOST], dense[TOKENS * WIDTH_MOST];
} place;

// With CLMLA_TEST_FULL=1 of every format.
static bool has_lists(const kind *k) {
    const char *full = getenv("CLMLA_TEST_FULL");
    return k->lists || (full && strcmp(full, "1") == 0);
}

static uint32_t width_of(const kind *k) {
    return k->latent + k->rope;
}

static cl_mem buffer_of(size_t bytes, const void *data) {
    cl_int code;
    cl_mem memory =
        clCreateBuffer(test_device_get()->cl, data ? CL_MEM_COPY_HOST_PTR : 0, bytes, (void *)(uintptr_t)data, &code);
    TEST_CL(code);
    return memory;
}

// Pages `stride` bytes apart; the step's own arrays follow the last page.
static void place_make(place *p, const clmla_row_layout *layout, uint64_t stride) {
    uint64_t page = (uint64_t)PAGE * layout->row_bytes, end = stride * (PAGES - 1) + page;
    end = (end + 63) / 64 * 64;
    p->memory = buffer_of((size_t)(end + 3 * ARRAY_BYTES), NULL);
    TEST_OK(clmla_rows_from_tensor(&p->rows, layout, (clmla_buffer){p->memory, 0}, PAGE, PAGES));
    p->rows.latent_page_stride = p->rows.rope_page_stride = stride;
    p->query = (clmla_buffer){p->memory, end};
    p->output = (clmla_buffer){p->memory, end + ARRAY_BYTES};
    p->gathered = (clmla_buffer){p->memory, end + 2 * ARRAY_BYTES};
}

static void fetch(const place *p, clmla_buffer from, size_t bytes, void *to) {
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, p->memory, CL_TRUE, (size_t)from.offset, bytes, to, 0, NULL,
                                NULL));
}

static void append(place *p, const float *values, cl_mem slots) {
    const test_device *device = test_device_get();
    uint32_t width = width_of(p->kind);
    cl_mem input = buffer_of(sizeof(float) * TOKENS * width, values);
    clmla_append_params params = {.token_count = TOKENS,
                                  .latent = {input, 0},
                                  .latent_stride = width,
                                  .rope = {input, p->kind->latent * sizeof(float)},
                                  .rope_stride = width,
                                  .places = {.slots = {slots, 0}},
                                  .rows = p->rows};
    TEST_OK(clmla_append(device->context, &params, device->queue, 0, NULL, NULL));
    TEST_CL(clFinish(device->queue));
    clReleaseMemObject(input);
}

static clmla_plan *plan_of(const clmla_row_layout *layout, const kind *k, uint32_t keys, const char *variant) {
    const test_device *device = test_device_get();
    clmla_plan *plan;
    clmla_plan_params params = {
        .head_count = k->heads, .layout = *layout, .value_dim = k->value, .attend_variant = variant};
    clmla_lengths lengths = {.sequence_count = 1, .kv_tokens = &keys};
    TEST_OK(clmla_plan_create(&plan, device->context, &params));
    TEST_OK(clmla_plan_update_lengths(plan, &lengths, device->queue, 0, NULL, NULL));
    return plan;
}

static void attend(place *p, const float *queries, clmla_plan *plan) {
    const test_device *device = test_device_get();
    const int32_t pages[PAGES] = {2, 0, 1}, slots[TOKENS] = {9, 0, 4, 11, -1, 5, 9};
    uint32_t width = width_of(p->kind);
    size_t bytes = sizeof(float) * p->kind->heads * p->kind->value;
    cl_mem table = buffer_of(sizeof pages, pages), indices = buffer_of(sizeof slots, slots);
    TEST_CL(clEnqueueWriteBuffer(device->queue, p->memory, CL_TRUE, (size_t)p->query.offset,
                                 sizeof(float) * p->kind->heads * width, queries, 0, NULL, NULL));
    clmla_attend_params params = {.query = p->query,
                                  .query_token_stride = p->kind->heads * width,
                                  .query_head_stride = width,
                                  .rows = p->rows,
                                  .page_table = {table, 0},
                                  .page_table_stride = PAGES,
                                  .softmax_scale = 0.2f,
                                  .output = p->output};
    TEST_OK(clmla_attend(plan, &params, device->queue, 0, NULL, NULL));
    fetch(p, p->output, bytes, p->attended);
    clmla_attend_scope scope = {
        .rows = p->rows, .indices = {indices, 0}, .index_stride = TOKENS, .index_count = TOKENS};
    params.page_table = (clmla_buffer){0};
    params.page_table_stride = 0;
    params.scopes = &scope;
    params.scope_count = 1;
    if (has_lists(p->kind)) {
        TEST_OK(clmla_attend(plan, &params, device->queue, 0, NULL, NULL));
        fetch(p, p->output, bytes, p->sparse);
    }
    clReleaseMemObject(table);
    clReleaseMemObject(indices);
}

// Page 0 becomes a copy of the last one, and everything is read back.
static void copy_and_gather(place *p, cl_mem slots) {
    const test_device *device = test_device_get();
    const int32_t pair[2] = {PAGES - 1, 0};
    cl_mem pairs = buffer_of(sizeof pair, pair);
    clmla_copy_pages_params copy = {.pair_count = 1, .pairs = {pairs, 0}, .from = p->rows, .to = p->rows};
    TEST_OK(clmla_copy_pages(device->context, &copy, device->queue, 0, NULL, NULL));
    clmla_gather_params gather = {.token_count = TOKENS,
                                  .places = {.slots = {slots, 0}},
                                  .rows = p->rows,
                                  .output = p->gathered,
                                  .output_stride = width_of(p->kind)};
    TEST_OK(clmla_gather(device->context, &gather, device->queue, 0, NULL, NULL));
    fetch(p, p->gathered, sizeof(float) * TOKENS * width_of(p->kind), p->dense);
    clReleaseMemObject(pairs);
}

static void run_step(place *p, const clmla_row_layout *layout, uint64_t stride, const char *variant) {
    static float values[TOKENS * WIDTH_MOST], queries[HEADS_MOST * WIDTH_MOST];
    test_random random = test_random_make(31);
    int64_t order[TOKENS];
    for (int t = 0; t < TOKENS; t++) order[t] = t;
    test_random_fill(&random, values, TOKENS * width_of(p->kind), 0.0, 1.0);
    test_random_fill(&random, queries, p->kind->heads * width_of(p->kind), 0.0, 1.0);
    cl_mem slots = buffer_of(sizeof order, order);
    place_make(p, layout, stride);
    append(p, values, slots);
    clmla_plan *plan = plan_of(layout, p->kind, TOKENS, variant);
    attend(p, queries, plan);
    copy_and_gather(p, slots);
    clmla_plan_destroy(&plan);
    clReleaseMemObject(slots);
    clReleaseMemObject(p->memory);
}

START_TEST(far_pages_are_as_near_ones) {
    static const char *const variants[] = {NULL, "naive"};
    bool short_form = test_device_get()->short_form;
    const test_device *device = test_device_get();
    static place near, far;
    clmla_row_layout layout;
    static kind chosen;
    chosen = kinds[_i];
    if (device->few_programs && chosen.heads_kept) chosen.heads = chosen.heads_kept;
    const kind *k = near.kind = far.kind = &chosen;
    size_t bytes = sizeof(float) * k->heads * k->value, width = width_of(k);
    TEST_OK(clmla_row_layout_make(&layout, k->format, CLMLA_ROPE_INTERLEAVED, k->latent, k->rope));
    // The short form has no far pages: it would be programs to compile alone, half a minute each on Intel's runtime.
    // Oclgrind, which compiles nothing, takes one format.
    if (test_left_out(short_form && (k->format != CLMLA_ROWS_F16 || !device->facts->is_interpreter), "far %s rows",
                      clmla_row_format_name(k->format)))
        return;
    uint64_t most = device->facts->max_buffer_bytes < FAR_BYTES ? device->facts->max_buffer_bytes : FAR_BYTES;
    if (short_form) most = 1 << 20;
    uint64_t stride = (most - 4 * ARRAY_BYTES) / PAGES / 64 * 64;
    uint64_t end = stride * (PAGES - 1);
    if (k->format == CLMLA_ROWS_F16)
        printf("the last page lies at byte %llu: %s 2^31, %s 2^32 (the device's largest buffer has %llu bytes)\n",
               (unsigned long long)end, end >> 31 ? "past" : "below", end >> 32 ? "past" : "below",
               (unsigned long long)device->facts->max_buffer_bytes);
    for (int v = 0; v < (has_lists(k) ? 2 : 1); v++) {
        run_step(&near, &layout, (uint64_t)PAGE * layout.row_bytes, variants[v]);
        run_step(&far, &layout, stride, variants[v]);
        ck_assert_int_eq(memcmp(near.attended, far.attended, bytes), 0);
        if (has_lists(k)) ck_assert(memcmp(near.sparse, far.sparse, bytes) == 0 && near.sparse[0] != 0.0f);
        ck_assert_int_eq(memcmp(near.dense, far.dense, sizeof(float) * TOKENS * width), 0);
        ck_assert_int_eq(memcmp(near.dense, near.dense + (TOKENS - PAGE) * width, sizeof(float) * PAGE * width), 0);
        ck_assert(near.attended[0] != 0.0f && near.dense[0] != 0.0f);
    }
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, far_pages_are_as_near_ones, 0, sizeof kinds / sizeof *kinds);
}

int main(void) {
    return test_main("check_far", add);
}
