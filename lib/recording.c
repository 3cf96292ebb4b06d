// SPDX-License-Identifier: Apache-2.0
#include "lib/recording.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/context.h"

clmla_status clmla_recording_begin(clmla_recording **out, clmla_context *context, cl_command_queue queue) {
    if (!out) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "recording: out is NULL");
    *out = NULL;
    if (!context) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "recording: context is NULL");
    clmla_recording *recording = host_allocate(&context->host.allocator, 1, sizeof *recording);
    if (!recording)
        return host_fail(&context->host.log, CLMLA_E_MEMORY, 0, "recording: no memory for %zu bytes",
                         sizeof *recording);
    clmla_status status = host_recording_begin(&recording->host, &context->host, queue);
    if (status != CLMLA_OK) {
        host_release(&context->host.allocator, recording);
        return status;
    }
    *out = recording;
    return CLMLA_OK;
}

clmla_status clmla_recording_end(clmla_recording *recording) {
    if (!recording) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "recording: recording is NULL");
    return host_recording_end(&recording->host);
}

clmla_status clmla_recording_replay(clmla_recording *recording, cl_uint wait_count, const cl_event *wait,
                                    cl_event *event) {
    if (!recording) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "replay: recording is NULL");
    return host_recording_replay(&recording->host, wait_count, wait, event);
}

clmla_recording_facts clmla_recording_facts_get(const clmla_recording *recording) {
    if (!recording) return (clmla_recording_facts){.reason = "recording is NULL"};
    const host_recording *host = &recording->host;
    return (clmla_recording_facts){(uint32_t)host->count, host->buffer != NULL, host->reason};
}

clmla_recording_facts clmla_recording_support(clmla_context *context) {
    if (!context) return (clmla_recording_facts){.reason = "context is NULL"};
    const host_trial *trial = host_trial_get(&context->host);
    return (clmla_recording_facts){0, !trial->reason[0], trial->reason};
}

void clmla_recording_destroy(clmla_recording **recording) {
    if (!recording || !*recording) return;
    clmla_allocator allocator = (*recording)->host.context->allocator;
    host_recording_finish(&(*recording)->host);
    host_release(&allocator, *recording);
    *recording = NULL;
}
