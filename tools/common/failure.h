// SPDX-License-Identifier: Apache-2.0
// One sentence about what went wrong. Helpers fill it and answer false; the command prints it once.
#ifndef TOOLS_FAILURE_H
#define TOOLS_FAILURE_H

#include <clmla/clmla.h>
#include <stdbool.h>

// What every command answers to the shell.
enum { EXIT_PASS = 0, EXIT_DIFFERS = 1, EXIT_UNUSABLE = 2 };

typedef struct failure {
    char sentence[1024];
} failure;

#if defined(__GNUC__) && !defined(_WIN32)
#define FAILURE_PRINTF __attribute__((format(printf, 2, 3)))
#elif defined(__GNUC__)
#define FAILURE_PRINTF __attribute__((format(gnu_printf, 2, 3)))
#else
#define FAILURE_PRINTF
#endif

// Each fills the sentence and answers false, so that a helper can `return failure_...(...)`.
bool failure_set(failure *out, const char *format, ...) FAILURE_PRINTF;
bool failure_memory(failure *out);
bool failure_library(failure *out);                               // the library's own sentence
bool failure_opencl(failure *out, const char *call, cl_int code); // a driver call the tool made itself

// Prints "clmla <command>: <sentence>" on stderr as one line. Answers EXIT_UNUSABLE.
int failure_print(const failure *failure, const char *command);

#endif
