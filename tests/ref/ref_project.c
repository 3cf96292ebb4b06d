// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_project.h"
#include <stdlib.h>

void ref_project(double *out, const ref_matrix *matrix, const float *input, size_t count, size_t stride) {
    double *weights = ref_matrix_decode(matrix);
    if (!weights) abort();
    for (size_t t = 0; t < count; t++)
        for (size_t r = 0; r < matrix->rows; r++) {
            double sum = 0;
            for (size_t c = 0; c < matrix->columns; c++)
                sum += weights[r * matrix->columns + c] * (double)input[t * stride + c];
            out[t * matrix->rows + r] = sum + (matrix->bias ? (double)matrix->bias[r] : 0.0);
        }
    free(weights);
}
