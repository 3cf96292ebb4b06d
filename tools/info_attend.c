// SPDX-License-Identifier: Apache-2.0
#include "info_attend.h"
#include "deepseek.h"
#include "info_variants.h"
#include <stdio.h>

// Of exact compute matrix units serve the first two alone.
static const clmla_row_format formats[] = {CLMLA_ROWS_F16, CLMLA_ROWS_BF16, CLMLA_ROWS_Q8};
static const struct {
    clmla_compute compute;
    const char *member; // of the JSON
    size_t formats;
} computes[] = {{CLMLA_COMPUTE_EXACT, "attend_exact", 2}, {CLMLA_COMPUTE_FAST, "attend_fast", 3}};
#define COMPUTES (sizeof computes / sizeof computes[0])

static clmla_context *open_device(const clmla_device_facts *facts) {
    char query[32];
    clmla_context *context = NULL;
    snprintf(query, sizeof query, "%u:%u", facts->platform_index, facts->device_index);
    clmla_context_create(&context, &(clmla_context_params){.device = query});
    return context;
}

// Without a context, what the facts alone say.
static size_t list_of(clmla_variant *out, const clmla_device_facts *facts, clmla_context *context,
                      clmla_operation operation, const clmla_shape *shape) {
    size_t count = 0;
    clmla_status status = context
                              ? clmla_variant_list_tried(out, INFO_VARIANTS_LISTED, &count, context, operation, shape)
                              : clmla_variant_list(out, INFO_VARIANTS_LISTED, &count, facts, operation, shape);
    if (status != CLMLA_OK) return 0;
    return count < INFO_VARIANTS_LISTED ? count : INFO_VARIANTS_LISTED;
}

// DeepSeek's row.
static size_t list(clmla_variant *out, const clmla_device_facts *facts, clmla_context *context, clmla_compute compute,
                   clmla_row_format format) {
    clmla_shape shape = {
        .format = format, .latent_dim = DEEPSEEK_LATENT_DIM, .rope_dim = DEEPSEEK_ROPE_DIM, .compute = compute};
    return list_of(out, facts, context, CLMLA_OP_ATTEND, &shape);
}

// DeepSeek's heads, of a prompt by reconstructed keys.
static size_t list_heads(clmla_variant *out, const clmla_device_facts *facts, clmla_context *context) {
    clmla_shape shape = {.latent_dim = DEEPSEEK_NOPE_DIM,
                         .rope_dim = DEEPSEEK_ROPE_DIM,
                         .value_dim = DEEPSEEK_VALUE_DIM,
                         .compute = CLMLA_COMPUTE_FAST};
    return list_of(out, facts, context, CLMLA_OP_ATTEND_HEADS, &shape);
}

void info_attend_print(const clmla_device_facts *facts) {
    clmla_context *context = open_device(facts);
    for (size_t c = 0; c < COMPUTES; c++) {
        printf("  attend of %s compute, instructions tried on the device\n", clmla_compute_name(computes[c].compute));
        for (size_t f = 0; f < computes[c].formats; f++) {
            clmla_variant variants[INFO_VARIANTS_LISTED];
            size_t count = list(variants, facts, context, computes[c].compute, formats[f]);
            char text[1024];
            info_variants_text(text, sizeof text, variants, count);
            printf("    %-10s %s\n", clmla_row_format_name(formats[f]), text);
        }
    }
    clmla_variant variants[INFO_VARIANTS_LISTED];
    char text[1024];
    info_variants_text(text, sizeof text, variants, list_heads(variants, facts, context));
    printf("  attend_heads of fast compute\n    %s\n", text);
    clmla_context_destroy(&context);
}

void info_attend_json(cJSON *device, const clmla_device_facts *facts) {
    clmla_context *context = open_device(facts);
    for (size_t c = 0; c < COMPUTES; c++) {
        cJSON *entries = cJSON_AddArrayToObject(device, computes[c].member);
        for (size_t f = 0; f < computes[c].formats; f++) {
            clmla_variant variants[INFO_VARIANTS_LISTED];
            size_t count = list(variants, facts, context, computes[c].compute, formats[f]);
            cJSON *entry = cJSON_CreateObject();
            cJSON_AddStringToObject(entry, "format", clmla_row_format_name(formats[f]));
            info_variants_json(entry, variants, count);
            cJSON_AddItemToArray(entries, entry);
        }
    }
    clmla_variant variants[INFO_VARIANTS_LISTED];
    info_variants_json(cJSON_AddObjectToObject(device, "attend_heads_fast"), variants,
                       list_heads(variants, facts, context));
    clmla_context_destroy(&context);
}
