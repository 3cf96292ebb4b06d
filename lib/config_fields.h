// SPDX-License-Identifier: Apache-2.0
// Which config fields clmla understands, and which would change the mathematics in a way it does not have.
#ifndef LIB_CONFIG_FIELDS_H
#define LIB_CONFIG_FIELDS_H

#include <cjson/cJSON.h>
#include <clmla/status.h>

// Refuses unknown model types, fields with another meaning than ours, and unknown fields of the families attention
// settings are named by. model may be NULL: DeepSeek's form. Errors: CLMLA_E_CONFIG, naming the field.
clmla_status config_fields_check(const cJSON *json, const char *model, const char *file);
// The same for rope_scaling and rope_parameters.
clmla_status config_fields_check_rope(const cJSON *rope, const char *file);

#endif
