// SPDX-License-Identifier: Apache-2.0
// How far values are from their reference.
#ifndef TOOLS_DIFFERENCE_H
#define TOOLS_DIFFERENCE_H

#include <stddef.h>

// All are NaN when any value is NaN or infinite.
typedef struct difference {
    double max_abs;           // max |value - reference|
    double rel_l2;            // ‖value - reference‖ / ‖reference‖
    double max_abs_over_peak; // max_abs / max |reference|
    double cos_diff;          // 1 − 2·Σ value·reference / Σ (value² + reference²)
} difference;

difference difference_of(const float *values, const float *reference, size_t count);

#endif
