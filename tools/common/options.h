// SPDX-License-Identifier: Apache-2.0
// Command lines: a table of options a command knows, and one positional argument.
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include "failure.h"
#include <stddef.h>
#include <stdint.h>

typedef enum option_kind {
    OPTION_FLAG,    // bool *target
    OPTION_TEXT,    // const char **target
    OPTION_NUMBER,  // uint32_t *target, minimum .. maximum
    OPTION_DECIMAL, // double *target, more than minimum, up to maximum
} option_kind;

typedef struct option {
    const char *name; // "--cache"; taken as "--cache f16" or "--cache=f16"
    option_kind kind;
    void *target;
    const char *value; // what the usage calls its value; NULL for a flag
    const char *help;
    uint32_t minimum, maximum;
} option;

typedef struct options {
    const char *command;  // "verify"
    const char *summary;  // what the command does, for its usage
    const char *argument; // what the usage calls the positional argument; NULL = there is none
    const char **argument_target;
    const option *table;
    size_t count;
} options;

typedef enum options_outcome { OPTIONS_GO, OPTIONS_HELP, OPTIONS_BAD } options_outcome;

// Reads argv[0 .. argc) into the targets. OPTIONS_HELP: --help was asked for and printed on stdout.
options_outcome options_parse(const options *known, int argc, char **argv, failure *failure);

// Values several commands share. Each answers false with a sentence that lists what is allowed.
bool option_rope_order(clmla_rope_order *out, const char *name, failure *failure);
bool option_weights(clmla_type *out, const char *name, failure *failure);
bool option_prefill(clmla_prefill *out, const char *name, failure *failure); // NULL = auto
bool option_compute(clmla_compute *out, const char *name, failure *failure); // NULL = exact
bool option_row_format(clmla_row_format *out, const char *name, failure *failure);

#endif
