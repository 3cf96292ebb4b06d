// SPDX-License-Identifier: Apache-2.0
#include "json_input.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_LIMIT (16u << 20)

char *path_join(const char *folder, const char *name) {
    size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

bool file_can_be_written(const char *path, failure *failure) {
    FILE *file = fopen(path, "r+b");
    bool is_new = !file && errno == ENOENT;
    if (is_new) file = fopen(path, "ab");
    if (!file) return failure_set(failure, "%s: cannot be written: %s", path, strerror(errno));
    fclose(file);
    if (is_new) remove(path);
    return true;
}

bool file_read(char **out, size_t *length, const char *path, size_t limit, failure *failure) {
    FILE *file = fopen(path, "rb");
    if (!file) return failure_set(failure, "%s: %s", path, strerror(errno));
    size_t capacity = 0, used = 0, got = 0;
    char *text = NULL;
    do { // grows rather than asks for the size: a pipe has none
        if (used + 1 >= capacity) {
            capacity = capacity ? capacity * 2 : 4096;
            char *larger = realloc(text, capacity);
            if (!larger) {
                free(text);
                fclose(file);
                return failure_memory(failure);
            }
            text = larger;
        }
        got = fread(text + used, 1, capacity - used - 1, file);
        used += got;
    } while (got > 0 && used <= limit);
    bool broken = ferror(file) != 0;
    fclose(file);
    text[used] = '\0';
    *out = text;
    *length = used;
    if (!broken && used <= limit) return true;
    free(text);
    return broken ? failure_set(failure, "%s: cannot be read", path)
                  : failure_set(failure, "%s: larger than %zu bytes", path, limit);
}

bool json_read(cJSON **out, const char *path, failure *failure) {
    char *text;
    size_t length;
    if (!file_read(&text, &length, path, JSON_LIMIT, failure)) return false;
    *out = cJSON_ParseWithLength(text, length);
    free(text);
    if (cJSON_IsObject(*out)) return true;
    cJSON_Delete(*out);
    *out = NULL;
    return failure_set(failure, "%s: not a JSON object", path);
}

bool json_number(uint32_t *out, const cJSON *object, const char *path, const char *name, uint32_t minimum,
                 uint32_t maximum, failure *failure) {
    const cJSON *field = cJSON_GetObjectItemCaseSensitive(object, name);
    double value = cJSON_IsNumber(field) ? field->valuedouble : -1.0;
    bool whole = value >= minimum && value <= maximum && value == (double)(uint32_t)value;
    if (!whole)
        return failure_set(failure, "%s: %s must be a whole number from %u to %u%s", path, name, minimum, maximum,
                           field ? "" : " and is missing");
    *out = (uint32_t)value;
    return true;
}
