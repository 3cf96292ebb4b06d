// SPDX-License-Identifier: Apache-2.0
// gather: every variant and format reads rows back as they were stored, by slots and through a page table; what is skipped
// becomes zeros.
#include "tests/support/compare.h"
#include "tests/support/rows.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LATENT = 133, ROPE = 6, WIDTH = LATENT + ROPE, STRIDE = WIDTH + 2, PAGE = 5, PAGES = 3, ROWS = PAGE * PAGES, TOKENS = 9 };

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait, cl_event *event) {
    return clmla_gather(test_device_get()->context, payload, queue, count, wait, event);
}

typedef struct fixture {
    clmla_gather_params params;
    test_rows rows;
    test_buffer slots, sequences, indices, table, output;
    double stored[ROWS][WIDTH];
    int64_t slot_of[TOKENS]; // -1 = skipped
    test_run run;
} fixture;

static void make(fixture *f, clmla_row_format format, test_rows_layout layout, bool by_table) {
    // Of two sequences: pages {2, 0} and {1, 9}; page 9 is none. Then what names nothing.
    static const int32_t table[2][2] = {{2, 0}, {1, 9}};
    static const int32_t sequences[TOKENS] = {0, 0, 1, 1, 1, 2, -1, 0, 1}, indices[TOKENS] = {0, 7, 4, 5, 0, 0, 0, 10, -3};
    static const int64_t slots[TOKENS] = {10, 2, 9, -1, 5, ROWS, INT64_MIN, INT64_MAX, -64};
    test_random random = test_random_make(40 + (uint64_t)format);
    *f = (fixture){0};
    test_rows_make(&f->rows, format, LATENT, ROPE, PAGE, PAGES, layout);
    for (int i = 0; i < ROWS; i++) {
        float values[WIDTH];
        test_random_fill(&random, values, WIDTH, 0.0, 1.0);
        test_rows_store(f->stored[i], &f->rows, (uint64_t)i / PAGE, (uint32_t)i % PAGE, values);
    }
    test_rows_upload(&f->rows);
    test_buffer_make(&f->slots, sizeof slots, slots);
    test_buffer_make(&f->sequences, sizeof sequences, sequences);
    test_buffer_make(&f->indices, sizeof indices, indices);
    test_buffer_make(&f->table, sizeof table, table);
    test_buffer_make(&f->output, sizeof(float) * TOKENS * STRIDE, NULL);
    for (int t = 0; t < TOKENS; t++) f->slot_of[t] = slots[t] >= 0 && slots[t] < ROWS ? slots[t] : -1;
    f->params = (clmla_gather_params){.token_count = TOKENS, .rows = f->rows.view, .output = f->output.view, .output_stride = STRIDE};
    if (by_table)
        f->params.places = (clmla_row_places){.sequences = f->sequences.view,
                                              .indices = f->indices.view,
                                              .sequence_count = 2,
                                              .page_table = f->table.view,
                                              .page_table_stride = 2};
    else
        f->params.places.slots = f->slots.view;
    f->run = (test_run){.enqueue = enqueue, .payload = &f->params, .outputs = {&f->output}};
    test_rows_inputs(f->run.inputs, &f->rows);
}

static void finish(fixture *f) {
    test_rows_free(&f->rows);
    test_buffer_free(&f->slots);
    test_buffer_free(&f->sequences);
    test_buffer_free(&f->indices);
    test_buffer_free(&f->table);
    test_buffer_free(&f->output);
}

static void compare(const fixture *f, const char *variant) {
    static const double zeros[WIDTH];
    for (int t = 0; t < TOKENS; t++) {
        const float *found = test_buffer_found(&f->output) + t * STRIDE;
        test_compare_rows(found, STRIDE, f->slot_of[t] < 0 ? zeros : f->stored[f->slot_of[t]], 1, WIDTH, 1e-7, variant);
        TEST_ASSERT(isnan(found[WIDTH]) && isnan(found[WIDTH + 1]), "%s: token %d: written past its row", variant, t);
    }
}

START_TEST(reads_rows_as_stored) {
    for (int layout = 0; layout < TEST_ROWS_LAYOUTS; layout++)
        for (int by_table = 0; by_table < 2; by_table++) {
            fixture f;
            clmla_variant variants[TEST_VARIANTS_MAX];
            test_case_begin("gather", layout * 2 + by_table, "%s", clmla_row_format_name((clmla_row_format)_i));
            make(&f, (clmla_row_format)_i, (test_rows_layout)layout, by_table);
            clmla_shape shape = {.format = (clmla_row_format)_i, .latent_dim = LATENT, .rope_dim = ROPE, .row_count = TOKENS};
            size_t count = test_variants(variants, CLMLA_OP_GATHER, &shape);
            for (size_t v = 0; v < count; v++) {
                if (!variants[v].accepted) continue;
                f.params.variant = variants[v].name;
                test_run_twice(&f.run);
                compare(&f, variants[v].name);
            }
            finish(&f);
        }
}
END_TEST

START_TEST(refuses_wrong_arguments) {
    fixture f;
    test_case_begin("gather arguments", 0, "f16");
    make(&f, CLMLA_ROWS_F16, TEST_ROWS_DENSE, false);
    TEST_REFUSED(&f.run, clmla_gather_params, &f.params, f.params.output = test_buffer_tiny(), "output");
    TEST_REFUSED(&f.run, clmla_gather_params, &f.params, f.params.output_stride = WIDTH - 1, "output");
    TEST_REFUSED(&f.run, clmla_gather_params, &f.params, f.params.places.slots = test_buffer_tiny(), "slots");
    TEST_REFUSED(&f.run, clmla_gather_params, &f.params, f.params.rows.latent = test_buffer_tiny(), "rows.latent");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, reads_rows_as_stored, 0, CLMLA_ROW_FORMAT_COUNT);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_gather", add);
}
