// SPDX-License-Identifier: Apache-2.0
// The programs' own kernels for attention: building them, and launching one.
#ifndef TOOLS_BASELINE_PROGRAM_H
#define TOOLS_BASELINE_PROGRAM_H

#include "session.h"

typedef struct baseline_text {
    const char *const *lines;
    cl_uint line_count;
} baseline_text;

// Builds baseline_tile.cl, or for GPUs baseline_group.cl, followed by a text; to be given to clReleaseProgram.
bool baseline_build(cl_program *out, const session *session, baseline_text text, const char *options, failure *failure);
bool baseline_kernel(cl_kernel *out, cl_program program, const char *name, failure *failure);
// The option that tells the kernels what type cached keys have: "-DKEYS_F16"; NULL for a type they do not have.
const char *baseline_type_option(clmla_type type);

typedef struct baseline_argument {
    size_t bytes;
    const void *value;
} baseline_argument;
#define BASELINE_ARGUMENT(variable)                                                                                    \
    { sizeof(variable), &(variable) }

// Sets all arguments and enqueues the kernel on the session's queue, in groups of `items` along the first dimension; 0
// = as the driver chooses.
bool baseline_launch(const session *session, cl_kernel kernel, const size_t global[3], size_t items,
                     const baseline_argument *arguments, size_t count, failure *failure);

// packed [sets][ceil(rows / 16)][width][16] = rows [sets][rows][width] times factor.
bool baseline_pack(const session *session, cl_kernel pack, cl_mem rows, cl_mem packed, uint32_t sets,
                   uint32_t row_count, uint32_t width, float factor, failure *failure);

void baseline_release(cl_mem *memory);
void baseline_release_kernel(cl_kernel *kernel);

#endif
