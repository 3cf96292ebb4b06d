// SPDX-License-Identifier: Apache-2.0
// rms_norm_group: as rms_norm_naive; a group takes a row, its work-items the elements in turns. For GPUs.
// Each reads again what it writes, so that input and output may be the same memory.       ref: tests/ref/ref_rms_norm.c
// local memory: GROUP floats.   grid: global (GROUP * row_count), local (GROUP).   options: GROUP, SUB_GROUP
#include "common/group.clh"

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void rms_norm_group(
    const __global float *input, long input_offset, long input_stride, const __global float *weight, long weight_offset,
    float epsilon, __global float *output, long output_offset, long output_stride, int width, int row_count) {
    __local float space[GROUP];
    long row = get_group_id(0);
    const __global float *in = input + input_offset + row * input_stride;
    __global float *out = output + output_offset + row * output_stride;
    float sum = 0.0f;
    for (int i = get_local_id(0); i < width; i += GROUP) sum = fma(in[i], in[i], sum);
    float factor = 1.0f / sqrt(group_sum(sum, space) / (float)width + epsilon);
    for (int i = get_local_id(0); i < width; i += GROUP) out[i] = in[i] * factor * weight[weight_offset + i];
}
