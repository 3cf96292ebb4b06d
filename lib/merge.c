// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/operation.h"

clmla_status merge_launch(clmla_context *context, const merge_work *work, host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {.latent_dim = work->width, .head_count = work->head_count, .row_count = work->item_count};
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_MERGE, &shape, work->variant));
    if (work->item_count == 0) return CLMLA_OK;

    char options[OPTIONS_MAX];
    operation_options(options, context, chosen, NULL, NULL);
    host_launch launch = host_launch_begin(&context->host, "merge", chosen->source, options, chosen->source->name);
    operation_argument_f32(&launch, work->states);
    operation_argument_f32(&launch, work->lse);
    host_arg_long(&launch, (int64_t)work->state_stride);
    host_arg_int(&launch, (int32_t)work->state_count);
    operation_argument_f32(&launch, work->items);
    operation_argument_f32(&launch, work->output);
    operation_argument_f32(&launch, work->output_lse);
    host_arg_int(&launch, (int32_t)work->width);
    host_arg_int(&launch, (int32_t)work->head_count);
    host_arg_int(&launch, (int32_t)work->item_count);
    size_t per_value[3] = {work->width, work->head_count, work->item_count};
    size_t per_head[2] = {work->head_count, work->item_count}, local[2] = {1, 1};
    if (chosen->method == VARIANT_VECTOR) return host_launch_enqueue(&launch, chain, 2, per_head, local);
    return operation_launch_items(&launch, chain, 3, per_value);
}

static clmla_status check(clmla_context *context, const clmla_merge_params *params) {
    const char *op = "merge";
    if (params->state_count == 0 || params->width == 0)
        return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0,
                         "%s: state_count %u, width %u: both must be at least 1", op, params->state_count,
                         params->width);
    STATUS_OR_RETURN(operation_check_count(context, params->state_count, op, "state_count"));
    STATUS_OR_RETURN(operation_check_count(context, (uint64_t)params->token_count * params->head_count, op, "rows"));
    STATUS_OR_RETURN(operation_check_count(context, params->width, op, "width"));
    uint64_t rows = (uint64_t)params->token_count * params->head_count, all = rows * params->state_count, width = params->width;
    STATUS_OR_RETURN(operation_check_rows(context, params->states, all, width, width, op, "states"));
    STATUS_OR_RETURN(operation_check_rows(context, params->lse, all, 1, 1, op, "lse"));
    STATUS_OR_RETURN(operation_check_rows(context, params->output, rows, width, width, op, "output"));
    if (!params->output_lse.memory) return CLMLA_OK;
    return operation_check_rows(context, params->output_lse, rows, 1, 1, op, "output_lse");
}

clmla_status merge_enqueue(clmla_context *context, const clmla_merge_params *params, host_chain *chain) {
    STATUS_OR_RETURN(check(context, params));
    merge_work work = {
        .states = params->states,
        .lse = params->lse,
        .output = params->output,
        .output_lse = params->output_lse,
        .state_stride = params->token_count * params->head_count,
        .state_count = params->state_count,
        .item_count = params->token_count * params->head_count,
        .head_count = 1,
        .width = params->width,
        .variant = params->variant,
    };
    return merge_launch(context, &work, chain);
}

clmla_status clmla_merge(clmla_context *context, const clmla_merge_params *params, cl_command_queue queue,
                         cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "merge", queue, wait_count, wait, event));
    return host_chain_finish(&chain, merge_enqueue(context, params, &chain), event);
}
