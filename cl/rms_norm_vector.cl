// SPDX-License-Identifier: Apache-2.0
// rms_norm_vector: as rms_norm_naive; one work-item a group and row, elements in vectors. For CPU devices.
// grid: global (row_count), local (1).   options: VECTOR_WIDTH                            ref: tests/ref/ref_rms_norm.c
#include "common/vector.clh"
#include "common/rms_norm.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void rms_norm_vector(
    const __global float *input, long input_offset, long input_stride, const __global float *weight, long weight_offset,
    float epsilon, __global float *output, long output_offset, long output_stride, int width, int row_count) {
    int row = get_global_id(0);
    if (row >= row_count) return;
    rms_norm_row(output + output_offset + row * output_stride, input + input_offset + row * input_stride,
                 weight + weight_offset, epsilon, width);
}
