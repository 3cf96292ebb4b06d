// SPDX-License-Identifier: Apache-2.0
#include "info_fast.h"
#include <stdio.h>

#define VARIANTS_LISTED 16

static const clmla_row_format formats[] = {CLMLA_ROWS_BF16, CLMLA_ROWS_Q8};
#define FORMATS (sizeof formats / sizeof formats[0])

static clmla_context *open_device(const clmla_device_facts *facts) {
    char query[32];
    clmla_context *context = NULL;
    snprintf(query, sizeof query, "%u:%u", facts->platform_index, facts->device_index);
    clmla_context_create(&context, &(clmla_context_params){.device = query});
    return context;
}

// Without a context, what the facts alone say.
static size_t list(clmla_variant *out, const clmla_device_facts *facts, clmla_context *context,
                   clmla_row_format format) {
    // DeepSeek's row.
    clmla_shape shape = {.format = format, .latent_dim = 512, .rope_dim = 64, .compute = CLMLA_COMPUTE_FAST};
    size_t count = 0;
    clmla_status status = context
                              ? clmla_variant_list_tried(out, VARIANTS_LISTED, &count, context, CLMLA_OP_ATTEND, &shape)
                              : clmla_variant_list(out, VARIANTS_LISTED, &count, facts, CLMLA_OP_ATTEND, &shape);
    if (status != CLMLA_OK) return 0;
    return count < VARIANTS_LISTED ? count : VARIANTS_LISTED;
}

void info_fast_print(const clmla_device_facts *facts) {
    clmla_context *context = open_device(facts);
    printf("  attend of fast compute, instructions tried on the device\n");
    for (size_t f = 0; f < FORMATS; f++) {
        clmla_variant variants[VARIANTS_LISTED];
        size_t count = list(variants, facts, context, formats[f]);
        printf("    %-10s ", clmla_row_format_name(formats[f]));
        for (size_t i = 0; i < count; i++)
            if (variants[i].chosen) printf("%s", variants[i].name);
        for (size_t i = 0; i < count; i++)
            if (!variants[i].accepted) printf("; not %s: %s", variants[i].name, variants[i].reason);
        printf("\n");
    }
    clmla_context_destroy(&context);
}

void info_fast_json(cJSON *device, const clmla_device_facts *facts) {
    clmla_context *context = open_device(facts);
    cJSON *entries = cJSON_AddArrayToObject(device, "attend_fast");
    for (size_t f = 0; f < FORMATS; f++) {
        clmla_variant variants[VARIANTS_LISTED];
        size_t count = list(variants, facts, context, formats[f]);
        cJSON *entry = cJSON_CreateObject(), *choices = cJSON_AddArrayToObject(entry, "variants");
        cJSON_AddStringToObject(entry, "format", clmla_row_format_name(formats[f]));
        for (size_t i = 0; i < count; i++) {
            cJSON *choice = cJSON_CreateObject();
            cJSON_AddStringToObject(choice, "name", variants[i].name);
            cJSON_AddBoolToObject(choice, "accepted", variants[i].accepted);
            cJSON_AddBoolToObject(choice, "chosen", variants[i].chosen);
            cJSON_AddStringToObject(choice, "reason", variants[i].reason);
            cJSON_AddItemToArray(choices, choice);
        }
        cJSON_AddItemToArray(entries, entry);
    }
    clmla_context_destroy(&context);
}
