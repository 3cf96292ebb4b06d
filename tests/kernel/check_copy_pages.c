// SPDX-License-Identifier: Apache-2.0
// copy_pages: every variant moves whole pages, in cycles through scratch or directly, and touches nothing else.
#include "tests/support/rows.h"
#include "tests/support/variants.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LATENT = 37, ROPE = 6, WIDTH = LATENT + ROPE, PAGE = 3, PAGES = 5, ROWS = PAGE * PAGES, PAIRS = 5 };

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait, cl_event *event) {
    return clmla_copy_pages(test_device_get()->context, payload, queue, count, wait, event);
}

static void check(clmla_row_format format, test_rows_layout layout, bool scratch, const char *variant) {
    // A cycle of three, and pairs that name no page; without scratch no page is both read and written.
    static const int32_t cycle[PAIRS][2] = {{0, 1}, {1, 4}, {4, 0}, {-1, 2}, {2, PAGES}}, apart[PAIRS][2] = {{0, 1}, {0, 4}, {3, 2}, {9, 2}, {3, -7}};
    const int32_t(*pairs)[2] = scratch ? cycle : apart;
    double stored[ROWS][WIDTH], found[WIDTH];
    test_rows rows;
    test_buffer list, room;
    test_random random = test_random_make(60);
    test_rows_make(&rows, format, LATENT, ROPE, PAGE, PAGES, layout);
    for (int i = 0; i < ROWS; i++) {
        float values[WIDTH];
        test_random_fill(&random, values, WIDTH, 0.0, 1.0);
        test_rows_store(stored[i], &rows, (uint64_t)i / PAGE, (uint32_t)i % PAGE, values);
    }
    test_rows_upload(&rows);
    test_buffer_make(&list, sizeof cycle, pairs);
    uint64_t bytes = clmla_copy_pages_scratch(&rows.view, PAIRS);
    TEST_ASSERT(bytes > 0, "no scratch is needed for %d pages", PAIRS);
    test_buffer_make(&room, (size_t)bytes, NULL);
    clmla_copy_pages_params params = {.pair_count = PAIRS, .pairs = list.view, .from = rows.view, .to = rows.view, .variant = variant};
    if (scratch) params.scratch = room.view;
    test_run run = {.enqueue = enqueue, .payload = &params, .inputs = {&list}};
    test_buffer *all[8] = {NULL};
    int count = test_rows_inputs(all, &rows);
    for (int i = 0; i < count; i++) run.outputs[i] = all[i];
    test_run_twice(&run);
    for (int i = 0; i < ROWS; i++) {
        int from = i / PAGE;
        for (int p = 0; p < PAIRS; p++)
            if (pairs[p][1] == i / PAGE && pairs[p][0] >= 0 && pairs[p][0] < PAGES) from = pairs[p][0];
        test_rows_load(found, &rows, (uint64_t)i / PAGE, (uint32_t)i % PAGE);
        TEST_ASSERT(memcmp(found, stored[from * PAGE + i % PAGE], sizeof found) == 0, "%s: row %d is not that of page %d", variant, i, from);
    }
    test_rows_free(&rows);
    test_buffer_free(&list);
    test_buffer_free(&room);
}

START_TEST(moves_pages) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.format = (clmla_row_format)_i, .latent_dim = LATENT, .rope_dim = ROPE};
    size_t count = test_variants(variants, CLMLA_OP_COPY_PAGES, &shape);
    for (int layout = 0; layout < TEST_ROWS_LAYOUTS; layout++)
        for (size_t v = 0; v < count; v++)
            for (int scratch = 0; variants[v].accepted && scratch < 2; scratch++) {
                test_case_begin("copy_pages", layout * 2 + scratch, "%s", clmla_row_format_name((clmla_row_format)_i));
                check((clmla_row_format)_i, (test_rows_layout)layout, scratch, variants[v].name);
            }
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, moves_pages, 0, CLMLA_ROW_FORMAT_COUNT);
}

int main(void) {
    return test_main("check_copy_pages", add);
}
