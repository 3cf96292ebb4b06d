// SPDX-License-Identifier: Apache-2.0
#include "formats_report.h"
#include "json_output.h"
#include <stdio.h>

bool formats_pass(const formats_report *report) {
    bool pass = true;
    for (int b = 0; report->has_layers && b < FORMAT_BARS; b++) {
        bool met = false;
        for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++)
            met = met || format_meets((clmla_row_format)f, &report->errors[f], &format_bars[b]);
        pass = pass && met;
    }
    return pass;
}

static void add_error(cJSON *object, const char *name, const output_error *error) {
    cJSON *entry = cJSON_AddObjectToObject(object, name);
    cJSON_AddNumberToObject(entry, "rel_l2", error->rel_l2);
    cJSON_AddNumberToObject(entry, "cos_diff", error->cos_diff);
}

static cJSON *format_json(const formats_report *report, clmla_row_format format) {
    cJSON *object = cJSON_CreateObject();
    const format_error *error = &report->errors[format];
    uint32_t bytes = format_row_bytes(format, TYPICAL_LATENT, TYPICAL_ROPE);
    cJSON_AddStringToObject(object, "name", clmla_row_format_name(format));
    cJSON_AddNumberToObject(object, "row_bytes", bytes);
    cJSON_AddNumberToObject(object, "bits_per_value", 8.0 * bytes / (TYPICAL_LATENT + TYPICAL_ROPE));
    cJSON_AddNumberToObject(object, "paper_ratio", paper_ratio(format));
    if (report->has_layers) {
        cJSON *cases = cJSON_AddObjectToObject(object, "errors");
        for (int i = 0; i < ERROR_CASES; i++) add_error(cases, error_cases[i], &error->cases[i]);
        add_error(object, "outliers", &error->outliers);
    }
    if (report->has_model) cJSON_AddNumberToObject(object, "nll", error->nll);
    return object;
}

static cJSON *model_format_json(const known_model *model, clmla_row_format format) {
    cJSON *object = cJSON_CreateObject();
    uint64_t bytes = format_token_bytes(format, model);
    cJSON_AddStringToObject(object, "name", clmla_row_format_name(format));
    cJSON_AddNumberToObject(object, "row_bytes", format_row_bytes(format, model->latent, model->rope));
    cJSON_AddNumberToObject(object, "bytes_per_token", (double)bytes);
    for (int b = 0; b < BASELINES; b++) {
        char name[32];
        snprintf(name, sizeof name, "%s_ratio", baseline_names[b]);
        cJSON_AddNumberToObject(object, name, (double)baseline_token_bytes(model, b) / (double)bytes);
    }
    return object;
}

static cJSON *model_json(const known_model *model) {
    cJSON *object = cJSON_CreateObject();
    const struct {
        const char *name;
        uint32_t value;
    } dimensions[] = {{"layers", model->layers}, {"heads", model->heads},   {"latent_dim", model->latent},
                      {"rope_dim", model->rope}, {"nope_dim", model->nope}, {"value_dim", model->value}};
    cJSON_AddStringToObject(object, "name", model->name);
    for (size_t i = 0; i < sizeof dimensions / sizeof dimensions[0]; i++)
        cJSON_AddNumberToObject(object, dimensions[i].name, dimensions[i].value);
    for (int b = 0; b < BASELINES; b++) {
        char name[32];
        snprintf(name, sizeof name, "%s_bytes_per_token", baseline_names[b]);
        cJSON_AddNumberToObject(object, name, (double)baseline_token_bytes(model, b));
    }
    cJSON *formats = cJSON_AddArrayToObject(object, "formats");
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++)
        cJSON_AddItemToArray(formats, model_format_json(model, (clmla_row_format)f));
    return object;
}

static cJSON *bar_json(const formats_report *report, const format_bar *bar) {
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "row_bytes", bar->row_bytes);
    cJSON_AddNumberToObject(object, "cos_diff", bar->cos_diff);
    cJSON_AddStringToObject(object, "case", error_cases[TYPICAL_CASE]);
    cJSON *formats = cJSON_AddArrayToObject(object, "formats");
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++)
        if (format_meets((clmla_row_format)f, &report->errors[f], bar))
            cJSON_AddItemToArray(formats, cJSON_CreateString(clmla_row_format_name((clmla_row_format)f)));
    cJSON_AddBoolToObject(object, "met", cJSON_GetArraySize(formats) > 0);
    return object;
}

static void add_paper(cJSON *object) {
    cJSON *paper = cJSON_AddObjectToObject(object, "paper");
    cJSON_AddNumberToObject(paper, "layers", PAPER_LAYERS);
    cJSON_AddNumberToObject(paper, "elements_per_token", PAPER_ELEMENTS);
    cJSON_AddNumberToObject(paper, "bytes_per_token", (double)paper_bytes());
    cJSON_AddNumberToObject(paper, "mla_layers", PAPER_MLA_LAYERS);
}

bool formats_print_json(const formats_report *report, failure *failure) {
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "version", clmla_version());
    if (report->device) json_add_text(object, "device", report->device);
    cJSON_AddNumberToObject(object, "latent_dim", TYPICAL_LATENT);
    cJSON_AddNumberToObject(object, "rope_dim", TYPICAL_ROPE);
    cJSON *formats = cJSON_AddArrayToObject(object, "formats");
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++)
        cJSON_AddItemToArray(formats, format_json(report, (clmla_row_format)f));
    cJSON *models = cJSON_AddArrayToObject(object, "models");
    for (int m = 0; m < KNOWN_MODEL_COUNT; m++) cJSON_AddItemToArray(models, model_json(&known_models[m]));
    add_paper(object);
    if (report->has_layers) {
        cJSON *bars = cJSON_AddArrayToObject(object, "bars");
        for (int b = 0; b < FORMAT_BARS; b++) cJSON_AddItemToArray(bars, bar_json(report, &format_bars[b]));
        cJSON_AddBoolToObject(object, "pass", formats_pass(report));
    }
    return json_print(object) || failure_memory(failure);
}
