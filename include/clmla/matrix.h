// SPDX-License-Identifier: Apache-2.0
// A weight matrix on the device, as the operations take it.
#ifndef CLMLA_MATRIX_H
#define CLMLA_MATRIX_H

#include <clmla/opencl.h>
#include <clmla/types.h>

CLMLA_BEGIN

// A weight matrix [rows][columns] as a checkpoint stores it (rows = outputs), or a window of one.
typedef struct clmla_matrix {
    clmla_type type; // f32, f16, bf16 or f8_e4m3
    uint32_t rows, columns;
    uint64_t row_stride; // elements, >= columns
    clmla_buffer values;
    // fp8 alone: value(r, c) = e4m3 · scales[(scale_row + r) / 128][(scale_column + c) / 128], f32. The two origins
    // place a window in the grid of blocks of the whole matrix.
    clmla_buffer scales;
    uint32_t scale_stride; // scales a row of blocks
    uint32_t scale_row, scale_column;
    clmla_buffer bias; // [rows] f32; optional
} clmla_matrix;

CLMLA_END

#endif
