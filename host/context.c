// SPDX-License-Identifier: Apache-2.0
#include "host/context.h"
#include "host/device.h"
#include "host/error.h"
#include "host/gemm.h"
#include "host/instruction.h"
#include "host/launch.h"
#include "host/memory.h"
#include "host/program.h"
#include "host/recording.h"
#include "host/verdict.h"
#include <string.h>

// Whether `device` is one of the context's; the application made both.
static clmla_status check_import(const host_context *context, cl_context cl, cl_device_id device) {
    size_t bytes = 0;
    cl_int code = context->calls->GetContextInfo(cl, CL_CONTEXT_DEVICES, 0, NULL, &bytes);
    cl_device_id *devices = code == CL_SUCCESS ? host_allocate(&context->allocator, bytes, 1) : NULL;
    if (code == CL_SUCCESS && !devices)
        return host_fail(&context->log, CLMLA_E_MEMORY, 0, "context: no memory for a list of devices");
    if (devices) code = context->calls->GetContextInfo(cl, CL_CONTEXT_DEVICES, bytes, devices, NULL);
    bool found = false;
    for (size_t i = 0; devices && code == CL_SUCCESS && i < bytes / sizeof *devices; i++) found |= devices[i] == device;
    host_release(&context->allocator, devices);
    if (code != CL_SUCCESS) return host_fail_cl(&context->log, "clGetContextInfo", code, "the application's context");
    if (!found)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, 0,
                         "context: opencl.device is not a device of opencl.context");
    return CLMLA_OK;
}

static clmla_status import_objects(host_context *context, const clmla_context_params *params) {
    STATUS_OR_RETURN(check_import(context, params->opencl.context, params->opencl.device));
    STATUS_OR_RETURN(host_device_read(&context->facts, params->opencl.device, context->calls, &context->log));
    cl_int code = context->calls->RetainContext(params->opencl.context);
    if (code != CL_SUCCESS) return host_fail_cl(&context->log, "clRetainContext", code, "the application's context");
    context->cl = params->opencl.context;
    context->device = params->opencl.device;
    return CLMLA_OK;
}

static clmla_status make_objects(host_context *context, const clmla_context_params *params) {
    cl_int code = CL_SUCCESS;
    STATUS_OR_RETURN(host_device_find(&context->device, &context->facts, params->device, context->calls,
                                      &context->allocator, &context->log));
    context->cl = context->calls->CreateContext(NULL, 1, &context->device, NULL, NULL, &code);
    if (code == CL_SUCCESS) return CLMLA_OK;
    context->cl = NULL;
    return host_fail_cl(&context->log, "clCreateContext", code, "%s", context->facts.name);
}

static clmla_status check_compiler(const host_context *context) {
    cl_bool compiler = CL_FALSE;
    cl_int code =
        context->calls->GetDeviceInfo(context->device, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL);
    if (code != CL_SUCCESS) return host_fail_cl(&context->log, "clGetDeviceInfo", code, "CL_DEVICE_COMPILER_AVAILABLE");
    if (compiler) return CLMLA_OK;
    return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "context: device %s has no compiler", context->facts.name);
}

clmla_status host_context_init(host_context *context, const clmla_context_params *params, const host_calls *calls) {
    clmla_status status = CLMLA_OK;
    memset(context, 0, sizeof *context);
    context->calls = calls ? calls : host_calls_default();
    context->log = params->log;
    context->allocator = params->allocator;
    context->profile = params->profile;
    if (!params->opencl.context != !params->opencl.device)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "context: opencl.context and opencl.device go together");
    if (!params->allocator.allocate != !params->allocator.release)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, 0,
                         "context: allocator.allocate and allocator.release go together");
    STATUS_OR_OUT(params->opencl.context ? import_objects(context, params) : make_objects(context, params));
    STATUS_OR_OUT(check_compiler(context));
    context->most_groups = context->facts.type & CL_DEVICE_TYPE_GPU ? HOST_GPU_GROUPS : 0;
    if (context->facts.quirks)
        host_log(&context->log, CLMLA_LOG_WARNING, "device %s has the known fault '%s': %s", context->facts.name,
                 clmla_quirk_name(context->facts.quirks), clmla_quirk_symptom(context->facts.quirks));
    STATUS_OR_OUT(
        host_programs_create(&context->programs, context, params->program_folder, params->program_folder_bytes));
    STATUS_OR_OUT(host_recordings_create(&context->recordings, context));
    STATUS_OR_OUT(host_instructions_create(&context->instructions, context));
    STATUS_OR_OUT(host_verdicts_create(&context->verdicts, context));
    STATUS_OR_OUT(host_gemm_space_create(&context->gemm_space, context));
out:
    if (status != CLMLA_OK) host_context_finish(context);
    return status;
}

void host_context_finish(host_context *context) {
    if (context->gemm_space) host_gemm_space_destroy(&context->gemm_space, context);
    if (context->verdicts) host_verdicts_destroy(&context->verdicts, context);
    if (context->instructions) host_instructions_destroy(&context->instructions, context);
    if (context->recordings) host_recordings_destroy(&context->recordings, context);
    if (context->programs) host_programs_destroy(&context->programs, context);
    if (context->cl) context->calls->ReleaseContext(context->cl);
    context->cl = NULL;
}
