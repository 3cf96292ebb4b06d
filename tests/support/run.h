// SPDX-License-Identifier: Apache-2.0
// Running one enqueueing function the ways every one must survive: twice, behind events, and with wrong arguments.
#ifndef TEST_RUN_H
#define TEST_RUN_H

#include "tests/support/buffer.h"

typedef clmla_status (*test_enqueue)(void *payload, cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                     cl_event *event);

typedef struct test_run {
    test_enqueue enqueue;
    void *payload;
    test_buffer *inputs[16]; // NULL at the end; must not change
    test_buffer *outputs[4]; // NULL at the end; reset before each run
} test_run;

// Runs it twice on the in-order queue. Asserts success, whole canaries, unchanged inputs and equal bits; leaves the
// result in the outputs' `found`.
void test_run_twice(const test_run *run);

// Runs it on an out-of-order and an in-order queue behind writes of its inputs that a user event holds back. Asserts
// that nothing ran before, and the bits of `found` (from test_run_twice). An interpreter never starts what waits for a
// user event: nothing is asserted there.
void test_run_gated(const test_run *run);

// Both of these; on an interpreter neither, where each run takes long.
void test_run_events(const test_run *run);

// Both, on every device, of a call that has nothing to do: asserts that no output changes.
void test_run_nothing(const test_run *run);

// Asserts CLMLA_E_ARGUMENT, `word` in the sentence, no event made and outputs untouched.
void test_run_refused(const test_run *run, const char *word);
// The same of CLMLA_E_LIMIT.
void test_run_limited(const test_run *run, const char *word);

// Asserts that NULL queues and wait lists that contradict themselves are refused.
void test_run_wrong_waits(const test_run *run);

// Applies `change` to *params (the payload's parameters), asserts a refusal that says `word`, and takes the change
// back.
#define TEST_CHANGED(assertion, run, type, params, change, word)                                                       \
    do {                                                                                                               \
        type test_changed_saved = *(params);                                                                           \
        change;                                                                                                        \
        assertion(run, word);                                                                                          \
        *(params) = test_changed_saved;                                                                                \
    } while (0)
#define TEST_REFUSED(run, type, params, change, word) TEST_CHANGED(test_run_refused, run, type, params, change, word)
#define TEST_LIMITED(run, type, params, change, word) TEST_CHANGED(test_run_limited, run, type, params, change, word)

#endif
