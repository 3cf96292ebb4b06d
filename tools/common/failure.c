// SPDX-License-Identifier: Apache-2.0
#include "failure.h"
#include <stdarg.h>
#include <stdio.h>

bool failure_set(failure *out, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out->sentence, sizeof out->sentence, format, arguments);
    va_end(arguments);
    return false;
}

bool failure_memory(failure *out) {
    return failure_set(out, "no host memory left");
}

bool failure_library(failure *out) {
    return failure_set(out, "%s", clmla_last_error());
}

bool failure_opencl(failure *out, const char *call, cl_int code) {
    return failure_set(out, "%s failed with OpenCL code %d", call, (int)code);
}

int failure_print(const failure *failure, const char *command) {
    fprintf(stderr, "clmla %s: ", command);
    for (const char *c = failure->sentence; *c; c++) fputc(*c == '\n' || *c == '\r' ? ' ' : *c, stderr);
    fputc('\n', stderr);
    return EXIT_UNUSABLE;
}
