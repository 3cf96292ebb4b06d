// SPDX-License-Identifier: Apache-2.0
#include "lib/json_fields.h"
#include "host/error.h"
#include "host/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static clmla_status check_names(const cJSON *object, const char *file) {
    size_t count = 0, i = 0;
    for (const cJSON *item = object->child; item; item = item->next) count++;
    const char **names = host_allocate(NULL, count, sizeof *names);
    if (!names) return host_fail(NULL, CLMLA_E_MEMORY, 0, "%s: no memory for %zu names", file, count);
    for (const cJSON *item = object->child; item; item = item->next) names[i++] = item->string;
    qsort(names, count, sizeof *names, by_name);
    clmla_status status = CLMLA_OK;
    for (i = 1; i < count && status == CLMLA_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: '%.200s' stands in it twice", file, names[i]);
    host_release(NULL, names);
    return status;
}

// cJSON's nesting limit bounds the recursion.
static clmla_status check_doubled(const cJSON *value, const char *file) {
    if (cJSON_IsObject(value)) STATUS_OR_RETURN(check_names(value, file));
    for (const cJSON *item = value->child; item; item = item->next)
        if (item->child) STATUS_OR_RETURN(check_doubled(item, file));
    return CLMLA_OK;
}

// cJSON's strings end at a zero: an escaped one would cut a name short.
static bool holds_zero(const char *text, size_t length) {
    if (memchr(text, '\0', length)) return true;
    for (size_t i = 0; i + 1 < length; i++) {
        if (text[i] != '\\') continue;
        if (length - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0) return true;
        i++; // the escaped character is no escape itself
    }
    return false;
}

clmla_status json_parse_object(cJSON **out, const char *text, size_t length, const char *file) {
    const char *end = NULL;
    if (holds_zero(text, length)) return host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: a zero byte stands in the text", file);
    cJSON *object = cJSON_ParseWithLengthOpts(text, length, &end, 0);
    size_t line = 1;
    for (const char *at = text; end && at < end && at < text + length; at++) line += *at == '\n';
    if (!object) return host_fail(NULL, CLMLA_E_FORMAT, 0, "%s:%zu: not JSON", file, line);
    clmla_status status = CLMLA_OK;
    while (end < text + length && strchr(" \t\r\n", *end)) end++;
    if (end < text + length)
        status = host_fail(NULL, CLMLA_E_FORMAT, 0, "%s:%zu: text after the JSON value", file, line);
    if (status == CLMLA_OK && !cJSON_IsObject(object))
        status = host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: not a JSON object", file);
    if (status == CLMLA_OK) status = check_doubled(object, file);
    if (status != CLMLA_OK) {
        cJSON_Delete(object);
        return status;
    }
    *out = object;
    return CLMLA_OK;
}

const cJSON *json_field(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

static clmla_status wrong(const cJSON *item, const char *file, const char *expected) {
    char *found = cJSON_PrintUnformatted(item);
    clmla_status status = host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: %.200s: expected %s, found %.64s", file, item->string,
                                    expected, found ? found : "?");
    cJSON_free(found);
    return status;
}

clmla_status json_read_unsigned(uint32_t *out, const cJSON *object, const char *name, const char *file) {
    const cJSON *item = json_field(object, name);
    if (!item) return CLMLA_OK;
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1.0;
    if (!(value >= 0.0 && value <= (double)INT32_MAX) || value != floor(value))
        return wrong(item, file, "an integer from 0 to 2147483647");
    *out = (uint32_t)value;
    return CLMLA_OK;
}

clmla_status json_need_unsigned(uint32_t *out, const cJSON *object, const char *name, const char *file) {
    if (!json_field(object, name)) return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: %s is missing", file, name);
    return json_read_unsigned(out, object, name, file);
}

clmla_status json_read_double(double *out, const cJSON *object, const char *name, const char *file) {
    const cJSON *item = json_field(object, name);
    if (!item) return CLMLA_OK;
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)) return wrong(item, file, "a number");
    *out = item->valuedouble;
    return CLMLA_OK;
}

clmla_status json_read_bool(bool *out, const cJSON *object, const char *name, const char *file) {
    const cJSON *item = json_field(object, name);
    if (!item) return CLMLA_OK;
    if (!cJSON_IsBool(item)) return wrong(item, file, "true or false");
    *out = cJSON_IsTrue(item);
    return CLMLA_OK;
}

clmla_status json_read_text(const char **out, const cJSON *object, const char *name, const char *file) {
    const cJSON *item = json_field(object, name);
    if (!item) return CLMLA_OK;
    if (!cJSON_IsString(item)) return wrong(item, file, "text");
    *out = item->valuestring;
    return CLMLA_OK;
}
