// SPDX-License-Identifier: Apache-2.0
#include "lib/rows.h"
#include "host/error.h"
#include "host/memory.h"
#include <clmla/config.h>
#include <string.h>

#define PART_ALIGN 4u // bytes: rows and their parts begin at multiples of it

static const struct {
    const char *name;
    uint32_t element_bytes;
} formats[CLMLA_ROW_FORMAT_COUNT] = {
    [CLMLA_ROWS_F32] = {"f32", 4},
    [CLMLA_ROWS_F16] = {"f16", 2},
    [CLMLA_ROWS_BF16] = {"bf16", 2},
};

static bool is_format(clmla_row_format format) {
    return (unsigned)format < CLMLA_ROW_FORMAT_COUNT && formats[format].name;
}

const char *clmla_row_format_name(clmla_row_format format) {
    return is_format(format) ? formats[format].name : "?";
}

uint32_t rows_element_bytes(clmla_row_format format) {
    return is_format(format) ? formats[format].element_bytes : 0;
}

clmla_status clmla_row_format_parse(clmla_row_format *out, const char *name) {
    if (!out || !name) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "row format: out or name is NULL");
    for (int format = 0; format < CLMLA_ROW_FORMAT_COUNT; format++) {
        if (!formats[format].name || strcmp(name, formats[format].name) != 0) continue;
        *out = (clmla_row_format)format;
        return CLMLA_OK;
    }
    return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "row format: \"%s\" is none of f32, f16, bf16", name);
}

static uint32_t part_bytes(uint32_t elements, uint32_t element_bytes) {
    return (elements * element_bytes + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
}

static clmla_status check_format(const clmla_log *log, clmla_row_format format, clmla_rope_order order,
                                 uint32_t latent_dim, uint32_t rope_dim, const char *who) {
    if (!is_format(format)) return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %d is no row format", who, (int)format);
    if (order != CLMLA_ROPE_INTERLEAVED && order != CLMLA_ROPE_HALVES)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %d is no rope order", who, (int)order);
    if (latent_dim == 0) return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rows have a latent_dim of 0", who);
    if (latent_dim > CLMLA_MAX_DIM)
        return host_fail(log, CLMLA_E_LIMIT, 0, "%s: latent_dim %u is over the limit of %d", who, latent_dim,
                         CLMLA_MAX_DIM);
    if (rope_dim > CLMLA_MAX_ROPE_DIM)
        return host_fail(log, CLMLA_E_LIMIT, 0, "%s: rope_dim %u is over the limit of %d", who, rope_dim,
                         CLMLA_MAX_ROPE_DIM);
    return CLMLA_OK;
}

clmla_status clmla_row_layout_make(clmla_row_layout *out, clmla_row_format format, clmla_rope_order order,
                                   uint32_t latent_dim, uint32_t rope_dim) {
    if (!out) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "row layout: out is NULL");
    STATUS_OR_RETURN(check_format(NULL, format, order, latent_dim, rope_dim, "row layout"));
    uint32_t rope_offset = part_bytes(latent_dim, formats[format].element_bytes);
    *out = (clmla_row_layout){
        .format = format,
        .rope_order = order,
        .latent_dim = latent_dim,
        .rope_dim = rope_dim,
        .rope_offset = rope_offset,
        .row_bytes = rope_offset + part_bytes(rope_dim, formats[format].element_bytes),
    };
    return CLMLA_OK;
}

clmla_status clmla_rows_from_tensor(clmla_rows *out, const clmla_row_layout *layout, clmla_buffer memory,
                                    uint32_t page_tokens, uint64_t page_count) {
    uint64_t page_bytes, bytes, end;
    if (!out || !layout) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rows: out or layout is NULL");
    if (!memory.memory) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rows: there is no memory");
    if (page_tokens == 0) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rows: page_tokens is 0");
    if (!host_multiply(&page_bytes, page_tokens, layout->row_bytes) || !host_multiply(&bytes, page_bytes, page_count) ||
        !host_add(&end, memory.offset, bytes) || !host_add(&end, end, layout->rope_offset))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rows: %llu pages of %u rows of %u bytes pass 64 bits",
                         (unsigned long long)page_count, page_tokens, layout->row_bytes);
    *out = (clmla_rows){
        .layout = *layout,
        .page_tokens = page_tokens,
        .page_count = page_count,
        .latent = memory,
        .latent_row_stride = layout->row_bytes,
        .latent_page_stride = page_bytes,
    };
    if (layout->rope_dim == 0) return CLMLA_OK;
    out->rope = (clmla_buffer){memory.memory, memory.offset + layout->rope_offset};
    out->rope_row_stride = layout->row_bytes;
    out->rope_page_stride = page_bytes;
    return CLMLA_OK;
}

// One of the two parts of a view.
typedef struct rows_part {
    const char *name;
    clmla_buffer memory;
    uint64_t row_stride, page_stride, bytes; // bytes = of one row's part, unpadded
} rows_part;

static clmla_status check_part(clmla_context *context, const clmla_rows *rows, const rows_part *part,
                               const char *operation) {
    const clmla_log *log = &context->host.log;
    uint64_t page, last;
    if (part->row_stride % PART_ALIGN || part->page_stride % PART_ALIGN)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %s: strides %llu and %llu must be multiples of %u", operation,
                         part->name, (unsigned long long)part->row_stride, (unsigned long long)part->page_stride,
                         PART_ALIGN);
    if (rows->page_tokens > 1 && part->row_stride < part->bytes)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %s: a row stride of %llu is less than the part's %llu bytes",
                         operation, part->name, (unsigned long long)part->row_stride, (unsigned long long)part->bytes);
    if (!host_multiply(&page, rows->page_tokens - 1, part->row_stride) || !host_add(&page, page, part->bytes))
        return host_fail(log, CLMLA_E_LIMIT, 0, "%s: %s: %u rows %llu bytes apart pass 64 bits", operation, part->name,
                         rows->page_tokens, (unsigned long long)part->row_stride);
    if (rows->page_count > 1 && part->page_stride < page)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %s: a page stride of %llu is less than a page's %llu bytes",
                         operation, part->name, (unsigned long long)part->page_stride, (unsigned long long)page);
    if (rows->page_count == 0) return CLMLA_OK;
    if (!host_multiply(&last, rows->page_count - 1, part->page_stride) || !host_add(&last, last, page))
        return host_fail(log, CLMLA_E_LIMIT, 0, "%s: %s: %llu pages %llu bytes apart pass 64 bits", operation,
                         part->name, (unsigned long long)rows->page_count, (unsigned long long)part->page_stride);
    return host_buffer_check(&context->host, part->memory, last, PART_ALIGN, operation, part->name);
}

clmla_status rows_check(clmla_context *context, const clmla_rows *rows, const char *operation) {
    const clmla_log *log = &context->host.log;
    const clmla_row_layout *layout = &rows->layout;
    STATUS_OR_RETURN(
        check_format(log, layout->format, layout->rope_order, layout->latent_dim, layout->rope_dim, operation));
    // Kernels count rows of a page in 31 bits and slots in 63.
    if (rows->page_tokens == 0 || rows->page_tokens > INT32_MAX)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rows: page_tokens must be 1 to 2147483647, not %u", operation,
                         rows->page_tokens);
    if (rows->page_count > INT64_MAX / rows->page_tokens)
        return host_fail(log, CLMLA_E_LIMIT, 0, "%s: rows: %llu pages of %u rows have more slots than 63 bits count",
                         operation, (unsigned long long)rows->page_count, rows->page_tokens);
    uint64_t element = formats[layout->format].element_bytes;
    rows_part latent = {"rows.latent", rows->latent, rows->latent_row_stride, rows->latent_page_stride,
                        layout->latent_dim * element};
    rows_part rope = {"rows.rope", rows->rope, rows->rope_row_stride, rows->rope_page_stride,
                      layout->rope_dim * element};
    STATUS_OR_RETURN(check_part(context, rows, &latent, operation));
    return layout->rope_dim > 0 ? check_part(context, rows, &rope, operation) : CLMLA_OK;
}
