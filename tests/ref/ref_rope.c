// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_rope.h"

static size_t place(size_t pair, int second, size_t dim, bool halves) {
    return halves ? pair + (second ? dim / 2 : 0) : 2 * pair + (second ? 1 : 0);
}

void ref_rope(double *out, const double *input, const float *table, size_t dim, bool input_halves, bool output_halves) {
    for (size_t i = 0; i < dim / 2; i++) {
        double a = input[place(i, 0, dim, input_halves)], b = input[place(i, 1, dim, input_halves)];
        double cosine = (double)table[2 * i], sine = (double)table[2 * i + 1];
        out[place(i, 0, dim, output_halves)] = a * cosine - b * sine;
        out[place(i, 1, dim, output_halves)] = a * sine + b * cosine;
    }
}
