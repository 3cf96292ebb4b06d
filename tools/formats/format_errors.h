// SPDX-License-Identifier: Apache-2.0
// What each row format costs in accuracy: the attention output of reference layers, and a language model's surprise.
#ifndef TOOLS_FORMAT_ERRORS_H
#define TOOLS_FORMAT_ERRORS_H

#include "session.h"
#include <stdint.h>

#define ERROR_CASES 4
extern const char *const error_cases[ERROR_CASES]; // folders below the reference data
#define TYPICAL_CASE 2 // of them: the one with rows of 512 + 64, where bars and outliers are measured

typedef struct output_error {
    double rel_l2, cos_diff; // of the attention output, against the reference; the larger of a case's layers
} output_error;

typedef struct format_error {
    output_error cases[ERROR_CASES];
    output_error outliers; // the typical case, its latents with outliers (outlier_layer.h)
    double nll;            // mean −log p of held-out text, in nats
} format_error;

// Fill errors[0 .. CLMLA_ROW_FORMAT_COUNT). `reference` is the folder that holds the cases; `model` one with a language
// model over bytes and its eval.bin, which is scored in segments of 256 bytes, each from an empty context.
bool format_errors_of_layers(format_error *errors, const session *session, const char *reference, failure *failure);
bool format_errors_of_model(format_error *errors, const session *session, const char *model, failure *failure);

// The least formats are held to, on the typical case as it is and with outliers: one of at most so many bytes with a
// cos_diff below this on both.
typedef struct format_bar {
    uint32_t row_bytes;
    double cos_diff;
} format_bar;
#define FORMAT_BARS 2
extern const format_bar format_bars[FORMAT_BARS];
bool format_meets(clmla_row_format format, const format_error *error, const format_bar *bar);

#endif
