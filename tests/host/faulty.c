// SPDX-License-Identifier: Apache-2.0
#include "tests/host/faulty.h"
#include "host/command_buffer.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// OpenCL calls carry no payload of ours, and event callbacks come on the driver's threads.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static faulty_live live;
static faulty_kind armed;
static long countdown;
static bool goes_on;
static const char *hit;
static host_khr_calls khr; // the driver's
static bool swallow_replays;

void faulty_arm(faulty_kind kind, long at, bool lasting) {
    pthread_mutex_lock(&lock);
    armed = kind;
    countdown = at;
    goes_on = lasting;
    hit = NULL;
    pthread_mutex_unlock(&lock);
}

const char *faulty_hit(void) {
    pthread_mutex_lock(&lock);
    const char *name = hit;
    pthread_mutex_unlock(&lock);
    return name;
}

bool faulty_may_pass(const char *call) {
    static const char *const calls[] = {
        // Events' callbacks and times belong to measuring; an event that cannot be held a second time is waited for.
        "clRetainEvent", "clGetEventInfo", "clSetEventCallback", "clGetEventProfilingInfo", "clFlush",
        // Another device or platform, a build instead of a stored program, a log that is not read.
        "clGetPlatformInfo", "clGetDeviceIDs", "clCreateProgramWithBinary", "clBuildProgram", "clGetProgramInfo",
        "clGetProgramBuildInfo", "an allocation",
        // Without a command buffer a recording's commands are enqueued one by one.
        "clCreateCommandBufferKHR", "clFinalizeCommandBufferKHR", "clCommandNDRangeKernelKHR"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(call, calls[i]) == 0) return true;
    return false;
}

faulty_live faulty_live_get(void) {
    pthread_mutex_lock(&lock);
    faulty_live now = live;
    pthread_mutex_unlock(&lock);
    return now;
}

static bool all_released(void) {
    const faulty_live now = faulty_live_get(), none = {0};
    return memcmp(&now, &none, sizeof none) == 0;
}

bool faulty_nothing_lives(void) {
    for (int i = 0; i < 500 && !all_released(); i++) nanosleep(&(struct timespec){0, 10000000}, NULL);
    return all_released();
}

void faulty_swallow_replays(bool swallow) {
    swallow_replays = swallow;
}

static bool fails(faulty_kind kind, const char *name) {
    pthread_mutex_lock(&lock);
    bool now = armed == kind && (goes_on ? countdown <= 0 : countdown == 0);
    if (armed == kind) countdown--;
    if (now && !hit) hit = name;
    pthread_mutex_unlock(&lock);
    return now;
}

static void add(long *count, long change) {
    pthread_mutex_lock(&lock);
    *count += change;
    pthread_mutex_unlock(&lock);
}

static void *allocate(void *payload, size_t bytes) {
    (void)payload;
    if (fails(FAULTY_ALLOCATION, "an allocation")) return NULL;
    void *memory = malloc(bytes);
    if (memory) add(&live.allocations, 1);
    return memory;
}

static void release(void *payload, void *memory) {
    (void)payload;
    add(&live.allocations, -1);
    free(memory);
}

clmla_allocator faulty_allocator(void) {
    return (clmla_allocator){allocate, release, NULL};
}

// One wrapper a call. `made`: what a success adds to; `event`: the out parameter of an enqueue.
#define CALL(name, parameters, arguments)                                                                              \
    static cl_int CL_API_CALL faulty_##name parameters {                                                               \
        return fails(FAULTY_CALL, "cl" #name) ? FAULTY_CODE : cl##name arguments;                                      \
    }
// Where all calls fail, nobody could wait for what runs still, as it would not on a device that is lost.
#define WAIT(name, parameters, arguments)                                                                              \
    static cl_int CL_API_CALL faulty_##name parameters {                                                               \
        bool now = fails(FAULTY_CALL, "cl" #name);                                                                     \
        cl_int code = now && !goes_on ? CL_SUCCESS : cl##name arguments;                                               \
        return now ? FAULTY_CODE : code;                                                                               \
    }
#define CREATE(type, name, made, parameters, arguments)                                                                \
    static type CL_API_CALL faulty_##name parameters {                                                                 \
        if (fails(FAULTY_CALL, "cl" #name)) {                                                                          \
            *code = FAULTY_CODE;                                                                                       \
            return NULL;                                                                                               \
        }                                                                                                              \
        type handle = cl##name arguments;                                                                              \
        if (handle) add(&live.made, 1);                                                                                \
        return handle;                                                                                                 \
    }
#define ENQUEUE(name, parameters, arguments)                                                                           \
    static cl_int CL_API_CALL faulty_##name parameters {                                                               \
        if (fails(FAULTY_CALL, "cl" #name)) return FAULTY_CODE;                                                        \
        cl_int code = cl##name arguments;                                                                              \
        if (code == CL_SUCCESS && event) add(&live.events, 1);                                                         \
        return code;                                                                                                   \
    }
#define RETAIN(name, type, made)                                                                                       \
    static cl_int CL_API_CALL faulty_##name(type handle) {                                                             \
        if (fails(FAULTY_CALL, "cl" #name)) return FAULTY_CODE;                                                        \
        add(&live.made, 1);                                                                                            \
        return cl##name(handle);                                                                                       \
    }
#define RELEASE(name, type, made)                                                                                      \
    static cl_int CL_API_CALL faulty_##name(type handle) {                                                             \
        add(&live.made, -1);                                                                                           \
        return cl##name(handle);                                                                                       \
    }

CALL(GetPlatformIDs, (cl_uint a, cl_platform_id *b, cl_uint *c), (a, b, c))
CALL(GetPlatformInfo, (cl_platform_id a, cl_platform_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))
CALL(GetDeviceIDs, (cl_platform_id a, cl_device_type b, cl_uint c, cl_device_id *d, cl_uint *e), (a, b, c, d, e))
CALL(GetDeviceInfo, (cl_device_id a, cl_device_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))
CALL(GetContextInfo, (cl_context a, cl_context_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))
CALL(GetCommandQueueInfo, (cl_command_queue a, cl_command_queue_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))
CALL(Flush, (cl_command_queue a), (a))
WAIT(Finish, (cl_command_queue a), (a))
CALL(BuildProgram,
     (cl_program a, cl_uint b, const cl_device_id *c, const char *d, void(CL_CALLBACK *e)(cl_program, void *), void *f),
     (a, b, c, d, e, f))
CALL(GetProgramInfo, (cl_program a, cl_program_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))
CALL(GetProgramBuildInfo, (cl_program a, cl_device_id b, cl_program_build_info c, size_t d, void *e, size_t *f),
     (a, b, c, d, e, f))
CALL(SetKernelArg, (cl_kernel a, cl_uint b, size_t c, const void *d), (a, b, c, d))
CALL(GetMemObjectInfo, (cl_mem a, cl_mem_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))
WAIT(WaitForEvents, (cl_uint a, const cl_event *b), (a, b))
CALL(GetEventInfo, (cl_event a, cl_event_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))
CALL(SetEventCallback, (cl_event a, cl_int b, void(CL_CALLBACK *c)(cl_event, cl_int, void *), void *d), (a, b, c, d))
CALL(GetEventProfilingInfo, (cl_event a, cl_profiling_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))

CREATE(cl_context, CreateContext, contexts,
       (const cl_context_properties *a, cl_uint b, const cl_device_id *c,
        void(CL_CALLBACK *d)(const char *, const void *, size_t, void *), void *e, cl_int *code),
       (a, b, c, d, e, code))
CREATE(cl_command_queue, CreateCommandQueue, queues,
       (cl_context a, cl_device_id b, cl_command_queue_properties c, cl_int *code), (a, b, c, code))
CREATE(cl_program, CreateProgramWithSource, programs,
       (cl_context a, cl_uint b, const char **c, const size_t *d, cl_int *code), (a, b, c, d, code))
CREATE(cl_program, CreateProgramWithBinary, programs,
       (cl_context a, cl_uint b, const cl_device_id *c, const size_t *d, const unsigned char **e, cl_int *f,
        cl_int *code),
       (a, b, c, d, e, f, code))
CREATE(cl_kernel, CreateKernel, kernels, (cl_program a, const char *b, cl_int *code), (a, b, code))
CREATE(cl_mem, CreateBuffer, buffers, (cl_context a, cl_mem_flags b, size_t c, void *d, cl_int *code),
       (a, b, c, d, code))

ENQUEUE(EnqueueNDRangeKernel,
        (cl_command_queue a, cl_kernel b, cl_uint c, const size_t *d, const size_t *e, const size_t *f, cl_uint g,
         const cl_event *h, cl_event *event),
        (a, b, c, d, e, f, g, h, event))
ENQUEUE(EnqueueWriteBuffer,
        (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, const void *f, cl_uint g, const cl_event *h,
         cl_event *event),
        (a, b, c, d, e, f, g, h, event))
ENQUEUE(EnqueueReadBuffer,
        (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, void *f, cl_uint g, const cl_event *h,
         cl_event *event),
        (a, b, c, d, e, f, g, h, event))
ENQUEUE(EnqueueUnmapMemObject, (cl_command_queue a, cl_mem b, void *c, cl_uint d, const cl_event *e, cl_event *event),
        (a, b, c, d, e, event))
ENQUEUE(EnqueueMarkerWithWaitList, (cl_command_queue a, cl_uint b, const cl_event *c, cl_event *event),
        (a, b, c, event))
ENQUEUE(EnqueueBarrierWithWaitList, (cl_command_queue a, cl_uint b, const cl_event *c, cl_event *event),
        (a, b, c, event))

// What it makes is a place in memory, which a buffer's release takes back.
static void *CL_API_CALL faulty_EnqueueMapBuffer(cl_command_queue a, cl_mem b, cl_bool c, cl_map_flags d, size_t e,
                                                 size_t f, cl_uint g, const cl_event *h, cl_event *event,
                                                 cl_int *code) {
    if (fails(FAULTY_CALL, "clEnqueueMapBuffer")) {
        *code = FAULTY_CODE;
        return NULL;
    }
    return clEnqueueMapBuffer(a, b, c, d, e, f, g, h, event, code);
}

RETAIN(RetainContext, cl_context, contexts)
RETAIN(RetainEvent, cl_event, events)
RETAIN(RetainCommandQueue, cl_command_queue, queues)
RELEASE(ReleaseContext, cl_context, contexts)
RELEASE(ReleaseCommandQueue, cl_command_queue, queues)
RELEASE(ReleaseProgram, cl_program, programs)
RELEASE(ReleaseKernel, cl_kernel, kernels)
RELEASE(ReleaseMemObject, cl_mem, buffers)
RELEASE(ReleaseEvent, cl_event, events)

// --- command buffers -------------------------------------------------------------------------------------------------

static host_khr_buffer CL_API_CALL make_buffer(cl_uint a, const cl_command_queue *b, const cl_ulong *c, cl_int *code) {
    if (fails(FAULTY_CALL, "clCreateCommandBufferKHR")) {
        *code = FAULTY_CODE;
        return NULL;
    }
    host_khr_buffer buffer = khr.CreateCommandBufferKHR(a, b, c, code);
    if (buffer) add(&live.command_buffers, 1);
    return buffer;
}

static cl_int CL_API_CALL finalize_buffer(host_khr_buffer a) {
    return fails(FAULTY_CALL, "clFinalizeCommandBufferKHR") ? FAULTY_CODE : khr.FinalizeCommandBufferKHR(a);
}

static cl_int CL_API_CALL release_buffer(host_khr_buffer a) {
    add(&live.command_buffers, -1);
    return khr.ReleaseCommandBufferKHR(a);
}

static cl_int CL_API_CALL enqueue_buffer(cl_uint a, cl_command_queue *b, host_khr_buffer c, cl_uint d,
                                         const cl_event *e, cl_event *event) {
    if (fails(FAULTY_CALL, "clEnqueueCommandBufferKHR")) return FAULTY_CODE;
    if (swallow_replays) return CL_SUCCESS;
    cl_int code = khr.EnqueueCommandBufferKHR(a, b, c, d, e, event);
    if (code == CL_SUCCESS && event) add(&live.events, 1);
    return code;
}

static cl_int CL_API_CALL add_kernel(host_khr_buffer a, cl_command_queue b, const cl_ulong *c, cl_kernel d, cl_uint e,
                                     const size_t *f, const size_t *g, const size_t *h, cl_uint i,
                                     const host_khr_point *j, host_khr_point *k, void **l) {
    if (fails(FAULTY_CALL, "clCommandNDRangeKernelKHR")) return FAULTY_CODE;
    return khr.CommandNDRangeKernelKHR(a, b, c, d, e, f, g, h, i, j, k, l);
}

// Keeps the driver's entry point and answers the wrapper's address.
#define ENTRY(call, wrapper)                                                                                           \
    if (strcmp(name, "cl" #call) == 0) {                                                                               \
        __typeof__(khr.call) wrapped = wrapper;                                                                        \
        memcpy(&khr.call, &address, sizeof address);                                                                   \
        memcpy(&address, &wrapped, sizeof address);                                                                    \
    }

static void *CL_API_CALL faulty_GetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *name) {
    if (fails(FAULTY_CALL, "clGetExtensionFunctionAddressForPlatform")) return NULL;
    void *address = clGetExtensionFunctionAddressForPlatform(platform, name);
    if (!address) return NULL;
    ENTRY(CreateCommandBufferKHR, make_buffer)
    ENTRY(FinalizeCommandBufferKHR, finalize_buffer)
    ENTRY(ReleaseCommandBufferKHR, release_buffer)
    ENTRY(EnqueueCommandBufferKHR, enqueue_buffer)
    ENTRY(CommandNDRangeKernelKHR, add_kernel)
    return address;
}

const host_calls *faulty_calls(void) {
    static const host_calls table = {
#define WRAPPED(name) .name = faulty_##name,
        HOST_CALLS_LIST(WRAPPED)
#undef WRAPPED
    };
    return &table;
}
