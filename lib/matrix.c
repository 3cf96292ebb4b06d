// SPDX-License-Identifier: Apache-2.0
#include "lib/matrix.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/context.h"

#define SCALE_BLOCK 128u

const char *matrix_element(clmla_type type) {
    switch (type) {
    case CLMLA_TYPE_F32:
        return "ELEMENT_F32";
    case CLMLA_TYPE_F16:
        return "ELEMENT_F16";
    case CLMLA_TYPE_BF16:
        return "ELEMENT_BF16";
    case CLMLA_TYPE_F8_E4M3:
        return "ELEMENT_F8_E4M3";
    default:
        return NULL;
    }
}

const char *rows_element(clmla_row_format format) {
    switch (format) {
    case CLMLA_ROWS_F32:
        return "ELEMENT_F32";
    case CLMLA_ROWS_F16:
        return "ELEMENT_F16";
    case CLMLA_ROWS_BF16:
        return "ELEMENT_BF16";
    default:
        return NULL;
    }
}

static clmla_status check_scales(clmla_context *context, const clmla_matrix *matrix, const char *operation,
                                 const char *name) {
    uint64_t block_rows = ((uint64_t)matrix->scale_row + matrix->rows + SCALE_BLOCK - 1) / SCALE_BLOCK;
    uint64_t block_columns = ((uint64_t)matrix->scale_column + matrix->columns + SCALE_BLOCK - 1) / SCALE_BLOCK;
    if (matrix->scale_stride < block_columns)
        return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0,
                         "%s: %s: %llu scales a row of blocks are needed, scale_stride is %u", operation, name,
                         (unsigned long long)block_columns, matrix->scale_stride);
    uint64_t count = (block_rows - 1) * matrix->scale_stride + block_columns;
    return host_buffer_check(&context->host, matrix->scales, count * sizeof(float), sizeof(float), operation, name);
}

clmla_status matrix_check(clmla_context *context, const clmla_matrix *matrix, const char *operation, const char *name) {
    const clmla_log *log = &context->host.log;
    if (!matrix_element(matrix->type))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %s: weights are f32, f16, bf16 or f8_e4m3, not %s", operation,
                         name, clmla_type_name(matrix->type));
    if (matrix->rows == 0 || matrix->columns == 0 || matrix->rows > INT32_MAX || matrix->columns > INT32_MAX)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %s: %u rows by %u columns", operation, name, matrix->rows,
                         matrix->columns);
    if (matrix->row_stride < matrix->columns || matrix->row_stride > INT64_MAX / matrix->rows / 8)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: %s: row_stride %llu does not fit %u columns", operation, name,
                         (unsigned long long)matrix->row_stride, matrix->columns);
    uint64_t elements = (uint64_t)(matrix->rows - 1) * matrix->row_stride + matrix->columns;
    uint32_t bytes = (uint32_t)clmla_type_bytes(matrix->type);
    STATUS_OR_RETURN(host_buffer_check(&context->host, matrix->values, elements * bytes, bytes, operation, name));
    if (matrix->type == CLMLA_TYPE_F8_E4M3) STATUS_OR_RETURN(check_scales(context, matrix, operation, name));
    if (matrix->bias.memory)
        return host_buffer_check(&context->host, matrix->bias, matrix->rows * sizeof(float), sizeof(float), operation,
                                 "bias");
    return CLMLA_OK;
}

void matrix_arguments_values(host_launch *launch, const clmla_matrix *matrix) {
    host_arg_buffer(launch, matrix->values.memory);
    host_arg_long(launch, (int64_t)(matrix->values.offset / clmla_type_bytes(matrix->type)));
    host_arg_long(launch, (int64_t)matrix->row_stride);
}

void matrix_arguments_scales(host_launch *launch, const clmla_matrix *matrix) {
    host_arg_buffer(launch, matrix->scales.memory);
    host_arg_long(launch, (int64_t)(matrix->scales.offset / sizeof(float)));
    host_arg_int(launch, (int32_t)matrix->scale_stride);
    host_arg_int(launch, (int32_t)matrix->scale_row);
    host_arg_int(launch, (int32_t)matrix->scale_column);
}
