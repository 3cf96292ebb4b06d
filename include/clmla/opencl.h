// SPDX-License-Identifier: Apache-2.0
// The only place that includes the OpenCL headers, and the rules every enqueueing function follows.
//
//   Async    Work starts after every event of wait[0 .. wait_count) has completed, and the call returns before the
//            device is done. wait_count 0 goes with wait NULL and the other way round. *event, if event is not NULL,
//            is an event for the whole of the enqueued work; the caller releases it with clReleaseEvent.
//   Queues   Any command queue of the context and device the clmla context was made from, in-order or out-of-order,
//            with or without profiling. On an out-of-order queue the library chains its own kernels by events; what
//            the caller's commands depend on, the caller states by `wait` and `event`.
//   Memory   A cl_mem named in parameters stays the caller's; OpenCL itself keeps it alive until the work is done.
//            Host arrays named in parameters are read before the call returns.
//   Errors   Arguments are checked, and buffers measured, before anything is enqueued: a call that answers
//            CLMLA_E_ARGUMENT enqueued nothing. After CLMLA_E_BUILD, _E_MEMORY, _E_OPENCL, and _E_LIMIT where it is the
//            device's, a part may have been enqueued: outputs are undefined, and *event was not made.
#ifndef CLMLA_OPENCL_H
#define CLMLA_OPENCL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>
#include <clmla/api.h>
#include <stdint.h>

// A place in device memory: `offset` bytes into a buffer. Offsets are 64-bit and a multiple of the element size.
// A zeroed one means "none" where a parameter is optional.
typedef struct clmla_buffer {
    cl_mem memory;
    uint64_t offset; // bytes
} clmla_buffer;

#endif
