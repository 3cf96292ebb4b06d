// SPDX-License-Identifier: Apache-2.0
// Random weight matrices on the device, and the same ones as the references read them.
#ifndef TEST_WEIGHTS_H
#define TEST_WEIGHTS_H

#include "tests/ref/ref_matrix.h"
#include "tests/support/buffer.h"
#include "tests/support/random.h"

typedef struct test_weights_shape {
    ref_type type;
    uint32_t rows, columns;
    bool window; // cut out of a larger matrix: a longer row stride and, for fp8, an origin inside the grid of scales
    bool bias;
    // Rows by turns with a NaN, an infinity (a NaN where the type has none), subnormals alone, zeros alone, and
    // ordinary ones.
    bool special;
    double mean, deviation;
} test_weights_shape;

typedef struct test_weights {
    clmla_matrix matrix;
    ref_matrix reference; // into the buffers' host copies
    test_buffer values, scales, bias;
} test_weights;

void test_weights_make(test_weights *out, const test_weights_shape *shape, test_random *random);
void test_weights_free(test_weights *weights);
// Adds its buffers to a list that NULL ends; answers the number added.
int test_weights_inputs(test_buffer **list, test_weights *weights);

clmla_type test_type_of(ref_type type);
ref_type test_ref_type_of(clmla_row_format format);
const char *test_type_name(ref_type type);

#endif
