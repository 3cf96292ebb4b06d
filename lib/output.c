// SPDX-License-Identifier: Apache-2.0
#include "cl/common/states_call.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/group.h"
#include "lib/kv_b.h"
#include "lib/matrix.h"
#include "lib/operation.h"
#include "lib/plan.h"
#include "lib/tensor.h"

static clmla_status check(clmla_context *context, const clmla_output_params *params) {
    const char *op = "output";
    uint64_t pairs = (uint64_t)params->token_count * params->head_count;
    uint64_t width = (uint64_t)params->head_count * params->value_dim;
    STATUS_OR_RETURN(kv_b_check(context, &params->kv_b, params->token_count, params->head_count, params->nope_dim,
                                params->value_dim, op));
    STATUS_OR_RETURN(matrix_check(context, &params->o_proj, op, "o_proj"));
    if (params->o_proj.columns != width)
        return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0,
                         "output: o_proj: %llu columns expected (heads x value_dim), found %u",
                         (unsigned long long)width, params->o_proj.columns);
    STATUS_OR_RETURN(tensor_check_rows(context, params->attended, pairs, params->kv_b.columns, params->kv_b.columns, op,
                                       "attended"));
    STATUS_OR_RETURN(tensor_check_rows(context, params->heads, params->token_count, width, width, op, "heads"));
    return tensor_check_rows(context, params->output, params->token_count, params->output_stride, params->o_proj.rows,
                             op, "output");
}

static clmla_status choose(const variant **out, clmla_context *context, const clmla_output_params *params) {
    clmla_shape shape = {.weights = params->kv_b.type,
                         .latent_dim = params->kv_b.columns,
                         .head_count = params->head_count,
                         .row_count = params->token_count};
    return variant_choose(out, context, CLMLA_OP_OUTPUT, &shape, params->variant);
}

const char *output_merge_refusal(clmla_context *context, const clmla_output_params *params, const clmla_plan *plan) {
    const variant *chosen;
    if (plan->grid_items == 0) return "no row's keys are cut";
    if (plan->rules.kv_head_count != 1) return "rows have several kv heads";
    if (plan->value_dim != params->kv_b.columns) return "more columns are summed than W_UV takes";
    if (choose(&chosen, context, params) != CLMLA_OK) return "no variant of output";
    if (chosen->method == VARIANT_NAIVE) return "the naive variant's work-items would each merge the row again";
    if (chosen->method != VARIANT_VECTOR)
        return "a head has many groups, which would each read all states again: more than the launch saves";
    return NULL;
}

// In the order of STATES_ARGUMENTS in cl/common/states.clh.
static clmla_status states_arguments(host_launch *launch, const output_states *states, uint32_t head_count) {
    if (!states) {
        host_arg_buffer(launch, NULL);
        host_arg_buffer(launch, NULL);
        host_arg_bytes(launch, sizeof(states_call), &(states_call){0});
        return CLMLA_OK;
    }
    cl_mem space;
    const clmla_plan *plan = states->plan;
    STATUS_OR_RETURN(plan_attend_space(&space, states->plan));
    states_call call = {
        .header = (int64_t)(plan->offsets.header / sizeof(int32_t)),
        .items = (int64_t)(plan->offsets.items / sizeof(int32_t)),
        .states = (int64_t)(plan->space.states / sizeof(float)),
        .state_lse = (int64_t)(plan->space.state_lse / sizeof(float)),
        .first_token = (int32_t)states->first_token,
        .head_count = (int32_t)head_count,
    };
    host_arg_buffer(launch, plan->step);
    host_arg_buffer(launch, space);
    host_arg_bytes(launch, sizeof call, &call);
    return CLMLA_OK;
}

static clmla_status launch_heads(clmla_context *context, const clmla_output_params *params, const variant *chosen,
                                 const output_states *states, host_chain *chain) {
    char options[OPTIONS_MAX], kernel[KERNEL_NAME_MAX];
    operation_product_kernel(kernel, chosen, params->token_count);
    STATUS_OR_RETURN(operation_options(options, context, chosen, matrix_element(params->kv_b.type), NULL));
    host_launch launch = host_launch_begin(&context->host, "output", chosen->source, options, kernel);
    kv_b_arguments(&launch, &params->kv_b, params->nope_dim, params->value_dim);
    operation_argument_f32(&launch, params->attended);
    operation_argument_f32(&launch, params->heads);
    host_arg_int(&launch, (int32_t)params->head_count);
    host_arg_int(&launch, (int32_t)params->token_count);
    if (chosen->method == VARIANT_VECTOR) {
        clmla_status status = states_arguments(&launch, states, params->head_count);
        if (launch.status == CLMLA_OK) launch.status = status;
    }
    if (chosen->method == VARIANT_GROUP) {
        uint32_t group = group_size(&context->host.facts), lanes = group_lanes(group, params->kv_b.columns);
        uint32_t rows = group / lanes * GROUP_ITEM_ROWS;
        host_arg_int(&launch, (int32_t)lanes);
        return kv_b_enqueue_groups(&launch, chain, (params->value_dim + rows - 1) / rows, params->head_count,
                                   params->token_count);
    }
    return kv_b_enqueue(&launch, chain, chosen, params->value_dim, params->head_count, params->token_count);
}

clmla_status output_enqueue(clmla_context *context, const clmla_output_params *params, const output_states *states,
                            host_chain *chain) {
    const variant *chosen;
    clmla_shape last_shape = {
        .weights = params->o_proj.type, .row_count = params->token_count, .recorded = chain->recording != NULL};
    STATUS_OR_RETURN(check(context, params));
    // Both choices come before the first launch: a refusal must leave nothing enqueued.
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_PROJECT, &last_shape, params->project_variant));
    STATUS_OR_RETURN(choose(&chosen, context, params));
    if (params->token_count == 0) return CLMLA_OK;
    clmla_project_params last = {
        .matrix = params->o_proj,
        .row_count = params->token_count,
        .input = params->heads,
        .input_stride = params->o_proj.columns,
        .output = params->output,
        .output_stride = params->output_stride,
        .variant = params->project_variant,
    };
    STATUS_OR_RETURN(launch_heads(context, params, chosen, states, chain));
    return project_enqueue(context, &last, chain);
}

clmla_status clmla_output(clmla_context *context, const clmla_output_params *params, cl_command_queue queue,
                          cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "output", queue, wait_count, wait, event));
    return host_chain_finish(&chain, output_enqueue(context, params, NULL, &chain), event);
}
