// SPDX-License-Identifier: Apache-2.0
// Reading typed fields of a JSON object with sentences that name file and field.
#ifndef LIB_JSON_FIELDS_H
#define LIB_JSON_FIELDS_H

#include <cjson/cJSON.h>
#include <clmla/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Parses text of `length` bytes that must be one JSON object without a key twice. Errors: CLMLA_E_FORMAT, with the
// line; CLMLA_E_MEMORY. *out is for cJSON_Delete.
clmla_status json_parse_object(cJSON **out, const char *text, size_t length, const char *file);

// The field, or NULL when it is absent or null.
const cJSON *json_field(const cJSON *object, const char *name);

// Each reads a field when it is there and leaves *out alone when it is not. Errors: CLMLA_E_CONFIG.
clmla_status json_read_unsigned(uint32_t *out, const cJSON *object, const char *name, const char *file);
clmla_status json_read_double(double *out, const cJSON *object, const char *name, const char *file);
clmla_status json_read_bool(bool *out, const cJSON *object, const char *name, const char *file);
clmla_status json_read_text(const char **out, const cJSON *object, const char *name, const char *file);
// As json_read_unsigned, but absence is an error.
clmla_status json_need_unsigned(uint32_t *out, const cJSON *object, const char *name, const char *file);

#endif
