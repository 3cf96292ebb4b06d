// SPDX-License-Identifier: Apache-2.0
// Views of rows, as append and attend check them: strides, and every reachable byte inside its buffer.
#include "lib/rows.h"
#include "tests/api/expect.h"
#include <stddef.h>
#include <string.h>

// Rows of 16 + 4 f16 values in a buffer of 4096 bytes; each case changes a view of 3 pages of 5 rows.
static const struct {
    const char *what;
    size_t offset; // of the 64-bit field changed
    uint64_t value;
    clmla_status status;
    const char *word;
} views[] = {
    {"row stride not of 4", offsetof(clmla_rows, latent_row_stride), 42, CLMLA_E_ARGUMENT, "rows.latent"},
    {"page stride not of 4", offsetof(clmla_rows, rope_page_stride), 202, CLMLA_E_ARGUMENT, "rows.rope"},
    {"overlapping rows", offsetof(clmla_rows, latent_row_stride), 28, CLMLA_E_ARGUMENT, "row stride of 28"},
    {"overlapping pages", offsetof(clmla_rows, latent_page_stride), 188, CLMLA_E_ARGUMENT, "page stride of 188"},
    {"pages closer than they were", offsetof(clmla_rows, latent_page_stride), 192, CLMLA_OK, ""},
    {"pages far apart", offsetof(clmla_rows, latent_page_stride), (4096 - 192) / 8 * 4, CLMLA_OK, ""},
    {"4 bytes too far", offsetof(clmla_rows, latent_page_stride), (4096 - 192) / 8 * 4 + 4, CLMLA_E_ARGUMENT, "4096"},
    {"page stride past 64 bits", offsetof(clmla_rows, latent_page_stride), UINT64_MAX - 3, CLMLA_E_LIMIT, "64 bits"},
    {"row stride past 64 bits", offsetof(clmla_rows, latent_row_stride), UINT64_MAX - 3, CLMLA_E_LIMIT, "64 bits"},
    {"offset too far", offsetof(clmla_rows, latent.offset), 4096 - 8, CLMLA_E_ARGUMENT, "rows.latent"},
    {"offset past 64 bits", offsetof(clmla_rows, latent.offset), UINT64_MAX - 3, CLMLA_E_ARGUMENT, "rows.latent"},
    {"offset not of 4", offsetof(clmla_rows, rope.offset), 34, CLMLA_E_ARGUMENT, "rows.rope"},
    {"no pages", offsetof(clmla_rows, page_count), 0, CLMLA_OK, ""},
    {"too many pages", offsetof(clmla_rows, page_count), 22, CLMLA_E_ARGUMENT, "4096"},
    {"slots past 63 bits", offsetof(clmla_rows, page_count), UINT64_MAX, CLMLA_E_LIMIT, "63 bits"},
};

static clmla_rows make_view(cl_mem memory, uint32_t page_tokens, uint64_t page_count) {
    clmla_row_layout layout;
    clmla_rows rows;
    TEST_OK(clmla_row_layout_make(&layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 16, 4));
    TEST_OK(clmla_rows_from_tensor(&rows, &layout, (clmla_buffer){memory, 0}, page_tokens, page_count));
    return rows;
}

static cl_mem make_memory(size_t bytes) {
    cl_int code;
    cl_mem memory = clCreateBuffer(test_device_get()->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    TEST_CL(code);
    return memory;
}

START_TEST(view) {
    clmla_context *context = test_device_get()->context;
    cl_mem memory = make_memory(4096);
    clmla_rows rows = make_view(memory, 5, 3);
    TEST_OK(rows_check(context, &rows, "test"));
    memcpy((char *)&rows + views[_i].offset, &views[_i].value, sizeof views[_i].value);
    clmla_status status = rows_check(context, &rows, "test");
    TEST_ASSERT(status == views[_i].status, "%s: %s", views[_i].what, clmla_last_error());
    if (status != CLMLA_OK) expect(status, views[_i].status, views[_i].word);
    TEST_CL(clReleaseMemObject(memory));
}
END_TEST

START_TEST(view_of_two_tensors) {
    clmla_context *context = test_device_get()->context;
    cl_mem latent = make_memory(4 * 32), rope = make_memory(4 * 8);
    clmla_rows rows = make_view(latent, 1, 4);
    rows.latent_page_stride = 32; // a page of one row: no row stride is ever used
    rows.latent_row_stride = rows.rope_row_stride = 0;
    rows.rope = (clmla_buffer){rope, 0};
    rows.rope_page_stride = 8;
    TEST_OK(rows_check(context, &rows, "test"));
    rows.rope_page_stride = 12;
    expect(rows_check(context, &rows, "append"), CLMLA_E_ARGUMENT, "append: rows.rope");
    rows.page_count = 1;
    rows.rope_page_stride = rows.latent_page_stride = 0; // a single page: no page stride is ever used
    TEST_OK(rows_check(context, &rows, "test"));
    rows.page_tokens = 0;
    expect(rows_check(context, &rows, "test"), CLMLA_E_ARGUMENT, "page_tokens");
    rows.page_tokens = 0x80000000u;
    expect(rows_check(context, &rows, "test"), CLMLA_E_ARGUMENT, "page_tokens");
    rows.page_tokens = 1;
    rows.rope.memory = NULL;
    expect(rows_check(context, &rows, "test"), CLMLA_E_ARGUMENT, "rows.rope");
    rows.layout.rope_dim = 0; // then it is not looked at
    TEST_OK(rows_check(context, &rows, "test"));
    rows.layout.format = CLMLA_ROW_FORMAT_COUNT;
    expect(rows_check(context, &rows, "test"), CLMLA_E_ARGUMENT, "format");
    TEST_CL(clReleaseMemObject(latent));
    TEST_CL(clReleaseMemObject(rope));
}
END_TEST

static void add_tests(TCase *cases) {
    tcase_add_loop_test(cases, view, 0, sizeof views / sizeof *views);
    tcase_add_test(cases, view_of_two_tensors);
}

int main(void) {
    return test_main("row_views", add_tests);
}
