// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/matrix.h"
#include "lib/operation.h"
#include "lib/rows.h"

static clmla_status check(clmla_context *context, const clmla_append_params *params) {
    const char *op = "append";
    const clmla_row_layout *layout = &params->rows.layout;
    STATUS_OR_RETURN(operation_check_count(context, params->token_count, op, "token_count"));
    STATUS_OR_RETURN(rows_check(context, &params->rows, op));
    STATUS_OR_RETURN(operation_check_rows(context, params->latent, params->token_count, params->latent_stride,
                                          layout->latent_dim, op, "latent"));
    STATUS_OR_RETURN(operation_check_rows(context, params->rope, params->token_count, params->rope_stride,
                                          layout->rope_dim, op, "rope"));
    return host_buffer_check(&context->host, params->places.slots, params->token_count * sizeof(int64_t), sizeof(int64_t), op,
                             "slots");
}

clmla_status append_enqueue(clmla_context *context, const clmla_append_params *params, host_chain *chain) {
    const variant *chosen;
    const clmla_rows *rows = &params->rows;
    clmla_shape shape = {.format = rows->layout.format,
                         .latent_dim = rows->layout.latent_dim,
                         .rope_dim = rows->layout.rope_dim,
                         .row_count = params->token_count};
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_APPEND, &shape, params->variant));
    if (params->token_count == 0) return CLMLA_OK;

    bool vector = chosen->method == VARIANT_VECTOR;
    char options[OPTIONS_MAX];
    operation_options(options, context, chosen, rows_element(rows->layout.format), NULL);
    host_launch launch = host_launch_begin(&context->host, "append", chosen->source, options, chosen->source->name);
    operation_argument_f32(&launch, params->latent);
    host_arg_long(&launch, (int64_t)params->latent_stride);
    operation_argument_f32(&launch, params->rope);
    host_arg_long(&launch, (int64_t)params->rope_stride);
    operation_argument_elements(&launch, params->places.slots, sizeof(int64_t));
    rows_arguments(&launch, rows);
    host_arg_int(&launch, (int32_t)rows->page_tokens);
    host_arg_long(&launch, (int64_t)rows->page_count);
    host_arg_int(&launch, (int32_t)rows->layout.latent_dim);
    host_arg_int(&launch, (int32_t)rows->layout.rope_dim);
    host_arg_int(&launch, (int32_t)params->token_count);
    size_t elements[2] = {rows->layout.latent_dim + rows->layout.rope_dim, params->token_count};
    size_t per_token = params->token_count, local = 1;
    if (vector) return host_launch_enqueue(&launch, chain, 1, &per_token, &local);
    return operation_launch_items(&launch, chain, 2, elements);
}

clmla_status clmla_append(clmla_context *context, const clmla_append_params *params, cl_command_queue queue,
                          cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "append", queue, wait_count, wait, event));
    return host_chain_finish(&chain, append_enqueue(context, params, &chain), event);
}
