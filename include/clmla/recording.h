// SPDX-License-Identifier: Apache-2.0
// Recorded steps: the launches of some operations, kept and replayed without the host's work of making them again. What
// CUDA graphs are to a CUDA runtime.
//
// Between begin and end, operations enqueued on the recording's queue by the thread that began it are kept instead of
// run. They are given no wait list and no event. A replay enqueues them all, with what is in their buffers by then.
// Where the device has cl_khr_command_buffer, and a trial of it on that device gave right results, a replay is one
// command buffer; elsewhere the kept kernels are enqueued one by one: same kernels, same arguments, same bits.
//
// What can be recorded: every operation, clmla_layer_enqueue, and clmla_plan_update_device. What cannot, because it
// copies from the host: clmla_plan_update and clmla_plan_update_lengths; call them between replays. A plan that is
// recorded must have a capacity (plan.h), or its memory may move. Recorded products never use CLBlast.
#ifndef CLMLA_RECORDING_H
#define CLMLA_RECORDING_H

#include <clmla/context.h>
#include <stdbool.h>

CLMLA_BEGIN

// Opaque. Threads: one at a time. Keeps the queue, kernels and programs alive; buffers stay the caller's and must
// outlive its last replay, and so must the plans, layers and caches it was recorded with.
typedef struct clmla_recording clmla_recording;

typedef struct clmla_recording_facts {
    uint32_t command_count; // kernel launches kept
    bool command_buffer;    // replays are command buffers
    const char *reason;     // why not, or ""
} clmla_recording_facts;

// Begins to record what this thread enqueues on `queue`, which must be in-order.
// Errors  : CLMLA_E_ARGUMENT (another recording of this queue is open; the queue is out-of-order, or another
// context's);
//           CLMLA_E_MEMORY.
CLMLA_API clmla_status clmla_recording_begin(clmla_recording **out, clmla_context *context, cl_command_queue queue);

// Ends it and makes it ready for replay. If an enqueue between begin and end failed, the recording is of no use: the
// error is answered here again. Errors: CLMLA_E_ARGUMENT (not open; another thread's; it failed before);
// CLMLA_E_OPENCL.
CLMLA_API clmla_status clmla_recording_end(clmla_recording *recording);

// Enqueues what was recorded, on the queue it was recorded on. Replays run one after another. Async: an enqueue
// (opencl.h). Errors: CLMLA_E_ARGUMENT (not ended, or ended with an error); CLMLA_E_OPENCL.
CLMLA_API clmla_status clmla_recording_replay(clmla_recording *recording, cl_uint wait_count, const cl_event *wait,
                                              cl_event *event);

CLMLA_API clmla_recording_facts clmla_recording_facts_get(const clmla_recording *recording);

// Ends it if it is open, waits for its last replay, frees it and sets *recording to NULL. Accepts NULL.
CLMLA_API void clmla_recording_destroy(clmla_recording **recording);

CLMLA_END

#endif
