// SPDX-License-Identifier: Apache-2.0
// Random steps on pages and sequences against the simplest model of them (page_model.h). What fails is cut down to the
// shortest list of steps that still fails by leaving steps out, and printed as C.
#include "tests/support/suite.h"
#include "tests/unit/page_model.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 100000 // of each shape
#define CHECK_EVERY 4
#define SHRINK_RUNS 4000

static const model_shape shapes[] = {
    {1, 160, CACHE_SHIFT_ROTATE, true, false},  {4, 60, CACHE_SHIFT_ROTATE, true, false},
    {4, 60, CACHE_SHIFT_KEEP, true, false},     {3, 40, CACHE_SHIFT_KEEP, false, false},
    {16, 30, CACHE_SHIFT_ROTATE, false, false}, {16, 60, CACHE_SHIFT_POSITIONS, true, false},
    {320, 5, CACHE_SHIFT_ROTATE, true, false},
};

typedef struct step_list {
    model_step *steps;
    size_t count;
} step_list;

// The number of the step after which a fault shows, or `count`; every step is checked from `careful` on.
static size_t run_steps(page_model *m, const model_shape *shape, const step_list *list, size_t careful, char *fault,
                        size_t size) {
    size_t at = 0;
    bool good = page_model_open(m, shape);
    for (; good && at < list->count; at++) {
        good = page_model_run(m, &list->steps[at], at % CHECK_EVERY == 0 || at >= careful || at + 1 == list->count);
        if (!good) break;
    }
    page_model_close(m);
    if (good && m->fault[0]) at = list->count > 0 ? list->count - 1 : 0; // found at the end
    snprintf(fault, size, "%s", m->fault);
    return m->fault[0] ? at : list->count;
}

static bool fails(page_model *m, const model_shape *shape, step_list *list) {
    char fault[200];
    size_t at = run_steps(m, shape, list, 0, fault, sizeof fault);
    if (at == list->count) return false;
    list->count = at + 1;
    return true;
}

static step_list without(const step_list *list, size_t first, size_t count) {
    step_list out = {malloc((list->count + 1) * sizeof *out.steps), list->count - count};
    memcpy(out.steps, list->steps, first * sizeof *out.steps);
    memcpy(out.steps + first, list->steps + first + count, (out.count - first) * sizeof *out.steps);
    return out;
}

// Leaves out halves, quarters, ... single steps as long as what is left fails.
static void shrink(page_model *m, const model_shape *shape, step_list *list) {
    int runs = 0;
    for (size_t size = (list->count + 1) / 2; size > 0; size = size > 1 ? (size + 1) / 2 : 0) {
        bool again = true;
        while (again) {
            again = false;
            for (size_t at = 0; at + size <= list->count && runs < SHRINK_RUNS; runs++) {
                step_list shorter = without(list, at, size);
                if (fails(m, shape, &shorter)) {
                    free(list->steps);
                    *list = shorter;
                    again = size == 1;
                } else {
                    free(shorter.steps);
                    at += size;
                }
            }
        }
    }
}

static void print_list(const step_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        char text[120];
        page_model_step_print(text, sizeof text, &list->steps[i]);
        printf("    %s,\n", text);
    }
}

static step_list make_steps(size_t count, uint64_t seed) {
    test_random random = test_random_make(seed);
    step_list list = {malloc(count * sizeof *list.steps), count};
    for (size_t i = 0; i < count; i++) list.steps[i] = page_model_step_make(&random);
    return list;
}

START_TEST(random_steps) {
    char fault[200];
    page_model *m = malloc(sizeof *m);
    step_list list = make_steps(STEPS, 20 + (uint64_t)_i);
    size_t at = run_steps(m, &shapes[_i], &list, STEPS, fault, sizeof fault);
    if (at < list.count) {
        list.count = at + 1;
        shrink(m, &shapes[_i], &list);
        run_steps(m, &shapes[_i], &list, 0, fault, sizeof fault);
        printf("shape %d, seed %d, step %zu: %s\n", _i, 20 + _i, at, fault);
        print_list(&list);
        fflush(stdout);
        ck_abort_msg("shape %d: %s (the steps are printed above)", _i, fault);
    }
    // The steps reach what they are made for.
    ck_assert_uint_gt(m->full, 100);
    ck_assert_uint_gt(m->out_of_memory, 10);
    if (shapes[_i].share_prefixes && shapes[_i].page_tokens <= 16) ck_assert_uint_gt(m->shared, 1000);
    free(list.steps);
    free(m);
}
END_TEST

// A model whose device loses moves: what is left of thousands of steps is the few that show it.
START_TEST(shrinks_what_fails) {
    static const model_shape faulty = {4, 60, CACHE_SHIFT_POSITIONS, false, true};
    char fault[200];
    page_model *m = malloc(sizeof *m);
    step_list list = make_steps(5000, 7);
    size_t at = run_steps(m, &faulty, &list, 5000, fault, sizeof fault);
    ck_assert_uint_lt(at, list.count);
    list.count = at + 1;
    shrink(m, &faulty, &list);
    ck_assert_uint_ge(list.count, 3); // create, append, remove
    ck_assert_uint_le(list.count, 4);
    ck_assert(fails(m, &faulty, &list));
    free(list.steps);
    free(m);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, random_steps, 0, sizeof shapes / sizeof *shapes);
    tcase_add_test(tests, shrinks_what_fails);
}

int main(void) {
    return test_run_apart("cache_model", add_tests);
}
