// SPDX-License-Identifier: Apache-2.0
// cl_khr_command_buffer: kernel launches handed to the driver once and enqueued together.
//
// Declared here and not taken from cl_ext.h: the headers of extension 0.9.0 and 1.0.0 differ, and newer ones hide what
// is provisional. The five functions used have the same prototypes in every version; those that fill and copy do not.
#ifndef HOST_COMMAND_BUFFER_H
#define HOST_COMMAND_BUFFER_H

#include "host/launch.h"

typedef struct host_khr_buffer_object *host_khr_buffer; // cl_command_buffer_khr
typedef cl_uint host_khr_point;                         // cl_sync_point_khr

// Entry points of one platform, each named without its "cl".
typedef struct host_khr_calls {
    host_khr_buffer(CL_API_CALL *CreateCommandBufferKHR)(cl_uint queue_count, const cl_command_queue *queues,
                                                         const cl_ulong *properties, cl_int *code);
    cl_int(CL_API_CALL *FinalizeCommandBufferKHR)(host_khr_buffer buffer);
    cl_int(CL_API_CALL *ReleaseCommandBufferKHR)(host_khr_buffer buffer);
    cl_int(CL_API_CALL *EnqueueCommandBufferKHR)(cl_uint queue_count, cl_command_queue *queues, host_khr_buffer buffer,
                                                 cl_uint wait_count, const cl_event *wait, cl_event *event);
    cl_int(CL_API_CALL *CommandNDRangeKernelKHR)(host_khr_buffer buffer, cl_command_queue queue,
                                                 const cl_ulong *properties, cl_kernel kernel, cl_uint dimensions,
                                                 const size_t *offset, const size_t *global, const size_t *local,
                                                 cl_uint point_count, const host_khr_point *points,
                                                 host_khr_point *point, void **mutable_handle);
} host_khr_calls;

// How the driver learns that each command depends on the one before.
typedef enum host_order {
    HOST_ORDER_POINTS, // the queue is in-order, and a sync point says it again
    HOST_ORDER_QUEUE,  // the queue is in-order
    HOST_ORDER_COUNT
} host_order;

// What a driver can do, found once per context (trial.h).
typedef struct host_khr {
    host_khr_calls calls;
    bool simultaneous; // a buffer may be enqueued while it still runs
    host_order order;
} host_khr;

#define HOST_REASON_MAX 192

// Finds entry points and abilities of the context's device. On failure answers false with why in `reason`.
bool host_khr_find(host_khr *khr, const host_context *context, char reason[HOST_REASON_MAX]);
// Makes a finished buffer of the commands, in order, for an in-order queue. The commands' kernels must stay as they are
// while it lives: PoCL reads their arguments at each enqueue. On failure answers false with why in `reason`.
bool host_khr_buffer_make(host_khr_buffer *out, const host_khr *khr, cl_command_queue queue,
                          const host_command *commands, size_t count, char reason[HOST_REASON_MAX]);
// Enqueues it as the first command of a chain.
clmla_status host_khr_buffer_enqueue(host_khr_buffer buffer, const host_khr *khr, host_chain *chain);
// Releases and sets NULL; accepts NULL inside.
void host_khr_buffer_release(const host_khr *khr, host_khr_buffer *buffer);

#endif
