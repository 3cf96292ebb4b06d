// SPDX-License-Identifier: Apache-2.0
// Launching kernels one after another with OpenCL's wait-list rules kept on any queue.
//
// A chain stands for one public enqueue: its first command waits for the caller's events, each further one for the one
// before it (by order on an in-order queue, by events on an out-of-order one), and its last gives the caller's event.
//
// A chain on a queue that its thread is recording (recording.h) is a recorded one: its launches are kept instead of
// enqueued, and what cannot be kept is refused. Whatever fails on it fails the recording too.
#ifndef HOST_LAUNCH_H
#define HOST_LAUNCH_H

#include "host/program.h"

struct host_recording;

// Groups that a GPU takes along y and z: CUDA's limit, which OpenCL has no question for. Larger grids are launched in
// slices, so that kernels ask for get_global_id(1) and (2) or slice_group (cl/common/slice.clh), and not for group
// numbers.
#define HOST_GPU_GROUPS 65535u

// A kernel with its arguments set, and the grid it is launched on.
typedef struct host_command {
    host_kernel *kernel;
    const char *operation; // what a profile callback is told: a constant
    cl_uint dimensions;
    size_t global[3], local[3], offset[3];
    bool grouped; // local holds the group's size; else it is the driver's choice
} host_command;

typedef struct host_chain {
    host_context *context;
    cl_command_queue queue;
    bool in_order, profiling;
    cl_uint wait_count;               // of the caller; 0 once the first command has taken them
    const cl_event *wait;             // borrowed until then
    cl_event last;                    // of the newest command; NULL before the first. Owned
    bool want_event;                  // the newest command on an in-order queue makes an event only if someone will ask
    struct host_recording *recording; // NULL = its commands are enqueued
} host_chain;

// Checks queue (context and device must be the context's) and wait list. want_event: the caller will ask finish for
// one. A recorded chain takes neither waits nor the wish for an event. Errors: CLMLA_E_ARGUMENT, CLMLA_E_OPENCL. On
// failure there is nothing to finish.
clmla_status host_chain_begin(host_chain *chain, host_context *context, cl_command_queue queue, cl_uint wait_count,
                              const cl_event *wait, bool want_event);
// Adds an event everything enqueued from here on waits for as well (a plan's upload). NULL is accepted. Enqueues a
// marker when needed. Nothing on a recorded chain: what a replay depends on, its caller has put on the same queue.
clmla_status host_chain_wait(host_chain *chain, cl_event event);
// Ends the chain: passes `status` through; on success gives *event (if event is not NULL) for all of it, a marker if no
// command was enqueued. On failure releases what the chain holds. Does not flush or block.
clmla_status host_chain_finish(host_chain *chain, clmla_status status, cl_event *event);
// Enqueues one command, which is not taken and may be enqueued again. The chain must not be a recorded one.
clmla_status host_chain_command(host_chain *chain, const host_command *command);
// CLMLA_E_ARGUMENT on a recorded chain: "enqueue: the queue is being recorded: <what>". Else CLMLA_OK.
clmla_status host_chain_refuse_recorded(const host_chain *chain, const char *what);

// For work others enqueue on the chain's queue: a barrier that holds it back until the chain's waits are over, and its
// event (owned by the chain from here on) as the chain's newest. The barrier is refused on a recorded chain.
clmla_status host_chain_barrier(host_chain *chain);
void host_chain_join(host_chain *chain, cl_event event);

// Copies host memory that stays valid until the command is done. Refused on a recorded chain.
clmla_status host_chain_write(host_chain *chain, cl_mem memory, uint64_t offset, uint64_t bytes, const void *data);
// The other way; `data` is the driver's to write until the command is done. Refused on a recorded chain.
clmla_status host_chain_read(host_chain *chain, cl_mem memory, uint64_t offset, uint64_t bytes, void *data);
// Blocks until the chain's newest command is done, however it ends: what it reads and writes on the host is free then.
clmla_status host_chain_settle(host_chain *chain);

// A kernel launch being put together. Arguments are set in the kernel's order; the first error sticks and is reported
// by host_launch_enqueue, which always gives the kernel back, or to the recording.
typedef struct host_launch {
    host_context *context;
    host_kernel *kernel;
    const char *operation, *name;
    cl_uint argument;
    clmla_status status;
} host_launch;

// operation is what a profile callback is told; it must be a constant.
host_launch host_launch_begin(host_context *context, const char *operation, const host_source *source,
                              const char *options, const char *kernel);
void host_arg_buffer(host_launch *launch, cl_mem memory); // NULL passes a null pointer
void host_arg_int(host_launch *launch, int32_t value);
void host_arg_long(host_launch *launch, int64_t value);
void host_arg_float(host_launch *launch, float value);
void host_arg_bytes(host_launch *launch, size_t bytes, const void *value); // a struct passed by value
void host_arg_local(host_launch *launch, size_t bytes);
// Enqueues, or records, with 1 to 3 dimensions; local may be NULL (the driver's choice). Zero-sized globals enqueue
// nothing.
clmla_status host_launch_enqueue(host_launch *launch, host_chain *chain, cl_uint dimensions, const size_t *global,
                                 const size_t *local);

#endif
