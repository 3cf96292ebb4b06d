// SPDX-License-Identifier: Apache-2.0
#include "cl/common/append_call.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/group.h"
#include "lib/operation.h"
#include "lib/row_places.h"
#include "lib/rows.h"
#include "lib/tensor.h"
#include <math.h>
#include <stdio.h>

// Values a work-item stores at once where no scale is shared.
#define PLAIN_GROUP 32u
#define FLAT_GROUP 128u      // fp8_flat: a scale beside the tensor is for so many
#define QUANTISED_PIECE 256u // variants of so many columns fill whole bytes

static clmla_status check_input(clmla_context *context, const clmla_append_params *params, clmla_buffer buffer,
                                uint64_t stride, uint64_t head_stride, uint32_t width, const char *name) {
    clmla_type type = params->input_type;
    STATUS_OR_RETURN(tensor_type(&type, context, type, "append", "input_type"));
    tensor_heads input = {buffer, params->token_count, stride, rows_kv_heads(&params->rows), head_stride, width};
    return tensor_check_heads(context, &input, (uint32_t)clmla_type_bytes(type), "append", name);
}

static clmla_status check_rotation(clmla_context *context, const clmla_append_params *params) {
    const char *op = "append";
    const clmla_log *log = &context->host.log;
    uint32_t rope = params->rows.layout.rope_dim, rows = params->rope_table_rows, tokens = params->token_count;
    bool positions = params->rope_positions.memory != NULL;
    if (!params->rope_table.memory && positions)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rope_positions are given, rope_table is not", op);
    if (!params->rope_table.memory) return CLMLA_OK;
    if (rope == 0 || rope % 2 != 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rope_table: rows of %u rope values cannot be rotated", op,
                         rope);
    if ((unsigned)params->input_order > CLMLA_ROPE_HALVES)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: input_order %d is no order", op, (int)params->input_order);
    STATUS_OR_RETURN(operation_check_count(context, rows, op, "rope_table_rows"));
    if (tokens > 0 && (rows == 0 || (!positions && rows < tokens)))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rope_table_rows %u: %u %s needed", op, rows,
                         positions ? 1 : tokens, positions ? "is" : "without positions are");
    uint64_t bytes = (uint64_t)rows * rope * sizeof(float);
    STATUS_OR_RETURN(host_buffer_check(&context->host, params->rope_table, bytes, sizeof(float), op, "rope_table"));
    if (!positions) return CLMLA_OK;
    return host_buffer_check(&context->host, params->rope_positions, tokens * (uint64_t)sizeof(int32_t),
                             sizeof(int32_t), op, "rope_positions");
}

static clmla_status check_norm(clmla_context *context, const clmla_append_params *params) {
    if (!params->latent_norm.memory) return CLMLA_OK;
    if (!(params->latent_norm_epsilon >= 0.0f) || isinf(params->latent_norm_epsilon))
        return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0,
                         "append: latent_norm_epsilon: 0 or more expected, found %g",
                         (double)params->latent_norm_epsilon);
    return host_buffer_check(&context->host, params->latent_norm,
                             params->rows.layout.latent_dim * (uint64_t)sizeof(float), sizeof(float), "append",
                             "latent_norm");
}

static clmla_status check(clmla_context *context, const clmla_append_params *params) {
    const clmla_row_layout *layout = &params->rows.layout;
    STATUS_OR_RETURN(operation_check_count(context, params->token_count, "append", "token_count"));
    STATUS_OR_RETURN(rows_check(context, &params->rows, "append"));
    if (!isfinite(params->rows.latent_scale) || !isfinite(params->rows.rope_scale))
        return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "append: rows.latent_scale %g, rows.rope_scale %g",
                         (double)params->rows.latent_scale, (double)params->rows.rope_scale);
    STATUS_OR_RETURN(check_input(context, params, params->latent, params->latent_stride, params->latent_head_stride,
                                 layout->latent_dim, "latent"));
    STATUS_OR_RETURN(check_input(context, params, params->rope, params->rope_stride, params->rope_head_stride,
                                 layout->rope_dim, "rope"));
    STATUS_OR_RETURN(check_norm(context, params));
    STATUS_OR_RETURN(check_rotation(context, params));
    return row_places_check(context, &params->places, params->token_count, "append");
}

uint32_t append_store_group(const clmla_row_layout *layout) {
    if (layout->scale_group > 0) return layout->scale_group;
    if (rows_are_quantised(layout->format)) return QUANTISED_PIECE;
    return layout->format == CLMLA_ROWS_FP8_FLAT ? FLAT_GROUP : PLAIN_GROUP;
}

static size_t store_pieces(const clmla_row_layout *layout) {
    size_t group = append_store_group(layout);
    return (layout->latent_dim + group - 1) / group + (layout->rope_dim + group - 1) / group;
}

clmla_status append_store_launch(host_launch *launch, host_chain *chain, const variant *chosen, const clmla_rows *rows,
                                 uint32_t token_count, bool beside) {
    size_t per_row[2] = {rows_kv_heads(rows) + (beside ? 1 : 0), token_count}, alone[2] = {1, 1};
    if (chosen->method == VARIANT_VECTOR) return host_launch_enqueue(launch, chain, 2, per_row, alone);
    if (chosen->method == VARIANT_GROUP) {
        size_t group = group_size(&launch->context->facts), items = group * per_row[0] * per_row[1];
        host_arg_local(launch,
                       (size_t)group_row_bytes((uint32_t)group, rows->layout.latent_dim, rows->layout.rope_dim));
        return host_launch_enqueue(launch, chain, 1, &items, &group);
    }
    size_t items = store_pieces(&rows->layout) * per_row[0] * per_row[1];
    return operation_launch_items(launch, chain, 1, &items);
}

// What the call says of rows normed beside.
static void call_beside(append_call *call, const clmla_rms_norm_params *beside) {
    call->normed = (int64_t)(beside->output.offset / sizeof(float));
    call->normed_stride = (int64_t)beside->output_stride;
    call->normed_weight = (int64_t)(beside->weight.offset / sizeof(float));
    call->normed_width = (int32_t)beside->width;
    call->normed_epsilon = beside->epsilon;
}

static append_call call_of(const clmla_append_params *params) {
    return (append_call){
        .latent = (int64_t)params->latent.offset,
        .latent_stride = (int64_t)params->latent_stride,
        .latent_head_stride = (int64_t)params->latent_head_stride,
        .rope = (int64_t)params->rope.offset,
        .rope_stride = (int64_t)params->rope_stride,
        .rope_head_stride = (int64_t)params->rope_head_stride,
        .norm = (int64_t)(params->latent_norm.offset / sizeof(float)),
        .table = (int64_t)(params->rope_table.offset / sizeof(float)),
        .positions = (int64_t)(params->rope_positions.offset / sizeof(int32_t)),
        .type = params->input_type == CLMLA_TYPE_NONE ? CLMLA_TYPE_F32 : (int32_t)params->input_type,
        .latent_dim = (int32_t)params->rows.layout.latent_dim,
        .rope_dim = (int32_t)params->rows.layout.rope_dim,
        .token_count = (int32_t)params->token_count,
        .kv_head_count = (int32_t)rows_kv_heads(&params->rows),
        .table_rows = (int32_t)params->rope_table_rows,
        .input_halves = params->input_order == CLMLA_ROPE_HALVES,
        .row_halves = params->rows.layout.rope_order == CLMLA_ROPE_HALVES,
        .power_of_two = params->power_of_two_scales,
        .norm_epsilon = params->latent_norm_epsilon,
    };
}

static clmla_status launch_append(clmla_context *context, const clmla_append_params *params,
                                  const clmla_rms_norm_params *beside, const variant *chosen, host_chain *chain) {
    const clmla_row_layout *layout = &params->rows.layout;
    append_call call = call_of(params);
    if (beside) call_beside(&call, beside);
    char options[OPTIONS_MAX], more[OPTIONS_MAX];
    snprintf(more, sizeof more, "-DSTORE_GROUP=%u", append_store_group(layout));
    STATUS_OR_RETURN(operation_options(options, context, chosen, rows_option(layout->format), more));
    host_launch launch = host_launch_begin(&context->host, "append", chosen->source, options, chosen->source->name);
    host_arg_buffer(&launch, params->latent.memory);
    host_arg_buffer(&launch, params->rope.memory);
    host_arg_buffer(&launch, params->latent_norm.memory);
    host_arg_buffer(&launch, params->rope_table.memory);
    host_arg_buffer(&launch, params->rope_positions.memory);
    row_places_set(&launch, &params->places);
    rows_set(&launch, &params->rows);
    host_arg_buffer(&launch, beside ? beside->output.memory : NULL);
    host_arg_buffer(&launch, beside ? beside->weight.memory : NULL);
    host_arg_bytes(&launch, sizeof call, &call);
    return append_store_launch(&launch, chain, chosen, &params->rows, params->token_count, beside != NULL);
}

static clmla_status check_beside(clmla_context *context, const clmla_append_params *params,
                                 const clmla_rms_norm_params *beside, const variant *chosen) {
    const clmla_buffer *in = &beside->input, *out = &beside->output;
    STATUS_OR_RETURN(rms_norm_check(context, beside));
    if (chosen->method == VARIANT_NAIVE)
        return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "append: variant 'naive' norms no rows beside");
    if (beside->row_count == params->token_count && in->memory == out->memory && in->offset == out->offset &&
        beside->input_stride == beside->output_stride)
        return CLMLA_OK;
    return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0,
                     "append: what is normed beside is a row a token, in place");
}

static clmla_status choose(const variant **out, clmla_context *context, const clmla_append_params *params) {
    const clmla_row_layout *layout = &params->rows.layout;
    clmla_shape shape = {.format = layout->format,
                         .latent_dim = layout->latent_dim,
                         .rope_dim = layout->rope_dim,
                         .row_count = params->token_count};
    return variant_choose(out, context, CLMLA_OP_APPEND, &shape, params->variant);
}

const char *append_norm_refusal(clmla_context *context, const clmla_append_params *params) {
    const variant *chosen;
    if (choose(&chosen, context, params) != CLMLA_OK) return "no variant of append";
    return chosen->method == VARIANT_NAIVE ? "the naive variant's work-items take a piece of a row each" : NULL;
}

clmla_status append_enqueue(clmla_context *context, const clmla_append_params *params,
                            const clmla_rms_norm_params *beside, host_chain *chain) {
    const variant *chosen;
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(choose(&chosen, context, params));
    if (beside) STATUS_OR_RETURN(check_beside(context, params, beside, chosen));
    return params->token_count == 0 ? CLMLA_OK : launch_append(context, params, beside, chosen, chain);
}

clmla_status clmla_append(clmla_context *context, const clmla_append_params *params, cl_command_queue queue,
                          cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "append", queue, wait_count, wait, event));
    return host_chain_finish(&chain, append_enqueue(context, params, NULL, &chain), event);
}
