// SPDX-License-Identifier: Apache-2.0
#include "lib/context.h"
#include "host/error.h"
#include "host/memory.h"
#include "host/program.h"
#include "lib/group.h"
#include "lib/tuning.h"
#include <string.h>

static clmla_status check_width(const clmla_context_params *params) {
    uint32_t width = params->vector_width;
    if (width == 0 || width == 4 || width == 8 || width == 16) return CLMLA_OK;
    return host_fail(&params->log, CLMLA_E_ARGUMENT, 0,
                     "context: vector_width is %u: 4, 8 and 16 are possible, 0 is for the device's own", width);
}

static clmla_status check_group(const clmla_context_params *params) {
    uint32_t items = params->group_items;
    if (items == 0 || (items >= GROUP_LEAST && items <= GROUP_ITEMS_MOST && (items & (items - 1)) == 0))
        return CLMLA_OK;
    return host_fail(&params->log, CLMLA_E_ARGUMENT, 0,
                     "context: group_items is %u: 32, 64, 128 and 256 are possible, 0 is for the library's choice",
                     items);
}

static clmla_status check_proof(const clmla_context_params *params) {
    if ((unsigned)params->proof <= CLMLA_PROOF_NEVER) return CLMLA_OK;
    return host_fail(&params->log, CLMLA_E_ARGUMENT, 0,
                     "context: proof is %d, none of auto (0), always (1) and never (2)", (int)params->proof);
}

clmla_status context_create_with_calls(clmla_context **out, const clmla_context_params *params,
                                       const host_calls *calls) {
    if (!out) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "context: out is NULL");
    *out = NULL;
    const clmla_context_params none = {0};
    if (!params) params = &none;

    clmla_context *context = host_allocate(&params->allocator, 1, sizeof *context);
    if (!context)
        return host_fail(&params->log, CLMLA_E_MEMORY, 0, "context: no memory for %zu bytes", sizeof *context);
    clmla_status status = check_width(params);
    if (status == CLMLA_OK) status = check_group(params);
    if (status == CLMLA_OK) status = check_proof(params);
    if (status == CLMLA_OK) status = host_context_init(&context->host, params, calls);
    if (status != CLMLA_OK) {
        host_release(&params->allocator, context);
        return status;
    }
    if (params->vector_width) context->host.facts.float_vector_width = params->vector_width;
    context->host.facts.group_items = params->group_items;
    context->proof = params->proof;
    pthread_mutex_init(&context->proof_lock, NULL);
    pthread_mutex_init(&context->tuning_lock, NULL);
    tuning_init(context, params->tuning_file);
    *out = context;
    return CLMLA_OK;
}

clmla_status clmla_context_create(clmla_context **out, const clmla_context_params *params) {
    return context_create_with_calls(out, params, NULL);
}

void clmla_context_destroy(clmla_context **context) {
    if (!context || !*context) return;
    clmla_allocator allocator = (*context)->host.allocator;
    host_context_finish(&(*context)->host);
    pthread_mutex_destroy(&(*context)->proof_lock);
    pthread_mutex_destroy(&(*context)->tuning_lock);
    host_release(&allocator, *context);
    *context = NULL;
}

void context_quiet_begin(clmla_context *out, clmla_context *context) {
    memset(out, 0, sizeof *out);
    out->host = context->host;
    out->host.log.callback = NULL;
    out->host.profile.callback = NULL;
    out->proof = CLMLA_PROOF_NEVER;
    pthread_mutex_lock(&context->tuning_lock);
    memcpy(out->tuning, context->tuning, sizeof out->tuning);
    pthread_mutex_unlock(&context->tuning_lock);
    pthread_mutex_init(&out->proof_lock, NULL);
    pthread_mutex_init(&out->tuning_lock, NULL);
}

void context_quiet_end(clmla_context *quiet) {
    pthread_mutex_destroy(&quiet->proof_lock);
    pthread_mutex_destroy(&quiet->tuning_lock);
}

cl_context clmla_context_opencl(const clmla_context *context) {
    return context ? context->host.cl : NULL;
}

cl_device_id clmla_context_device(const clmla_context *context) {
    return context ? context->host.device : NULL;
}

clmla_status clmla_buffer_create(cl_mem *out, clmla_context *context, uint64_t bytes, const void *data) {
    if (out) *out = NULL;
    if (!out || !context)
        return host_fail(context ? &context->host.log : NULL, CLMLA_E_ARGUMENT, 0, "buffer: %s is missing",
                         out ? "context" : "out");
    return host_buffer_create_lasting(out, &context->host, bytes, data, "buffer");
}

const clmla_device_facts *clmla_context_facts(const clmla_context *context) {
    return context ? &context->host.facts : NULL;
}

clmla_program_counts clmla_context_programs(const clmla_context *context) {
    return context ? host_programs_counts(&context->host) : (clmla_program_counts){0};
}
