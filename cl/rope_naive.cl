// SPDX-License-Identifier: Apache-2.0
// rope_naive: rotates rope_dim values of each head of each token, one work-item a head.       ref: tests/ref/ref_rope.c
// Pair i of the input is values (2i, 2i+1) when interleaved, (i, i + rope_dim/2) when in halves; likewise the output.
// Input and output may be the same memory in whichever orders: the head is first gathered into private memory, which
// has room for MAX_ROPE_DIM values.
// grid: global (head_count, token_count), local free.   options: MAX_ROPE_DIM
#ifndef MAX_ROPE_DIM
#error "MAX_ROPE_DIM is missing"
#endif

__kernel void rope_naive(const __global float *input, long input_offset, long input_token_stride,
                         long input_head_stride, __global float *output, long output_offset, long output_token_stride,
                         long output_head_stride, const __global float *table, long table_offset, int table_rows,
                         const __global int *positions, long positions_offset, int rope_dim, int input_halves,
                         int output_halves, int head_count, int token_count) {
    int head = get_global_id(0);
    int token = get_global_id(1);
    if (head >= head_count || token >= token_count) return;
    const __global float *in = input + input_offset + token * input_token_stride + head * input_head_stride;
    __global float *out = output + output_offset + token * output_token_stride + head * output_head_stride;
    int position = positions ? clamp(positions[positions_offset + token], 0, table_rows - 1) : token;
    const __global float *angles = table + table_offset + (long)position * rope_dim;
    int pairs = rope_dim / 2;

    float values[MAX_ROPE_DIM];
    for (int i = 0; i < rope_dim; i++) values[i] = in[i];
    for (int i = 0; i < pairs; i++) {
        float a = values[input_halves ? i : 2 * i];
        float b = values[input_halves ? i + pairs : 2 * i + 1];
        float cosine = angles[2 * i], sine = angles[2 * i + 1];
        out[output_halves ? i : 2 * i] = a * cosine - b * sine;
        out[output_halves ? i + pairs : 2 * i + 1] = a * sine + b * cosine;
    }
}
