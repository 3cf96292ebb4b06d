// SPDX-License-Identifier: Apache-2.0
// Seeded values for compare, and attention over them in double precision.
#ifndef TOOLS_COMPARE_VALUES_H
#define TOOLS_COMPARE_VALUES_H

#include "session.h"
#include <stdint.h>

// Spread of the scores that queries are scaled to: a few keys count, most do not.
#define COMPARE_SCORE_SPREAD 2.0

typedef struct compare_random {
    uint64_t state;
} compare_random;

// Standard normal.
double compare_normal(compare_random *random);
// Normal, deviation 0.1, within -1 .. 1.
float compare_value(compare_random *random);

// A long list of values that stands for a buffer of f16: element i is values[i % count]. The count is prime, so that no
// two rows are alike.
#define COMPARE_BLOCK 1000003
typedef struct compare_block {
    float *values;   // exact in f16
    uint16_t *codes; // the same in f16
} compare_block;

bool compare_block_make(compare_block *out, compare_random *random, failure *failure);
void compare_block_free(compare_block *block);
bool compare_block_write(const compare_block *block, const session *session, cl_mem memory, uint64_t count,
                         failure *failure);

// One row through a matrix.
bool compare_project(const session *session, const clmla_matrix *matrix, cl_mem input, cl_mem output, failure *failure);

// Attention of `rows` queries [rows][width] over the same keys, in double: score j = scale * query . key(j), output
// [rows] [value_width] = softmax-weighted sum of value(j). `read` gives key j, and its value, as f32.
typedef struct compare_keys {
    void (*read)(const void *payload, uint64_t j, float *key, float *value);
    const void *payload;
    uint64_t count;
    uint32_t width, value_width;
} compare_keys;
bool compare_reference(double *out, const float *queries, uint32_t rows, const compare_keys *keys, double scale,
                       failure *failure);

// 1 - cosine of the angle between them, as 1 - 2 sum(xy) / sum(x^2 + y^2); NaN if any is not finite.
double compare_cos_diff(const float *found, const double *expected, uint64_t count);

#endif
