// SPDX-License-Identifier: Apache-2.0
// A call that must fail: with this status, and with this word in its sentence.
#ifndef TEST_EXPECT_H
#define TEST_EXPECT_H

#include "tests/support/device.h"
#include <string.h>

static inline void expect(clmla_status found, clmla_status status, const char *word) {
    TEST_ASSERT(found == status, "%s, not %s: %s", clmla_status_name(found), clmla_status_name(status),
                clmla_last_error());
    TEST_ASSERT(strstr(clmla_last_error(), word), "no \"%s\" in \"%s\"", word, clmla_last_error());
}

#endif
