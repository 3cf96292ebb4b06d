// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_shift.h"
#include <math.h>

void ref_shift(double *out, ref_type type, const void *values, size_t count, bool halves, double theta, int delta) {
    for (size_t pair = 0; pair < count / 2; pair++) {
        size_t first = halves ? pair : 2 * pair, second = halves ? pair + count / 2 : 2 * pair + 1;
        double angle = delta * pow(theta, -2.0 * (double)pair / (double)count);
        double a = ref_load(type, values, first), b = ref_load(type, values, second);
        out[first] = a * cos(angle) - b * sin(angle);
        out[second] = a * sin(angle) + b * cos(angle);
    }
}
