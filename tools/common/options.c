// SPDX-License-Identifier: Apache-2.0
#include "options.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_usage(const options *known) {
    printf("usage: clmla %s%s%s [options]\n\n%s\n\n", known->command, known->argument ? " " : "",
           known->argument ? known->argument : "", known->summary);
    for (size_t i = 0; i < known->count; i++) {
        const option *o = &known->table[i];
        char head[64];
        snprintf(head, sizeof head, "%s %s", o->name, o->value ? o->value : "");
        printf("  %-32s %s\n", head, o->help);
    }
    printf("  %-32s %s\n", "--help", "this text");
}

static bool read_number(uint32_t *out, const option *o, const char *text, failure *failure) {
    char *end;
    bool digits = text[0] >= '0' && text[0] <= '9' && strlen(text) <= 10;
    unsigned long long value = digits ? strtoull(text, &end, 10) : 0;
    if (!digits || *end || value < o->minimum || value > o->maximum)
        return failure_set(failure, "%s takes a whole number from %u to %u, not '%s'", o->name, o->minimum, o->maximum,
                           text);
    *out = (uint32_t)value;
    return true;
}

static bool read_decimal(double *out, const option *o, const char *text, failure *failure) {
    bool plain = text[0] && strspn(text, "0123456789.") == strlen(text) && strlen(text) <= 20;
    char *end = NULL;
    double value = plain ? strtod(text, &end) : 0.0;
    if (!plain || *end || value <= o->minimum || value > o->maximum)
        return failure_set(failure, "%s takes a number above %u, up to %u, not '%s'", o->name, o->minimum, o->maximum,
                           text);
    *out = value;
    return true;
}

static bool store(const option *o, const char *value, failure *failure) {
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)o->target = true;
        return true;
    case OPTION_TEXT:
        *(const char **)o->target = value;
        return true;
    case OPTION_NUMBER:
        return read_number(o->target, o, value, failure);
    case OPTION_DECIMAL:
        return read_decimal(o->target, o, value, failure);
    }
    return false;
}

// The option argv names, with `value` after its '=' or NULL; NULL if the command has none of that name.
static const option *find(const options *known, const char *text, const char **value) {
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    *value = equals ? equals + 1 : NULL;
    for (size_t i = 0; i < known->count; i++)
        if (strlen(known->table[i].name) == length && strncmp(known->table[i].name, text, length) == 0)
            return &known->table[i];
    return NULL;
}

static bool take_option(const options *known, int argc, char **argv, int *at, failure *failure) {
    const char *text = argv[*at], *value;
    const option *o = find(known, text, &value);
    if (!o) return failure_set(failure, "unknown option '%s'; see clmla %s --help", text, known->command);
    if (o->kind == OPTION_FLAG && value) return failure_set(failure, "%s takes no value", o->name);
    if (o->kind != OPTION_FLAG && !value) {
        if (*at + 1 >= argc) return failure_set(failure, "%s needs a value: %s", o->name, o->value);
        value = argv[++*at];
    }
    return store(o, value, failure);
}

options_outcome options_parse(const options *known, int argc, char **argv, failure *failure) {
    const char *argument = NULL;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_usage(known);
            return OPTIONS_HELP;
        }
        if (argv[i][0] == '-') {
            if (!take_option(known, argc, argv, &i, failure)) return OPTIONS_BAD;
        } else if (known->argument && !argument) {
            argument = argv[i];
        } else {
            failure_set(failure, "unexpected argument '%s'", argv[i]);
            return OPTIONS_BAD;
        }
    }
    if (known->argument && !argument) {
        failure_set(failure, "%s is missing; see clmla %s --help", known->argument, known->command);
        return OPTIONS_BAD;
    }
    if (argument && !*argument) {
        failure_set(failure, "%s is empty", known->argument);
        return OPTIONS_BAD;
    }
    if (known->argument) *known->argument_target = argument;
    return OPTIONS_GO;
}

bool option_rope_order(clmla_rope_order *out, const char *name, failure *failure) {
    if (strcmp(name, "interleaved") == 0) return *out = CLMLA_ROPE_INTERLEAVED, true;
    if (strcmp(name, "halves") == 0) return *out = CLMLA_ROPE_HALVES, true;
    return failure_set(failure, "--rope-order takes interleaved or halves, not '%s'", name);
}

bool option_weights(clmla_type *out, const char *name, failure *failure) {
    static const clmla_type types[] = {CLMLA_TYPE_F32, CLMLA_TYPE_F16, CLMLA_TYPE_BF16};
    if (strcmp(name, "as-stored") == 0) return *out = CLMLA_TYPE_NONE, true;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(name, clmla_type_name(types[i])) == 0) return *out = types[i], true;
    return failure_set(failure, "--weights takes as-stored, f32, f16 or bf16, not '%s'", name);
}

bool option_compute(clmla_compute *out, const char *name, failure *failure) {
    *out = CLMLA_COMPUTE_EXACT;
    return !name || clmla_compute_parse(out, name) == CLMLA_OK || failure_library(failure);
}

bool option_prefill(clmla_prefill *out, const char *name, failure *failure) {
    *out = CLMLA_PREFILL_AUTO;
    return !name || clmla_prefill_parse(out, name) == CLMLA_OK || failure_library(failure);
}

bool option_row_format(clmla_row_format *out, const char *name, failure *failure) {
    return clmla_row_format_parse(out, name) == CLMLA_OK || failure_library(failure);
}
