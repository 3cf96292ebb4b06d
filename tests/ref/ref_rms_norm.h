// SPDX-License-Identifier: Apache-2.0
#ifndef REF_RMS_NORM_H
#define REF_RMS_NORM_H

#include <stddef.h>

// out[i] = input[i] · weight[i] / sqrt(mean(input²) + epsilon), one row.
void ref_rms_norm(double *out, const float *input, const float *weight, size_t width, double epsilon);

#endif
