// SPDX-License-Identifier: Apache-2.0
#include "difference.h"
#include <math.h>
#include <stdbool.h>

// 0 when both are 0: nothing to differ from and no difference.
static double ratio(double error, double size) {
    return error == 0.0 ? 0.0 : error / size;
}

difference difference_of(const float *values, const float *reference, size_t count) {
    double max_abs = 0.0, peak = 0.0, error = 0.0, size = 0.0, found = 0.0;
    bool finite = true;
    for (size_t i = 0; i < count; i++) {
        double expected = reference[i], apart = fabs((double)values[i] - expected);
        finite = finite && isfinite(apart);
        max_abs = fmax(max_abs, apart);
        peak = fmax(peak, fabs(expected));
        error += apart * apart;
        size += expected * expected;
        found += (double)values[i] * values[i];
    }
    if (!finite) return (difference){NAN, NAN, NAN, NAN};
    // Σ (value − reference)² is what the definition of cos_diff comes to above the fraction line, without its
    // cancellation.
    return (difference){max_abs, ratio(sqrt(error), sqrt(size)), ratio(max_abs, peak), ratio(error, size + found)};
}
