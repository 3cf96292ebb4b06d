// SPDX-License-Identifier: Apache-2.0
// Pairwise-covering selection: few cases in which every two levels of two factors still meet.
#ifndef TEST_PAIRWISE_H
#define TEST_PAIRWISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAIRWISE_FACTORS_MAX 24
#define PAIRWISE_LEVELS_MAX 16

typedef struct pairwise {
    int factor_count;
    int levels[PAIRWISE_FACTORS_MAX];
    // Whether a case may be chosen: within the cost, not contradictory. NULL = any.
    bool (*accept)(const int *chosen, const void *payload);
    const void *payload;
    size_t short_cases; // of the short form; 0 = 12
    uint64_t seed;
} pairwise;

// Writes cases [count][factor_count] and answers their number, at most capacity. *left_out: pairs that no accepted case
// was found for, or that did not fit the capacity.
size_t pairwise_select(int *cases, size_t capacity, size_t *left_out, const pairwise *of);

// All cases of a family, each run once: `run` gets its number and levels. In short form about short_cases of them.
// Asserts, in the full form, that every pair was covered, and prints how many cases there are.
void pairwise_run(const pairwise *of, const char *family, void (*run)(int number, const int *chosen));

#endif
