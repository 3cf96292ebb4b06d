// SPDX-License-Identifier: Apache-2.0
// rope_group: as rope_naive; a group takes some heads of a token, its work-items pairs of values. For GPUs. All values
// are in local memory before one is written, so that input and output may be the same memory in whichever orders.
//                                                                                             ref: tests/ref/ref_rope.c
// local memory: values, group_heads * rope_dim floats.   grid: global (GROUP * ceil(head_count / group_heads),
// token_count), local (GROUP, 1).   options: GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/slice.clh"

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void rope_group(
    const __global float *input, long input_offset, long input_token_stride, long input_head_stride,
    __global float *output, long output_offset, long output_token_stride, long output_head_stride,
    const __global float *table, long table_offset, int table_rows, const __global int *positions,
    long positions_offset, int rope_dim, int input_halves, int output_halves, int head_count, int token_count,
    int group_heads, __local float *values) {
    int token = slice_group(1), first = get_group_id(0) * group_heads, heads = min(group_heads, head_count - first);
    int position = positions ? clamp(positions[positions_offset + token], 0, table_rows - 1) : token,
        pairs = rope_dim / 2;
    const __global float *in = input + input_offset + token * input_token_stride + first * input_head_stride;
    __global float *out = output + output_offset + token * output_token_stride + first * output_head_stride;
    const __global float *angles = table + table_offset + (long)position * rope_dim;
    for (int i = get_local_id(0); i < heads * rope_dim; i += GROUP)
        values[i] = in[i / rope_dim * input_head_stride + i % rope_dim];
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE); // what others have read is written now
    for (int i = get_local_id(0); i < heads * pairs; i += GROUP) {
        int head = i / pairs, pair = i % pairs;
        const __local float *of = values + head * rope_dim;
        __global float *to = out + head * output_head_stride;
        float a = of[input_halves ? pair : 2 * pair], b = of[input_halves ? pair + pairs : 2 * pair + 1];
        float cosine = angles[2 * pair], sine = angles[2 * pair + 1];
        to[output_halves ? pair : 2 * pair] = a * cosine - b * sine;
        to[output_halves ? pair + pairs : 2 * pair + 1] = a * sine + b * cosine;
    }
}
