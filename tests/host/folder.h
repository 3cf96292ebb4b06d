// SPDX-License-Identifier: Apache-2.0
// A temporary folder of a test's own, and bytes in and out of files.
#ifndef TEST_FOLDER_H
#define TEST_FOLDER_H

#include <stddef.h>

// Makes a private folder below the working folder; the answer is valid until test_folder_remove.
const char *test_folder_make(void);
void test_folder_remove(void); // with all it holds

// How many files it holds, and the path of the first in name order (NULL if none; static storage).
int test_folder_files(void);
const char *test_folder_first(void);

unsigned char *test_file_read(const char *path, size_t *bytes); // freed with free()
void test_file_write(const char *path, const void *data, size_t bytes);

#endif
