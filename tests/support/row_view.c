// SPDX-License-Identifier: Apache-2.0
#include "tests/support/row_view.h"
#include "tests/ref/ref_quantised.h"
#include <math.h>
#include <string.h>

static size_t padded(size_t bytes, size_t align) {
    return (bytes + align - 1) / align * align;
}

static void set_kind(test_view *out, const test_view_shape *s) {
    bool flat = s->format == CLMLA_ROWS_FP8_FLAT;
    out->kind = (ref_row_kind){
        .format = (ref_row_format)s->format,
        .latent_dim = s->latent,
        .rope_dim = s->rope,
        .latent_scale = flat ? 0.375f : 1.0f,
        .rope_scale = flat ? 3.0f : 1.0f,
        .scaled = flat && s->flat_scales,
    };
    size_t group = ref_row_group(&out->kind), groups = group ? (s->latent + group - 1) / group : 0;
    out->parts[TEST_LATENT].bytes = ref_row_latent_bytes(&out->kind);
    out->parts[TEST_ROPE].bytes = ref_row_rope_bytes(&out->kind);
    out->parts[TEST_SCALES].bytes = groups * ref_row_scale_bytes(&out->kind);
}

// Each part in a tensor of its own.
static void lay_apart(test_view *out, const test_view_shape *s) {
    for (int i = 0; i < TEST_PARTS; i++) {
        test_view_part *part = &out->parts[i];
        if (part->bytes == 0) continue;
        size_t gap = 4 * (size_t)(i + 1), own = padded(part->bytes, 4);
        bool out_most = s->lie == TEST_VIEW_HEADS_OUT;
        part->head = own;
        part->row = (out_most ? own : own * s->kv_heads) + gap;
        part->page = part->row * s->page_tokens + gap;
        if (out_most) part->head = part->page * s->page_count + gap;
        part->buffer = &out->buffers[out->buffer_count++];
        test_buffer_make(part->buffer, part->page * s->page_count + (out_most ? part->head * (s->kv_heads - 1) : 0),
                         NULL);
    }
}

// All parts in one tensor, scales at a page's end where the format has them there or where it has no place for them.
static void lay_together(test_view *out, const test_view_shape *s) {
    const clmla_row_layout *layout = &out->rows.layout;
    size_t gap = s->lie == TEST_VIEW_GAPS ? 4 : 0, head = layout->row_bytes + gap, row = head * s->kv_heads + 2 * gap;
    bool apart = layout->scale_group == 0 || layout->scales_apart;
    size_t scale_head = layout->scales_apart ? layout->scale_row_bytes : padded(out->parts[TEST_SCALES].bytes, 4);
    size_t page = row * s->page_tokens, scales = page;
    if (apart) page += scale_head * s->kv_heads * s->page_tokens;
    if (s->lie == TEST_VIEW_DENSE && layout->scales_apart && s->kv_heads == 1) page = padded(page, layout->row_bytes);
    page += 13 * gap;
    test_view_part rest = {.head = head, .row = row, .page = page};
    for (int i = 0; i < TEST_PARTS; i++) {
        size_t bytes = out->parts[i].bytes;
        if (bytes == 0) continue;
        out->parts[i] = rest;
        out->parts[i].bytes = bytes;
        out->parts[i].buffer = &out->buffers[0];
    }
    out->parts[TEST_ROPE].offset = layout->rope_offset;
    out->parts[TEST_SCALES].offset = apart ? scales : layout->scale_offset;
    if (apart) out->parts[TEST_SCALES].head = scale_head;
    if (apart) out->parts[TEST_SCALES].row = scale_head * s->kv_heads;
    test_buffer_make(&out->buffers[0], page * s->page_count, NULL);
    out->buffer_count = 1;
}

static clmla_buffer part_memory(const test_view_part *part) {
    if (!part->buffer) return (clmla_buffer){0};
    return (clmla_buffer){part->buffer->view.memory, part->buffer->view.offset + part->offset};
}

static void describe(test_view *out, const test_view_shape *s) {
    const test_view_part *latent = &out->parts[TEST_LATENT], *rope = &out->parts[TEST_ROPE],
                         *scales = &out->parts[TEST_SCALES];
    clmla_row_layout layout = out->rows.layout;
    out->rows = (clmla_rows){
        .layout = layout,
        .page_tokens = s->page_tokens,
        .page_count = s->page_count,
        .latent = part_memory(latent),
        .latent_row_stride = latent->row,
        .latent_page_stride = latent->page,
        .rope = part_memory(rope),
        .rope_row_stride = rope->row,
        .rope_page_stride = rope->page,
        .scales = part_memory(scales),
        .scale_row_stride = scales->row,
        .scale_page_stride = scales->page,
        .latent_scale = out->kind.latent_scale,
        .rope_scale = out->kind.rope_scale,
        .kv_head_count = s->kv_heads == 1 ? 0 : s->kv_heads,
        .latent_head_stride = latent->head,
        .rope_head_stride = rope->head,
        .scale_head_stride = scales->head,
    };
}

// What the library makes of a dense tensor must be what was worked out here.
static void check_dense(const test_view *view) {
    clmla_rows rows;
    TEST_OK(clmla_rows_from_tensor(&rows, &view->rows.layout, view->rows.latent, view->rows.page_tokens,
                                   view->rows.page_count));
    const clmla_rows *own = &view->rows;
    TEST_ASSERT(rows.latent_page_stride == own->latent_page_stride && rows.latent_row_stride == own->latent_row_stride,
                "a page is %llu bytes, not %llu", (unsigned long long)rows.latent_page_stride,
                (unsigned long long)own->latent_page_stride);
    TEST_ASSERT(rows.scales.offset == own->scales.offset && rows.scale_row_stride == own->scale_row_stride,
                "scales lie elsewhere");
    TEST_ASSERT(rows.rope.offset == own->rope.offset && rows.rope_row_stride == own->rope_row_stride,
                "rope lies elsewhere");
}

void test_view_make(test_view *out, const test_view_shape *s) {
    *out = (test_view){0};
    TEST_OK(clmla_row_layout_make(&out->rows.layout, s->format, s->order, s->latent, s->rope));
    set_kind(out, s);
    if (s->lie == TEST_VIEW_APART || s->lie == TEST_VIEW_HEADS_OUT)
        lay_apart(out, s);
    else
        lay_together(out, s);
    describe(out, s);
    if (s->lie == TEST_VIEW_DENSE && s->kv_heads == 1 && s->rope > 0 && !s->flat_scales) check_dense(out);
}

void test_view_free(test_view *view) {
    for (int i = 0; i < view->buffer_count; i++) test_buffer_free(&view->buffers[i]);
}

void test_view_list(test_buffer **list, test_view *view) {
    while (*list) list++;
    for (int i = 0; i < view->buffer_count; i++) *list++ = &view->buffers[i];
}

void test_view_upload(test_view *view) {
    for (int i = 0; i < view->buffer_count; i++) test_buffer_reset(&view->buffers[i]);
}

static unsigned char *part_at(const test_view_part *part, bool found, int64_t page, int64_t row, uint32_t head) {
    if (!part->buffer) return NULL;
    unsigned char *bytes = found ? part->buffer->found : part->buffer->initial;
    return bytes + part->offset + (size_t)page * part->page + (size_t)row * part->row + head * part->head;
}

ref_row test_view_row(const test_view *view, bool found, int64_t page, int64_t row, uint32_t head) {
    return (ref_row){part_at(&view->parts[TEST_LATENT], found, page, row, head),
                     part_at(&view->parts[TEST_ROPE], found, page, row, head),
                     part_at(&view->parts[TEST_SCALES], found, page, row, head)};
}

static void compare_part(const unsigned char *found, const unsigned char *expected, size_t bytes, ref_type type,
                         const char *part, const char *variant) {
    size_t size = ref_bytes(type);
    for (size_t i = 0; i < bytes; i += size) {
        if (memcmp(found + i, expected + i, size) == 0) continue;
        double a = ref_load(type, found, i / size), b = ref_load(type, expected, i / size);
        TEST_ASSERT(isnan(a) && isnan(b), "%s: %s value %zu is %.9g, expected %.9g", variant, part, i / size, a, b);
    }
}

static void compare_bytes(const unsigned char *found, const unsigned char *expected, size_t bytes, const char *part,
                          const char *variant) {
    for (size_t i = 0; i < bytes; i++)
        TEST_ASSERT(found[i] == expected[i], "%s: %s byte %zu is 0x%02x, expected 0x%02x", variant, part, i, found[i],
                    expected[i]);
}

void test_view_compare_row(test_view *view, const ref_row *expected, int64_t page, int64_t row, uint32_t head,
                           const char *variant) {
    ref_row found = test_view_row(view, true, page, row, head), initial = test_view_row(view, false, page, row, head);
    const test_view_part *parts = view->parts;
    size_t scales = parts[TEST_SCALES].bytes;
    if (ref_row_scale_bytes(&view->kind) == 4)
        compare_part(found.scales, expected->scales, scales, REF_F32, "scale", variant);
    for (size_t i = 0; ref_row_scale_bytes(&view->kind) == 1 && i < scales; i++)
        TEST_ASSERT(found.scales[i] == expected->scales[i], "%s: scale %zu is 2^(%u - 127), expected 2^(%u - 127)",
                    variant, i, found.scales[i], expected->scales[i]);
    if (ref_is_quantised(view->kind.format)) {
        compare_bytes(found.latent, expected->latent, parts[TEST_LATENT].bytes, "latent", variant);
        compare_bytes(found.rope, expected->rope, parts[TEST_ROPE].bytes, "rope", variant);
    } else {
        compare_part(found.latent, expected->latent, parts[TEST_LATENT].bytes, ref_row_latent_type(view->kind.format),
                     "latent", variant);
        compare_part(found.rope, expected->rope, parts[TEST_ROPE].bytes, ref_row_rope_type(view->kind.format), "rope",
                     variant);
    }
    memcpy(found.latent, initial.latent, parts[TEST_LATENT].bytes);
    if (parts[TEST_ROPE].bytes) memcpy(found.rope, initial.rope, parts[TEST_ROPE].bytes);
    if (scales) memcpy(found.scales, initial.scales, scales);
}

void test_view_check_untouched(const test_view *view, const char *variant) {
    for (int b = 0; b < view->buffer_count; b++) {
        const test_buffer *buffer = &view->buffers[b];
        for (size_t i = 0; i < buffer->bytes; i++)
            TEST_ASSERT(buffer->found[i] == buffer->initial[i],
                        "%s: tensor %d: byte %zu of %zu is no row's and was written", variant, b, i, buffer->bytes);
    }
}
