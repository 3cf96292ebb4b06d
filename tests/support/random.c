// SPDX-License-Identifier: Apache-2.0
#include "tests/support/random.h"
#include <math.h>

test_random test_random_make(uint64_t seed) {
    return (test_random){seed * 0x9e3779b97f4a7c15u + 0x243f6a8885a308d3u};
}

// splitmix64 (Steele, Lea, Flood 2014).
uint64_t test_random_bits(test_random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t test_random_below(test_random *random, uint32_t limit) {
    return (uint32_t)((test_random_bits(random) >> 32) * limit >> 32);
}

double test_random_uniform(test_random *random) {
    return (double)(test_random_bits(random) >> 11) * 0x1p-53;
}

// Box and Muller's first value; the logarithm's argument is never 0.
double test_random_normal(test_random *random) {
    double radius = sqrt(-2.0 * log(1.0 - test_random_uniform(random)));
    return radius * cos(6.283185307179586 * test_random_uniform(random));
}

void test_random_fill(test_random *random, float *out, size_t count, double mean, double deviation) {
    for (size_t i = 0; i < count; i++) out[i] = (float)(mean + deviation * test_random_normal(random));
}

void test_random_permutation(test_random *random, int32_t *out, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t at = test_random_below(random, (uint32_t)i + 1);
        out[i] = out[at];
        out[at] = (int32_t)i;
    }
}
