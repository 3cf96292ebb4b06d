// SPDX-License-Identifier: Apache-2.0
// What --json prints: one object on stdout, valid JSON whatever bytes names and texts hold.
#ifndef TOOLS_JSON_OUTPUT_H
#define TOOLS_JSON_OUTPUT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

// Adds `length` bytes as a string: bytes that are not UTF-8, and NUL, become U+FFFD.
bool json_add_bytes(cJSON *object, const char *name, const void *bytes, size_t length);
bool json_add_text(cJSON *object, const char *name, const char *text);

// Prints the object with a newline on stdout and frees it. False if there was no memory for it.
bool json_print(cJSON *object);

#endif
