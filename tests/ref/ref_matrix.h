// SPDX-License-Identifier: Apache-2.0
// Weight matrices as checkpoints store them, decoded to double.
#ifndef REF_MATRIX_H
#define REF_MATRIX_H

#include "tests/ref/ref_number.h"

// A window [rows][columns] of a stored matrix. fp8: each value counts times the scale of its 128 x 128 block of the
// whole matrix, in which the window starts at (scale_row, scale_column).
typedef struct ref_matrix {
    ref_type type;
    const void *values;
    size_t rows, columns, row_stride; // elements
    const float *scales;
    size_t scale_stride, scale_row, scale_column;
    const float *bias; // [rows] or NULL
} ref_matrix;

double ref_matrix_value(const ref_matrix *matrix, size_t row, size_t column);
// out [rows][columns]; allocated with malloc, freed by the caller. NULL when out of memory.
double *ref_matrix_decode(const ref_matrix *matrix);

#endif
