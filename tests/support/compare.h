// SPDX-License-Identifier: Apache-2.0
// How far results are from a reference in double. NaN and infinities must stand in the same places.
#ifndef TEST_COMPARE_H
#define TEST_COMPARE_H

#include <stddef.h>

typedef struct test_difference {
    size_t first_misplaced; // index of the first value whose NaN or infinity the other does not have; count if none
    size_t worst;           // index of the largest error
    double largest_error;   // absolute, over the finite values
    double peak;            // largest magnitude of the reference
    double relative_l2;     // |x - y| / |y|
    double cosine;          // 1 - 2 sum(xy) / sum(x² + y²)
} test_difference;

test_difference test_compare(const float *found, const double *expected, size_t count);

// Asserts no misplaced NaN or infinity and a largest error of bar times the row's peak, for each row of `width` values,
// `found_stride` apart in found and dense in expected; below the smallest normal float a device may flush to zero.
// `name` stands for the tensor.
void test_compare_rows(const float *found, size_t found_stride, const double *expected, size_t rows, size_t width,
                       double bar, const char *name);

// The bar of f32 computation against the double reference of the same inputs (largest error over largest magnitude).
#define TEST_BAR_F32 2e-6

#endif
