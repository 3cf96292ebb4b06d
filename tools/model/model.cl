// SPDX-License-Identifier: Apache-2.0
// The parts of a language model that are not attention and not a matrix product or norm (for those the program calls
// clmla_project and clmla_rms_norm). All f32. T tokens of a step, `width` elements a token.

// x[t] = table[tokens[t]].    grid: (width, T)
__kernel void embed(__global const float *table, __global const int *tokens, __global float *x, int width) {
    size_t i = get_global_id(0), t = get_global_id(1);
    x[t * width + i] = table[(size_t)tokens[t] * width + i];
}

// The residual connection, x += branch.    grid: (T * width)
__kernel void add(__global float *x, __global const float *branch) {
    size_t i = get_global_id(0);
    x[i] += branch[i];
}

// SwiGLU (arXiv 2002.05202): gate = silu(gate) * up, silu(v) = v / (1 + exp(-v)).    grid: (T * intermediate)
__kernel void swiglu(__global float *gate, __global const float *up) {
    size_t i = get_global_id(0);
    gate[i] = gate[i] / (1.0f + exp(-gate[i])) * up[i];
}
