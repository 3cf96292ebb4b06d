// SPDX-License-Identifier: Apache-2.0
#include "tests/support/rows.h"
#include "tests/ref/ref_quantised.h"
#include <math.h>

const test_width test_widths[TEST_WIDTHS] = {{512, 64}, {512, 0}, {256, 64}, {256, 32},
                                             {64, 16},  {37, 6},  {5, 2},    {1, 0}};

#define E4M3_MOST 448.0f
#define LATENT_SCALE 0.0625f // of fp8_flat
#define ROPE_SCALE 0.046875f
#define FLAT_GROUP 128u

static uint64_t up4(uint64_t bytes) {
    return (bytes + 3) / 4 * 4;
}

static ref_quantised quantised(const clmla_row_layout *layout, bool rope) {
    return (ref_quantised){(ref_row_format)layout->format, rope, rope ? layout->rope_dim : layout->latent_dim};
}

static bool is_quantised(const clmla_row_layout *layout) {
    return ref_is_quantised((ref_row_format)layout->format);
}

static ref_type latent_type(clmla_row_format format) {
    return format >= CLMLA_ROWS_FP8 ? REF_F8_E4M3 : test_ref_type_of(format);
}

static ref_type rope_type(clmla_row_format format) {
    if (format == CLMLA_ROWS_FP8 || format == CLMLA_ROWS_FP8_PAGED) return REF_BF16;
    return latent_type(format);
}

// --- ways to lie

// A tensor of one part: kv head after kv head, `row` bytes used of each row.
static uint64_t apart(test_buffer *out, uint64_t *row_stride, uint64_t *page_stride, uint64_t *head_stride,
                      uint64_t row, uint32_t gap, const clmla_rows *view) {
    *row_stride = up4(row) + gap;
    *page_stride = view->page_tokens * *row_stride + 2 * gap + 4;
    *head_stride = view->page_count * *page_stride;
    test_buffer_make(out, (size_t)(*head_stride * view->kv_head_count), NULL);
    return out->bytes;
}

static void make_apart(test_rows *out) {
    clmla_rows *view = &out->view;
    const clmla_row_layout *layout = &view->layout;
    uint64_t latent = layout->latent_dim * ref_bytes(latent_type(layout->format)),
             rope = layout->rope_dim * ref_bytes(rope_type(layout->format)), scales = layout->scale_row_bytes;
    if (layout->format == CLMLA_ROWS_FP8_FLAT)
        scales = (layout->latent_dim + FLAT_GROUP - 1) / FLAT_GROUP * sizeof(float);
    if (is_quantised(layout)) {
        ref_quantised parts[] = {quantised(layout, false), quantised(layout, true)};
        latent = ref_quantised_bytes(&parts[0]);
        rope = ref_quantised_bytes(&parts[1]);
    }
    apart(&out->latent, &view->latent_row_stride, &view->latent_page_stride, &view->latent_head_stride, latent, 4,
          view);
    view->latent = out->latent.view;
    if (rope)
        apart(&out->rope, &view->rope_row_stride, &view->rope_page_stride, &view->rope_head_stride, rope, 8, view);
    view->rope = out->rope.view;
    if (scales)
        apart(&out->scales, &view->scale_row_stride, &view->scale_page_stride, &view->scale_head_stride, scales, 12,
              view);
    view->scales = out->scales.view;
}

// One tensor: rows of all kv heads, then scales that lie apart, then a gap.
static void make_together(test_rows *out, test_rows_layout way) {
    clmla_rows *view = &out->view;
    const clmla_row_layout *layout = &view->layout;
    uint64_t gap = way == TEST_ROWS_DENSE ? 0 : 52, row_gap = way == TEST_ROWS_ROWS_GAP ? 8 : 0,
             tokens = view->page_tokens;
    uint64_t row = (uint64_t)view->kv_head_count * layout->row_bytes + row_gap, scale_row = row,
             scales = layout->scale_offset;
    uint64_t page = tokens * row;
    if (layout->scales_apart) {
        scales = page;
        scale_row = (uint64_t)view->kv_head_count * layout->scale_row_bytes + row_gap;
        page += tokens * scale_row;
    }
    page += gap;
    if (way == TEST_ROWS_DENSE && view->kv_head_count == 1)
        page = clmla_row_layout_page_bytes(layout, view->page_tokens);
    test_buffer_make(&out->latent, (size_t)(page * view->page_count), NULL);
    view->latent = out->latent.view;
    view->latent_row_stride = row;
    view->latent_page_stride = page;
    view->latent_head_stride = layout->row_bytes;
    if (layout->rope_dim) {
        view->rope = (clmla_buffer){view->latent.memory, view->latent.offset + layout->rope_offset};
        view->rope_row_stride = row;
        view->rope_page_stride = page;
        view->rope_head_stride = layout->row_bytes;
    }
    if (layout->scale_group) {
        view->scales = (clmla_buffer){view->latent.memory, view->latent.offset + scales};
        view->scale_row_stride = scale_row;
        view->scale_page_stride = page;
        view->scale_head_stride = layout->scales_apart ? layout->scale_row_bytes : layout->row_bytes;
    }
    if (way != TEST_ROWS_DENSE || view->kv_head_count != 1) return;
    clmla_rows made;
    TEST_OK(clmla_rows_from_tensor(&made, layout, view->latent, view->page_tokens, view->page_count));
    made.latent_scale = view->latent_scale;
    made.rope_scale = view->rope_scale;
    *view = made;
}

void test_rows_make_heads(test_rows *out, clmla_row_format format, uint32_t latent, uint32_t rope, uint32_t page_tokens,
                          uint64_t page_count, test_rows_layout layout, uint32_t kv_heads) {
    *out = (test_rows){.view = {.page_tokens = page_tokens, .page_count = page_count, .kv_head_count = kv_heads}};
    TEST_OK(clmla_row_layout_make(&out->view.layout, format, CLMLA_ROPE_INTERLEAVED, latent, rope));
    if (format == CLMLA_ROWS_FP8_FLAT) {
        out->view.latent_scale = LATENT_SCALE;
        out->view.rope_scale = ROPE_SCALE;
    }
    if (layout == TEST_ROWS_APART)
        make_apart(out);
    else
        make_together(out, layout);
}

void test_rows_make(test_rows *out, clmla_row_format format, uint32_t latent, uint32_t rope, uint32_t page_tokens,
                    uint64_t page_count, test_rows_layout layout) {
    test_rows_make_heads(out, format, latent, rope, page_tokens, page_count, layout, 1);
}

void test_rows_free(test_rows *rows) {
    test_buffer_free(&rows->latent);
    test_buffer_free(&rows->rope);
    test_buffer_free(&rows->scales);
}

void test_rows_upload(test_rows *rows) {
    test_buffer_reset(&rows->latent);
    if (rows->rope.bytes) test_buffer_reset(&rows->rope);
    if (rows->scales.bytes) test_buffer_reset(&rows->scales);
}

int test_rows_inputs(test_buffer **list, test_rows *rows) {
    int count = 0;
    list[count++] = &rows->latent;
    if (rows->rope.bytes) list[count++] = &rows->rope;
    if (rows->scales.bytes) list[count++] = &rows->scales;
    return count;
}

// --- bytes

// The parts of one row, in the buffers' `initial` or `found` bytes.
typedef struct row_bytes {
    unsigned char *latent, *rope, *scales;
} row_bytes;

static unsigned char *part(const test_buffer *apart, const test_rows *rows, clmla_buffer view, bool found,
                           uint64_t offset) {
    const test_buffer *buffer = apart->bytes ? apart : &rows->latent;
    uint64_t first = apart->bytes ? 0 : view.offset - rows->view.latent.offset;
    return (found ? buffer->found : buffer->initial) + first + offset;
}

static row_bytes find(const test_rows *rows, bool found, uint64_t page, uint32_t row, uint32_t head) {
    const clmla_rows *v = &rows->view;
    row_bytes out = {NULL, NULL, NULL};
    out.latent = part(&rows->latent, rows, v->latent, found,
                      page * v->latent_page_stride + row * v->latent_row_stride + head * v->latent_head_stride);
    if (v->layout.rope_dim)
        out.rope = part(&rows->rope, rows, v->rope, found,
                        page * v->rope_page_stride + row * v->rope_row_stride + head * v->rope_head_stride);
    if (v->scales.memory)
        out.scales = part(&rows->scales, rows, v->scales, found,
                          page * v->scale_page_stride + row * v->scale_row_stride + head * v->scale_head_stride);
    return out;
}

// Latent values that share a scale; 0 = none do.
static uint32_t group_of(const test_rows *rows) {
    if (rows->view.layout.format == CLMLA_ROWS_FP8_FLAT) return rows->scales.bytes ? FLAT_GROUP : 0;
    return rows->view.layout.scale_group;
}

static double scale_of(const test_rows *rows, const row_bytes *at, uint32_t d) {
    clmla_row_format format = rows->view.layout.format;
    double whole = format == CLMLA_ROWS_FP8_FLAT ? (double)rows->view.latent_scale : 1.0;
    uint32_t group = group_of(rows);
    if (group == 0) return whole;
    return whole * (format == CLMLA_ROWS_FP8_PAGED ? ref_e8m0(at->scales[d / group])
                                                   : ref_load(REF_F32, at->scales, d / group));
}

static void store_scale(const test_rows *rows, const row_bytes *at, uint32_t d, const float *values, uint32_t count) {
    float most = 0x1p-100f;
    for (uint32_t i = 0; i < count; i++) most = isfinite(values[i]) ? fmaxf(most, fabsf(values[i])) : most;
    float scale = most / E4M3_MOST;
    if (rows->view.layout.format == CLMLA_ROWS_FP8_PAGED)
        at->scales[d / group_of(rows)] = (unsigned char)(127 + (int)ceilf(log2f(scale)));
    else
        ref_store(REF_F32, at->scales, d / group_of(rows),
                  scale / (rows->view.latent_scale != 0.0f ? rows->view.latent_scale : 1.0f));
}

static void load(double *out, const test_rows *rows, const row_bytes *at) {
    const clmla_row_layout *layout = &rows->view.layout;
    if (is_quantised(layout)) {
        ref_quantised parts[] = {quantised(layout, false), quantised(layout, true)};
        ref_quantised_decode(out, &parts[0], at->latent);
        ref_quantised_decode(out + layout->latent_dim, &parts[1], at->rope);
        return;
    }
    double rope = layout->format == CLMLA_ROWS_FP8_FLAT ? (double)rows->view.rope_scale : 1.0;
    for (uint32_t i = 0; i < layout->latent_dim; i++)
        out[i] = ref_load(latent_type(layout->format), at->latent, i) * scale_of(rows, at, i);
    for (uint32_t i = 0; i < layout->rope_dim; i++)
        out[layout->latent_dim + i] = ref_load(rope_type(layout->format), at->rope, i) * rope;
}

void test_rows_store_head(double *stored, test_rows *rows, uint64_t page, uint32_t row, uint32_t kv_head,
                          const float *values) {
    const clmla_row_layout *layout = &rows->view.layout;
    row_bytes at = find(rows, false, page, row, kv_head);
    if (is_quantised(layout)) {
        ref_quantised parts[] = {quantised(layout, false), quantised(layout, true)};
        ref_quantised_encode(at.latent, &parts[0], values);
        ref_quantised_encode(at.rope, &parts[1], values + layout->latent_dim);
        load(stored, rows, &at);
        return;
    }
    uint32_t group = group_of(rows);
    for (uint32_t d = 0; group && d < layout->latent_dim; d += group)
        store_scale(rows, &at, d, values + d, layout->latent_dim - d < group ? layout->latent_dim - d : group);
    for (uint32_t i = 0; i < layout->latent_dim; i++)
        ref_store(latent_type(layout->format), at.latent, i, (float)((double)values[i] / scale_of(rows, &at, i)));
    float rope = layout->format == CLMLA_ROWS_FP8_FLAT ? rows->view.rope_scale : 1.0f;
    for (uint32_t i = 0; i < layout->rope_dim; i++)
        ref_store(rope_type(layout->format), at.rope, i, values[layout->latent_dim + i] / rope);
    load(stored, rows, &at);
}

void test_rows_store(double *stored, test_rows *rows, uint64_t page, uint32_t row, const float *values) {
    test_rows_store_head(stored, rows, page, row, 0, values);
}

void test_rows_load(double *out, const test_rows *rows, uint64_t page, uint32_t row) {
    row_bytes at = find(rows, true, page, row, 0);
    load(out, rows, &at);
}
