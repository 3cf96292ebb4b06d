// SPDX-License-Identifier: Apache-2.0
#include "cl/common/gather_call.h"
#include "host/error.h"
#include "lib/group.h"
#include "lib/operation.h"
#include "lib/row_places.h"
#include "lib/rows.h"
#include "lib/tensor.h"

static clmla_status check(clmla_context *context, const clmla_gather_params *params, clmla_type *type) {
    const clmla_row_layout *layout = &params->rows.layout;
    STATUS_OR_RETURN(operation_check_row_count(context, params->token_count, &params->rows, "gather"));
    STATUS_OR_RETURN(rows_check(context, &params->rows, "gather"));
    STATUS_OR_RETURN(row_places_check(context, &params->places, params->token_count, "gather"));
    STATUS_OR_RETURN(rows_check_deltas(context, layout, params->deltas, params->rope_turns, params->token_count,
                                       "gather", "deltas"));
    STATUS_OR_RETURN(tensor_type(type, context, params->output_type, "gather", "output_type"));
    tensor_heads output = {params->output,
                           params->token_count,
                           params->output_stride,
                           rows_kv_heads(&params->rows),
                           params->output_head_stride,
                           (uint64_t)layout->latent_dim + layout->rope_dim};
    return tensor_check_heads(context, &output, (uint32_t)clmla_type_bytes(*type), "gather", "output");
}

static clmla_status launch_gather(clmla_context *context, const clmla_gather_params *params, clmla_type type,
                                  const variant *chosen, host_chain *chain) {
    const clmla_row_layout *layout = &params->rows.layout;
    gather_call call = {
        .output = (int64_t)params->output.offset,
        .output_stride = (int64_t)params->output_stride,
        .output_head_stride = (int64_t)params->output_head_stride,
        .deltas = (int64_t)(params->deltas.offset / sizeof(int32_t)),
        .turns = (int64_t)(params->rope_turns.offset / sizeof(uint64_t)),
        .type = (int32_t)type,
        .latent_dim = (int32_t)layout->latent_dim,
        .rope_dim = (int32_t)layout->rope_dim,
        .token_count = (int32_t)params->token_count,
        .kv_head_count = (int32_t)rows_kv_heads(&params->rows),
    };
    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(operation_options(options, context, chosen, rows_option(layout->format), NULL));
    host_launch launch = host_launch_begin(&context->host, "gather", chosen->source, options, chosen->source->name);
    row_places_set(&launch, &params->places);
    rows_set(&launch, &params->rows);
    host_arg_buffer(&launch, params->deltas.memory);
    host_arg_buffer(&launch, params->rope_turns.memory);
    host_arg_buffer(&launch, params->output.memory);
    host_arg_bytes(&launch, sizeof call, &call);
    size_t per_row[2] = {rows_kv_heads(&params->rows), params->token_count}, alone[2] = {1, 1};
    if (chosen->method == VARIANT_VECTOR) return host_launch_enqueue(&launch, chain, 2, per_row, alone);
    size_t group = group_size(&context->host.facts), items = group * per_row[0] * per_row[1];
    if (chosen->method == VARIANT_GROUP) return host_launch_enqueue(&launch, chain, 1, &items, &group);
    size_t values = per_row[0] * per_row[1] * ((size_t)layout->latent_dim + layout->rope_dim);
    return operation_launch_items(&launch, chain, 1, &values);
}

clmla_status gather_enqueue(clmla_context *context, const clmla_gather_params *params, host_chain *chain) {
    const variant *chosen;
    const clmla_row_layout *layout = &params->rows.layout;
    clmla_type type;
    clmla_shape shape = {.format = layout->format,
                         .latent_dim = layout->latent_dim,
                         .rope_dim = layout->rope_dim,
                         .row_count = params->token_count};
    STATUS_OR_RETURN(check(context, params, &type));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_GATHER, &shape, params->variant));
    return params->token_count == 0 ? CLMLA_OK : launch_gather(context, params, type, chosen, chain);
}

clmla_status clmla_gather(clmla_context *context, const clmla_gather_params *params, cl_command_queue queue,
                          cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "gather", queue, wait_count, wait, event));
    return host_chain_finish(&chain, gather_enqueue(context, params, &chain), event);
}
