// SPDX-License-Identifier: Apache-2.0
#include "host/launch.h"
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "host/recording.h"

// The events a command waits for: the caller's for the first, the one before on an out-of-order queue.
typedef struct wait_list {
    cl_uint count;
    const cl_event *events;
} wait_list;

static clmla_status check_queue(host_chain *chain, cl_command_queue queue) {
    host_context *context = chain->context;
    cl_context owner = NULL;
    cl_device_id device = NULL;
    cl_command_queue_properties properties = 0;
    const host_calls *calls = context->calls;
    if (!queue) return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "enqueue: queue is NULL");
    cl_int code = calls->GetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof owner, &owner, NULL);
    if (code == CL_SUCCESS) code = calls->GetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL);
    if (code == CL_SUCCESS)
        code = calls->GetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);
    if (code == CL_INVALID_COMMAND_QUEUE)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, code, "enqueue: queue is no valid command queue");
    if (code != CL_SUCCESS) return host_fail_cl(&context->log, "clGetCommandQueueInfo", code, "enqueue");
    if (owner != context->cl || device != context->device)
        return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "enqueue: the queue belongs to another context or device");
    chain->queue = queue;
    chain->in_order = !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    chain->profiling = context->profile.callback && (properties & CL_QUEUE_PROFILING_ENABLE);
    return CLMLA_OK;
}

clmla_status host_chain_refuse_recorded(const host_chain *chain, const char *what) {
    if (!chain->recording) return CLMLA_OK;
    clmla_status status =
        host_fail(&chain->context->log, CLMLA_E_ARGUMENT, 0, "enqueue: the queue is being recorded: %s", what);
    return host_recording_note(chain->recording, status);
}

static clmla_status check_recorded(const host_chain *chain, bool waits) {
    if (waits) return host_chain_refuse_recorded(chain, "wait lists belong to the replay");
    if (chain->want_event) return host_chain_refuse_recorded(chain, "events come from the replay");
    return CLMLA_OK;
}

clmla_status host_chain_begin(host_chain *chain, host_context *context, cl_command_queue queue, cl_uint wait_count,
                              const cl_event *wait, bool want_event) {
    *chain = (host_chain){.context = context, .queue = queue, .in_order = true, .want_event = want_event};
    chain->recording = host_recording_find(context, queue);
    if (chain->recording) return check_recorded(chain, wait_count > 0 || wait); // the queue was checked at its begin
    STATUS_OR_RETURN(check_queue(chain, queue));
    if ((wait_count == 0) != (wait == NULL))
        return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "enqueue: wait_count %u with a %s wait list", wait_count,
                         wait ? "given" : "NULL");
    for (cl_uint i = 0; i < wait_count; i++)
        if (!wait[i]) return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "enqueue: wait[%u] is NULL", i);
    chain->wait_count = wait_count;
    chain->wait = wait;
    return CLMLA_OK;
}

static wait_list waits_of(const host_chain *chain) {
    if (chain->wait_count) return (wait_list){chain->wait_count, chain->wait};
    if (chain->last && !chain->in_order) return (wait_list){1, &chain->last};
    return (wait_list){0, NULL};
}

// After a command was enqueued: its event (may be NULL) is the chain's last one.
static void advance(host_chain *chain, cl_event event) {
    host_event_release(chain->context, &chain->last);
    chain->last = event;
    chain->wait_count = 0;
    chain->wait = NULL;
}

static bool needs_event(const host_chain *chain) {
    return !chain->in_order || chain->want_event || chain->profiling;
}

static clmla_status enqueue_marker(host_chain *chain, wait_list waits) {
    cl_event event = NULL;
    cl_int code = chain->context->calls->EnqueueMarkerWithWaitList(chain->queue, waits.count, waits.events, &event);
    if (code != CL_SUCCESS)
        return host_fail_cl(&chain->context->log, "clEnqueueMarkerWithWaitList", code, "%u events", waits.count);
    advance(chain, event);
    return CLMLA_OK;
}

static cl_command_queue queue_of(const host_context *context, cl_event event) {
    cl_command_queue queue = NULL;
    cl_int code = context->calls->GetEventInfo(event, CL_EVENT_COMMAND_QUEUE, sizeof queue, &queue, NULL);
    return code == CL_SUCCESS ? queue : NULL;
}

clmla_status host_chain_wait(host_chain *chain, cl_event event) {
    if (!event || chain->recording) return CLMLA_OK;
    cl_command_queue from = queue_of(chain->context, event);
    if (chain->in_order && from == chain->queue) return CLMLA_OK;
    // A command of another queue may not have reached the device yet: nobody else would send it on its way.
    if (from && from != chain->queue) chain->context->calls->Flush(from);
    cl_uint count = chain->wait_count + (chain->last && !chain->in_order ? 1u : 0u);
    cl_event *all = host_allocate(&chain->context->allocator, count + 1, sizeof *all);
    if (!all) return host_fail(&chain->context->log, CLMLA_E_MEMORY, 0, "enqueue: no memory for %u events", count + 1);
    wait_list waits = waits_of(chain);
    for (cl_uint i = 0; i < waits.count; i++) all[i] = waits.events[i];
    all[waits.count] = event;
    clmla_status status = enqueue_marker(chain, (wait_list){waits.count + 1, all});
    host_release(&chain->context->allocator, all);
    return status;
}

clmla_status host_chain_finish(host_chain *chain, clmla_status status, cl_event *event) {
    if (chain->recording && status == CLMLA_OK && event)
        return host_chain_refuse_recorded(chain, "events come from the replay");
    if (chain->recording) return host_recording_note(chain->recording, status);
    if (status == CLMLA_OK && !chain->last && (event || chain->wait_count))
        status = enqueue_marker(chain, waits_of(chain));
    if (status == CLMLA_OK && event) {
        *event = chain->last;
        chain->last = NULL;
    }
    host_event_release(chain->context, &chain->last);
    return status;
}

clmla_status host_chain_write(host_chain *chain, cl_mem memory, uint64_t offset, uint64_t bytes, const void *data) {
    STATUS_OR_RETURN(host_chain_refuse_recorded(
        chain, "copies of host memory are not kept: make this call between replays, on the same queue"));
    cl_event event = NULL;
    wait_list waits = waits_of(chain);
    cl_int code =
        chain->context->calls->EnqueueWriteBuffer(chain->queue, memory, CL_FALSE, (size_t)offset, (size_t)bytes, data,
                                                  waits.count, waits.events, needs_event(chain) ? &event : NULL);
    if (code != CL_SUCCESS)
        return host_fail_cl(&chain->context->log, "clEnqueueWriteBuffer", code, "%llu bytes",
                            (unsigned long long)bytes);
    advance(chain, event);
    return CLMLA_OK;
}

clmla_status host_chain_read(host_chain *chain, cl_mem memory, uint64_t offset, uint64_t bytes, void *data) {
    STATUS_OR_RETURN(host_chain_refuse_recorded(chain, "copies to host memory are not kept"));
    cl_event event = NULL;
    wait_list waits = waits_of(chain);
    cl_int code =
        chain->context->calls->EnqueueReadBuffer(chain->queue, memory, CL_FALSE, (size_t)offset, (size_t)bytes, data,
                                                 waits.count, waits.events, needs_event(chain) ? &event : NULL);
    if (code != CL_SUCCESS)
        return host_fail_cl(&chain->context->log, "clEnqueueReadBuffer", code, "%llu bytes", (unsigned long long)bytes);
    advance(chain, event);
    return CLMLA_OK;
}

clmla_status host_chain_settle(host_chain *chain) {
    return host_event_wait(chain->context, chain->last);
}

clmla_status host_chain_barrier(host_chain *chain) {
    STATUS_OR_RETURN(host_chain_refuse_recorded(chain, "work that other libraries enqueue is not kept"));
    cl_event event = NULL;
    wait_list waits = waits_of(chain);
    cl_int code = chain->context->calls->EnqueueBarrierWithWaitList(chain->queue, waits.count, waits.events, &event);
    if (code != CL_SUCCESS)
        return host_fail_cl(&chain->context->log, "clEnqueueBarrierWithWaitList", code, "%u events", waits.count);
    advance(chain, event);
    return CLMLA_OK;
}

void host_chain_join(host_chain *chain, cl_event event) {
    advance(chain, event);
}

host_launch host_launch_begin(host_context *context, const char *operation, const host_source *source,
                              const char *options, const char *kernel) {
    host_launch launch = {.context = context, .operation = operation, .name = kernel};
    launch.status = host_kernel_acquire(&launch.kernel, context, source, options, kernel);
    return launch;
}

static void set(host_launch *launch, size_t bytes, const void *value) {
    if (launch->status != CLMLA_OK) return;
    cl_int code = launch->context->calls->SetKernelArg(host_kernel_cl(launch->kernel), launch->argument, bytes, value);
    if (code != CL_SUCCESS)
        launch->status = host_fail_cl(&launch->context->log, "clSetKernelArg", code, "%s, argument %u", launch->name,
                                      launch->argument);
    launch->argument++;
}

void host_arg_buffer(host_launch *launch, cl_mem memory) {
    set(launch, sizeof memory, memory ? &memory : NULL);
}

void host_arg_int(host_launch *launch, int32_t value) {
    cl_int argument = value;
    set(launch, sizeof argument, &argument);
}

void host_arg_long(host_launch *launch, int64_t value) {
    cl_long argument = value;
    set(launch, sizeof argument, &argument);
}

void host_arg_float(host_launch *launch, float value) {
    cl_float argument = value;
    set(launch, sizeof argument, &argument);
}

void host_arg_bytes(host_launch *launch, size_t bytes, const void *value) {
    set(launch, bytes, value);
}

void host_arg_local(host_launch *launch, size_t bytes) {
    set(launch, bytes, NULL);
}

// What the completion callback of a profiled launch needs; freed by it.
typedef struct profiled {
    host_context *context;
    clmla_profile profile;
    clmla_allocator allocator;
    const host_calls *calls;
    const char *operation;
    char kernel[64];
} profiled;

static void CL_CALLBACK report(cl_event event, cl_int state, void *payload) {
    profiled *p = payload;
    cl_ulong start = 0, end = 0;
    if (state == CL_COMPLETE &&
        p->calls->GetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL) == CL_SUCCESS &&
        p->calls->GetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) == CL_SUCCESS)
        p->profile.callback(p->profile.payload, p->operation, p->kernel, start, end);
    p->calls->ReleaseEvent(event);
    clmla_allocator allocator = p->allocator;
    host_release(&allocator, p);
}

// Measuring is a courtesy: what fails here does not fail the launch.
static void profile(host_context *context, const host_command *command, cl_event event) {
    const char *name = host_kernel_name(command->kernel);
    profiled *p = host_allocate(&context->allocator, 1, sizeof *p);
    if (!p) return;
    *p = (profiled){context, context->profile, context->allocator, context->calls, command->operation, {0}};
    for (size_t i = 0; name[i] && i + 1 < sizeof p->kernel; i++) p->kernel[i] = name[i];
    // Intel's CPU runtime forgets the callback of an event that nobody holds any more.
    if (context->calls->RetainEvent(event) == CL_SUCCESS) {
        if (context->calls->SetEventCallback(event, CL_COMPLETE, report, p) == CL_SUCCESS) return;
        host_event_release(context, &event);
    }
    host_release(&context->allocator, p);
}

clmla_status host_chain_command(host_chain *chain, const host_command *command) {
    cl_event event = NULL;
    wait_list waits = waits_of(chain);
    cl_int code = chain->context->calls->EnqueueNDRangeKernel(
        chain->queue, host_kernel_cl(command->kernel), command->dimensions, command->offset, command->global,
        command->grouped ? command->local : NULL, waits.count, waits.events, needs_event(chain) ? &event : NULL);
    if (code != CL_SUCCESS)
        return host_fail_cl(&chain->context->log, "clEnqueueNDRangeKernel", code, "%s",
                            host_kernel_name(command->kernel));
    if (chain->profiling) profile(chain->context, command, event);
    advance(chain, event);
    return CLMLA_OK;
}

// Of a launch whose kernel and arguments are there; the recording takes the kernel with it.
static clmla_status issue(host_launch *launch, host_chain *chain, const host_command *command) {
    if (!chain->recording) return host_chain_command(chain, command);
    STATUS_OR_RETURN(host_recording_add(chain->recording, command));
    launch->kernel = NULL;
    return CLMLA_OK;
}

// Items that one launch takes along dimension d of a grid: as many groups as the device does.
static size_t slice_of(const host_launch *launch, const host_command *command, cl_uint d) {
    size_t groups = d > 0 && d < command->dimensions ? launch->context->most_groups : 0;
    size_t items = command->grouped && groups ? groups * command->local[d] : groups;
    return items && items < command->global[d] ? items : command->global[d];
}

// Whole, or slice by slice. A recorded command has its kernel's arguments to itself, of which there is one set here.
static clmla_status issue_slices(host_launch *launch, host_chain *chain, const host_command *whole) {
    size_t y = slice_of(launch, whole, 1), z = slice_of(launch, whole, 2);
    bool is_whole = y == whole->global[1] && z == whole->global[2];
    if (is_whole) return issue(launch, chain, whole);
    if (chain->recording)
        return host_fail(&launch->context->log, CLMLA_E_LIMIT, 0,
                         "%s: %zu x %zu items are more groups along y or z than the %zu that one launch takes, and a "
                         "recording keeps no launch in slices",
                         launch->name, whole->global[1], whole->global[2], launch->context->most_groups);
    host_command slice = *whole;
    for (size_t k = 0; k == 0 || k < whole->global[2]; k += z ? z : 1)
        for (size_t j = 0; j < whole->global[1]; j += y) {
            slice.offset[1] = j;
            slice.offset[2] = k;
            slice.global[1] = whole->global[1] - j < y ? whole->global[1] - j : y;
            slice.global[2] = whole->global[2] - k < z ? whole->global[2] - k : z;
            STATUS_OR_RETURN(issue(launch, chain, &slice));
        }
    return CLMLA_OK;
}

clmla_status host_launch_enqueue(host_launch *launch, host_chain *chain, cl_uint dimensions, const size_t *global,
                                 const size_t *local) {
    clmla_status status = launch->status;
    host_command command = {launch->kernel, launch->operation, dimensions, {0}, {0}, {0}, local != NULL};
    bool empty = false;
    for (cl_uint i = 0; i < dimensions; i++) {
        empty |= global[i] == 0;
        command.global[i] = global[i];
        if (local) command.local[i] = local[i];
    }
    if (status == CLMLA_OK && !empty) status = issue_slices(launch, chain, &command);
    host_kernel_release(launch->context, launch->kernel);
    launch->kernel = NULL;
    return chain->recording ? host_recording_note(chain->recording, status) : status;
}
