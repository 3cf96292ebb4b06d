// SPDX-License-Identifier: Apache-2.0
#include "info_attend.h"
#include "deepseek.h"
#include "info_variants.h"
#include <stdio.h>
#include <string.h>

// Of exact compute matrix units serve the first two alone.
static const clmla_row_format formats[] = {CLMLA_ROWS_F16, CLMLA_ROWS_BF16, CLMLA_ROWS_Q8};
static const struct {
    clmla_compute compute;
    const char *member; // of the JSON
    size_t formats;
} computes[] = {{CLMLA_COMPUTE_EXACT, "attend_exact", 2}, {CLMLA_COMPUTE_FAST, "attend_fast", 3}};
#define COMPUTES (sizeof computes / sizeof computes[0])

#define HEADS 16 // of DeepSeek-V2-Lite

// What the library says of proofs while the lists are made.
#define PROOFS_MAX 96
typedef struct device {
    clmla_context *context;
    char proofs[PROOFS_MAX][256];
    size_t proof_count;
} device;

static void keep_proof(void *payload, clmla_log_level level, const char *message) {
    device *d = payload;
    bool proof = strstr(message, " is proven: ") || strstr(message, " is not used: ");
    if (level <= CLMLA_LOG_INFO && proof && d->proof_count < PROOFS_MAX)
        snprintf(d->proofs[d->proof_count++], sizeof d->proofs[0], "%s", message);
}

// A plan that is scheduled on the device; it attends by what needs no proof.
static void prove_schedule(clmla_context *context) {
    clmla_plan *plan = NULL;
    clmla_plan_params params = {.head_count = HEADS, .attend_variant = "naive", .capacity = {16, 16, 16384}};
    clmla_status status = clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED,
                                                DEEPSEEK_LATENT_DIM, DEEPSEEK_ROPE_DIM);
    if (status == CLMLA_OK) clmla_plan_create(&plan, context, &params);
    clmla_plan_destroy(&plan);
}

static void open_device(device *out, const clmla_device_facts *facts, bool prove) {
    char query[32];
    *out = (device){.context = NULL};
    snprintf(query, sizeof query, "%u:%u", facts->platform_index, facts->device_index);
    clmla_context_create(&out->context, &(clmla_context_params){
                                            .device = query,
                                            .log = {keep_proof, out, CLMLA_LOG_INFO},
                                            .proof = prove ? CLMLA_PROOF_ALWAYS : CLMLA_PROOF_AUTO,
                                        });
    if (out->context && prove) prove_schedule(out->context);
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
static clmla_shape attend_shape(clmla_compute compute, clmla_row_format format) {
    return (clmla_shape){.format = format,
                         .latent_dim = DEEPSEEK_LATENT_DIM,
                         .rope_dim = DEEPSEEK_ROPE_DIM,
                         .head_count = HEADS,
                         .compute = compute};
}

// A plan by each of them, for DeepSeek's rows, attend's over lists of slots too: what comes of it is in the next list.
static void prove_all(clmla_context *context, clmla_operation operation, const clmla_shape *shape) {
    clmla_variant variants[INFO_VARIANTS_LISTED];
    clmla_config config = {
        .qk_nope_head_dim = shape->latent_dim, .qk_rope_head_dim = shape->rope_dim, .v_head_dim = shape->value_dim};
    size_t count = list_of(variants, clmla_context_facts(context), NULL, operation, shape);
    for (size_t i = 0; i < count; i++) {
        clmla_plan *plan = NULL;
        clmla_plan_params params = {.head_count = shape->head_count, .compute = shape->compute};
        if (operation == CLMLA_OP_ATTEND)
            params.attend_variant = variants[i].name, params.lists = true;
        else
            params.attend_heads_variant = variants[i].name, params.config = &config;
        clmla_status status = clmla_row_layout_make(&params.layout, shape->format, CLMLA_ROPE_INTERLEAVED,
                                                    DEEPSEEK_LATENT_DIM, DEEPSEEK_ROPE_DIM);
        if (status == CLMLA_OK && variants[i].accepted) clmla_plan_create(&plan, context, &params);
        clmla_plan_destroy(&plan);
    }
}

static size_t list(clmla_variant *out, const clmla_device_facts *facts, clmla_context *context, clmla_compute compute,
                   clmla_row_format format, bool prove) {
    clmla_shape shape = attend_shape(compute, format);
    if (context && prove) prove_all(context, CLMLA_OP_ATTEND, &shape);
    return list_of(out, facts, context, CLMLA_OP_ATTEND, &shape);
}

// DeepSeek's heads, of a prompt by reconstructed keys.
static size_t list_heads(clmla_variant *out, const clmla_device_facts *facts, clmla_context *context, bool prove) {
    clmla_shape shape = {.format = CLMLA_ROWS_F16,
                         .latent_dim = DEEPSEEK_NOPE_DIM,
                         .rope_dim = DEEPSEEK_ROPE_DIM,
                         .value_dim = DEEPSEEK_VALUE_DIM,
                         .head_count = HEADS,
                         .compute = CLMLA_COMPUTE_FAST};
    if (context && prove) prove_all(context, CLMLA_OP_ATTEND_HEADS, &shape);
    return list_of(out, facts, context, CLMLA_OP_ATTEND_HEADS, &shape);
}

void info_attend_print(const clmla_device_facts *facts, bool prove) {
    device d;
    open_device(&d, facts, prove);
    for (size_t c = 0; c < COMPUTES; c++) {
        printf("  attend of %s compute, instructions tried on the device\n", clmla_compute_name(computes[c].compute));
        for (size_t f = 0; f < computes[c].formats; f++) {
            clmla_variant variants[INFO_VARIANTS_LISTED];
            size_t count = list(variants, facts, d.context, computes[c].compute, formats[f], prove);
            char text[1024];
            info_variants_text(text, sizeof text, variants, count);
            printf("    %-10s %s\n", clmla_row_format_name(formats[f]), text);
        }
    }
    clmla_variant variants[INFO_VARIANTS_LISTED];
    char text[1024];
    info_variants_text(text, sizeof text, variants, list_heads(variants, facts, d.context, prove));
    printf("  attend_heads of fast compute\n    %s\n", text);
    for (size_t i = 0; i < d.proof_count; i++)
        printf("%s    %s\n", i ? "" : "  tried beside the naive kernels\n", d.proofs[i]);
    clmla_context_destroy(&d.context);
}

void info_attend_json(cJSON *object, const clmla_device_facts *facts, bool prove) {
    device d;
    open_device(&d, facts, prove);
    for (size_t c = 0; c < COMPUTES; c++) {
        cJSON *entries = cJSON_AddArrayToObject(object, computes[c].member);
        for (size_t f = 0; f < computes[c].formats; f++) {
            clmla_variant variants[INFO_VARIANTS_LISTED];
            size_t count = list(variants, facts, d.context, computes[c].compute, formats[f], prove);
            cJSON *entry = cJSON_CreateObject();
            cJSON_AddStringToObject(entry, "format", clmla_row_format_name(formats[f]));
            info_variants_json(entry, variants, count);
            cJSON_AddItemToArray(entries, entry);
        }
    }
    clmla_variant variants[INFO_VARIANTS_LISTED];
    info_variants_json(cJSON_AddObjectToObject(object, "attend_heads_fast"), variants,
                       list_heads(variants, facts, d.context, prove));
    cJSON *proofs = cJSON_AddArrayToObject(object, "proofs");
    for (size_t i = 0; i < d.proof_count; i++) cJSON_AddItemToArray(proofs, cJSON_CreateString(d.proofs[i]));
    clmla_context_destroy(&d.context);
}
