// SPDX-License-Identifier: Apache-2.0
// rms_norm_naive: output[t][i] = input[t][i] * weight[i] / sqrt(mean(input[t]^2) + epsilon), one work-item a row.
// Input and output may be the same memory.                                                ref: tests/ref/ref_rms_norm.c
// grid: global (row_count), local free.
#include "common/rms_norm.clh"

__kernel void rms_norm_naive(const __global float *input, long input_offset, long input_stride,
                             const __global float *weight, long weight_offset, float epsilon, __global float *output,
                             long output_offset, long output_stride, int width, int row_count) {
    int row = get_global_id(0);
    if (row >= row_count) return;
    rms_norm_row(output + output_offset + row * output_stride, input + input_offset + row * input_stride,
                 weight + weight_offset, epsilon, width);
}
