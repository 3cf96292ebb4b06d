// SPDX-License-Identifier: Apache-2.0
// Paged caches on the device in every format and every way their parts may lie. All bytes start as NaN.
#ifndef TEST_ROW_VIEW_H
#define TEST_ROW_VIEW_H

#include "tests/ref/ref_row.h"
#include "tests/support/buffer.h"

typedef enum test_view_lie {
    TEST_VIEW_DENSE,     // clmla_rows_from_tensor; with several kv heads, the heads of a row one after the other
    TEST_VIEW_GAPS,      // one tensor with gaps between heads, rows and pages
    TEST_VIEW_APART,     // parts in tensors of their own, each with gaps of its own
    TEST_VIEW_HEADS_OUT, // parts in tensors of their own, and so is each kv head's
    TEST_VIEW_LIES
} test_view_lie;

typedef struct test_view_shape {
    clmla_row_format format;
    clmla_rope_order order;
    uint32_t latent, rope, page_tokens, page_count, kv_heads;
    test_view_lie lie;
    bool flat_scales; // fp8_flat: with group scales
} test_view_shape;

enum { TEST_LATENT, TEST_ROPE, TEST_SCALES, TEST_PARTS };

// One part: in which of the buffers, and where.
typedef struct test_view_part {
    test_buffer *buffer;
    size_t offset, row, page, head, bytes; // bytes: of one row and head, unpadded
} test_view_part;

typedef struct test_view {
    clmla_rows rows;
    ref_row_kind kind;
    test_view_part parts[TEST_PARTS]; // buffer NULL: there is none
    test_buffer buffers[TEST_PARTS];  // as many as are used
    int buffer_count;
} test_view;

// Parts point into *out: it must stay where it is.
void test_view_make(test_view *out, const test_view_shape *shape);
void test_view_free(test_view *view);
// Adds its buffers to a list that NULL ends.
void test_view_list(test_buffer **list, test_view *view);
// Writes the initial bytes to the device.
void test_view_upload(test_view *view);

// A row's parts in the initial or the found bytes of the buffers.
ref_row test_view_row(const test_view *view, bool found, int64_t page, int64_t row, uint32_t head);

// Asserts that a row's found bytes mean what `expected` has (a NaN may be any NaN; quantised formats: are those bytes),
// then puts its initial bytes in their place, so that test_view_check_untouched tells whether anything else was
// written.
void test_view_compare_row(test_view *view, const ref_row *expected, int64_t page, int64_t row, uint32_t head,
                           const char *variant);
void test_view_check_untouched(const test_view *view, const char *variant);

#endif
