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

static void finish_queue_of(host_context *context, cl_event event) {
    cl_command_queue queue = NULL;
    cl_int code = context->calls->GetEventInfo(event, CL_EVENT_COMMAND_QUEUE, sizeof queue, &queue, NULL);
    if (code == CL_SUCCESS && queue) context->calls->Finish(queue);
}

clmla_status host_event_wait(host_context *context, cl_event event) {
    if (!event) return CLMLA_OK;
    cl_int code = context->calls->WaitForEvents(1, &event);
    if (code == CL_SUCCESS) return CLMLA_OK;
    // Done, by failing; after any other answer it may run still, and read memory that the caller is about to free.
    if (code != CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) finish_queue_of(context, event);
    return host_fail_cl(&context->log, "clWaitForEvents", code, "an earlier command");
}

clmla_status host_queue_finish(host_context *context, cl_command_queue queue) {
    cl_int code = context->calls->Finish(queue);
    return code == CL_SUCCESS ? CLMLA_OK : host_fail_cl(&context->log, "clFinish", code, "waiting for enqueued work");
}

clmla_status host_queue_create(cl_command_queue *out, host_context *context, const char *what) {
    cl_int code = CL_SUCCESS;
    // OpenCL 1.2's call, which every later driver has too: there is nothing behind 2.0's in a driver of 1.2.
    cl_command_queue queue = context->calls->CreateCommandQueue(context->cl, context->device, 0, &code);
    if (code != CL_SUCCESS) return host_fail_cl(&context->log, "clCreateCommandQueue", code, "%s", what);
    *out = queue;
    return CLMLA_OK;
}

void host_queue_release(host_context *context, cl_command_queue *queue) {
    if (*queue) context->calls->ReleaseCommandQueue(*queue);
    *queue = NULL;
}
