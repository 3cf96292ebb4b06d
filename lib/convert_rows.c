// SPDX-License-Identifier: Apache-2.0
#include "cl/common/convert_call.h"
#include "host/error.h"
#include "lib/operation.h"
#include "lib/row_places.h"
#include "lib/rows.h"
#include <math.h>
#include <stdio.h>

static bool in_halves(const clmla_row_layout *layout) {
    return layout->rope_order == CLMLA_ROPE_HALVES;
}

static clmla_status check_alike(clmla_context *context, const clmla_convert_rows_params *params) {
    const clmla_log *log = &context->host.log;
    const clmla_rows *from = &params->from, *to = &params->to;
    const clmla_row_layout *a = &from->layout, *b = &to->layout;
    if (a->latent_dim != b->latent_dim || a->rope_dim != b->rope_dim)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "convert_rows: from has rows of %u + %u values, to of %u + %u",
                         a->latent_dim, a->rope_dim, b->latent_dim, b->rope_dim);
    if (rows_kv_heads(from) != rows_kv_heads(to))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "convert_rows: kv_head_count is %u in from and %u in to",
                         rows_kv_heads(from), rows_kv_heads(to));
    if (a->rope_order != b->rope_order && a->rope_dim % 2 != 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "convert_rows: rope_order differs, and %u rope values do not pair up to be re-ordered",
                         a->rope_dim);
    if (!isfinite(to->latent_scale) || !isfinite(to->rope_scale))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "convert_rows: to: rows.latent_scale %g, rows.rope_scale %g",
                         (double)to->latent_scale, (double)to->rope_scale);
    return CLMLA_OK;
}

static clmla_status check(clmla_context *context, const clmla_convert_rows_params *params) {
    const char *from = "convert_rows: from", *to = "convert_rows: to";
    STATUS_OR_RETURN(operation_check_row_count(context, params->token_count, &params->from, "convert_rows"));
    STATUS_OR_RETURN(rows_check(context, &params->from, from));
    STATUS_OR_RETURN(rows_check(context, &params->to, to));
    STATUS_OR_RETURN(check_alike(context, params));
    STATUS_OR_RETURN(rows_check_deltas(context, &params->from.layout, params->from_deltas, params->rope_turns,
                                       params->token_count, "convert_rows", "from_deltas"));
    STATUS_OR_RETURN(row_places_check(context, &params->from_places, params->token_count, from));
    return row_places_check(context, &params->to_places, params->token_count, to);
}

static clmla_status launch_convert(clmla_context *context, const clmla_convert_rows_params *params,
                                   const variant *chosen, host_chain *chain) {
    const clmla_row_layout *from = &params->from.layout, *to = &params->to.layout;
    convert_call call = {
        .deltas = (int64_t)(params->from_deltas.offset / sizeof(int32_t)),
        .turns = (int64_t)(params->rope_turns.offset / sizeof(uint64_t)),
        .latent_dim = (int32_t)to->latent_dim,
        .rope_dim = (int32_t)to->rope_dim,
        .token_count = (int32_t)params->token_count,
        .kv_head_count = (int32_t)rows_kv_heads(&params->to),
        .from_halves = in_halves(from),
        .to_halves = in_halves(to),
        .power_of_two = params->power_of_two_scales,
    };
    char options[OPTIONS_MAX], more[OPTIONS_MAX];
    snprintf(more, sizeof more, "-DFROM_%s -DTO_%s -DSTORE_GROUP=%u", rows_option(from->format),
             rows_option(to->format), append_store_group(to));
    STATUS_OR_RETURN(operation_options(options, context, chosen, NULL, more));
    host_launch launch =
        host_launch_begin(&context->host, "convert_rows", chosen->source, options, chosen->source->name);
    row_places_set(&launch, &params->from_places);
    row_places_set(&launch, &params->to_places);
    rows_set(&launch, &params->from);
    host_arg_buffer(&launch, params->from_deltas.memory);
    host_arg_buffer(&launch, params->rope_turns.memory);
    rows_set(&launch, &params->to);
    host_arg_bytes(&launch, sizeof call, &call);
    return append_store_launch(&launch, chain, chosen, &params->to, params->token_count, false);
}

static clmla_status convert_enqueue(clmla_context *context, const clmla_convert_rows_params *params,
                                    host_chain *chain) {
    const variant *chosen;
    const clmla_row_layout *layout = &params->to.layout;
    clmla_shape shape = {.format = layout->format,
                         .latent_dim = layout->latent_dim,
                         .rope_dim = layout->rope_dim,
                         .row_count = params->token_count};
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_CONVERT_ROWS, &shape, params->variant));
    return params->token_count == 0 ? CLMLA_OK : launch_convert(context, params, chosen, chain);
}

clmla_status clmla_convert_rows(clmla_context *context, const clmla_convert_rows_params *params, cl_command_queue queue,
                                cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "convert_rows", queue, wait_count, wait, event));
    return host_chain_finish(&chain, convert_enqueue(context, params, &chain), event);
}
