// SPDX-License-Identifier: Apache-2.0
#include "tests/api/faults.h"
#include "lib/context.h"
#include <stdlib.h>

// OpenCL calls carry no payload of ours.
static faults_counts live;
static long allocation_countdown = -1, buffer_countdown = -1;
static host_calls calls;

static bool fails(long *countdown) {
    return *countdown >= 0 && (*countdown)-- == 0;
}

static void *allocate(void *payload, size_t bytes) {
    (void)payload;
    if (fails(&allocation_countdown)) return NULL;
    live.allocations++;
    return malloc(bytes);
}

static void release(void *payload, void *memory) {
    (void)payload;
    live.allocations--;
    free(memory);
}

static cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, size_t bytes, void *data,
                                        cl_int *code) {
    if (fails(&buffer_countdown)) {
        if (code) *code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
        return NULL;
    }
    cl_mem made = host_calls_default()->CreateBuffer(context, flags, bytes, data, code);
    live.buffers += made != NULL;
    return made;
}

static cl_int CL_API_CALL release_buffer(cl_mem memory) {
    live.buffers--;
    return host_calls_default()->ReleaseMemObject(memory);
}

clmla_context *faults_context(void) {
    const test_device *device = test_device_get();
    clmla_context *context = NULL;
    clmla_context_params params = {
        .opencl = {device->cl, device->id},
        .allocator = {allocate, release, NULL},
        .program_folder = "",
        .tuning_file = "",
    };
    calls = *host_calls_default();
    calls.CreateBuffer = create_buffer;
    calls.ReleaseMemObject = release_buffer;
    TEST_OK(context_create_with_calls(&context, &params, &calls));
    return context;
}

void faults_arm(long allocation, long buffer) {
    allocation_countdown = allocation;
    buffer_countdown = buffer;
}

faults_counts faults_live(void) {
    return live;
}
