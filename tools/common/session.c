// SPDX-License-Identifier: Apache-2.0
// clCreateCommandQueue exists in drivers of every OpenCL version; its successor does not.
#include "session.h"
#include <stdio.h>
#include <stdlib.h>

static void print_log(void *payload, clmla_log_level level, const char *message) {
    (void)payload, (void)level;
    fprintf(stderr, "%s\n", message);
}

static bool open_context(session *out, const clmla_context_params *params, failure *failure) {
    if (clmla_context_create(&out->context, params) != CLMLA_OK) return failure_library(failure);
    cl_int code;
    out->queue = clCreateCommandQueue(clmla_context_opencl(out->context), clmla_context_device(out->context), 0, &code);
    return code == CL_SUCCESS || failure_opencl(failure, "clCreateCommandQueue", code);
}

static clmla_log log_of(bool verbose) {
    return verbose ? (clmla_log){.callback = print_log, .level = CLMLA_LOG_INFO} : (clmla_log){0};
}

bool session_open(session *out, const char *query, bool verbose, failure *failure) {
    clmla_context_params params = {.device = query, .log = log_of(verbose)};
    return open_context(out, &params, failure);
}

bool session_open_sized(session *out, const char *query, uint32_t vector_width, uint32_t group_items,
                        const clmla_profile *profile, failure *failure) {
    clmla_context_params params = {.device = query, .vector_width = vector_width, .group_items = group_items};
    if (profile) params.profile = *profile;
    return open_context(out, &params, failure);
}

// Which platform and device numbers a query picks.
static bool pick(clmla_device_facts *out, const char *query, failure *failure) {
    size_t count = 0, index;
    if (clmla_device_list(NULL, 0, &count) != CLMLA_OK) return failure_library(failure);
    clmla_device_facts *all = calloc(count ? count : 1, sizeof *all);
    if (!all) return failure_memory(failure);
    bool picked =
        clmla_device_list(all, count, &count) == CLMLA_OK && clmla_device_pick(&index, all, count, query) == CLMLA_OK;
    if (picked) *out = all[index];
    free(all);
    return picked || failure_library(failure);
}

static bool find_device(cl_device_id *out, cl_platform_id *platform, const clmla_device_facts *facts,
                        failure *failure) {
    cl_platform_id platforms[64];
    cl_device_id devices[64];
    cl_int code = clGetPlatformIDs(64, platforms, NULL);
    if (code != CL_SUCCESS || facts->platform_index >= 64) return failure_opencl(failure, "clGetPlatformIDs", code);
    *platform = platforms[facts->platform_index];
    code = clGetDeviceIDs(*platform, CL_DEVICE_TYPE_ALL, 64, devices, NULL);
    if (code != CL_SUCCESS || facts->device_index >= 64) return failure_opencl(failure, "clGetDeviceIDs", code);
    *out = devices[facts->device_index];
    return true;
}

bool session_open_own(session *out, const char *query, bool verbose, failure *failure) {
    clmla_device_facts facts = {0};
    cl_platform_id platform = NULL;
    cl_device_id device = NULL;
    if (!pick(&facts, query, failure) || !find_device(&device, &platform, &facts, failure)) return false;
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0};
    cl_int code;
    out->opencl = clCreateContext(properties, 1, &device, NULL, NULL, &code);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clCreateContext", code);
    clmla_context_params params = {.opencl = {out->opencl, device}, .log = log_of(verbose)};
    return open_context(out, &params, failure);
}

void session_close(session *session) {
    if (session->queue) {
        clFinish(session->queue);
        clReleaseCommandQueue(session->queue);
    }
    clmla_context_destroy(&session->context);
    if (session->opencl) clReleaseContext(session->opencl);
    *session = (struct session){0};
}

bool session_buffer(cl_mem *out, const session *session, uint64_t bytes, const void *values, failure *failure) {
    return clmla_buffer_create(out, session->context, bytes, values) == CLMLA_OK || failure_library(failure);
}

bool session_plan(clmla_plan **out, const session *session, const clmla_config *config, const clmla_cache *cache,
                  uint32_t query_tokens, clmla_compute compute, clmla_prefill prefill, const char *attend_variant,
                  failure *failure) {
    clmla_rows rows;
    clmla_plan_params params = {.head_count = config->head_count,
                                .query_tokens = query_tokens,
                                .compute = compute,
                                .attend_variant = attend_variant,
                                .prefill = prefill,
                                .config = config};
    if (clmla_cache_rows(&rows, cache, 0) != CLMLA_OK) return failure_library(failure);
    params.layout = rows.layout;
    return clmla_plan_create(out, session->context, &params) == CLMLA_OK || failure_library(failure);
}
