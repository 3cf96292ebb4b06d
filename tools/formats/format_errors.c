// SPDX-License-Identifier: Apache-2.0
#include "format_errors.h"
#include "format_sizes.h"
#include "generation.h"
#include "json_input.h"
#include "verify_run.h"
#include <math.h>
#include <stdlib.h>

#define OUTLIER_SEED 1
#define SEGMENT 256 // bytes of text scored from one empty context
#define PAGE_TOKENS 64
// Of the layers. The naive kernel reads rows of all widths with one program: the errors are the format's, whichever
// kernel reads it, and on a first start faster ones would take minutes to compile. The model is of one width.
#define ATTEND_VARIANT "naive"
#define TEXT_LIMIT (1u << 24)

const char *const error_cases[ERROR_CASES] = {"a_v2_tiny", "b_v3_tiny_yarn", "c_v2lite_dims", "f_v3_fp8"};

const format_bar format_bars[FORMAT_BARS] = {{468, 6e-4}, {432, 1.3e-3}};

bool format_meets(clmla_row_format format, const format_error *error, const format_bar *bar) {
    return format_row_bytes(format, TYPICAL_LATENT, TYPICAL_ROPE) <= bar->row_bytes &&
           error->cases[TYPICAL_CASE].cos_diff < bar->cos_diff && error->outliers.cos_diff < bar->cos_diff;
}

// The larger; a NaN stays.
static double worse(double a, double b) {
    return isnan(a) || a > b ? a : b;
}

static bool run_layers(output_error *out, const session *session, const reference_case *reference,
                       clmla_row_format format, uint64_t outlier_seed, failure *failure) {
    verify_choice choice = {.format = format,
                            .rope_order = reference->config.rope_order,
                            .page_tokens = PAGE_TOKENS,
                            .outputs_only = true,
                            .attend_variant = ATTEND_VARIANT,
                            .outlier_seed = outlier_seed};
    verify_layer *layers = calloc(reference->layer_count, sizeof *layers);
    bool done = layers ? verify_run(layers, NULL, session, reference, &choice, failure) : failure_memory(failure);
    *out = (output_error){0};
    for (uint32_t i = 0; done && i < reference->layer_count; i++) {
        out->rel_l2 = worse(layers[i].output.rel_l2, out->rel_l2);
        out->cos_diff = worse(layers[i].output.cos_diff, out->cos_diff);
    }
    free(layers);
    return done;
}

static bool run_case(format_error *errors, const session *session, const char *folder, int number, failure *failure) {
    reference_case reference = {0};
    bool done = reference_case_open(&reference, folder, NULL, failure);
    for (int f = 0; done && f < CLMLA_ROW_FORMAT_COUNT; f++) {
        clmla_row_format format = (clmla_row_format)f;
        done = run_layers(&errors[f].cases[number], session, &reference, format, 0, failure) &&
               (number != TYPICAL_CASE ||
                run_layers(&errors[f].outliers, session, &reference, format, OUTLIER_SEED, failure));
    }
    reference_case_close(&reference);
    return done;
}

bool format_errors_of_layers(format_error *errors, const session *session, const char *reference, failure *failure) {
    for (int i = 0; i < ERROR_CASES; i++) {
        char *folder = path_join(reference, error_cases[i]);
        bool done = folder ? run_case(errors, session, folder, i, failure) : failure_memory(failure);
        free(folder);
        if (!done) return false;
    }
    return true;
}

static bool score_format(double *out, const session *session, const char *folder, const uint8_t *text, size_t length,
                         clmla_row_format format, failure *failure) {
    model model = {0};
    score score;
    model_cache cache = {.format = format, .page_tokens = PAGE_TOKENS, .page_count = SEGMENT / PAGE_TOKENS};
    bool done = model_read_config(&model, folder, failure) && model_open(&model, session, folder, &cache, failure) &&
                generation_score(&score, &model, text, length, SEGMENT, failure);
    if (done) *out = score.nats;
    model_close(&model);
    return done;
}

bool format_errors_of_model(format_error *errors, const session *session, const char *model, failure *failure) {
    char *path = path_join(model, "eval.bin"), *text = NULL;
    size_t length = 0;
    bool done = path ? file_read(&text, &length, path, TEXT_LIMIT, failure) : failure_memory(failure);
    if (done && length < 2) done = failure_set(failure, "%s: %zu bytes: nothing to score", path, length);
    for (int f = 0; done && f < CLMLA_ROW_FORMAT_COUNT; f++)
        done =
            score_format(&errors[f].nll, session, model, (const uint8_t *)text, length, (clmla_row_format)f, failure);
    free(text);
    free(path);
    return done;
}
