// SPDX-License-Identifier: Apache-2.0
// Recorded steps: the launches of some operations, kept and replayed without the host's work of making them again. What
// CUDA graphs are to a CUDA runtime.
//
// Between begin and end, operations of the same context that the thread which began it enqueues on the recording's
// queue are kept instead of run. They are given no wait list and no event: those belong to the replay. Whatever else
// is enqueued meanwhile, by other threads or on other queues, runs as ever. A replay enqueues what was kept, in its
// order, and computes with what is in the buffers by then; counts, strides and scalars stay as recorded.
//
// Where the device has cl_khr_command_buffer, and a trial of it on that device gave right results, a replay is one
// command buffer; elsewhere the kept kernels are enqueued one by one: same kernels, same arguments, same bits. The
// profile callback (log.h) is told of the kernels of the latter; a command buffer shows none.
//
// What it saves on a CPU is the library's own work. Host time of a small model's layer step of 13 kernels on two cores:
// enqueued 25 us (PoCL 3.1) and 36 us (Intel's runtime), replayed one by one 11 and 17, as a command buffer 12 and 25.
//
// What can be recorded: every operation, clmla_layer_enqueue, and clmla_plan_update_device. What cannot, because it
// copies from the host: clmla_plan_update and clmla_plan_update_lengths. Call them between replays, on the recording's
// queue: a replay does not wait for a plan's update by itself, as an operation would. A plan that is recorded must have
// a capacity (plan.h); one without is refused. Recorded products never use CLBlast.
//
//   clmla_recording_begin(&recording, context, queue);
//   for (i = 0; i < layer_count; i++) clmla_layer_enqueue(layer[i], plan, cache, x, y, queue, 0, NULL, NULL);
//   clmla_recording_end(recording);
//   for (;;) {                                                            // each step
//       clmla_plan_update(plan, cache, &batch, queue, 0, NULL, NULL);
//       clmla_recording_replay(recording, 0, NULL, NULL);
//   }
#ifndef CLMLA_RECORDING_H
#define CLMLA_RECORDING_H

#include <clmla/context.h>
#include <stdbool.h>

CLMLA_BEGIN

// Opaque. Threads: one at a time; a replay of a clmla_plan_update_device uses its plan as that call does, but what uses
// the plan after it on another queue must wait for the replay's event: the plan does not know it. Keeps the queue and
// its kernels alive, and must be destroyed before its context. Buffers stay the caller's and must outlive its last
// replay, and so must the plans, layers and caches it was recorded with.
typedef struct clmla_recording clmla_recording;

typedef struct clmla_recording_facts {
    uint32_t command_count; // kernel launches kept
    bool command_buffer;    // replays are command buffers
    const char *reason;     // why not, or "". Lives as long as what was asked
} clmla_recording_facts;

// Begins to record what this thread enqueues on `queue`, which must be in-order.
// Out     : *out, to be given to clmla_recording_destroy; NULL on failure.
// Errors  : CLMLA_E_ARGUMENT (another recording of this queue is open; the queue is out-of-order, or another
//           context's); CLMLA_E_OPENCL; CLMLA_E_MEMORY.
CLMLA_API clmla_status clmla_recording_begin(clmla_recording **out, clmla_context *context, cl_command_queue queue);

// Ends it and makes it ready for replay. The first end of a context on a device with command buffers runs their trial:
// it builds a program and waits for the device. A driver that then makes no command buffer is no failure: the facts
// say why.
// Errors  : the status of the first enqueue that failed or was refused between begin and end, with its sentence: the
//           recording is of no use. CLMLA_E_ARGUMENT also if it is not open, or another thread began it.
CLMLA_API clmla_status clmla_recording_end(clmla_recording *recording);

// Enqueues what was recorded, on the queue it was recorded on. Replays run one after another; a recording of nothing
// enqueues a marker alone. Async: an enqueue (opencl.h).
// Errors  : CLMLA_E_ARGUMENT (not ended, or ended with an error; this thread is recording the queue); CLMLA_E_OPENCL
//           (a part may have been enqueued).
CLMLA_API clmla_status clmla_recording_replay(clmla_recording *recording, cl_uint wait_count, const cl_event *wait,
                                              cl_event *event);

// What became of it; to be asked after its end.
CLMLA_API clmla_recording_facts clmla_recording_facts_get(const clmla_recording *recording);

// What recordings of a context get, with command_count 0. Runs the trial if none ran yet. Threads: any.
CLMLA_API clmla_recording_facts clmla_recording_support(clmla_context *context);

// Ends it if it is open, waits for its last replay, frees it and sets *recording to NULL. Accepts NULL.
CLMLA_API void clmla_recording_destroy(clmla_recording **recording);

CLMLA_END

#endif
