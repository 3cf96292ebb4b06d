// SPDX-License-Identifier: Apache-2.0
#include "host/event.h"
#include "host/error.h"

bool host_event_retain(host_context *context, cl_event event) {
    return !event || context->calls->RetainEvent(event) == CL_SUCCESS;
}

void host_event_release(host_context *context, cl_event *event) {
    if (*event) context->calls->ReleaseEvent(*event);
    *event = NULL;
}

clmla_status host_event_wait(host_context *context, cl_event event) {
    if (!event) return CLMLA_OK;
    cl_int code = context->calls->WaitForEvents(1, &event);
    if (code == CL_SUCCESS) return CLMLA_OK;
    return host_fail_cl(&context->log, "clWaitForEvents", code, "an earlier command");
}

clmla_status host_queue_finish(host_context *context, cl_command_queue queue) {
    cl_int code = context->calls->Finish(queue);
    return code == CL_SUCCESS ? CLMLA_OK : host_fail_cl(&context->log, "clFinish", code, "waiting for enqueued work");
}
