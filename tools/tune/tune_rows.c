// SPDX-License-Identifier: Apache-2.0
#include "tune.h"
#include <stdio.h>
#include <string.h>

#define CONSTANT_BYTES 64

// The enumerator of lib/tuning.h: "attend.tile.keys" is TUNING_ATTEND_TILE_KEYS; those of vectors leave the word out.
static void write_constant(char out[CONSTANT_BYTES], const char *number) {
    static const char vector[] = ".vector";
    const char *left_out = strstr(number, vector);
    size_t at = (size_t)snprintf(out, CONSTANT_BYTES, "TUNING_");
    for (const char *from = number; *from && at + 1 < CONSTANT_BYTES; from++) {
        if (from == left_out) from += sizeof vector - 1;
        out[at++] = (char)(*from == '.' ? '_' : *from >= 'a' && *from <= 'z' ? *from - 'a' + 'A' : *from);
    }
    out[at] = '\0';
}

#define LITERAL_BYTES(length) (4 * (length) + 3)

// A string literal of C, whatever bytes a driver's text has; of an empty text NULL, which fits any.
static void write_literal(char *out, const char *text) {
    size_t at = 1;
    strcpy(out, *text ? "\"" : "NULL");
    if (!*text) return;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c > '~' || c == '"' || c == '\\')
            at += (size_t)snprintf(out + at, 5, "\\%03o", c);
        else
            out[at++] = (char)c;
    }
    strcpy(out + at, "\"");
}

static const char *type_constant(cl_device_type type) {
    return type & CL_DEVICE_TYPE_GPU           ? "CL_DEVICE_TYPE_GPU"
           : type & CL_DEVICE_TYPE_ACCELERATOR ? "CL_DEVICE_TYPE_ACCELERATOR"
           : type & CL_DEVICE_TYPE_CPU         ? "CL_DEVICE_TYPE_CPU"
                                               : "TUNING_ANY";
}

void tune_row(char out[TUNE_ROW_BYTES], const clmla_device_facts *facts, const char *number, uint32_t value) {
    char constant[CONSTANT_BYTES], vendor[LITERAL_BYTES(sizeof facts->vendor)],
        device[LITERAL_BYTES(sizeof facts->name)];
    write_constant(constant, number);
    write_literal(vendor, facts->vendor);
    write_literal(device, facts->name);
    snprintf(out, TUNE_ROW_BYTES, "{%s, %s, %s, %s, %u},", type_constant(facts->type), vendor, device, constant, value);
}
