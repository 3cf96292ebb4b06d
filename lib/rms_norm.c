// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/group.h"
#include "lib/operation.h"
#include "lib/tensor.h"

clmla_status rms_norm_check(clmla_context *context, const clmla_rms_norm_params *params) {
    const char *op = "rms_norm";
    if (params->width == 0) return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "%s: width is 0", op);
    if (!(params->epsilon >= 0.0f))
        return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "%s: epsilon is %g", op, (double)params->epsilon);
    STATUS_OR_RETURN(operation_check_count(context, params->row_count, op, "row_count"));
    STATUS_OR_RETURN(operation_check_count(context, params->width, op, "width"));
    STATUS_OR_RETURN(
        tensor_check_rows(context, params->input, params->row_count, params->input_stride, params->width, op, "input"));
    STATUS_OR_RETURN(tensor_check_rows(context, params->weight, 1, params->width, params->width, op, "weight"));
    return tensor_check_rows(context, params->output, params->row_count, params->output_stride, params->width, op,
                             "output");
}

clmla_status rms_norm_enqueue(clmla_context *context, const clmla_rms_norm_params *params, host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {.row_count = params->row_count};
    STATUS_OR_RETURN(rms_norm_check(context, params));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_RMS_NORM, &shape, params->variant));
    if (params->row_count == 0) return CLMLA_OK;

    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(operation_options(options, context, chosen, NULL, NULL));
    host_launch launch = host_launch_begin(&context->host, "rms_norm", chosen->source, options, chosen->source->name);
    operation_argument_f32(&launch, params->input);
    host_arg_long(&launch, (int64_t)params->input_stride);
    operation_argument_f32(&launch, params->weight);
    host_arg_float(&launch, params->epsilon);
    operation_argument_f32(&launch, params->output);
    host_arg_long(&launch, (int64_t)params->output_stride);
    host_arg_int(&launch, (int32_t)params->width);
    host_arg_int(&launch, (int32_t)params->row_count);
    size_t rows = params->row_count, local = 1, group = group_size(&context->host.facts), grouped = rows * group;
    if (chosen->method == VARIANT_GROUP) return host_launch_enqueue(&launch, chain, 1, &grouped, &group);
    return chosen->method == VARIANT_VECTOR ? host_launch_enqueue(&launch, chain, 1, &rows, &local)
                                            : operation_launch_items(&launch, chain, 1, &rows);
}

clmla_status clmla_rms_norm(clmla_context *context, const clmla_rms_norm_params *params, cl_command_queue queue,
                            cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "rms_norm", queue, wait_count, wait, event));
    return host_chain_finish(&chain, rms_norm_enqueue(context, params, &chain), event);
}
