// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/gemm.h"
#include "host/memory.h"
#include "lib/matrix.h"
#include "lib/operation.h"

#define TILE_ROWS 12      // a multiple of the rows of each of cl/common/product.clh's tiles
#define BLOCK_ROWS_MAX 48 // of cl/common/product.clh
#define TILE_TOKENS 8     // likewise
#define ITEMS_PER_UNIT 8  // work-items a compute unit takes: enough to even out what disturbs some of them

static clmla_status check(clmla_context *context, const clmla_project_params *params) {
    STATUS_OR_RETURN(operation_check_count(context, params->row_count, "project", "row_count"));
    STATUS_OR_RETURN(matrix_check(context, &params->matrix, "project", "matrix"));
    STATUS_OR_RETURN(operation_check_rows(context, params->input, params->row_count, params->input_stride,
                                          params->matrix.columns, "project", "input"));
    return operation_check_rows(context, params->output, params->row_count, params->output_stride, params->matrix.rows,
                                "project", "output");
}

// Rows a work-item takes. However many they are, each sum is the same.
static uint32_t item_rows(const clmla_context *context, uint32_t rows) {
    uint32_t units = context->host.facts.compute_units ? context->host.facts.compute_units : 1;
    uint32_t tiles = rows / TILE_ROWS / (units * ITEMS_PER_UNIT) + 1, most = BLOCK_ROWS_MAX / TILE_ROWS;
    return (tiles < most ? tiles : most) * TILE_ROWS;
}

static clmla_status launch(clmla_context *context, const clmla_project_params *params, const variant *chosen,
                           host_chain *chain) {
    const clmla_matrix *matrix = &params->matrix;
    bool vector = chosen->method == VARIANT_VECTOR;
    char options[OPTIONS_MAX];
    operation_options(options, context, chosen, matrix_element(matrix->type), NULL);
    host_launch launch = host_launch_begin(&context->host, "project", chosen->source, options,
                                           vector ? "project_vector" : "project_naive");
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

    size_t global[2] = {matrix->rows, params->row_count}, local[2] = {1, 1};
    if (vector) {
        uint32_t of_item = item_rows(context, matrix->rows);
        host_arg_int(&launch, (int32_t)of_item);
        global[0] = (global[0] + of_item - 1) / of_item;
        global[1] = (global[1] + TILE_TOKENS - 1) / TILE_TOKENS;
    }
    return vector ? host_launch_enqueue(&launch, chain, 2, global, local)
                  : operation_launch_items(&launch, chain, 2, global);
}

clmla_status project_enqueue(clmla_context *context, const clmla_project_params *params, host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {
        .weights = params->matrix.type, .row_count = params->row_count, .recorded = chain->recording != NULL};
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_PROJECT, &shape, params->variant));
    if (params->row_count == 0) return CLMLA_OK;
    if (chosen->method != VARIANT_CLBLAST || params->matrix.bias.memory) {
        if (chosen->method == VARIANT_CLBLAST)
            STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_PROJECT, &shape, "naive"));
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
