// SPDX-License-Identifier: Apache-2.0
#include "host/command_buffer.h"
#include "host/error.h"
#include <stdio.h>
#include <string.h>

// Of cl_ext.h.
#define DEVICE_COMMAND_BUFFER_CAPABILITIES 0x12A9
#define CAPABILITY_SIMULTANEOUS_USE (1u << 2)
#define COMMAND_BUFFER_FLAGS 0x1293
#define FLAG_SIMULTANEOUS_USE 1u

static bool because(char reason[HOST_REASON_MAX], const char *call, cl_int code) {
    snprintf(reason, HOST_REASON_MAX, "%s: %s (%d)", call, host_cl_name(code), (int)code);
    return false;
}

// Object and function pointers have one representation wherever OpenCL runs, but no conversion in C.
static bool find_call(void *out, const host_calls *calls, cl_platform_id platform, const char *name,
                      char reason[HOST_REASON_MAX]) {
    void *address = calls->GetExtensionFunctionAddressForPlatform(platform, name);
    memcpy(out, &address, sizeof address);
    if (!address) snprintf(reason, HOST_REASON_MAX, "the driver does not have %s", name);
    return address != NULL;
}

bool host_khr_find(host_khr *khr, const host_context *context, char reason[HOST_REASON_MAX]) {
    const host_calls *calls = context->calls;
    host_khr_calls *found = &khr->calls;
    cl_platform_id platform = NULL;
    cl_bitfield abilities = 0;
    cl_int code = calls->GetDeviceInfo(context->device, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL);
    if (code == CL_SUCCESS)
        code = calls->GetDeviceInfo(context->device, DEVICE_COMMAND_BUFFER_CAPABILITIES, sizeof abilities, &abilities,
                                    NULL);
    if (code != CL_SUCCESS) return because(reason, "clGetDeviceInfo", code);
    khr->simultaneous = abilities & CAPABILITY_SIMULTANEOUS_USE;
#define FIND(name) find_call(&found->name, calls, platform, "cl" #name, reason)
    return FIND(CreateCommandBufferKHR) && FIND(FinalizeCommandBufferKHR) && FIND(ReleaseCommandBufferKHR) &&
           FIND(EnqueueCommandBufferKHR) && FIND(CommandNDRangeKernelKHR);
#undef FIND
}

static cl_int add_commands(host_khr_buffer buffer, const host_khr *khr, const host_command *commands, size_t count) {
    host_khr_point point = 0;
    for (size_t i = 0; i < count; i++) {
        const host_command *c = &commands[i];
        bool waits = khr->order == HOST_ORDER_POINTS && i > 0;
        host_khr_point before = point;
        cl_int code = khr->calls.CommandNDRangeKernelKHR(
            buffer, NULL, NULL, host_kernel_cl(c->kernel), c->dimensions, NULL, c->global, c->grouped ? c->local : NULL,
            waits, waits ? &before : NULL, khr->order == HOST_ORDER_POINTS ? &point : NULL, NULL);
        if (code != CL_SUCCESS) return code;
    }
    return CL_SUCCESS;
}

bool host_khr_buffer_make(host_khr_buffer *out, const host_khr *khr, cl_command_queue queue,
                          const host_command *commands, size_t count, char reason[HOST_REASON_MAX]) {
    const cl_ulong properties[] = {COMMAND_BUFFER_FLAGS, FLAG_SIMULTANEOUS_USE, 0};
    cl_int code = CL_SUCCESS;
    host_khr_buffer made = khr->calls.CreateCommandBufferKHR(1, &queue, khr->simultaneous ? properties : NULL, &code);
    if (code != CL_SUCCESS) return because(reason, "clCreateCommandBufferKHR", code);
    code = add_commands(made, khr, commands, count);
    if (code != CL_SUCCESS) {
        khr->calls.ReleaseCommandBufferKHR(made);
        return because(reason, "clCommandNDRangeKernelKHR", code);
    }
    code = khr->calls.FinalizeCommandBufferKHR(made);
    if (code != CL_SUCCESS) {
        khr->calls.ReleaseCommandBufferKHR(made);
        return because(reason, "clFinalizeCommandBufferKHR", code);
    }
    *out = made;
    return true;
}

clmla_status host_khr_buffer_enqueue(host_khr_buffer buffer, const host_khr *khr, host_chain *chain) {
    cl_event event = NULL;
    cl_int code = khr->calls.EnqueueCommandBufferKHR(0, NULL, buffer, chain->wait_count, chain->wait, &event);
    if (code != CL_SUCCESS) return host_fail_cl(&chain->context->log, "clEnqueueCommandBufferKHR", code, "a replay");
    host_chain_join(chain, event);
    return CLMLA_OK;
}

void host_khr_buffer_release(const host_khr *khr, host_khr_buffer *buffer) {
    if (*buffer) khr->calls.ReleaseCommandBufferKHR(*buffer);
    *buffer = NULL;
}
