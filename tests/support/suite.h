// SPDX-License-Identifier: Apache-2.0
// Runs a program's tests and answers main's exit status: 0, or 1 where one failed or there were none. meson has the
// timeouts.
#ifndef TEST_SUITE_H
#define TEST_SUITE_H

#include <check.h>

// All in this process: of programs that touch OpenCL, or keep state from test to test.
int test_run(const char *name, void (*add_tests)(TCase *tcase));
// Each in a process of its own, unless CK_FORK=no.
int test_run_apart(const char *name, void (*add_tests)(TCase *tcase));

#endif
