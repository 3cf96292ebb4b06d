// SPDX-License-Identifier: Apache-2.0
#include "host/recording.h"
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include <stdio.h>
#include <string.h>

#define CAPACITY_FIRST 32

clmla_status host_recordings_create(host_recordings **out, host_context *context) {
    host_recordings *recordings = host_allocate(&context->allocator, 1, sizeof *recordings);
    if (!recordings)
        return host_fail(&context->log, CLMLA_E_MEMORY, 0, "recordings: no memory for %zu bytes", sizeof *recordings);
    pthread_mutex_init(&recordings->lock, NULL);
    atomic_init(&recordings->open, 0);
    host_trial_init(&recordings->trial);
    *out = recordings;
    return CLMLA_OK;
}

void host_recordings_destroy(host_recordings **recordings, host_context *context) {
    if (!*recordings) return;
    host_trial_finish(&(*recordings)->trial);
    pthread_mutex_destroy(&(*recordings)->lock);
    host_release(&context->allocator, *recordings);
    *recordings = NULL;
}

// --- the context's list of open recordings ---------------------------------------------------------------------------

static bool link_recording(host_recordings *recordings, host_recording *recording) {
    bool taken = false;
    pthread_mutex_lock(&recordings->lock);
    for (const host_recording *r = recordings->first; r; r = r->next) taken |= r->queue == recording->queue;
    if (!taken) {
        recording->next = recordings->first;
        recordings->first = recording;
        recordings->open++;
    }
    pthread_mutex_unlock(&recordings->lock);
    return !taken;
}

static void unlink_recording(host_recordings *recordings, host_recording *recording) {
    pthread_mutex_lock(&recordings->lock);
    host_recording **at = &recordings->first;
    while (*at != recording) at = &(*at)->next;
    *at = recording->next;
    recordings->open--;
    pthread_mutex_unlock(&recordings->lock);
}

host_recording *host_recording_find(const host_context *context, cl_command_queue queue) {
    host_recordings *recordings = context->recordings;
    host_recording *found = NULL;
    // A recording of this thread was counted by this thread: no other's late arrival matters.
    if (atomic_load_explicit(&recordings->open, memory_order_relaxed) == 0) return NULL;
    pthread_mutex_lock(&recordings->lock);
    for (host_recording *r = recordings->first; r && !found; r = r->next)
        if (r->queue == queue && pthread_equal(r->thread, pthread_self())) found = r;
    pthread_mutex_unlock(&recordings->lock);
    return found;
}

// --- while it is open ------------------------------------------------------------------------------------------------

clmla_status host_recording_begin(host_recording *recording, host_context *context, cl_command_queue queue) {
    host_chain chain;
    *recording = (host_recording){.context = context, .queue = queue, .thread = pthread_self()};
    STATUS_OR_RETURN(host_chain_begin(&chain, context, queue, 0, NULL, false)); // for its checks of the queue
    if (!chain.in_order) return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "recording: the queue is out-of-order");
    cl_int code = context->calls->RetainCommandQueue(queue);
    if (code != CL_SUCCESS) return host_fail_cl(&context->log, "clRetainCommandQueue", code, "recording");
    recording->state = HOST_RECORDING_OPEN;
    if (link_recording(context->recordings, recording)) return CLMLA_OK;
    recording->state = HOST_RECORDING_NONE;
    context->calls->ReleaseCommandQueue(queue);
    return host_fail(&context->log, CLMLA_E_ARGUMENT, 0, "recording: another recording of this queue is open");
}

static bool grow(host_recording *recording) {
    const clmla_allocator *allocator = &recording->context->allocator;
    size_t capacity = recording->capacity ? 2 * recording->capacity : CAPACITY_FIRST;
    host_command *larger = host_allocate(allocator, capacity, sizeof *larger);
    if (!larger) return false;
    if (recording->count) memcpy(larger, recording->commands, recording->count * sizeof *larger);
    host_release(allocator, recording->commands);
    recording->commands = larger;
    recording->capacity = capacity;
    return true;
}

clmla_status host_recording_add(host_recording *recording, const host_command *command) {
    if (recording->count == recording->capacity && !grow(recording))
        return host_fail(&recording->context->log, CLMLA_E_MEMORY, 0, "recording: no memory for more than %zu commands",
                         recording->count);
    recording->commands[recording->count++] = *command;
    return CLMLA_OK;
}

clmla_status host_recording_on_replay(host_recording *recording, void (*tell)(void *payload), void *payload) {
    for (const host_replayed *r = recording->told; r; r = r->next)
        if (r->tell == tell && r->payload == payload) return CLMLA_OK;
    host_replayed *added = host_allocate(&recording->context->allocator, 1, sizeof *added);
    if (!added)
        return host_fail(&recording->context->log, CLMLA_E_MEMORY, 0, "recording: no memory for %zu bytes",
                         sizeof *added);
    *added = (host_replayed){tell, payload, recording->told};
    recording->told = added;
    return CLMLA_OK;
}

clmla_status host_recording_note(host_recording *recording, clmla_status status) {
    if (status == CLMLA_OK || recording->failure != CLMLA_OK) return status;
    recording->failure = status;
    recording->failure_code = clmla_last_cl_error();
    snprintf(recording->failure_text, sizeof recording->failure_text, "%.*s", (int)sizeof recording->failure_text - 1,
             clmla_last_error());
    return status;
}

clmla_status host_recording_refused(const host_context *context, cl_command_queue queue, clmla_status status) {
    host_recording *recording = host_recording_find(context, queue);
    return recording ? host_recording_note(recording, status) : status;
}

// --- its end ---------------------------------------------------------------------------------------------------------

// Makes the command buffer, or says why there is none.
static void make_buffer(host_recording *recording) {
    host_context *context = recording->context;
    const char *reason = NULL;
    if (recording->plain) reason = "one by one was asked for";
    if (recording->count == 0) reason = "nothing was recorded";
    const host_trial *trial = reason ? NULL : host_trial_get(context);
    if (trial && trial->reason[0]) reason = trial->reason;
    if (reason) {
        snprintf(recording->reason, sizeof recording->reason, "%s", reason);
        return;
    }
    recording->khr = &trial->khr;
    if (host_khr_buffer_make(&recording->buffer, recording->khr, recording->queue, recording->commands,
                             recording->count, recording->reason))
        return;
    host_log(&context->log, CLMLA_LOG_WARNING, "recording: its %zu commands are enqueued one by one: %s",
             recording->count, recording->reason);
}

clmla_status host_recording_end(host_recording *recording) {
    const clmla_log *log = &recording->context->log;
    if (recording->state != HOST_RECORDING_OPEN)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "recording: it is not open");
    if (!pthread_equal(recording->thread, pthread_self()))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "recording: another thread began it");
    unlink_recording(recording->context->recordings, recording);
    recording->state = recording->failure == CLMLA_OK ? HOST_RECORDING_READY : HOST_RECORDING_FAILED;
    if (recording->state == HOST_RECORDING_FAILED)
        return host_fail(log, recording->failure, recording->failure_code, "recording: it failed: %s",
                         recording->failure_text);
    make_buffer(recording);
    return CLMLA_OK;
}

// --- replays ---------------------------------------------------------------------------------------------------------

static clmla_status check_ready(const host_recording *recording) {
    const clmla_log *log = &recording->context->log;
    if (recording->state == HOST_RECORDING_READY) return CLMLA_OK;
    if (recording->state == HOST_RECORDING_FAILED)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "replay: the recording failed: %s", recording->failure_text);
    return host_fail(log, CLMLA_E_ARGUMENT, 0, "replay: the recording has not ended");
}

static clmla_status enqueue_all(const host_recording *recording, host_chain *chain) {
    STATUS_OR_RETURN(host_chain_refuse_recorded(chain, "a replay cannot be part of another recording"));
    if (recording->buffer) return host_khr_buffer_enqueue(recording->buffer, recording->khr, chain);
    for (size_t i = 0; i < recording->count; i++) {
        chain->want_event = i + 1 == recording->count;
        STATUS_OR_RETURN(host_chain_command(chain, &recording->commands[i]));
    }
    return CLMLA_OK;
}

clmla_status host_recording_replay(host_recording *recording, cl_uint wait_count, const cl_event *wait,
                                   cl_event *event) {
    host_context *context = recording->context;
    host_chain chain;
    cl_event last = NULL;
    STATUS_OR_RETURN(check_ready(recording));
    STATUS_OR_RETURN(host_chain_begin(&chain, context, recording->queue, wait_count, wait, false));
    clmla_status status = host_chain_finish(&chain, enqueue_all(recording, &chain), &last);
    recording->untold |= status != CLMLA_OK && !chain.recording;
    if (status != CLMLA_OK) return status;
    for (const host_replayed *r = recording->told; r; r = r->next) r->tell(r->payload);
    host_event_release(context, &recording->last);
    recording->last = last;
    if (!event) return CLMLA_OK;
    *event = last;
    if (host_event_retain(context, last)) return CLMLA_OK;
    recording->last = NULL; // the one hold there is goes to the caller
    recording->untold = true;
    return CLMLA_OK;
}

static void wait_for_replays(host_recording *recording) {
    bool told = !recording->untold && host_event_wait(recording->context, recording->last) == CLMLA_OK;
    if (!told) (void)host_queue_finish(recording->context, recording->queue);
    host_event_release(recording->context, &recording->last);
}

static void forget_told(host_recording *recording) {
    while (recording->told) {
        host_replayed *next = recording->told->next;
        host_release(&recording->context->allocator, recording->told);
        recording->told = next;
    }
}

void host_recording_finish(host_recording *recording) {
    host_context *context = recording->context;
    if (recording->state == HOST_RECORDING_NONE) return;
    if (recording->state == HOST_RECORDING_OPEN) unlink_recording(context->recordings, recording);
    wait_for_replays(recording);
    if (recording->buffer) host_khr_buffer_release(recording->khr, &recording->buffer);
    for (size_t i = 0; i < recording->count; i++) host_kernel_release(context, recording->commands[i].kernel);
    host_release(&context->allocator, recording->commands);
    forget_told(recording);
    context->calls->ReleaseCommandQueue(recording->queue);
    *recording = (host_recording){0};
}
