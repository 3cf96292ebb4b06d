// SPDX-License-Identifier: Apache-2.0
#include "compare.h"
#include "json_output.h"
#include <math.h>
#include <stdio.h>

// A quotient, NaN when either side was not measured.
static double ratio(double above, double below) {
    return above > 0.0 && below > 0.0 ? above / below : NAN;
}

typedef struct ratios {
    double bytes, attention, step; // how many times MHA takes what the row takes
    double read_fraction;          // of the device's read rate: cache bytes a second
} ratios;

static ratios ratios_of(const compare_report *report, const compare_row *row) {
    const compare_row *mha = compare_find(report, COMPARE_MHA, CLMLA_ROWS_F16);
    double bytes = row->bytes_per_token * report->tokens;
    return (ratios){.bytes = mha ? ratio(mha->bytes_per_token, row->bytes_per_token) : NAN,
                    .attention = mha ? ratio(mha->attention_seconds, row->attention_seconds) : NAN,
                    .step = mha ? ratio(mha->step_seconds, row->step_seconds) : NAN,
                    .read_fraction = ratio(bytes, row->attention_seconds * report->read_rate * 1e9)};
}

// --- text
// --------------------------------------------------------------------------------------------------------

static void print_bytes(double bytes) {
    if (bytes >= 1073741824.0)
        printf(" %6.2f GiB", bytes / 1073741824.0);
    else
        printf(" %6.1f MiB", bytes / 1048576.0);
}

// A number right-aligned in `width` places; "-" when there is none.
static void print_number(int width, int places, double value, const char *unit) {
    if (isfinite(value))
        printf(" %*.*f%s", width, places, value, unit);
    else
        printf(" %*s%*s", width, "-", (int)(unit[0] != 0), "");
}

static void print_row(const compare_report *report, const compare_row *row) {
    ratios r = ratios_of(report, row);
    printf("%-12s %-9s %9.0f", compare_attention_name(row->attention), clmla_row_format_name(row->format),
           row->bytes_per_token);
    for (double tokens = 4096; tokens <= 131072; tokens *= tokens == 4096 ? 8 : 4)
        print_bytes(row->bytes_per_token * tokens);
    print_number(7, 1, r.bytes, "x");
    if (row->reason[0]) {
        printf("  not run: %s\n", row->reason);
        return;
    }
    print_number(9, 2, row->attention_seconds * 1e3, "");
    print_number(7, 2, r.attention, "x");
    print_number(5, 0, r.read_fraction * 100, "%");
    print_number(9, 2, row->step_seconds > 0.0 ? row->step_seconds * 1e3 : NAN, "");
    print_number(7, 2, r.step, "x");
    if (isnan(row->cos_diff))
        printf(" %9s\n", "-");
    else
        printf(" %9.1e\n", row->cos_diff);
}

static void print_gain(const compare_report *report, const char *what, compare_attention slow, compare_attention fast) {
    const compare_row *before = compare_find(report, slow, CLMLA_ROWS_F16);
    const compare_row *after = compare_find(report, fast, CLMLA_ROWS_F16);
    double gain = before && after ? ratio(before->attention_seconds, after->attention_seconds) : NAN;
    if (isfinite(gain)) printf("  %-62s %8.2fx\n", what, gain);
}

static void print_best(const compare_report *report) {
    const compare_row *best = compare_best(report);
    if (best && isfinite(ratios_of(report, best).attention))
        printf("  attention beside mha, best format of cos_diff < 1e-4: %-8s %8.2fx\n",
               clmla_row_format_name(best->format), ratios_of(report, best).attention);
}

void compare_print(const compare_report *report) {
    const compare_shape *s = &report->shape;
    printf("%s: one decode step of one layer over %u cached tokens, read rate %.1f GB/s\n"
           "%u heads of %u + %u and %u (MLA; the others %u and %u), latent %u, hidden %u, weights f16\n\n",
           report->device, report->tokens, report->read_rate, s->heads, s->nope_dim, s->rope_dim, s->value_dim,
           s->nope_dim, s->value_dim, s->latent_dim, s->hidden);
    printf("%-12s %-9s %9s %10s %10s %10s %8s %9s %8s %6s %9s %8s %9s\n", "attention", "cache", "bytes/tok", "at 4K",
           "at 32K", "at 128K", "fewer", "attend ms", "faster", "read", "step ms", "faster", "cos_diff");
    for (size_t i = 0; i < report->count; i++) print_row(report, &report->rows[i]);
    printf("\n");
    print_gain(report, "absorption (mla_naive to mla_unfused)", COMPARE_MLA_NAIVE, COMPARE_MLA_UNFUSED);
    print_gain(report, "fusion (mla_unfused to mla, f16 rows)", COMPARE_MLA_UNFUSED, COMPARE_MLA);
    print_best(report);
}

// --- JSON
// --------------------------------------------------------------------------------------------------------

static void add_number(cJSON *object, const char *name, double value) {
    if (isfinite(value))
        cJSON_AddNumberToObject(object, name, value);
    else
        cJSON_AddNullToObject(object, name);
}

static void add_shape(cJSON *object, const compare_shape *s) {
    const struct {
        const char *name;
        uint32_t value;
    } fields[] = {{"heads", s->heads},         {"nope_dim", s->nope_dim},     {"rope_dim", s->rope_dim},
                  {"value_dim", s->value_dim}, {"latent_dim", s->latent_dim}, {"hidden_size", s->hidden},
                  {"q_lora_rank", s->q_lora}};
    cJSON *shape = cJSON_AddObjectToObject(object, "shape");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        cJSON_AddNumberToObject(shape, fields[i].name, fields[i].value);
}

static cJSON *row_json(const compare_report *report, const compare_row *row) {
    ratios r = ratios_of(report, row);
    cJSON *object = cJSON_CreateObject();
    json_add_text(object, "attention", compare_attention_name(row->attention));
    json_add_text(object, "format", clmla_row_format_name(row->format));
    add_number(object, "cache_bytes_per_token", row->bytes_per_token);
    add_number(object, "attention_seconds", row->attention_seconds > 0.0 ? row->attention_seconds : NAN);
    add_number(object, "step_seconds", row->step_seconds > 0.0 ? row->step_seconds : NAN);
    add_number(object, "bytes_ratio_to_mha", r.bytes);
    add_number(object, "attention_speedup_to_mha", r.attention);
    add_number(object, "read_fraction", r.read_fraction);
    add_number(object, "cos_diff", row->cos_diff);
    if (row->reason[0])
        json_add_text(object, "reason", row->reason);
    else
        cJSON_AddNullToObject(object, "reason");
    return object;
}

bool compare_print_json(const compare_report *report, failure *failure) {
    cJSON *object = cJSON_CreateObject();
    add_shape(object, &report->shape);
    json_add_text(object, "device", report->device);
    cJSON_AddNumberToObject(object, "tokens", report->tokens);
    cJSON *rows = cJSON_AddArrayToObject(object, "rows");
    for (size_t i = 0; i < report->count; i++) cJSON_AddItemToArray(rows, row_json(report, &report->rows[i]));
    return json_print(object) || failure_memory(failure);
}
