// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_matrix.h"
#include <stdlib.h>

double ref_matrix_value(const ref_matrix *matrix, size_t row, size_t column) {
    double value = ref_load(matrix->type, matrix->values, row * matrix->row_stride + column);
    if (matrix->type != REF_F8_E4M3) return value;
    size_t block_row = (matrix->scale_row + row) / 128, block_column = (matrix->scale_column + column) / 128;
    return value * (double)matrix->scales[block_row * matrix->scale_stride + block_column];
}

double *ref_matrix_decode(const ref_matrix *matrix) {
    double *out = malloc((matrix->rows * matrix->columns + 1) * sizeof *out);
    if (!out) return NULL;
    for (size_t r = 0; r < matrix->rows; r++)
        for (size_t c = 0; c < matrix->columns; c++) out[r * matrix->columns + c] = ref_matrix_value(matrix, r, c);
    return out;
}
