// SPDX-License-Identifier: Apache-2.0
// The text of a config.json made by a test: a small valid model, changed field by field.
#ifndef TEST_CONFIG_TEXT_H
#define TEST_CONFIG_TEXT_H

#include <clmla/config.h>

#define CONFIG_TEXT_MAX 4096

typedef struct config_field {
    const char *name;
    const char *value; // as JSON spells it; NULL = leave the field out
} config_field;

// hidden 96, H 4, L 24, no q-LoRA, N 12, R 8, V 10, 3 layers, 2048 tokens, theta 10000, no model_type. Each change
// takes a field's place or is added; a name of NULL ends them. `changes` may be NULL.
void config_text_make(char out[CONFIG_TEXT_MAX], const config_field *changes);

// The same, parsed under the name "made.json".
clmla_status config_text_parse(clmla_config *config, const config_field *changes);

#define CONFIG_FIELDS(...) ((const config_field[]){__VA_ARGS__, {NULL, NULL}})

#endif
