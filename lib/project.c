// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/gemm.h"
#include "host/memory.h"
#include "lib/group.h"
#include "lib/matrix.h"
#include "lib/operation.h"
#include "lib/tensor.h"
#include <stdio.h>

// Of cl/project_vector_many.cl
#define BLOCK_ROWS 32
#define ITEM_TOKENS 192 // their inputs of a run of columns stay in the second-level cache
// The same for CPUs with shorter vectors than 16 floats: tiles of 3 rows, half the cache.
#define BLOCK_ROWS_SHORT_VECTORS 36
#define ITEM_TOKENS_SHORT_VECTORS 96

// Of cl/project_vector.cl
#define ROWS_STEP 12 // a multiple of the rows of each of its tiles
#define ROWS_MAX 48
#define TILE_TOKENS 8
#define ITEMS_PER_UNIT 8 // work-items a compute unit takes: enough to even out what disturbs some of them

static clmla_status check(clmla_context *context, const clmla_project_params *params) {
    STATUS_OR_RETURN(operation_check_count(context, params->row_count, "project", "row_count"));
    STATUS_OR_RETURN(matrix_check(context, &params->matrix, "project", "matrix"));
    STATUS_OR_RETURN(tensor_check_rows(context, params->input, params->row_count, params->input_stride,
                                       params->matrix.columns, "project", "input"));
    return tensor_check_rows(context, params->output, params->row_count, params->output_stride, params->matrix.rows,
                             "project", "output");
}

// Rows a work-item of project_vector takes. However many they are, each sum is the same.
static uint32_t item_rows(const clmla_context *context, uint32_t rows) {
    uint32_t units = context->host.facts.compute_units ? context->host.facts.compute_units : 1;
    uint32_t steps = rows / ROWS_STEP / (units * ITEMS_PER_UNIT) + 1, most = ROWS_MAX / ROWS_STEP;
    return (steps < most ? steps : most) * ROWS_STEP;
}

static size_t pieces(uint32_t count, uint32_t of_piece) {
    return ((size_t)count + of_piece - 1) / of_piece;
}

static clmla_status launch_groups(host_launch *launch, host_chain *chain, const clmla_project_params *params,
                                  const clmla_context *context) {
    uint32_t group = group_size(&context->host.facts), lanes = group_lanes(group, params->matrix.columns);
    size_t blocks = pieces(params->row_count, group_tokens(params->row_count)), local = group;
    size_t global = blocks * pieces(params->matrix.rows, group / lanes * GROUP_ITEM_ROWS) * group;
    host_arg_int(launch, (int32_t)lanes);
    host_arg_int(launch, (int32_t)blocks);
    return host_launch_enqueue(launch, chain, 1, &global, &local);
}

static clmla_status launch_tiles(host_launch *launch, host_chain *chain, const clmla_project_params *params,
                                 const group_tile *tile) {
    size_t local = tile->group;
    size_t global = pieces(params->row_count, tile->tokens) * pieces(params->matrix.rows, tile->rows) * local;
    return host_launch_enqueue(launch, chain, 1, &global, &local);
}

static clmla_status launch_grid(host_launch *launch, host_chain *chain, const clmla_project_params *params,
                                const variant *chosen, const group_tile *tile, const clmla_context *context) {
    uint32_t rows = params->matrix.rows, tokens = params->row_count, of_item = item_rows(context, rows);
    size_t per_sum[2] = {rows, tokens}, local[2] = {1, 1};
    // One after the other, all tokens of some rows: from the second tile on their weights are in the second-level
    // cache.
    size_t per_strip[2] = {pieces(tokens, TILE_TOKENS), pieces(rows, of_item)};
    bool long_vectors = variant_has_long_vectors(&context->host.facts);
    uint32_t block = long_vectors ? BLOCK_ROWS : BLOCK_ROWS_SHORT_VECTORS;
    uint32_t of_block = long_vectors ? ITEM_TOKENS : ITEM_TOKENS_SHORT_VECTORS;
    size_t per_block[2] = {pieces(rows, block), pieces(tokens, of_block)};
    switch (chosen->method) {
    case VARIANT_VECTOR:
        host_arg_int(launch, (int32_t)of_item);
        return host_launch_enqueue(launch, chain, 2, per_strip, local);
    case VARIANT_VECTOR_MANY:
        host_arg_int(launch, (int32_t)of_block);
        return host_launch_enqueue(launch, chain, 2, per_block, local);
    case VARIANT_GROUP:
        return launch_groups(launch, chain, params, context);
    case VARIANT_TILE:
        return launch_tiles(launch, chain, params, tile);
    default:
        return operation_launch_items(launch, chain, 2, per_sum);
    }
}

static clmla_status launch(clmla_context *context, const clmla_project_params *params, const variant *chosen,
                           host_chain *chain) {
    const clmla_matrix *matrix = &params->matrix;
    char options[OPTIONS_MAX], more[OPTIONS_MAX] = "", kernel[KERNEL_NAME_MAX];
    operation_product_kernel(kernel, chosen, params->row_count);
    group_tile tile = group_tile_choose(&context->host.facts, matrix->rows, params->row_count);
    if (chosen->method == VARIANT_TILE) {
        int end = snprintf(more, sizeof more, "-DITEM_ROWS=%u ", tile.item_rows);
        group_options(more + end, sizeof more - (size_t)end, &context->host.facts, tile.group);
    }
    STATUS_OR_RETURN(operation_options(options, context, chosen, matrix_element(matrix->type), more));
    host_launch launch = host_launch_begin(&context->host, "project", chosen->source, options, kernel);
    matrix_arguments_values(&launch, matrix);
    host_arg_int(&launch, (int32_t)matrix->rows);
    host_arg_int(&launch, (int32_t)matrix->columns);
    matrix_arguments_scales(&launch, matrix);
    operation_argument_f32(&launch, matrix->bias);
    operation_argument_f32(&launch, params->input);
    host_arg_long(&launch, (int64_t)params->input_stride);
    operation_argument_f32(&launch, params->output);
    host_arg_long(&launch, (int64_t)params->output_stride);
    host_arg_int(&launch, (int32_t)params->row_count);
    return launch_grid(&launch, chain, params, chosen, &tile, context);
}

clmla_status project_enqueue(clmla_context *context, const clmla_project_params *params, host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {
        .weights = params->matrix.type, .row_count = params->row_count, .recorded = chain->recording != NULL};
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_PROJECT, &shape, params->variant));
    if (params->row_count == 0) return CLMLA_OK;
    if (chosen->method != VARIANT_CLBLAST || params->matrix.bias.memory) {
        shape.recorded = true; // CLBlast adds no bias: the next variant does
        if (chosen->method == VARIANT_CLBLAST)
            STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_PROJECT, &shape, NULL));
        return launch(context, params, chosen, chain);
    }
    host_gemm product = {
        .rows = params->row_count,
        .outputs = params->matrix.rows,
        .inputs = params->matrix.columns,
        .input = params->input,
        .input_stride = params->input_stride,
        .weights = params->matrix.values,
        .weights_stride = params->matrix.row_stride,
        .output = params->output,
        .output_stride = params->output_stride,
    };
    return host_gemm_enqueue(&product, chain);
}

clmla_status clmla_project(clmla_context *context, const clmla_project_params *params, cl_command_queue queue,
                           cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "project", queue, wait_count, wait, event));
    return host_chain_finish(&chain, project_enqueue(context, params, &chain), event);
}
