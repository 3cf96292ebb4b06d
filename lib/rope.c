// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/group.h"
#include "lib/operation.h"
#include "lib/tensor.h"
#include <clmla/config.h>
#include <stdio.h>

static clmla_status check(clmla_context *context, const clmla_rope_params *params) {
    const char *op = "rope";
    const clmla_log *log = &context->host.log;
    tensor_heads input = {params->input,      params->token_count,       params->input_token_stride,
                          params->head_count, params->input_head_stride, params->rope_dim};
    tensor_heads output = {params->output,     params->token_count,        params->output_token_stride,
                           params->head_count, params->output_head_stride, params->rope_dim};
    if (params->rope_dim == 0 || params->rope_dim % 2 != 0 || params->rope_dim > CLMLA_MAX_ROPE_DIM)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rope_dim must be even, from 2 to %d, not %u", op,
                         CLMLA_MAX_ROPE_DIM, params->rope_dim);
    if ((unsigned)params->input_order > CLMLA_ROPE_HALVES || (unsigned)params->output_order > CLMLA_ROPE_HALVES)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: input_order %d, output_order %d: not an order", op,
                         (int)params->input_order, (int)params->output_order);
    if (!params->positions.memory && params->table_rows < params->token_count)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: without positions the table needs %u rows, it has %u", op,
                         params->token_count, params->table_rows);
    if (params->table_rows == 0 && params->token_count > 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: table_rows is 0", op);
    STATUS_OR_RETURN(operation_check_count(context, params->token_count, op, "token_count"));
    STATUS_OR_RETURN(operation_check_count(context, params->head_count, op, "head_count"));
    STATUS_OR_RETURN(operation_check_count(context, params->table_rows, op, "table_rows"));
    STATUS_OR_RETURN(tensor_check_heads(context, &input, sizeof(float), op, "input"));
    STATUS_OR_RETURN(tensor_check_heads(context, &output, sizeof(float), op, "output"));
    STATUS_OR_RETURN(
        tensor_check_rows(context, params->table, params->table_rows, params->rope_dim, params->rope_dim, op, "table"));
    if (!params->positions.memory) return CLMLA_OK;
    return tensor_check_rows(context, params->positions, 1, params->token_count, params->token_count, op, "positions");
}

static clmla_status launch_groups(host_launch *launch, host_chain *chain, const clmla_rope_params *params) {
    size_t group[2] = {group_size(&launch->context->facts), 1}, heads = group[0] * 2 / params->rope_dim;
    if (heads < 1) heads = 1;
    size_t global[2] = {group[0] * ((params->head_count + heads - 1) / heads), params->token_count};
    host_arg_int(launch, (int32_t)heads);
    host_arg_local(launch, heads * params->rope_dim * sizeof(float));
    return host_launch_enqueue(launch, chain, 2, global, group);
}

clmla_status rope_enqueue(clmla_context *context, const clmla_rope_params *params, host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {
        .rope_dim = params->rope_dim, .head_count = params->head_count, .row_count = params->token_count};
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_ROPE, &shape, params->variant));
    if (params->token_count == 0 || params->head_count == 0) return CLMLA_OK;

    bool vector = chosen->method == VARIANT_VECTOR;
    char options[OPTIONS_MAX], limit[OPTIONS_MAX];
    snprintf(limit, sizeof limit, "-DMAX_ROPE_DIM=%d", CLMLA_MAX_ROPE_DIM);
    STATUS_OR_RETURN(operation_options(options, context, chosen, NULL, limit));
    host_launch launch = host_launch_begin(&context->host, "rope", chosen->source, options, chosen->source->name);
    operation_argument_f32(&launch, params->input);
    host_arg_long(&launch, (int64_t)params->input_token_stride);
    host_arg_long(&launch, (int64_t)params->input_head_stride);
    operation_argument_f32(&launch, params->output);
    host_arg_long(&launch, (int64_t)params->output_token_stride);
    host_arg_long(&launch, (int64_t)params->output_head_stride);
    operation_argument_f32(&launch, params->table);
    host_arg_int(&launch, (int32_t)params->table_rows);
    operation_argument_f32(&launch, params->positions);
    host_arg_int(&launch, (int32_t)params->rope_dim);
    host_arg_int(&launch, params->input_order == CLMLA_ROPE_HALVES);
    host_arg_int(&launch, params->output_order == CLMLA_ROPE_HALVES);
    host_arg_int(&launch, (int32_t)params->head_count);
    host_arg_int(&launch, (int32_t)params->token_count);
    if (chosen->method == VARIANT_GROUP) return launch_groups(&launch, chain, params);
    size_t per_head[2] = {params->head_count, params->token_count}, per_token = params->token_count, local = 1;
    if (vector) return host_launch_enqueue(&launch, chain, 1, &per_token, &local);
    return operation_launch_items(&launch, chain, 2, per_head);
}

clmla_status clmla_rope(clmla_context *context, const clmla_rope_params *params, cl_command_queue queue,
                        cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "rope", queue, wait_count, wait, event));
    return host_chain_finish(&chain, rope_enqueue(context, params, &chain), event);
}
