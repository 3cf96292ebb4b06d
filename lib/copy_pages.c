// SPDX-License-Identifier: Apache-2.0
#include "cl/common/copy_call.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/group.h"
#include "lib/operation.h"
#include "lib/rows.h"

#define WORD 4u // bytes: what copies work in, and what every part begins at a multiple of

static uint64_t padded(uint64_t bytes) {
    return (bytes + WORD - 1) / WORD * WORD;
}

// Bytes of one part of a page in the scratch: rows and heads one after the other.
static bool part_span(uint64_t *out, const clmla_rows *rows, uint64_t bytes) {
    return host_multiply(out, padded(bytes) * rows_kv_heads(rows), rows->page_tokens);
}

uint64_t clmla_copy_pages_scratch(const clmla_rows *rows, uint32_t pair_count) {
    uint64_t bytes[ROWS_PARTS], page = 0, all;
    if (!rows || (unsigned)rows->layout.format >= CLMLA_ROW_FORMAT_COUNT) return 0;
    rows_part_bytes(bytes, rows);
    for (int part = 0; part < ROWS_PARTS; part++) {
        uint64_t span;
        if (!part_span(&span, rows, bytes[part]) || !host_add(&page, page, span)) return 0;
    }
    return host_multiply(&all, page, pair_count) ? all : 0;
}

// The scratch, seen as a cache of as many pages as there are pairs.
static clmla_rows scratch_rows(const clmla_copy_pages_params *params) {
    uint64_t bytes[ROWS_PARTS], at[ROWS_PARTS] = {0}, page = 0, heads = rows_kv_heads(&params->from);
    clmla_rows rows = params->from;
    rows_part_bytes(bytes, &rows);
    for (int part = 0; part < ROWS_PARTS; part++) {
        at[part] = params->scratch.offset + page;
        bytes[part] = padded(bytes[part]);
        page += bytes[part] * heads * rows.page_tokens;
    }
    rows.latent = (clmla_buffer){params->scratch.memory, at[ROWS_LATENT]};
    rows.rope = (clmla_buffer){params->scratch.memory, at[ROWS_ROPE]};
    rows.scales = (clmla_buffer){params->scratch.memory, at[ROWS_SCALES]};
    rows.latent_page_stride = rows.rope_page_stride = rows.scale_page_stride = page;
    rows.latent_head_stride = bytes[ROWS_LATENT];
    rows.rope_head_stride = bytes[ROWS_ROPE];
    rows.scale_head_stride = bytes[ROWS_SCALES];
    rows.latent_row_stride = bytes[ROWS_LATENT] * heads;
    rows.rope_row_stride = bytes[ROWS_ROPE] * heads;
    rows.scale_row_stride = bytes[ROWS_SCALES] * heads;
    return rows;
}

static clmla_status check_alike(clmla_context *context, const clmla_copy_pages_params *params) {
    const clmla_log *log = &context->host.log;
    const clmla_rows *from = &params->from, *to = &params->to;
    const clmla_row_layout *a = &from->layout, *b = &to->layout;
    if (a->format != b->format || a->rope_order != b->rope_order || a->latent_dim != b->latent_dim ||
        a->rope_dim != b->rope_dim)
        return host_fail(
            log, CLMLA_E_ARGUMENT, 0,
            "copy_pages: from has %s rows of %u + %u in rope order %d, to has %s rows of %u + %u in order %d",
            clmla_row_format_name(a->format), a->latent_dim, a->rope_dim, (int)a->rope_order,
            clmla_row_format_name(b->format), b->latent_dim, b->rope_dim, (int)b->rope_order);
    if (from->page_tokens != to->page_tokens || rows_kv_heads(from) != rows_kv_heads(to))
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "copy_pages: page_tokens %u and kv_head_count %u in from, %u and %u in to", from->page_tokens,
                         rows_kv_heads(from), to->page_tokens, rows_kv_heads(to));
    if (a->format != CLMLA_ROWS_FP8_FLAT) return CLMLA_OK;
    if (!from->scales.memory != !to->scales.memory || from->latent_scale != to->latent_scale ||
        from->rope_scale != to->rope_scale)
        return host_fail(
            log, CLMLA_E_ARGUMENT, 0,
            "copy_pages: from is scaled by %g and %g%s, to by %g and %g%s: its bytes would mean something else",
            (double)from->latent_scale, (double)from->rope_scale, from->scales.memory ? " and scales" : "",
            (double)to->latent_scale, (double)to->rope_scale, to->scales.memory ? " and scales" : "");
    return CLMLA_OK;
}

static clmla_status check(clmla_context *context, const clmla_copy_pages_params *params) {
    const char *op = "copy_pages";
    uint64_t pairs = params->pair_count;
    uint64_t page_rows = (uint64_t)params->from.page_tokens * rows_kv_heads(&params->from);
    STATUS_OR_RETURN(operation_check_count(context, pairs, op, "pair_count"));
    STATUS_OR_RETURN(operation_check_count(context, page_rows, op, "page_tokens x kv_head_count"));
    STATUS_OR_RETURN(rows_check(context, &params->from, "copy_pages: from"));
    STATUS_OR_RETURN(rows_check(context, &params->to, "copy_pages: to"));
    STATUS_OR_RETURN(check_alike(context, params));
    STATUS_OR_RETURN(
        host_buffer_check(&context->host, params->pairs, pairs * 2 * sizeof(int32_t), sizeof(int32_t), op, "pairs"));
    if (!params->scratch.memory || pairs == 0) return CLMLA_OK;
    uint64_t bytes = clmla_copy_pages_scratch(&params->from, params->pair_count);
    if (bytes == 0)
        return host_fail(&context->host.log, CLMLA_E_LIMIT, 0, "%s: scratch: %u pages pass 64 bits", op,
                         params->pair_count);
    return host_buffer_check(&context->host, params->scratch, bytes, WORD, op, "scratch");
}

static clmla_status launch_copy(clmla_context *context, const clmla_copy_pages_params *params, const clmla_rows *from,
                                const clmla_rows *to, const variant *chosen, host_chain *chain) {
    uint64_t bytes[ROWS_PARTS];
    rows_part_bytes(bytes, &params->from);
    copy_call call = {
        .pairs = (int64_t)(params->pairs.offset / sizeof(int32_t)),
        .from_pages = (int64_t)params->from.page_count,
        .to_pages = (int64_t)params->to.page_count,
        .latent_bytes = (int64_t)bytes[ROWS_LATENT],
        .rope_bytes = (int64_t)bytes[ROWS_ROPE],
        .scale_bytes = (int64_t)bytes[ROWS_SCALES],
        .pair_count = (int32_t)params->pair_count,
        .page_tokens = (int32_t)params->from.page_tokens,
        .kv_head_count = (int32_t)rows_kv_heads(&params->from),
        .from_scratch = from != &params->from,
        .to_scratch = to != &params->to,
    };
    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(operation_options(options, context, chosen, NULL, NULL));
    host_launch launch = host_launch_begin(&context->host, "copy_pages", chosen->source, options, chosen->source->name);
    host_arg_buffer(&launch, params->pairs.memory);
    rows_set(&launch, from);
    rows_set(&launch, to);
    host_arg_bytes(&launch, sizeof call, &call);
    size_t per_row[2] = {params->from.page_tokens, params->pair_count}, alone[2] = {1, 1};
    if (chosen->method == VARIANT_VECTOR) return host_launch_enqueue(&launch, chain, 2, per_row, alone);
    size_t group[2] = {group_size(&context->host.facts), 1};
    size_t grouped[2] = {group[0] * rows_kv_heads(&params->from) * per_row[0], per_row[1]};
    if (chosen->method == VARIANT_GROUP) return host_launch_enqueue(&launch, chain, 2, grouped, group);
    size_t words = (size_t)((padded(bytes[0]) + padded(bytes[1]) + padded(bytes[2])) / WORD);
    size_t items = words * rows_kv_heads(&params->from) * per_row[0] * per_row[1];
    return operation_launch_items(&launch, chain, 1, &items);
}

static clmla_status copy_pages_enqueue(clmla_context *context, const clmla_copy_pages_params *params,
                                       host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {.format = params->from.layout.format,
                         .latent_dim = params->from.layout.latent_dim,
                         .rope_dim = params->from.layout.rope_dim,
                         .row_count = params->pair_count};
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_COPY_PAGES, &shape, params->variant));
    if (params->pair_count == 0) return CLMLA_OK;
    if (!params->scratch.memory) return launch_copy(context, params, &params->from, &params->to, chosen, chain);
    clmla_rows scratch = scratch_rows(params);
    STATUS_OR_RETURN(launch_copy(context, params, &params->from, &scratch, chosen, chain));
    return launch_copy(context, params, &scratch, &params->to, chosen, chain);
}

clmla_status clmla_copy_pages(clmla_context *context, const clmla_copy_pages_params *params, cl_command_queue queue,
                              cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "copy_pages", queue, wait_count, wait, event));
    return host_chain_finish(&chain, copy_pages_enqueue(context, params, &chain), event);
}
