// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/config_text.h"
#include <check.h>
#include <stdio.h>
#include <string.h>

#define FIELDS_MAX 40

static const config_field base[] = {
    {"hidden_size", "96"},     {"num_attention_heads", "4"}, {"num_hidden_layers", "3"},
    {"kv_lora_rank", "24"},    {"q_lora_rank", "null"},      {"qk_nope_head_dim", "12"},
    {"qk_rope_head_dim", "8"}, {"v_head_dim", "10"},         {"max_position_embeddings", "2048"},
    {"rms_norm_eps", "1e-05"}, {"rope_theta", "10000"},
};

void config_text_make(char out[CONFIG_TEXT_MAX], const config_field *changes) {
    config_field fields[FIELDS_MAX];
    size_t count = sizeof base / sizeof *base, used = 1;
    memcpy(fields, base, sizeof base);
    for (; changes && changes->name; changes++) {
        size_t i = 0;
        while (i < count && strcmp(fields[i].name, changes->name) != 0) i++;
        ck_assert_uint_lt(i, FIELDS_MAX);
        if (i == count) count++;
        fields[i] = *changes;
    }
    out[0] = '{';
    for (size_t i = 0; i < count; i++) {
        if (!fields[i].value) continue;
        used += (size_t)snprintf(out + used, CONFIG_TEXT_MAX - used, "%s\n  \"%s\": %s", used == 1 ? "" : ",",
                                 fields[i].name, fields[i].value);
        ck_assert_uint_lt(used, CONFIG_TEXT_MAX - 3);
    }
    memcpy(out + used, "\n}", 3);
}

clmla_status config_text_parse(clmla_config *config, const config_field *changes) {
    char text[CONFIG_TEXT_MAX];
    config_text_make(text, changes);
    return clmla_config_parse(config, text, strlen(text), "made.json");
}
