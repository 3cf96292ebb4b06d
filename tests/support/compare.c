// SPDX-License-Identifier: Apache-2.0
#include "tests/support/compare.h"
#include "tests/support/device.h"
#include <float.h>
#include <math.h>

static bool same_place(float found, double expected) {
    if (isnan(expected) || isnan(found)) return isnan(expected) && isnan(found);
    if (isinf(expected) || isinf(found)) return isinf(expected) && isinf(found) && (found > 0) == (expected > 0);
    return true;
}

test_difference test_compare(const float *found, const double *expected, size_t count) {
    test_difference out = {.first_misplaced = count};
    double squares = 0, error_squares = 0, product = 0, both = 0;
    for (size_t i = 0; i < count; i++) {
        if (!same_place(found[i], expected[i])) {
            if (out.first_misplaced == count) out.first_misplaced = i;
            continue;
        }
        if (!isfinite(expected[i])) continue;
        double x = found[i], y = expected[i], error = fabs(x - y);
        if (error > out.largest_error) {
            out.largest_error = error;
            out.worst = i;
        }
        out.peak = fmax(out.peak, fabs(y));
        squares += y * y;
        error_squares += error * error;
        product += x * y;
        both += x * x + y * y;
    }
    out.relative_l2 = squares > 0 ? sqrt(error_squares / squares) : sqrt(error_squares);
    out.cosine = both > 0 ? 1 - 2 * product / both : 0;
    return out;
}

void test_compare_rows(const float *found, size_t found_stride, const double *expected, size_t rows, size_t width,
                       double bar, const char *name) {
    for (size_t r = 0; r < rows; r++) {
        const float *row = found + r * found_stride;
        const double *reference = expected + r * width;
        test_difference d = test_compare(row, reference, width);
        TEST_ASSERT(d.first_misplaced == width, "%s[%zu][%zu] is %g, expected %g", name, r, d.first_misplaced,
                    (double)row[d.first_misplaced], reference[d.first_misplaced]);
        double allowed = d.peak > 0.0 ? bar * d.peak + (double)FLT_MIN : 0.0;
        TEST_ASSERT(d.largest_error <= allowed,
                    "%s[%zu][%zu] is %.9g, expected %.9g: error %.2e of the row's peak %.3g, allowed %.2e", name, r,
                    d.worst, (double)row[d.worst], reference[d.worst], d.largest_error / d.peak, d.peak, bar);
    }
}
