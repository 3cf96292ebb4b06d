// SPDX-License-Identifier: Apache-2.0
// Weight matrices as operations check them and hand them to kernels.
#ifndef LIB_MATRIX_H
#define LIB_MATRIX_H

#include "host/launch.h"
#include <clmla/operations.h>

// Checks type, sizes, strides and buffers. Errors: CLMLA_E_ARGUMENT, naming operation and matrix.
clmla_status matrix_check(clmla_context *context, const clmla_matrix *matrix, const char *operation, const char *name);

// "ELEMENT_BF16" for a weight type.
const char *matrix_element(clmla_type type);
// The same for a row format.
const char *rows_element(clmla_row_format format);

// The kernel arguments shared by all products: values, offset, row stride.
void matrix_arguments_values(host_launch *launch, const clmla_matrix *matrix);
// And: scales, offset, stride, first row, first column.
void matrix_arguments_scales(host_launch *launch, const clmla_matrix *matrix);

#endif
