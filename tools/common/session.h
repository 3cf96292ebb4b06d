// SPDX-License-Identifier: Apache-2.0
// A device to work on: a clmla context and a queue, made the two ways an application can.
#ifndef TOOLS_SESSION_H
#define TOOLS_SESSION_H

#include "failure.h"

typedef struct session {
    cl_context opencl; // the tool's own; NULL when the library made it
    clmla_context *context;
    cl_command_queue queue; // in-order
} session;

// The library picks the device and makes the OpenCL context. query as in clmla_device_pick, may be NULL.
// verbose: the library's log lines go to stderr.
bool session_open(session *out, const char *query, bool verbose, failure *failure);
// The same with vectors of `vector_width` floats in kernels for CPUs, and groups of `group_items` work-items in those
// called group; 0 = as the library chooses. profile: told of the kernels on queues that measure; NULL = nobody.
bool session_open_sized(session *out, const char *query, uint32_t vector_width, uint32_t group_items,
                        const clmla_profile *profile, failure *failure);
// The tool makes the OpenCL context of the device, as an application that has its own would, and hands it over.
bool session_open_own(session *out, const char *query, bool verbose, failure *failure);
void session_close(session *session);

// What clmla_buffer_create makes; `values` NULL leaves it undefined.
bool session_buffer(cl_mem *out, const session *session, uint64_t bytes, const void *values, failure *failure);

// A plan for a model's layers over a cache, whose steps mostly have so many new tokens of a sequence, with an attend
// kernel of the caller's choice, NULL = the plan's for that compute mode.
bool session_plan(clmla_plan **out, const session *session, const clmla_config *config, const clmla_cache *cache,
                  uint32_t query_tokens, clmla_compute compute, clmla_prefill prefill, const char *attend_variant,
                  failure *failure);

#endif
