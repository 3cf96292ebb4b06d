// SPDX-License-Identifier: Apache-2.0
// rms_norm_naive: output[t][i] = input[t][i] * weight[i] / sqrt(mean(input[t]^2) + epsilon), one work-item a row.
// Input and output may be the same memory.                                                  ref: tests/ref/ref_rms_norm.c
// grid: global (row_count), local free.
#define SUM_RUN 32

__kernel void rms_norm_naive(const __global float *input, long input_offset, long input_stride, const __global float *weight,
                             long weight_offset, float epsilon, __global float *output, long output_offset,
                             long output_stride, int width, int row_count) {
    int row = get_global_id(0);
    if (row >= row_count) return;
    const __global float *in = input + input_offset + row * input_stride;
    __global float *out = output + output_offset + row * output_stride;
    float sum = 0.0f;
    for (int i = 0; i < width;) {
        float run = 0.0f;
        for (int end = min(i + SUM_RUN, width); i < end; i++) run = fma(in[i], in[i], run);
        sum += run;
    }
    float factor = 1.0f / sqrt(sum / (float)width + epsilon);
    for (int i = 0; i < width; i++) out[i] = in[i] * factor * weight[weight_offset + i];
}
