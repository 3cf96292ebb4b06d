// SPDX-License-Identifier: Apache-2.0
#include "tests/support/pairwise.h"
#include "tests/support/device.h"
#include "tests/support/random.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES 24
#define TRIES 300

enum { PAIR_OPEN, PAIR_COVERED, PAIR_IMPOSSIBLE };

typedef struct selection {
    const pairwise *of;
    test_random random;
    unsigned char state[PAIRWISE_FACTORS_MAX][PAIRWISE_FACTORS_MAX][PAIRWISE_LEVELS_MAX][PAIRWISE_LEVELS_MAX];
} selection;

static size_t newly_covered(const selection *s, const int *chosen) {
    size_t count = 0;
    for (int a = 0; a < s->of->factor_count; a++)
        for (int b = a + 1; b < s->of->factor_count; b++) count += s->state[a][b][chosen[a]][chosen[b]] != PAIR_COVERED;
    return count;
}

static void cover(selection *s, const int *chosen) {
    for (int a = 0; a < s->of->factor_count; a++)
        for (int b = a + 1; b < s->of->factor_count; b++) s->state[a][b][chosen[a]][chosen[b]] = PAIR_COVERED;
}

// The best of some random accepted cases that hold one pair; false if none was found.
static bool find_case(selection *s, int *best, int a, int level_a, int b, int level_b) {
    const pairwise *of = s->of;
    size_t most = 0;
    int found = 0;
    for (int i = 0; i < TRIES && found < CANDIDATES; i++) {
        int chosen[PAIRWISE_FACTORS_MAX];
        for (int f = 0; f < of->factor_count; f++)
            chosen[f] = (int)test_random_below(&s->random, (uint32_t)of->levels[f]);
        chosen[a] = level_a;
        chosen[b] = level_b;
        if (of->accept && !of->accept(chosen, of->payload)) continue;
        found++;
        size_t covered = newly_covered(s, chosen);
        if (covered <= most) continue;
        most = covered;
        memcpy(best, chosen, (size_t)of->factor_count * sizeof *best);
    }
    return most > 0;
}

size_t pairwise_select(int *cases, size_t capacity, size_t *left_out, const pairwise *of) {
    static selection s; // too large for some stacks
    memset(&s, 0, sizeof s);
    s.of = of;
    s.random = test_random_make(of->seed);
    size_t count = 0;
    *left_out = 0;
    for (int a = 0; a < of->factor_count; a++)
        for (int b = a + 1; b < of->factor_count; b++)
            for (int i = 0; i < of->levels[a] * of->levels[b]; i++) {
                int level_a = i % of->levels[a], level_b = i / of->levels[a];
                if (s.state[a][b][level_a][level_b] != PAIR_OPEN) continue;
                int *best = cases + count * (size_t)of->factor_count;
                if (count < capacity && find_case(&s, best, a, level_a, b, level_b)) {
                    cover(&s, best);
                    count++;
                } else {
                    s.state[a][b][level_a][level_b] = PAIR_IMPOSSIBLE;
                    ++*left_out;
                }
            }
    return count;
}

#define CASES_MAX 400u
#define SHORT_CASES 12u

void pairwise_run(const pairwise *of, const char *family, void (*run)(int number, const int *chosen)) {
    bool short_form = test_device_get()->short_form;
    size_t left_out, ran = 0, factors = (size_t)of->factor_count;
    int *cases = calloc((CASES_MAX + 1) * factors, sizeof *cases);
    TEST_ASSERT(cases != NULL, "no memory");
    size_t count = pairwise_select(cases, CASES_MAX, &left_out, of);
    size_t few = of->short_cases ? of->short_cases : SHORT_CASES, step = short_form ? count / few + 1 : 1;
    TEST_ASSERT(short_form || left_out == 0, "%s: %zu pairs are in no case", family, left_out);
    for (size_t i = 0; i < count; i += step) {
        if (!test_case_wanted((int)i)) continue;
        run((int)i, cases + i * factors);
        ran++;
    }
    printf("%s: %zu of %zu cases, %zu pairs left out\n", family, ran, count, left_out);
    free(cases);
}
