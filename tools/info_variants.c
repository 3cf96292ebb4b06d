// SPDX-License-Identifier: Apache-2.0
#include "info_variants.h"
#include <stdio.h>
#include <string.h>

void info_variants_text(char *out, size_t size, const clmla_variant *variants, size_t count) {
    out[0] = '\0';
    for (size_t i = 0; i < count; i++)
        if (variants[i].chosen) snprintf(out, size, "%s%s", variants[i].name, variants[i].proven ? " (proven)" : "");
    for (size_t i = 0; i < count; i++) {
        size_t at = strlen(out);
        if (variants[i].proven && !variants[i].chosen)
            snprintf(out + at, size - at, "; %s too (proven)", variants[i].name);
        if (!variants[i].accepted) snprintf(out + at, size - at, "; not %s: %s", variants[i].name, variants[i].reason);
    }
}

void info_variants_json(cJSON *entry, const clmla_variant *variants, size_t count) {
    cJSON *choices = cJSON_AddArrayToObject(entry, "variants");
    for (size_t i = 0; i < count; i++) {
        cJSON *choice = cJSON_CreateObject();
        cJSON_AddStringToObject(choice, "name", variants[i].name);
        cJSON_AddBoolToObject(choice, "accepted", variants[i].accepted);
        cJSON_AddBoolToObject(choice, "chosen", variants[i].chosen);
        cJSON_AddBoolToObject(choice, "proven", variants[i].proven);
        cJSON_AddStringToObject(choice, "reason", variants[i].reason);
        cJSON_AddItemToArray(choices, choice);
    }
}
