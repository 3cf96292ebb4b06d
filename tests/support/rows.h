// SPDX-License-Identifier: Apache-2.0
// Cached rows on the device in every way they may lie. All bytes start as NaN.
#ifndef TEST_ROWS_H
#define TEST_ROWS_H

#include "tests/support/buffer.h"
#include "tests/support/weights.h"

typedef enum test_rows_layout {
    TEST_ROWS_DENSE,     // clmla_rows_from_tensor; several kv heads side by side in a row
    TEST_ROWS_PAGES_GAP, // a page stride longer than the page
    TEST_ROWS_ROWS_GAP,  // a row stride longer than the row, and a gap between pages
    TEST_ROWS_APART, // the parts in tensors of their own, each with gaps and kv head after kv head; fp8_flat has scales
    TEST_ROWS_LAYOUTS
} test_rows_layout;

// The widths tests go through: (latent, rope).
typedef struct test_width {
    uint32_t latent, rope;
} test_width;
#define TEST_WIDTHS 8
extern const test_width test_widths[TEST_WIDTHS];

typedef struct test_rows {
    clmla_rows view;
    test_buffer latent, rope, scales; // rope and scales only when apart
} test_rows;

void test_rows_make(test_rows *out, clmla_row_format format, uint32_t latent, uint32_t rope, uint32_t page_tokens,
                    uint64_t page_count, test_rows_layout layout);
void test_rows_make_heads(test_rows *out, clmla_row_format format, uint32_t latent, uint32_t rope, uint32_t page_tokens,
                          uint64_t page_count, test_rows_layout layout, uint32_t kv_heads);
void test_rows_free(test_rows *rows);

// Writes a row (latent then rope values) into the host copies, rounded to the format, and gives the values as stored.
// Scales are the least that hold the values; fp8_paged's a power of two. test_rows_upload then brings all of it to the
// device.
void test_rows_store(double *stored, test_rows *rows, uint64_t page, uint32_t row, const float *values);
void test_rows_store_head(double *stored, test_rows *rows, uint64_t page, uint32_t row, uint32_t kv_head,
                          const float *values);
void test_rows_upload(test_rows *rows);

// Decodes a row as `found` holds it.
void test_rows_load(double *out, const test_rows *rows, uint64_t page, uint32_t row);

// Adds its buffers to a list that NULL ends; answers the number added.
int test_rows_inputs(test_buffer **list, test_rows *rows);

#endif
