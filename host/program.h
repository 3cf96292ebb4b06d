// SPDX-License-Identifier: Apache-2.0
// Programs and kernels of one context. A program is (source, options); it is built once however many threads ask, and
// its binary is kept on disk (program_store.h) under a key (program_key.h). Kernels come from a pool per program,
// because clSetKernelArg on one cl_kernel is not thread-safe: acquire, set arguments, enqueue, release.
#ifndef HOST_PROGRAM_H
#define HOST_PROGRAM_H

#include "host/context.h"
#include "host/source.h"

struct host_store;
typedef struct host_programs host_programs;
typedef struct host_kernel host_kernel; // a cl_kernel on loan from its pool

// Made and freed with the context. folder and folder_bytes are clmla_context_params.program_folder*.
clmla_status host_programs_create(host_programs **out, host_context *context, const char *folder,
                                  uint64_t folder_bytes);
void host_programs_destroy(host_programs **programs, host_context *context);

// Takes a kernel, building its program first if need be. options is the whole option string, e.g.
// "-cl-std=CL1.2 -DLATENT_DIM=512". Errors: CLMLA_E_BUILD (log through the callback), CLMLA_E_MEMORY, CLMLA_E_OPENCL. A
// failed build is tried again by the next caller. Threads: any.
clmla_status host_kernel_acquire(host_kernel **out, host_context *context, const host_source *source,
                                 const char *options, const char *kernel);
cl_kernel host_kernel_cl(const host_kernel *kernel);
const char *host_kernel_name(const host_kernel *kernel); // lives as long as the kernel
// Gives it back; accepts NULL.
void host_kernel_release(host_context *context, host_kernel *kernel);

clmla_program_counts host_programs_counts(const host_context *context);

// Where they are kept on disk, for what else belongs there.
const struct host_store *host_programs_store(const host_context *context);

#endif
