// SPDX-License-Identifier: Apache-2.0
// Results as a table for people and as JSON for programs.
#include "bench.h"
#include "json_output.h"
#include <stdio.h>

// What ran, or else what was asked for; NULL where the choice is the library's and it made none.
static const char *variant_name(const bench_entry *entry) {
    return entry->ran ? entry->result.variant : entry->bench.variant;
}

// --- table
// -------------------------------------------------------------------------------------------------------------

static void print_limit(const char *name, const bench_limit *limit, const char *unit, const char *note) {
    if (limit->reason[0])
        printf("  %-26s %s\n", name, limit->reason);
    else
        printf("  %-26s %8.1f %s%s\n", name, limit->rate, unit, note);
}

void bench_print_head(const bench_report *report) {
    char note[64];
    const bench_limits *limits = &report->limits;
    snprintf(note, sizeof note, ", a buffer of %.0f MiB", limits->read_bytes / 1048576.0);
    printf("clmla %s on %s\n\nlimits of the device, best of many runs\n", clmla_version(), report->device);
    print_limit("f32 multiply-add", &limits->fma, "GFLOP/s", "");
    print_limit("int16 dot", &limits->int16_dot, "GOP/s", "");
    print_limit("bf16 dot", &limits->bf16_dot, "GFLOP/s", "");
    print_limit("int8 dot", &limits->int8_dot, "GOP/s", "");
    print_limit("read", &limits->read, "GB/s", note);
    printf("\n%-21s %-13s %-9s %-8s %5s %7s %5s %5s %5s %5s %6s %10s %10s %8s %7s %6s %7s %7s\n", "op", "variant",
           "format", "weights", "heads", "tokens", "batch", "query", "page", "parts", "splits", "min ms", "median ms",
           "GFLOP/s", "GB/s", "of FMA", "of read", "x limit");
    fflush(stdout);
}

// Each launch of a layer: its share is of the median step on the device's clock.
static void print_launches(const bench_report *report, const bench_result *result) {
    const bench_launches *launches = &result->launches;
    double all = launches->between;
    for (uint32_t i = 0; i < launches->count; i++) all += launches->list[i].median;
    for (uint32_t i = 0; i < launches->count; i++) {
        const bench_launch *l = &launches->list[i];
        double limit = bench_launch_limit(&report->limits, result, i);
        printf("  %-19s %-23s %10.4f %10.4f  %5.1f %%", l->operation, l->kernel, l->minimum * 1e3, l->median * 1e3,
               100.0 * l->median / all);
        if (limit > 0.0) printf("  %7.2f", l->minimum / limit);
        printf("\n");
    }
    if (launches->count)
        printf("  %-19s %-23s %10s %10.4f  %5.1f %%\n", "between them", "", "", launches->between * 1e3,
               100.0 * launches->between / all);
}

void bench_print_row(const bench_report *report, const bench_entry *entry) {
    const bench_case *b = &entry->bench;
    const bench_result *r = &entry->result;
    bench_rates rates = bench_rates_of(&report->limits, r);
    const char *variant = variant_name(entry);
    printf("%-21s %-13s %-9s %-8s %5u %7u %5u %5u %5u ", b->operation->name, variant ? variant : "-",
           bench_format_name(b), bench_weights_name(b), b->heads, b->tokens, b->batch, b->query_tokens, b->page);
    if (entry->ran)
        printf("%5u %6u %10.4f %10.4f %8.1f %7.2f %6.3f %7.3f %7.2f\n", r->parts, r->splits, r->times.minimum * 1e3,
               r->times.median * 1e3, rates.gflops, rates.cache_gbps, rates.fraction_of_fma, rates.fraction_of_read,
               rates.times_limit);
    else
        printf("not run: %s\n", entry->reason.sentence);
    print_launches(report, r);
    fflush(stdout);
}

void bench_print_foot(void) {
    printf(
        "\nTimes are wall time from a call to the end of clFinish, after two unmeasured runs; rates are those of the\n"
        "shortest run. GB/s counts the rows, weights or states that must be moved once: what a cache keeps from run\n"
        "to run reads faster than the limit. x limit: the time over what the limits leave possible, each operation of "
        "a\n"
        "layer by itself: the longer of its multiply-adds and its reads. 0: the operation has no such number.\n"
        "Below a layer that is profiled: its kernels' minimum and median, share and x limit on the device's clock.\n");
}

// --- JSON
// --------------------------------------------------------------------------------------------------------------

static void add_limits(cJSON *object, const bench_limits *limits) {
    cJSON *list = cJSON_AddObjectToObject(object, "limits");
    cJSON_AddNumberToObject(list, "fma_gflops", limits->fma.rate);
    cJSON_AddNumberToObject(list, "int16_dot_gops", limits->int16_dot.rate);
    cJSON_AddNumberToObject(list, "bf16_dot_gflops", limits->bf16_dot.rate);
    cJSON_AddNumberToObject(list, "int8_dot_gops", limits->int8_dot.rate);
    cJSON_AddNumberToObject(list, "read_gbps", limits->read.rate);
}

static void add_text(cJSON *object, const char *name, const char *text) {
    if (text)
        json_add_text(object, name, text);
    else
        cJSON_AddNullToObject(object, name);
}

static void add_number(cJSON *object, const char *name, double value, bool known) {
    if (known)
        cJSON_AddNumberToObject(object, name, value);
    else
        cJSON_AddNullToObject(object, name);
}

static void add_launches(cJSON *object, const bench_report *report, const bench_result *result) {
    const bench_launches *launches = &result->launches;
    if (launches->count == 0) return;
    cJSON *list = cJSON_AddArrayToObject(object, "launches");
    for (uint32_t i = 0; i < launches->count; i++) {
        const bench_launch *l = &launches->list[i];
        double limit = bench_launch_limit(&report->limits, result, i);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "operation", l->operation);
        cJSON_AddStringToObject(item, "kernel", l->kernel);
        cJSON_AddNumberToObject(item, "seconds_min", l->minimum);
        cJSON_AddNumberToObject(item, "seconds_median", l->median);
        add_number(item, "limit_seconds", limit, limit > 0.0);
        cJSON_AddItemToArray(list, item);
    }
    cJSON_AddNumberToObject(object, "seconds_between", launches->between);
}

static cJSON *case_json(const bench_report *report, const bench_entry *entry) {
    const bench_case *b = &entry->bench;
    bench_rates rates = bench_rates_of(&report->limits, &entry->result);
    const struct {
        const char *name;
        double value;
        bool measured;
    } numbers[] = {{"heads", b->heads, false},
                   {"tokens", b->tokens, false},
                   {"batch", b->batch, false},
                   {"query_tokens", b->query_tokens, false},
                   {"page", b->page, false},
                   {"latent", b->latent_dim, false},
                   {"rope", b->rope_dim, false},
                   {"parts", entry->result.parts, true},
                   {"splits", entry->result.splits, true},
                   {"seconds_min", entry->result.times.minimum, true},
                   {"seconds_median", entry->result.times.median, true},
                   {"gflops", rates.gflops, true},
                   {"cache_gbps", rates.cache_gbps, true},
                   {"fraction_of_fma", rates.fraction_of_fma, true},
                   {"fraction_of_read", rates.fraction_of_read, true},
                   {"limit_seconds", rates.limit_seconds, true},
                   {"times_limit", rates.times_limit, true}};
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "op", b->operation->name);
    add_text(object, "variant", variant_name(entry));
    cJSON_AddStringToObject(object, "format", bench_format_name(b));
    cJSON_AddStringToObject(object, "weights", bench_weights_name(b));
    cJSON_AddStringToObject(object, "compute", clmla_compute_name(b->compute));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        add_number(object, numbers[i].name, numbers[i].value, entry->ran || !numbers[i].measured);
    add_text(object, "reason", entry->ran ? NULL : entry->reason.sentence);
    add_launches(object, report, &entry->result);
    return object;
}

bool bench_print_json(const bench_report *report, failure *failure) {
    cJSON *object = cJSON_CreateObject();
    json_add_text(object, "device", report->device);
    cJSON_AddNumberToObject(object, "vector_width", report->vector_width);
    add_limits(object, &report->limits);
    cJSON *list = cJSON_AddArrayToObject(object, "cases");
    for (size_t i = 0; i < report->count; i++) cJSON_AddItemToArray(list, case_json(report, &report->entries[i]));
    return json_print(object) || failure_memory(failure);
}
