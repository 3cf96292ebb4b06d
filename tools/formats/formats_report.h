// SPDX-License-Identifier: Apache-2.0
// What clmla formats prints.
#ifndef TOOLS_FORMATS_REPORT_H
#define TOOLS_FORMATS_REPORT_H

#include "format_errors.h"
#include "format_sizes.h"

typedef struct formats_report {
    const char *device;         // NULL: none was needed
    bool has_layers, has_model; // what of the errors is known
    format_error errors[CLMLA_ROW_FORMAT_COUNT];
} formats_report;

// Whether some format meets each bar. Without errors of layers nothing is known, and nothing missed.
bool formats_pass(const formats_report *report);

void formats_print_text(const formats_report *report);
bool formats_print_json(const formats_report *report, failure *failure);

#endif
