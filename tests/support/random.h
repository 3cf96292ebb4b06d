// SPDX-License-Identifier: Apache-2.0
// Seeded numbers: the same seed gives the same test data on every machine.
#ifndef TEST_RANDOM_H
#define TEST_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_random {
    uint64_t state;
} test_random;

test_random test_random_make(uint64_t seed);
uint64_t test_random_bits(test_random *random);
uint32_t test_random_below(test_random *random, uint32_t limit); // 0 .. limit-1; limit >= 1
double test_random_uniform(test_random *random);                 // [0, 1)
double test_random_normal(test_random *random);
void test_random_fill(test_random *random, float *out, size_t count, double mean, double deviation);
void test_random_permutation(test_random *random, int32_t *out, size_t count);

#endif
