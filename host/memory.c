// SPDX-License-Identifier: Apache-2.0
#include "host/memory.h"
#include "host/context.h"
#include "host/error.h"
#include "host/event.h"
#include "host/os.h"
#include <stdlib.h>
#include <string.h>

void *host_allocate(const clmla_allocator *allocator, size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    size_t bytes = count > 0 && size > 0 ? count * size : 1;
    void *memory = allocator && allocator->allocate ? allocator->allocate(allocator->payload, bytes) : malloc(bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

void host_release(const clmla_allocator *allocator, void *memory) {
    if (!memory) return;
    if (allocator && allocator->release)
        allocator->release(allocator->payload, memory);
    else
        free(memory);
}

char *host_copy_string(const clmla_allocator *allocator, const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = host_allocate(allocator, bytes, 1);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

bool host_multiply(uint64_t *out, uint64_t a, uint64_t b) {
    if (a != 0 && b > UINT64_MAX / a) return false;
    *out = a * b;
    return true;
}

bool host_add(uint64_t *out, uint64_t a, uint64_t b) {
    if (b > UINT64_MAX - a) return false;
    *out = a + b;
    return true;
}

// Bytes from which a CPU's buffer is of large pages, where the system has them for who asks.
#define LARGE_PAGES_LEAST (4u << 20)

static clmla_status fail_fill(host_context *context, const char *call, cl_int code, const char *what) {
    return host_fail_cl(&context->log, call, code, "%s, while its memory is laid out", what);
}

// Asks for large pages before anything touches the memory, then writes the data. Drivers for CPUs map without a copy.
static clmla_status fill_large(host_context *context, cl_command_queue queue, cl_mem memory, size_t bytes,
                               const void *data, const char *what) {
    cl_int code;
    void *at = context->calls->EnqueueMapBuffer(queue, memory, CL_TRUE, CL_MAP_WRITE, 0, bytes, 0, NULL, NULL, &code);
    if (code != CL_SUCCESS) return fail_fill(context, "clEnqueueMapBuffer", code, what);
    host_large_pages(at, bytes);
    if (data) memcpy(at, data, bytes);
    code = context->calls->EnqueueUnmapMemObject(queue, memory, at, 0, NULL, NULL);
    if (code != CL_SUCCESS) return fail_fill(context, "clEnqueueUnmapMemObject", code, what);
    code = context->calls->Finish(queue);
    return code == CL_SUCCESS ? CLMLA_OK : fail_fill(context, "clFinish", code, what);
}

static clmla_status lay_out_large(host_context *context, cl_mem memory, size_t bytes, const void *data,
                                  const char *what) {
    cl_command_queue queue;
    STATUS_OR_RETURN(host_queue_create(&queue, context, what));
    clmla_status status = fill_large(context, queue, memory, bytes, data, what);
    host_queue_release(context, &queue);
    return status;
}

static clmla_status create(cl_mem *out, host_context *context, uint64_t bytes, const void *data, const char *what,
                           bool large) {
    uint64_t limit = context->facts.max_buffer_bytes;
    if ((limit && bytes > limit) || bytes > SIZE_MAX)
        return host_fail(&context->log, CLMLA_E_LIMIT, 0,
                         "%s: %llu bytes are needed in one buffer, the device allows %llu", what,
                         (unsigned long long)bytes, (unsigned long long)limit);
    cl_mem_flags flags = CL_MEM_READ_WRITE | (data && !large ? CL_MEM_COPY_HOST_PTR : 0);
    cl_int code = CL_SUCCESS;
    // The driver only reads `data`; OpenCL's signature has no const.
    cl_mem memory = context->calls->CreateBuffer(context->cl, flags, bytes ? (size_t)bytes : 1,
                                                 large ? NULL : (void *)(uintptr_t)data, &code);
    if (code != CL_SUCCESS)
        return host_fail_cl(&context->log, "clCreateBuffer", code, "%s, %llu bytes", what, (unsigned long long)bytes);
    clmla_status status = large ? lay_out_large(context, memory, (size_t)bytes, data, what) : CLMLA_OK;
    if (status != CLMLA_OK) host_buffer_release(context, &memory);
    *out = memory;
    return status;
}

clmla_status host_buffer_create(cl_mem *out, host_context *context, uint64_t bytes, const void *data,
                                const char *what) {
    return create(out, context, bytes, data, what, false);
}

clmla_status host_buffer_create_lasting(cl_mem *out, host_context *context, uint64_t bytes, const void *data,
                                        const char *what) {
    bool large = (context->facts.type & CL_DEVICE_TYPE_CPU) && bytes >= LARGE_PAGES_LEAST;
    return create(out, context, bytes, data, what, large);
}

void host_buffer_release(host_context *context, cl_mem *buffer) {
    if (*buffer) context->calls->ReleaseMemObject(*buffer);
    *buffer = NULL;
}

clmla_status host_buffer_check(host_context *context, clmla_buffer buffer, uint64_t bytes, uint32_t align,
                               const char *operation, const char *what) {
    size_t size = 0;
    cl_context owner = NULL;
    if (bytes == 0) return CLMLA_OK;
    if (!buffer.memory)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "%s: %s: there is no buffer", operation, what);
    if (align && buffer.offset % align)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "%s: %s: offset %llu is no multiple of %u", operation,
                         what, (unsigned long long)buffer.offset, align);
    cl_int code = context->calls->GetMemObjectInfo(buffer.memory, CL_MEM_SIZE, sizeof size, &size, NULL);
    if (code == CL_SUCCESS)
        code = context->calls->GetMemObjectInfo(buffer.memory, CL_MEM_CONTEXT, sizeof owner, &owner, NULL);
    if (code == CL_INVALID_MEM_OBJECT)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, code, "%s: %s: not a valid cl_mem", operation, what);
    if (code != CL_SUCCESS) return host_fail_cl(&context->log, "clGetMemObjectInfo", code, "%s: %s", operation, what);
    if (owner != context->cl)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "%s: %s: the buffer belongs to another OpenCL context",
                         operation, what);
    if (buffer.offset > size || bytes > size - buffer.offset)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, 0,
                         "%s: %s: %llu bytes needed from offset %llu, the buffer has %zu", operation, what,
                         (unsigned long long)bytes, (unsigned long long)buffer.offset, size);
    return CLMLA_OK;
}
