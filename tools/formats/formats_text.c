// SPDX-License-Identifier: Apache-2.0
#include "formats_report.h"
#include <inttypes.h>
#include <stdio.h>

#define MODEL_COLUMN 20 // characters
#define COLUMN 9

static void print_error(bool known, const output_error *error) {
    if (known)
        printf("  %8.1e %8.1e", error->rel_l2, error->cos_diff);
    else
        printf("  %8s %8s", "-", "-");
}

static void print_formats(const formats_report *report) {
    printf("row formats: %d + %d values, bytes with scales; error of the attention output (rel_l2, cos_diff)\n",
           TYPICAL_LATENT, TYPICAL_ROPE);
    printf("  %-9s %5s %5s %6s", "format", "bytes", "bits", "paper");
    for (int i = 0; i < ERROR_CASES; i++) printf("  %-17s", error_cases[i]);
    printf("  %-17s  %8s\n", "with outliers", "-log p");
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) {
        clmla_row_format format = (clmla_row_format)f;
        const format_error *error = &report->errors[f];
        uint32_t bytes = format_row_bytes(format, TYPICAL_LATENT, TYPICAL_ROPE);
        printf("  %-9s %5" PRIu32 " %5.2f %5.2fx", clmla_row_format_name(format), bytes,
               8.0 * bytes / (TYPICAL_LATENT + TYPICAL_ROPE), paper_ratio(format));
        for (int i = 0; i < ERROR_CASES; i++) print_error(report->has_layers, &error->cases[i]);
        print_error(report->has_layers, &error->outliers);
        if (report->has_model)
            printf("  %8.5f\n", error->nll);
        else
            printf("  %8s\n", "-");
    }
    printf("  paper: times less than the DeepSeek-V2 paper's GQA model of %d layers (%d 16-bit elements, %" PRIu64
           " bytes a token)\n         in %d layers.   -log p: nats a byte of held-out text.   outliers: 2 %% of %s's "
           "latent channels x 8\n",
           PAPER_LAYERS, PAPER_ELEMENTS, paper_bytes(), PAPER_MLA_LAYERS, error_cases[TYPICAL_CASE]);
}

static void print_heading(const char *title, const char *first) {
    printf("\n%s\n  %-*s %6s", title, MODEL_COLUMN, first, "layers");
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) printf(" %*s", COLUMN, clmla_row_format_name((clmla_row_format)f));
}

static void print_bytes(void) {
    print_heading(
        "bytes a token, all layers; and in 16-bit elements as multi-head attention (mha), in 8 groups (gqa8), "
        "with one head (mqa)",
        "model");
    for (int b = 0; b < BASELINES; b++) printf(" %*s", COLUMN, baseline_names[b]);
    printf("\n");
    for (int m = 0; m < KNOWN_MODEL_COUNT; m++) {
        const known_model *model = &known_models[m];
        printf("  %-*s %6" PRIu32, MODEL_COLUMN, model->name, model->layers);
        for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++)
            printf(" %*" PRIu64, COLUMN, format_token_bytes((clmla_row_format)f, model));
        for (int b = 0; b < BASELINES; b++) printf(" %*" PRIu64, COLUMN, baseline_token_bytes(model, b));
        printf("\n");
    }
}

static void print_ratios(void) {
    static const char *const titles[BASELINES] = {"times less than mha", "times less than gqa8", "times less than mqa"};
    for (int b = 0; b < BASELINES; b++) {
        print_heading(titles[b], "model");
        printf("\n");
        for (int m = 0; m < KNOWN_MODEL_COUNT; m++) {
            const known_model *model = &known_models[m];
            double bytes = (double)baseline_token_bytes(model, b);
            printf("  %-*s %6" PRIu32, MODEL_COLUMN, model->name, model->layers);
            for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++)
                printf(" %*.2f", COLUMN, bytes / (double)format_token_bytes((clmla_row_format)f, model));
            printf("\n");
        }
    }
}

static void print_bar(const formats_report *report, const format_bar *bar) {
    bool met = false;
    printf("  at most %" PRIu32 " bytes with cos_diff below %.1e on %s, as it is and with outliers: ", bar->row_bytes,
           bar->cos_diff, error_cases[TYPICAL_CASE]);
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) {
        const format_error *error = &report->errors[f];
        if (!format_meets((clmla_row_format)f, error, bar)) continue;
        printf("%s%s (%" PRIu32 " bytes, %.1e and %.1e)", met ? ", " : "met by ",
               clmla_row_format_name((clmla_row_format)f),
               format_row_bytes((clmla_row_format)f, TYPICAL_LATENT, TYPICAL_ROPE), error->cases[TYPICAL_CASE].cos_diff,
               error->outliers.cos_diff);
        met = true;
    }
    printf("%s\n", met ? "" : "MET BY NONE");
}

void formats_print_text(const formats_report *report) {
    if (report->device) printf("on %s\n\n", report->device);
    print_formats(report);
    print_bytes();
    print_ratios();
    if (!report->has_layers) return;
    printf("\nbars\n");
    for (int b = 0; b < FORMAT_BARS; b++) print_bar(report, &format_bars[b]);
}
