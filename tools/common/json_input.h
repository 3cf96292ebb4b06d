// SPDX-License-Identifier: Apache-2.0
// JSON files the tools read beside what the library reads: reference.json, and the parts of a config.json outside
// attention.
#ifndef TOOLS_JSON_INPUT_H
#define TOOLS_JSON_INPUT_H

#include "failure.h"
#include <cjson/cJSON.h>
#include <stdint.h>

// "folder/name" in memory to be freed; NULL if there is none left.
char *path_join(const char *folder, const char *name);

// A whole file, to be freed, with a NUL behind it. At most `limit` bytes.
bool file_read(char **out, size_t *length, const char *path, size_t limit, failure *failure);

// Whether a file could be written at a path, before the work that makes it. What is there stays as it is.
bool file_can_be_written(const char *path, failure *failure);

// Parses a file that holds one JSON object; to be given to cJSON_Delete.
bool json_read(cJSON **out, const char *path, failure *failure);

// A field that must be a whole number from minimum to maximum.
bool json_number(uint32_t *out, const cJSON *object, const char *path, const char *name, uint32_t minimum,
                 uint32_t maximum, failure *failure);

#endif
