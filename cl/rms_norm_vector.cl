// SPDX-License-Identifier: Apache-2.0
// rms_norm_vector: as rms_norm_naive; one work-item a group and row, elements in vectors. For CPU devices.
// grid: global (row_count), local (1).   options: VECTOR_WIDTH                              ref: tests/ref/ref_rms_norm.c
#include "common/vector.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
rms_norm_vector(const __global float *input, long input_offset, long input_stride, const __global float *weight,
                long weight_offset, float epsilon, __global float *output, long output_offset, long output_stride, int width,
                int row_count) {
    int row = get_global_id(0);
    if (row >= row_count) return;
    const __global float *in = input + input_offset + row * input_stride;
    __global float *out = output + output_offset + row * output_stride;
    floatv sums = (floatv)0.0f;
    int i = 0;
    for (; i + VECTOR_WIDTH <= width; i += VECTOR_WIDTH) {
        floatv x = load_floatv(in + i);
        sums = fma(x, x, sums);
    }
    float sum = sum_floatv(sums);
    for (; i < width; i++) sum = fma(in[i], in[i], sum);

    float factor = 1.0f / sqrt(sum / (float)width + epsilon);
    for (i = 0; i + VECTOR_WIDTH <= width; i += VECTOR_WIDTH)
        store_floatv(load_floatv(in + i) * factor * load_floatv(weight + weight_offset + i), out + i);
    for (; i < width; i++) out[i] = in[i] * factor * weight[weight_offset + i];
}
