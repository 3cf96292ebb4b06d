// SPDX-License-Identifier: Apache-2.0
#include "info_attend.h"
#include "deepseek.h"
#include "info_variants.h"
#include "options.h"
#include <stdio.h>
#include <string.h>

static const struct {
    clmla_compute compute;
    const char *member; // of the JSON
    info_formats usual; // of exact compute matrix units serve the first two alone
} computes[INFO_COMPUTES] = {
    {CLMLA_COMPUTE_EXACT, "attend_exact", {{CLMLA_ROWS_F16, CLMLA_ROWS_BF16}, 2}},
    {CLMLA_COMPUTE_FAST, "attend_fast", {{CLMLA_ROWS_F16, CLMLA_ROWS_BF16, CLMLA_ROWS_Q8}, 3}},
};

// --- what is asked for ----------------------------------------------------------------------------------------------

// A name that was there before stays where it was.
static bool add_format(info_formats *out, const char *text, size_t length, failure *failure) {
    char name[32];
    clmla_row_format format;
    if (length >= sizeof name) length = sizeof name - 1; // no format's name either
    memcpy(name, text, length);
    name[length] = '\0';
    if (!option_row_format(&format, name, failure)) return false;
    for (size_t i = 0; i < out->count; i++)
        if (out->list[i] == format) return true;
    out->list[out->count++] = format;
    return true;
}

static bool read_formats(info_formats *out, const char *text, failure *failure) {
    out->count = 0;
    if (strcmp(text, "all") == 0) {
        for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) out->list[out->count++] = (clmla_row_format)f;
        return true;
    }
    for (;; text++) {
        size_t length = strcspn(text, ",");
        if (!add_format(out, text, length, failure)) return false;
        text += length;
        if (*text == '\0') return true;
    }
}

bool info_attend_read(info_request *request, const char *formats, const char *compute, failure *failure) {
    clmla_compute only;
    info_formats named;
    if (!option_compute(&only, compute, failure)) return false;
    if (formats && !read_formats(&named, formats, failure)) return false;
    for (size_t c = 0; c < INFO_COMPUTES; c++) {
        request->formats[c] = formats ? named : computes[c].usual;
        if (compute && only != computes[c].compute) request->formats[c].count = 0;
    }
    return true;
}

static bool lists_fast(const info_request *request) {
    for (size_t c = 0; c < INFO_COMPUTES; c++)
        if (computes[c].compute == CLMLA_COMPUTE_FAST && request->formats[c].count) return true;
    return false;
}

// --- the lists ------------------------------------------------------------------------------------------------------

// What the library says of proofs while the lists are made.
#define PROOFS_MAX 256
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
static void prove_schedule(clmla_context *context, const info_request *request) {
    clmla_plan *plan = NULL;
    clmla_plan_params params = {
        .head_count = request->head_count, .attend_variant = "naive", .capacity = {16, 16, 16384}};
    clmla_status status = clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED,
                                                request->latent_dim, request->rope_dim);
    if (status == CLMLA_OK) clmla_plan_create(&plan, context, &params);
    clmla_plan_destroy(&plan);
}

static void open_device(device *out, const clmla_device_facts *facts, const info_request *request) {
    char query[32];
    *out = (device){.context = NULL};
    snprintf(query, sizeof query, "%u:%u", facts->platform_index, facts->device_index);
    clmla_context_create(&out->context, &(clmla_context_params){
                                            .device = query,
                                            .log = {keep_proof, out, CLMLA_LOG_INFO},
                                            .proof = request->prove ? CLMLA_PROOF_ALWAYS : CLMLA_PROOF_AUTO,
                                        });
    if (out->context && request->prove) prove_schedule(out->context, request);
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

static clmla_shape attend_shape(const info_request *request, clmla_compute compute, clmla_row_format format) {
    return (clmla_shape){.format = format,
                         .latent_dim = request->latent_dim,
                         .rope_dim = request->rope_dim,
                         .head_count = request->head_count,
                         .query_tokens = request->query_tokens,
                         .compute = compute};
}

// DeepSeek's heads, of a prompt by reconstructed keys.
static clmla_shape heads_shape(const info_request *request) {
    return (clmla_shape){.format = CLMLA_ROWS_F16,
                         .latent_dim = DEEPSEEK_NOPE_DIM,
                         .rope_dim = request->rope_dim,
                         .value_dim = DEEPSEEK_VALUE_DIM,
                         .head_count = request->head_count,
                         .compute = CLMLA_COMPUTE_FAST};
}

// A plan by each of them, for the rows asked for, attend's over lists of slots too: what comes of it is in the next
// list.
static void prove_all(clmla_context *context, const info_request *request, clmla_operation operation,
                      const clmla_shape *shape) {
    clmla_variant variants[INFO_VARIANTS_LISTED];
    clmla_config config = {
        .qk_nope_head_dim = shape->latent_dim, .qk_rope_head_dim = shape->rope_dim, .v_head_dim = shape->value_dim};
    size_t count = list_of(variants, clmla_context_facts(context), NULL, operation, shape);
    for (size_t i = 0; i < count; i++) {
        clmla_plan *plan = NULL;
        clmla_plan_params params = {
            .head_count = shape->head_count, .query_tokens = shape->query_tokens, .compute = shape->compute};
        if (operation == CLMLA_OP_ATTEND)
            params.attend_variant = variants[i].name, params.lists = true;
        else
            params.attend_heads_variant = variants[i].name, params.config = &config;
        clmla_status status = clmla_row_layout_make(&params.layout, shape->format, CLMLA_ROPE_INTERLEAVED,
                                                    request->latent_dim, request->rope_dim);
        if (status == CLMLA_OK && variants[i].accepted) clmla_plan_create(&plan, context, &params);
        clmla_plan_destroy(&plan);
    }
}

static size_t list(clmla_variant *out, const clmla_device_facts *facts, clmla_context *context,
                   const info_request *request, clmla_operation operation, const clmla_shape *shape) {
    if (context && request->prove) prove_all(context, request, operation, shape);
    return list_of(out, facts, context, operation, shape);
}

// --- text -----------------------------------------------------------------------------------------------------------

static void list_text(char text[INFO_VARIANTS_TEXT], const clmla_device_facts *facts, clmla_context *context,
                      const info_request *request, clmla_operation operation, clmla_shape shape) {
    clmla_variant variants[INFO_VARIANTS_LISTED];
    info_variants_text(text, INFO_VARIANTS_TEXT, variants, list(variants, facts, context, request, operation, &shape));
}

void info_attend_print(const clmla_device_facts *facts, const info_request *request) {
    device d;
    char text[INFO_VARIANTS_TEXT];
    open_device(&d, facts, request);
    for (size_t c = 0; c < INFO_COMPUTES; c++) {
        const info_formats *formats = &request->formats[c];
        if (formats->count == 0) continue;
        printf("  attend of %s compute, %u heads, ", clmla_compute_name(computes[c].compute), request->head_count);
        if (request->query_tokens > 1) printf("%u new tokens, ", request->query_tokens);
        printf("rows of %u + %u, instructions tried on the device\n", request->latent_dim, request->rope_dim);
        for (size_t f = 0; f < formats->count; f++) {
            list_text(text, facts, d.context, request, CLMLA_OP_ATTEND,
                      attend_shape(request, computes[c].compute, formats->list[f]));
            printf("    %-10s %s\n", clmla_row_format_name(formats->list[f]), text);
        }
    }
    if (lists_fast(request)) {
        list_text(text, facts, d.context, request, CLMLA_OP_ATTEND_HEADS, heads_shape(request));
        printf("  attend_heads of fast compute, %u heads\n    %s\n", request->head_count, text);
    }
    for (size_t i = 0; i < d.proof_count; i++)
        printf("%s    %s\n", i ? "" : "  tried beside the naive kernels\n", d.proofs[i]);
    clmla_context_destroy(&d.context);
}

// --- JSON -----------------------------------------------------------------------------------------------------------

static void fill_entry(cJSON *entry, const clmla_device_facts *facts, clmla_context *context,
                       const info_request *request, clmla_operation operation, clmla_shape shape) {
    clmla_variant variants[INFO_VARIANTS_LISTED];
    cJSON_AddStringToObject(entry, "compute", clmla_compute_name(shape.compute));
    cJSON_AddNumberToObject(entry, "heads", shape.head_count);
    if (shape.query_tokens) cJSON_AddNumberToObject(entry, "query_tokens", shape.query_tokens);
    cJSON_AddNumberToObject(entry, "latent_dim", shape.latent_dim);
    cJSON_AddNumberToObject(entry, "rope_dim", shape.rope_dim);
    if (shape.value_dim) cJSON_AddNumberToObject(entry, "value_dim", shape.value_dim);
    info_variants_json(entry, variants, list(variants, facts, context, request, operation, &shape));
}

void info_attend_json(cJSON *object, const clmla_device_facts *facts, const info_request *request) {
    device d;
    open_device(&d, facts, request);
    for (size_t c = 0; c < INFO_COMPUTES; c++) {
        const info_formats *formats = &request->formats[c];
        cJSON *entries = formats->count ? cJSON_AddArrayToObject(object, computes[c].member) : NULL;
        for (size_t f = 0; f < formats->count; f++) {
            cJSON *entry = cJSON_CreateObject();
            cJSON_AddStringToObject(entry, "format", clmla_row_format_name(formats->list[f]));
            fill_entry(entry, facts, d.context, request, CLMLA_OP_ATTEND,
                       attend_shape(request, computes[c].compute, formats->list[f]));
            cJSON_AddItemToArray(entries, entry);
        }
    }
    if (lists_fast(request))
        fill_entry(cJSON_AddObjectToObject(object, "attend_heads_fast"), facts, d.context, request,
                   CLMLA_OP_ATTEND_HEADS, heads_shape(request));
    cJSON *proofs = cJSON_AddArrayToObject(object, "proofs");
    for (size_t i = 0; i < d.proof_count; i++) cJSON_AddItemToArray(proofs, cJSON_CreateString(d.proofs[i]));
    clmla_context_destroy(&d.context);
}
