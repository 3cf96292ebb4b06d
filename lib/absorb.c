// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/kv_b.h"
#include "lib/matrix.h"
#include "lib/operation.h"

#define GROUP_STRIP 64u // columns a group takes: of cl/common/absorb_group.clh

static clmla_status check(clmla_context *context, const clmla_absorb_params *params) {
    const char *op = "absorb";
    STATUS_OR_RETURN(kv_b_check(context, &params->kv_b, params->token_count, params->head_count, params->nope_dim,
                                params->value_dim, op));
    STATUS_OR_RETURN(operation_check_heads(context, params->query, params->token_count, params->query_token_stride,
                                           params->head_count, params->query_head_stride, params->nope_dim, op,
                                           "query"));
    return operation_check_heads(context, params->output, params->token_count, params->output_token_stride,
                                 params->head_count, params->output_head_stride, params->kv_b.columns, op, "output");
}

clmla_status absorb_enqueue(clmla_context *context, const clmla_absorb_params *params, host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {.weights = params->kv_b.type,
                         .latent_dim = params->kv_b.columns,
                         .head_count = params->head_count,
                         .row_count = params->token_count};
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_ABSORB, &shape, params->variant));
    if (params->token_count == 0) return CLMLA_OK;

    char options[OPTIONS_MAX], kernel[KERNEL_NAME_MAX];
    operation_product_kernel(kernel, chosen, params->token_count);
    operation_options(options, context, chosen, matrix_element(params->kv_b.type), NULL);
    host_launch launch = host_launch_begin(&context->host, "absorb", chosen->source, options, kernel);
    kv_b_arguments(&launch, &params->kv_b, params->nope_dim, params->value_dim);
    operation_argument_f32(&launch, params->query);
    host_arg_long(&launch, (int64_t)params->query_token_stride);
    host_arg_long(&launch, (int64_t)params->query_head_stride);
    operation_argument_f32(&launch, params->output);
    host_arg_long(&launch, (int64_t)params->output_token_stride);
    host_arg_long(&launch, (int64_t)params->output_head_stride);
    host_arg_int(&launch, (int32_t)params->head_count);
    host_arg_int(&launch, (int32_t)params->token_count);
    if (chosen->method == VARIANT_GROUP)
        return kv_b_enqueue_groups(&launch, chain, (params->kv_b.columns + GROUP_STRIP - 1) / GROUP_STRIP,
                                   params->head_count, params->token_count);
    return kv_b_enqueue(&launch, chain, chosen, params->kv_b.columns, params->head_count, params->token_count);
}

clmla_status clmla_absorb(clmla_context *context, const clmla_absorb_params *params, cl_command_queue queue,
                          cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "absorb", queue, wait_count, wait, event));
    return host_chain_finish(&chain, absorb_enqueue(context, params, &chain), event);
}
