// SPDX-License-Identifier: Apache-2.0
// Row formats and layouts: names, byte sizes, limits, and the view of one tensor.
#include "lib/rows.h"
#include "tests/support/suite.h"
#include <check.h>
#include <clmla/config.h>
#include <string.h>

// Never used as one: only its presence and the arithmetic around it count.
static const clmla_buffer somewhere = {(cl_mem)0x40, 256};

START_TEST(names) {
    clmla_row_format format = CLMLA_ROW_FORMAT_COUNT;
    ck_assert_int_eq(clmla_row_format_parse(&format, "bf16"), CLMLA_OK);
    ck_assert_int_eq(format, CLMLA_ROWS_BF16);
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) {
        ck_assert_int_eq(clmla_row_format_parse(&format, clmla_row_format_name((clmla_row_format)f)), CLMLA_OK);
        ck_assert_int_eq(format, f);
    }
    ck_assert_str_eq(clmla_row_format_name(CLMLA_ROW_FORMAT_COUNT), "?");
    ck_assert_str_eq(clmla_row_format_name((clmla_row_format)-1), "?");
    format = CLMLA_ROWS_F16;
    ck_assert_int_eq(clmla_row_format_parse(&format, "fp7"), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(format, CLMLA_ROWS_F16);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "fp7"));
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "f32, f16, bf16"));
    ck_assert_int_eq(clmla_row_format_parse(&format, NULL), CLMLA_E_ARGUMENT);
}
END_TEST

static const struct {
    clmla_row_format format;
    uint32_t latent, rope, rope_offset, row_bytes;
} layouts[] = {
    {CLMLA_ROWS_F32, 512, 64, 2048, 2304},
    {CLMLA_ROWS_F16, 512, 64, 1024, 1152},
    {CLMLA_ROWS_BF16, 512, 64, 1024, 1152},
    {CLMLA_ROWS_F16, 512, 0, 1024, 1024},
    {CLMLA_ROWS_F16, 256, 32, 512, 576},
    {CLMLA_ROWS_F32, 1, 0, 4, 4},
    {CLMLA_ROWS_F16, 1, 0, 4, 4},
    {CLMLA_ROWS_F16, 5, 3, 12, 20},
    {CLMLA_ROWS_BF16, 7, 2, 16, 20},
    {CLMLA_ROWS_F32, 65536, 256, 1 << 18, (1 << 18) + 1024},
    {CLMLA_ROWS_Q8, 512, 64, 544, 612},
    {CLMLA_ROWS_Q8, 512, 0, 544, 544},
    {CLMLA_ROWS_Q8, 448, 64, 476, 544},
    {CLMLA_ROWS_Q8, 256, 64, 272, 340},
    {CLMLA_ROWS_Q8, 256, 32, 272, 308},
    {CLMLA_ROWS_Q8, 128, 16, 136, 156},
    {CLMLA_ROWS_Q8, 64, 16, 68, 88},
    {CLMLA_ROWS_Q8, 37, 6, 44, 56},
    {CLMLA_ROWS_Q6, 512, 64, 408, 468},
    {CLMLA_ROWS_Q6, 512, 0, 408, 408},
    {CLMLA_ROWS_Q6, 448, 64, 360, 420},
    {CLMLA_ROWS_Q6, 256, 64, 208, 268},
    {CLMLA_ROWS_Q6, 256, 32, 208, 240},
    {CLMLA_ROWS_Q6, 128, 16, 104, 124},
    {CLMLA_ROWS_Q6, 64, 16, 56, 76},
    {CLMLA_ROWS_Q6, 40, 6, 40, 56},
    {CLMLA_ROWS_Q5, 512, 64, 372, 432},
    {CLMLA_ROWS_Q5, 512, 0, 372, 372},
    {CLMLA_ROWS_Q5, 448, 64, 328, 388},
    {CLMLA_ROWS_Q5, 256, 64, 188, 248},
    {CLMLA_ROWS_Q5, 256, 32, 188, 220},
    {CLMLA_ROWS_Q5, 128, 16, 96, 116},
    {CLMLA_ROWS_Q5, 64, 16, 52, 72},
    {CLMLA_ROWS_Q5, 40, 6, 52, 68},
    {CLMLA_ROWS_Q4, 512, 64, 280, 340},
    {CLMLA_ROWS_Q4, 512, 0, 280, 280},
    {CLMLA_ROWS_Q4, 448, 64, 248, 308},
    {CLMLA_ROWS_Q4, 256, 64, 144, 204},
    {CLMLA_ROWS_Q4, 256, 32, 144, 176},
    {CLMLA_ROWS_Q4, 128, 16, 72, 92},
    {CLMLA_ROWS_Q4, 64, 16, 40, 60},
    {CLMLA_ROWS_Q4, 40, 6, 28, 44},
    {CLMLA_ROWS_Q4, 1, 0, 8, 8},
};

START_TEST(layout) {
    clmla_row_layout made;
    ck_assert_int_eq(
        clmla_row_layout_make(&made, layouts[_i].format, CLMLA_ROPE_HALVES, layouts[_i].latent, layouts[_i].rope),
        CLMLA_OK);
    ck_assert_int_eq(made.format, layouts[_i].format);
    ck_assert_int_eq(made.rope_order, CLMLA_ROPE_HALVES);
    ck_assert_uint_eq(made.latent_dim, layouts[_i].latent);
    ck_assert_uint_eq(made.rope_dim, layouts[_i].rope);
    ck_assert_uint_eq(made.rope_offset, layouts[_i].rope_offset);
    ck_assert_uint_eq(made.row_bytes, layouts[_i].row_bytes);
}
END_TEST

static const struct {
    int format, order;
    uint32_t latent, rope;
    clmla_status status;
    const char *word;
} bad_layouts[] = {
    {CLMLA_ROW_FORMAT_COUNT, 0, 64, 16, CLMLA_E_ARGUMENT, "format"},
    {-1, 0, 64, 16, CLMLA_E_ARGUMENT, "format"},
    {CLMLA_ROWS_F32, 2, 64, 16, CLMLA_E_ARGUMENT, "order"},
    {CLMLA_ROWS_F32, 0, 0, 16, CLMLA_E_ARGUMENT, "latent_dim"},
    {CLMLA_ROWS_F32, 0, CLMLA_MAX_DIM + 1, 16, CLMLA_E_LIMIT, "65537"},
    {CLMLA_ROWS_F32, 0, UINT32_MAX, 16, CLMLA_E_LIMIT, "4294967295"},
    {CLMLA_ROWS_F32, 0, 64, CLMLA_MAX_ROPE_DIM + 1, CLMLA_E_LIMIT, "rope_dim"},
};

START_TEST(layout_refused) {
    clmla_row_layout made = {.row_bytes = 77};
    ck_assert_int_eq(clmla_row_layout_make(&made, (clmla_row_format)bad_layouts[_i].format,
                                           (clmla_rope_order)bad_layouts[_i].order, bad_layouts[_i].latent,
                                           bad_layouts[_i].rope),
                     bad_layouts[_i].status);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), bad_layouts[_i].word));
    ck_assert_uint_eq(made.row_bytes, 77);
}
END_TEST

START_TEST(tensor_view) {
    clmla_row_layout made;
    clmla_rows rows;
    ck_assert_int_eq(clmla_row_layout_make(&made, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 512, 64), CLMLA_OK);
    ck_assert_int_eq(clmla_rows_from_tensor(&rows, &made, somewhere, 64, 10), CLMLA_OK);
    ck_assert_uint_eq(rows.page_tokens, 64);
    ck_assert_uint_eq(rows.page_count, 10);
    ck_assert_uint_eq(rows.latent.offset, 256);
    ck_assert_uint_eq(rows.rope.offset, 256 + 1024);
    ck_assert_ptr_eq(rows.rope.memory, somewhere.memory);
    ck_assert_uint_eq(rows.latent_row_stride, 1152);
    ck_assert_uint_eq(rows.rope_row_stride, 1152);
    ck_assert_uint_eq(rows.latent_page_stride, 64 * 1152);
    ck_assert_uint_eq(rows.rope_page_stride, 64 * 1152);

    ck_assert_int_eq(clmla_row_layout_make(&made, CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 65536, 0), CLMLA_OK);
    ck_assert_int_eq(clmla_rows_from_tensor(&rows, &made, somewhere, CLMLA_MAX_CONTEXT, 2),
                     CLMLA_OK); // no 32-bit product
    ck_assert_uint_eq(rows.latent_page_stride, (uint64_t)CLMLA_MAX_CONTEXT * 65536 * 4);
    ck_assert_ptr_null(rows.rope.memory);
}
END_TEST

START_TEST(tensor_view_refused) {
    clmla_row_layout made;
    clmla_rows rows = {.page_tokens = 5};
    clmla_buffer none = {NULL, 0}, late = {somewhere.memory, UINT64_MAX - 4096};
    ck_assert_int_eq(clmla_row_layout_make(&made, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 512, 64), CLMLA_OK);
    ck_assert_int_eq(clmla_rows_from_tensor(&rows, &made, none, 64, 10), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_rows_from_tensor(&rows, &made, somewhere, 0, 10), CLMLA_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "page_tokens"));
    ck_assert_int_eq(clmla_rows_from_tensor(&rows, &made, somewhere, 64, UINT64_MAX / 64), CLMLA_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "64 bits"));
    ck_assert_int_eq(clmla_rows_from_tensor(&rows, &made, late, 64, 1), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_rows_from_tensor(&rows, NULL, somewhere, 64, 1), CLMLA_E_ARGUMENT);
    ck_assert_uint_eq(rows.page_tokens, 5);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, names);
    tcase_add_loop_test(tests, layout, 0, sizeof layouts / sizeof *layouts);
    tcase_add_loop_test(tests, layout_refused, 0, sizeof bad_layouts / sizeof *bad_layouts);
    tcase_add_test(tests, tensor_view);
    tcase_add_test(tests, tensor_view_refused);
}

int main(void) {
    return test_run_apart("rows", add_tests);
}
