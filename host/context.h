// SPDX-License-Identifier: Apache-2.0
// One OpenCL device ready for use: handles, facts, callbacks and the programs built for it. Knows nothing of what the
// programs compute.
#ifndef HOST_CONTEXT_H
#define HOST_CONTEXT_H

#include "host/calls.h"
#include <clmla/context.h>

struct host_gemm_space;
struct host_instructions;
struct host_programs;
struct host_recordings;
struct host_verdicts;

typedef struct host_context {
    const host_calls *calls;
    clmla_log log;
    clmla_allocator allocator;
    clmla_profile profile;
    cl_context cl;
    cl_device_id device;
    clmla_device_facts facts;
    size_t most_groups; // along y or z of one launch (launch.h); 0: any number
    bool portable_instructions; // tests alone: dot products and tiles that the facts have are made by OpenCL C
    struct host_programs *programs;         // see program.h; has a lock of its own
    struct host_recordings *recordings;     // see recording.h; likewise
    struct host_instructions *instructions; // see instruction.h; likewise
    struct host_verdicts *verdicts;         // see verdict.h; likewise
    struct host_gemm_space *gemm_space;     // see gemm.h; likewise. NULL where CLBlast is not built in
} host_context;

// Fills a context from public parameters; calls NULL = host_calls_default(). On failure everything is released again.
clmla_status host_context_init(host_context *context, const clmla_context_params *params, const host_calls *calls);
// Releases all; accepts a zeroed struct. Recordings must be gone by then: their kernels are the context's.
void host_context_finish(host_context *context);

#endif
