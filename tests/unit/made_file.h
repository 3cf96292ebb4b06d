// SPDX-License-Identifier: Apache-2.0
// Files made by a test, in a folder of its own below the one it runs in; and the check of a call that must fail.
#ifndef TEST_MADE_FILE_H
#define TEST_MADE_FILE_H

#include <check.h>
#include <clmla/status.h>
#include <stddef.h>
#include <string.h>

// "<folder>/<name>". Valid until the fourth next call.
const char *made_path(const char *name);
// Makes a folder inside, if it is not there.
void made_folder(const char *name);
// Writes a file; returns its path.
const char *made_file(const char *name, const void *bytes, size_t count);
// Writes a safetensors file: header length, header, and data_bytes bytes 0, 1, 2, ...; returns its path.
const char *made_safetensors(const char *name, const char *header, size_t data_bytes);

// Makes the folder, called after the program; runs the suite; removes the folder. Returns what main returns.
int made_run(const char *program, void (*add_tests)(TCase *tcase));

// The call answered `status`, and its sentence is one line that contains `word`.
#define EXPECT_REFUSED(call, status, word)                                                                             \
    do {                                                                                                               \
        clmla_status expect_found = (call);                                                                            \
        ck_assert_msg(expect_found == (status), "%s instead of %s (\"%s\"): %s", clmla_status_name(expect_found),      \
                      clmla_status_name(status), word, expect_found == CLMLA_OK ? "" : clmla_last_error());            \
        ck_assert_msg(strstr(clmla_last_error(), word) != NULL, "no \"%s\" in \"%s\"", word, clmla_last_error());      \
        ck_assert_msg(strchr(clmla_last_error(), '\n') == NULL, "more than one line: %s", clmla_last_error());         \
    } while (0)

#define EXPECT_OK(call)                                                                                                \
    do {                                                                                                               \
        clmla_status expect_found = (call);                                                                            \
        ck_assert_msg(expect_found == CLMLA_OK, "%s: %s", clmla_status_name(expect_found), clmla_last_error());        \
    } while (0)

#endif
