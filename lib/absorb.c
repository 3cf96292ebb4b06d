// SPDX-License-Identifier: Apache-2.0
#include "cl/common/packed_call.h"
#include "cl/common/rotation_call.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/attend.h"
#include "lib/kv_b.h"
#include "lib/matrix.h"
#include "lib/operation.h"
#include "lib/tensor.h"
#include <clmla/config.h>

#define GROUP_STRIP 64u // columns a group takes: of cl/common/absorb_group.clh

// What rope says of its table holds here too.
static clmla_status check_rotation(clmla_context *context, const clmla_absorb_params *params) {
    const char *op = "absorb";
    const clmla_log *log = &context->host.log;
    uint32_t width = params->rope_dim, rows = params->rope_table_rows;
    if (width == 0) return CLMLA_OK;
    if (width % 2 != 0 || width > CLMLA_MAX_ROPE_DIM)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rope_dim must be even, from 0 to %d, not %u", op,
                         CLMLA_MAX_ROPE_DIM, width);
    if ((unsigned)params->input_order > CLMLA_ROPE_HALVES || (unsigned)params->output_order > CLMLA_ROPE_HALVES)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: input_order %d, output_order %d: not an order", op,
                         (int)params->input_order, (int)params->output_order);
    uint32_t least = params->rope_positions.memory && params->token_count > 0 ? 1 : params->token_count;
    if (rows < least)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rope_table_rows is %u, at least %u needed", op, rows, least);
    STATUS_OR_RETURN(operation_check_count(context, rows, op, "rope_table_rows"));
    STATUS_OR_RETURN(tensor_check_rows(context, params->rope_table, rows, width, width, op, "rope_table"));
    if (!params->rope_positions.memory) return CLMLA_OK;
    return tensor_check_rows(context, params->rope_positions, 1, params->token_count, params->token_count, op,
                             "rope_positions");
}

static clmla_status check(clmla_context *context, const clmla_absorb_params *params) {
    const char *op = "absorb";
    uint64_t rope = params->rope_dim;
    tensor_heads query = {params->query,      params->token_count,       params->query_token_stride,
                          params->head_count, params->query_head_stride, params->nope_dim + rope};
    tensor_heads output = {params->output,     params->token_count,        params->output_token_stride,
                           params->head_count, params->output_head_stride, params->kv_b.columns + rope};
    STATUS_OR_RETURN(kv_b_check(context, &params->kv_b, params->token_count, params->head_count, params->nope_dim,
                                params->value_dim, op));
    STATUS_OR_RETURN(check_rotation(context, params));
    STATUS_OR_RETURN(tensor_check_heads(context, &query, sizeof(float), op, "query"));
    return tensor_check_heads(context, &output, sizeof(float), op, "output");
}

static void rotation_arguments(host_launch *launch, const clmla_absorb_params *params) {
    rotation_call call = {
        .table = (int64_t)(params->rope_table.offset / sizeof(float)),
        .positions = (int64_t)(params->rope_positions.offset / sizeof(int32_t)),
        .width = (int32_t)params->rope_dim,
        .table_rows = (int32_t)params->rope_table_rows,
        .input_halves = params->input_order == CLMLA_ROPE_HALVES,
        .output_halves = params->output_order == CLMLA_ROPE_HALVES,
    };
    host_arg_buffer(launch, params->rope_dim ? params->rope_table.memory : NULL);
    host_arg_buffer(launch, params->rope_dim ? params->rope_positions.memory : NULL);
    host_arg_bytes(launch, sizeof call, &call);
}

static clmla_status choose(const variant **out, clmla_context *context, const clmla_absorb_params *params) {
    clmla_shape shape = {.weights = params->kv_b.type,
                         .latent_dim = params->kv_b.columns,
                         .head_count = params->head_count,
                         .row_count = params->token_count};
    return variant_choose(out, context, CLMLA_OP_ABSORB, &shape, params->variant);
}

const char *absorb_pack_refusal(clmla_context *context, const clmla_absorb_params *params, const clmla_plan *plan) {
    const variant *chosen;
    if (plan->grid_tiles == 0) return "attend reads queries as they are";
    if (plan->attend->method != VARIANT_VECTOR) return "attend's variant has a layout of its own for queries";
    if (plan->rules.kv_head_count != 1) return "rows have several kv heads";
    if (plan->packed_width != params->kv_b.columns + params->rope_dim) return "queries have another width";
    if (choose(&chosen, context, params) != CLMLA_OK) return "no variant of absorb";
    return chosen->method == VARIANT_VECTOR ? NULL : "absorb's variant leaves queries to attend";
}

// In the order of PACKED_ARGUMENTS in cl/common/packed.clh.
static clmla_status packed_arguments(host_launch *launch, const absorb_packed *packed, uint32_t head_count) {
    cl_mem space = NULL;
    packed_call call = {.unused = 0};
    if (packed) {
        const clmla_plan *plan = packed->plan;
        STATUS_OR_RETURN(plan_attend_space(&space, packed->plan));
        call = (packed_call){
            .header = (int64_t)(plan->offsets.header / sizeof(int32_t)),
            .tiles = (int64_t)(plan->offsets.tiles / sizeof(int32_t)),
            .packed = (int64_t)(plan->space.packed / sizeof(float)),
            .first_token = (int32_t)packed->first_token,
            .head_count = (int32_t)head_count,
            .factor = packed->softmax_scale * LOG2_E,
        };
    }
    host_arg_buffer(launch, packed ? packed->plan->step : NULL);
    host_arg_buffer(launch, space);
    host_arg_bytes(launch, sizeof call, &call);
    return CLMLA_OK;
}

clmla_status absorb_enqueue(clmla_context *context, const clmla_absorb_params *params, const absorb_packed *packed,
                            host_chain *chain) {
    const variant *chosen;
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(choose(&chosen, context, params));
    if (params->token_count == 0) return CLMLA_OK;

    char options[OPTIONS_MAX], kernel[KERNEL_NAME_MAX];
    operation_product_kernel(kernel, chosen, params->token_count);
    STATUS_OR_RETURN(operation_options(options, context, chosen, matrix_element(params->kv_b.type), NULL));
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
    rotation_arguments(&launch, params);
    if (chosen->method == VARIANT_VECTOR) {
        clmla_status status = packed_arguments(&launch, packed, params->head_count);
        if (launch.status == CLMLA_OK) launch.status = status;
    }
    if (chosen->method == VARIANT_GROUP) // what is rotated has groups of its own, behind the last head
        return kv_b_enqueue_groups(&launch, chain, (params->kv_b.columns + GROUP_STRIP - 1) / GROUP_STRIP,
                                   params->head_count + (params->rope_dim > 0), params->token_count);
    return kv_b_enqueue(&launch, chain, chosen, params->kv_b.columns + params->rope_dim, params->head_count,
                        params->token_count);
}

clmla_status clmla_absorb(clmla_context *context, const clmla_absorb_params *params, cl_command_queue queue,
                          cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "absorb", queue, wait_count, wait, event));
    return host_chain_finish(&chain, absorb_enqueue(context, params, NULL, &chain), event);
}
