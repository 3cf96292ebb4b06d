// SPDX-License-Identifier: Apache-2.0
// rope_vector: as rope_naive; one work-item a group and token, VECTOR_WIDTH pairs at a time. For CPU devices.
// grid: global (token_count), local (1).   options: MAX_ROPE_DIM, VECTOR_WIDTH                ref: tests/ref/ref_rope.c
#include "common/vector.clh"
#ifndef MAX_ROPE_DIM
#error "MAX_ROPE_DIM is missing"
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void rope_vector(
    const __global float *input, long input_offset, long input_token_stride, long input_head_stride,
    __global float *output, long output_offset, long output_token_stride, long output_head_stride,
    const __global float *table, long table_offset, int table_rows, const __global int *positions,
    long positions_offset, int rope_dim, int input_halves, int output_halves, int head_count, int token_count) {
    int token = get_global_id(0);
    if (token >= token_count) return;
    int position = positions ? clamp(positions[positions_offset + token], 0, table_rows - 1) : token;
    const __global float *angles = table + table_offset + (long)position * rope_dim;
    int pairs = rope_dim / 2;

    // Split once for all heads; the arrays are padded to whole vectors, and what lies past `pairs` is never stored.
    float cosines[MAX_ROPE_DIM / 2 + VECTOR_WIDTH], sines[MAX_ROPE_DIM / 2 + VECTOR_WIDTH];
    float first[MAX_ROPE_DIM / 2 + VECTOR_WIDTH], second[MAX_ROPE_DIM / 2 + VECTOR_WIDTH];
    for (int i = 0; i < pairs + VECTOR_WIDTH; i++) cosines[i] = sines[i] = first[i] = second[i] = 0.0f;
    for (int i = 0; i < pairs; i++) {
        cosines[i] = angles[2 * i];
        sines[i] = angles[2 * i + 1];
    }
    int input_step = input_halves ? 1 : 2, input_second = input_halves ? pairs : 1;
    int output_step = output_halves ? 1 : 2, output_second = output_halves ? pairs : 1;

    for (int head = 0; head < head_count; head++) {
        const __global float *in = input + input_offset + token * input_token_stride + head * input_head_stride;
        __global float *out = output + output_offset + token * output_token_stride + head * output_head_stride;
        for (int i = 0; i < pairs; i++) {
            first[i] = in[i * input_step];
            second[i] = in[i * input_step + input_second];
        }
        for (int i = 0; i < pairs; i += VECTOR_WIDTH) {
            floatv a = load_floatv(first + i), b = load_floatv(second + i);
            floatv c = load_floatv(cosines + i), s = load_floatv(sines + i);
            store_floatv(a * c - b * s, first + i);
            store_floatv(a * s + b * c, second + i);
        }
        for (int i = 0; i < pairs; i++) {
            out[i * output_step] = first[i];
            out[i * output_step + output_second] = second[i];
        }
    }
}
