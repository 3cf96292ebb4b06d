// SPDX-License-Identifier: Apache-2.0
#include "tests/support/suite.h"
#include <stdlib.h>

static int run(const char *name, void (*add_tests)(TCase *tcase), enum fork_status fork) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 0);
    add_tests(tcase);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, fork);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner), ran = srunner_ntests_run(runner);
    srunner_free(runner);
    return failed == 0 && ran > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int test_run(const char *name, void (*add_tests)(TCase *tcase)) {
    return run(name, add_tests, CK_NOFORK);
}

int test_run_apart(const char *name, void (*add_tests)(TCase *tcase)) {
    return run(name, add_tests, CK_FORK_GETENV);
}
