// SPDX-License-Identifier: Apache-2.0
#ifndef REF_PROJECT_H
#define REF_PROJECT_H

#include "tests/ref/ref_matrix.h"

// out[t][r] = sum_c input[t·stride + c] · matrix[r][c] + bias[r]; out [count][rows] dense.
void ref_project(double *out, const ref_matrix *matrix, const float *input, size_t count, size_t stride);

#endif
