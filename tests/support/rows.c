// SPDX-License-Identifier: Apache-2.0
#include "tests/support/rows.h"

const test_width test_widths[TEST_WIDTHS] = {{512, 64}, {512, 0}, {256, 64}, {256, 32}, {64, 16}, {37, 6}, {5, 2}, {1, 0}};

static void make_apart(test_rows *out, const clmla_row_layout *layout, uint32_t page_tokens, uint64_t page_count) {
    uint64_t latent_row = layout->rope_offset + 4, rope_row = layout->row_bytes - layout->rope_offset + 8;
    uint64_t latent_page = page_tokens * latent_row + 12, rope_page = page_tokens * rope_row + 20;
    test_buffer_make(&out->latent, (size_t)(page_count * latent_page), NULL);
    if (layout->rope_dim) test_buffer_make(&out->rope, (size_t)(page_count * rope_page), NULL);
    out->view = (clmla_rows){
        .layout = *layout,
        .page_tokens = page_tokens,
        .page_count = page_count,
        .latent = out->latent.view,
        .latent_row_stride = latent_row,
        .latent_page_stride = latent_page,
        .rope = out->rope.view,
        .rope_row_stride = layout->rope_dim ? rope_row : 0,
        .rope_page_stride = layout->rope_dim ? rope_page : 0,
    };
}

void test_rows_make(test_rows *out, clmla_row_format format, uint32_t latent, uint32_t rope, uint32_t page_tokens,
                    uint64_t page_count, test_rows_layout layout) {
    clmla_row_layout row;
    *out = (test_rows){0};
    TEST_OK(clmla_row_layout_make(&row, format, CLMLA_ROPE_INTERLEAVED, latent, rope));
    if (layout == TEST_ROWS_APART) {
        make_apart(out, &row, page_tokens, page_count);
        return;
    }
    uint64_t row_stride = row.row_bytes + (layout == TEST_ROWS_ROWS_GAP ? 8u : 0u);
    uint64_t page_stride = row_stride * page_tokens + (layout == TEST_ROWS_DENSE ? 0u : 52u);
    test_buffer_make(&out->latent, (size_t)(page_stride * page_count), NULL);
    TEST_OK(clmla_rows_from_tensor(&out->view, &row, out->latent.view, page_tokens, page_count));
    if (layout == TEST_ROWS_DENSE) return;
    out->view.latent_row_stride = row_stride;
    out->view.latent_page_stride = page_stride;
    if (rope == 0) return;
    out->view.rope_row_stride = row_stride;
    out->view.rope_page_stride = page_stride;
}

void test_rows_free(test_rows *rows) {
    test_buffer_free(&rows->latent);
    test_buffer_free(&rows->rope);
}

// Where the parts of a row begin in one of the host copies.
static unsigned char *latent_at(const test_rows *rows, unsigned char *bytes, uint64_t page, uint32_t row) {
    return bytes + page * rows->view.latent_page_stride + row * rows->view.latent_row_stride;
}

static unsigned char *rope_at(const test_rows *rows, unsigned char *bytes, uint64_t page, uint32_t row) {
    size_t offset = rows->rope.bytes ? 0 : rows->view.layout.rope_offset;
    return bytes + offset + page * rows->view.rope_page_stride + row * rows->view.rope_row_stride;
}

void test_rows_store(double *stored, test_rows *rows, uint64_t page, uint32_t row, const float *values) {
    const clmla_row_layout *layout = &rows->view.layout;
    ref_type type = test_ref_type_of(layout->format);
    unsigned char *latent = latent_at(rows, rows->latent.initial, page, row);
    for (uint32_t i = 0; i < layout->latent_dim; i++) {
        ref_store(type, latent, i, values[i]);
        stored[i] = ref_load(type, latent, i);
    }
    if (layout->rope_dim == 0) return;
    unsigned char *rope = rope_at(rows, rows->rope.bytes ? rows->rope.initial : rows->latent.initial, page, row);
    for (uint32_t i = 0; i < layout->rope_dim; i++) {
        ref_store(type, rope, i, values[layout->latent_dim + i]);
        stored[layout->latent_dim + i] = ref_load(type, rope, i);
    }
}

void test_rows_upload(test_rows *rows) {
    test_buffer_reset(&rows->latent);
    if (rows->rope.bytes) test_buffer_reset(&rows->rope);
}

void test_rows_load(double *out, const test_rows *rows, uint64_t page, uint32_t row) {
    const clmla_row_layout *layout = &rows->view.layout;
    ref_type type = test_ref_type_of(layout->format);
    for (uint32_t i = 0; i < layout->latent_dim; i++) out[i] = ref_load(type, latent_at(rows, rows->latent.found, page, row), i);
    if (layout->rope_dim == 0) return;
    unsigned char *rope = rope_at(rows, rows->rope.bytes ? rows->rope.found : rows->latent.found, page, row);
    for (uint32_t i = 0; i < layout->rope_dim; i++) out[layout->latent_dim + i] = ref_load(type, rope, i);
}
