// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_rms_norm.h"
#include <math.h>

void ref_rms_norm(double *out, const float *input, const float *weight, size_t width, double epsilon) {
    double squares = 0;
    for (size_t i = 0; i < width; i++) squares += (double)input[i] * (double)input[i];
    double root = sqrt(squares / (double)width + epsilon);
    for (size_t i = 0; i < width; i++) out[i] = (double)input[i] / root * (double)weight[i];
}
