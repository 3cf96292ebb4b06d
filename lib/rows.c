// SPDX-License-Identifier: Apache-2.0
#include "lib/rows.h"
#include "cl/common/row_call.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/rows_quantised.h"
#include <clmla/config.h>
#include <string.h>

#define PART_ALIGN 4u // bytes: rows and their parts begin at multiples of it
#define PAGED_SCALES_ALIGN 8u

// What makes up a format: bytes of a latent and of a rope element (0 = quantised: several share bytes); scales, one for
// `group` latent values.
typedef struct row_kind {
    const char *name, *option;
    uint32_t latent_bytes, rope_bytes;
    uint32_t group, scale_bytes;
    bool apart;
} row_kind;

static const row_kind formats[CLMLA_ROW_FORMAT_COUNT] = {
    [CLMLA_ROWS_F32] = {"f32", "ROWS_F32", 4, 4, 0, 0, false},
    [CLMLA_ROWS_F16] = {"f16", "ROWS_F16", 2, 2, 0, 0, false},
    [CLMLA_ROWS_BF16] = {"bf16", "ROWS_BF16", 2, 2, 0, 0, false},
    [CLMLA_ROWS_FP8] = {"fp8", "ROWS_FP8", 1, 2, 128, 4, false},
    [CLMLA_ROWS_FP8_FLAT] = {"fp8_flat", "ROWS_FP8_FLAT", 1, 1, 0, 0, false},
    [CLMLA_ROWS_FP8_PAGED] = {"fp8_paged", "ROWS_FP8_PAGED", 1, 2, 64, 1, true},
    [CLMLA_ROWS_Q8] = {"q8", "ROWS_Q8", 0, 0, 0, 0, false},
    [CLMLA_ROWS_Q6] = {"q6", "ROWS_Q6", 0, 0, 0, 0, false},
    [CLMLA_ROWS_Q5] = {"q5", "ROWS_Q5", 0, 0, 0, 0, false},
    [CLMLA_ROWS_Q4] = {"q4", "ROWS_Q4", 0, 0, 0, 0, false},
};

static bool is_format(clmla_row_format format) {
    return (unsigned)format < CLMLA_ROW_FORMAT_COUNT;
}

const char *clmla_row_format_name(clmla_row_format format) {
    return is_format(format) ? formats[format].name : "?";
}

uint32_t rows_element_bytes(clmla_row_format format) {
    return is_format(format) ? formats[format].latent_bytes : 0;
}

bool rows_are_quantised(clmla_row_format format) {
    return is_format(format) && formats[format].latent_bytes == 0;
}

bool rows_keep_codes(clmla_row_format format) {
    return is_format(format) && formats[format].latent_bytes <= 1;
}

const char *rows_option(clmla_row_format format) {
    return is_format(format) ? formats[format].option : "";
}

clmla_status clmla_row_format_parse(clmla_row_format *out, const char *name) {
    if (!out || !name) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "row format: out or name is NULL");
    for (int i = 0; i < CLMLA_ROW_FORMAT_COUNT; i++) {
        if (strcmp(name, formats[i].name) != 0) continue;
        *out = (clmla_row_format)i;
        return CLMLA_OK;
    }
    return host_fail(NULL, CLMLA_E_ARGUMENT, 0,
                     "row format: \"%s\" is none of f32, f16, bf16, fp8, fp8_flat, fp8_paged, q8, q6, q5, q4", name);
}

static uint32_t round_up(uint32_t bytes, uint32_t align) {
    return (bytes + align - 1) / align * align;
}

// Bytes of a part of one row, without padding.
static uint32_t latent_bytes(clmla_row_format format, uint32_t columns) {
    uint32_t element = formats[format].latent_bytes;
    return element ? columns * element : rows_quantised_latent_bytes(format, columns);
}

static uint32_t rope_bytes(clmla_row_format format, uint32_t columns) {
    uint32_t element = formats[format].rope_bytes;
    return element ? columns * element : rows_quantised_rope_bytes(format, columns);
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
    const row_kind *f = &formats[format];
    uint32_t latent = round_up(latent_bytes(format, latent_dim), PART_ALIGN);
    uint32_t groups = f->group ? (latent_dim + f->group - 1) / f->group : 0;
    uint32_t scales = round_up(groups * f->scale_bytes, f->apart ? PAGED_SCALES_ALIGN : PART_ALIGN);
    uint32_t rope_offset = latent + (f->apart ? 0 : scales);
    *out = (clmla_row_layout){
        .format = format,
        .rope_order = order,
        .latent_dim = latent_dim,
        .rope_dim = rope_dim,
        .rope_offset = rope_offset,
        .row_bytes = rope_offset + round_up(rope_bytes(format, rope_dim), PART_ALIGN),
        .scale_group = f->group,
        .scale_row_bytes = scales,
        .scale_offset = f->apart ? 0 : latent,
        .scales_apart = f->apart,
    };
    return CLMLA_OK;
}

uint64_t clmla_row_layout_page_bytes(const clmla_row_layout *layout, uint32_t page_tokens) {
    uint64_t row = layout ? layout->row_bytes : 0, bytes;
    if (row == 0) return 0;
    if (!layout->scales_apart) return page_tokens * row;
    if (!host_multiply(&bytes, page_tokens, row + layout->scale_row_bytes) || !host_add(&bytes, bytes, row)) return 0;
    return (bytes - 1) / row * row;
}

clmla_status clmla_rows_from_tensor(clmla_rows *out, const clmla_row_layout *layout, clmla_buffer memory,
                                    uint32_t page_tokens, uint64_t page_count) {
    uint64_t page_bytes, bytes, end;
    if (!out || !layout) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rows: out or layout is NULL");
    if (!memory.memory) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rows: there is no memory");
    if (page_tokens == 0) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rows: page_tokens is 0");
    if (layout->row_bytes == 0)
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0,
                         "rows: the layout's row_bytes is 0: clmla_row_layout_make fills a layout");
    page_bytes = clmla_row_layout_page_bytes(layout, page_tokens);
    if (page_bytes == 0 || !host_multiply(&bytes, page_bytes, page_count) || !host_add(&end, memory.offset, bytes) ||
        !host_add(&end, end, page_bytes))
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
    if (layout->rope_dim > 0) {
        out->rope = (clmla_buffer){memory.memory, memory.offset + layout->rope_offset};
        out->rope_row_stride = layout->row_bytes;
        out->rope_page_stride = page_bytes;
    }
    if (layout->scale_group > 0) {
        uint64_t offset = layout->scales_apart ? (uint64_t)page_tokens * layout->row_bytes : layout->scale_offset;
        out->scales = (clmla_buffer){memory.memory, memory.offset + offset};
        out->scale_row_stride = layout->scales_apart ? layout->scale_row_bytes : layout->row_bytes;
        out->scale_page_stride = page_bytes;
    }
    return CLMLA_OK;
}

// One of the parts of a view: latent, rope or scales.
typedef struct rows_part {
    const char *name;
    clmla_buffer memory;
    uint64_t row_stride, page_stride, head_stride, bytes; // bytes = of one row's part, unpadded
} rows_part;

// The bytes a row of all kv heads takes: heads may lie within a row or each in a tensor of its own.
static bool span_heads(uint64_t *out, const clmla_rows *rows, const rows_part *part) {
    uint64_t heads = rows_kv_heads(rows), span;
    return host_multiply(&span, heads - 1, part->head_stride) && host_add(out, span, part->bytes);
}

static clmla_status check_part(clmla_context *context, const clmla_rows *rows, const rows_part *part,
                               const char *operation) {
    const clmla_log *log = &context->host.log;
    uint64_t page, last;
    if (part->row_stride % PART_ALIGN || part->page_stride % PART_ALIGN || part->head_stride % PART_ALIGN)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %s: strides %llu, %llu and %llu must be multiples of %u",
                         operation, part->name, (unsigned long long)part->row_stride,
                         (unsigned long long)part->page_stride, (unsigned long long)part->head_stride, PART_ALIGN);
    if (rows->kv_head_count > 1 && part->head_stride < part->bytes)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %s: a head stride of %llu is less than the part's %llu bytes",
                         operation, part->name, (unsigned long long)part->head_stride, (unsigned long long)part->bytes);
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
    uint64_t heads;
    if (!host_multiply(&last, rows->page_count - 1, part->page_stride) || !host_add(&last, last, page - part->bytes) ||
        !span_heads(&heads, rows, part) || !host_add(&last, last, heads) || last > INT64_MAX)
        return host_fail(log, CLMLA_E_LIMIT, 0, "%s: %s: %llu pages %llu bytes apart pass 64 bits", operation,
                         part->name, (unsigned long long)rows->page_count, (unsigned long long)part->page_stride);
    return host_buffer_check(&context->host, part->memory, last, PART_ALIGN, operation, part->name);
}

// Bytes of one row's scales; of fp8_flat only when they are given.
static uint64_t scale_bytes(const clmla_rows *rows) {
    const clmla_row_layout *layout = &rows->layout;
    const row_kind *f = &formats[layout->format];
    if (layout->format == CLMLA_ROWS_FP8_FLAT)
        return rows->scales.memory ? (uint64_t)(layout->latent_dim + 127) / 128 * sizeof(float) : 0;
    return f->group ? (uint64_t)(layout->latent_dim + f->group - 1) / f->group * f->scale_bytes : 0;
}

void rows_part_bytes(uint64_t bytes[ROWS_PARTS], const clmla_rows *rows) {
    bytes[ROWS_LATENT] = latent_bytes(rows->layout.format, rows->layout.latent_dim);
    bytes[ROWS_ROPE] = rope_bytes(rows->layout.format, rows->layout.rope_dim);
    bytes[ROWS_SCALES] = scale_bytes(rows);
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
    if (rows->kv_head_count > CLMLA_MAX_HEADS)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rows: kv_head_count %u is over %d", operation,
                         rows->kv_head_count, CLMLA_MAX_HEADS);
    uint64_t bytes[ROWS_PARTS];
    rows_part_bytes(bytes, rows);
    rows_part latent = {
        "rows.latent",     rows->latent, rows->latent_row_stride, rows->latent_page_stride, rows->latent_head_stride,
        bytes[ROWS_LATENT]};
    rows_part rope = {
        "rows.rope",     rows->rope, rows->rope_row_stride, rows->rope_page_stride, rows->rope_head_stride,
        bytes[ROWS_ROPE]};
    rows_part scales = {"rows.scales",           rows->scales,      rows->scale_row_stride, rows->scale_page_stride,
                        rows->scale_head_stride, bytes[ROWS_SCALES]};
    STATUS_OR_RETURN(check_part(context, rows, &latent, operation));
    if (layout->rope_dim > 0) STATUS_OR_RETURN(check_part(context, rows, &rope, operation));
    return scales.bytes > 0 ? check_part(context, rows, &scales, operation) : CLMLA_OK;
}

clmla_status rows_check_deltas(clmla_context *context, const clmla_row_layout *layout, clmla_buffer deltas,
                               clmla_buffer turns, uint64_t count, const char *operation, const char *deltas_name) {
    host_context *host = &context->host;
    uint64_t bytes;
    if (!deltas.memory) return CLMLA_OK;
    if (!rows_keep_codes(layout->format))
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                         "%s: %s are given, but %s rows are rotated where they lie when positions shift", operation,
                         deltas_name, clmla_row_format_name(layout->format));
    if (layout->rope_dim == 0 || layout->rope_dim % 2 != 0)
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0, "%s: %s: rows of %u rope values cannot be rotated", operation,
                         deltas_name, layout->rope_dim);
    if (!host_multiply(&bytes, count, sizeof(int32_t)))
        return host_fail(&host->log, CLMLA_E_LIMIT, 0, "%s: %s: %llu entries pass 64 bits", operation, deltas_name,
                         (unsigned long long)count);
    STATUS_OR_RETURN(host_buffer_check(host, deltas, bytes, sizeof(int32_t), operation, deltas_name));
    return host_buffer_check(host, turns, layout->rope_dim / 2 * sizeof(uint64_t), sizeof(uint64_t), operation,
                             "rope_turns");
}

static row_part_call part_call(clmla_buffer memory, uint64_t row, uint64_t page, uint64_t head) {
    return (row_part_call){(int64_t)memory.offset, (int64_t)row, (int64_t)page, (int64_t)head};
}

void rows_set(host_launch *launch, const clmla_rows *rows) {
    row_call call = {
        .latent = part_call(rows->latent, rows->latent_row_stride, rows->latent_page_stride, rows->latent_head_stride),
        .rope = part_call(rows->rope, rows->rope_row_stride, rows->rope_page_stride, rows->rope_head_stride),
        .scales = part_call(rows->scales, rows->scale_row_stride, rows->scale_page_stride, rows->scale_head_stride),
        .page_count = (int64_t)rows->page_count,
        .page_tokens = (int32_t)rows->page_tokens,
        .scaled = rows->scales.memory != NULL,
        .latent_scale = rows->latent_scale != 0.0f ? rows->latent_scale : 1.0f,
        .rope_scale = rows->rope_scale != 0.0f ? rows->rope_scale : 1.0f,
        .latent_dim = (int32_t)rows->layout.latent_dim,
        .rope_dim = (int32_t)rows->layout.rope_dim,
        .rope_halves = rows->layout.rope_order == CLMLA_ROPE_HALVES,
    };
    host_arg_buffer(launch, rows->latent.memory);
    host_arg_buffer(launch, rows->rope.memory);
    host_arg_buffer(launch, rows->scales.memory);
    host_arg_bytes(launch, sizeof call, &call);
}
