// SPDX-License-Identifier: Apache-2.0
#include "host/trial.h"
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "host/recording.h"
#include <stdio.h>
#include <string.h>

#define PARTS 4096u
#define TURNS 64u // of the generator: enough work for a command that starts too early to show
#define ROUNDS 3  // spread and sum, one after the other, in one recording
#define GROUP 64u

static const char text[] = "__kernel void trial_spread(__global const uint *total, __global uint *parts, int turns) {\n"
                           "    uint i = (uint)get_global_id(0), x = total[0] + i;\n"
                           "    for (int t = 0; t < turns; t++) x = x * 1664525u + 1013904223u;\n"
                           "    parts[i] = x;\n"
                           "}\n"
                           "__kernel void trial_sum(__global const uint *parts, __global uint *total, int count) {\n"
                           "    uint sum = 0;\n"
                           "    for (int i = 0; i < count; i++) sum += parts[i];\n"
                           "    total[0] = sum;\n"
                           "}\n";
static const host_source source = {"trial", text, sizeof text - 1};

typedef struct trial_run {
    host_context *context;
    const host_khr *khr;
    cl_command_queue queue;
    cl_mem total, parts;
    host_recording recording; // of ROUNDS rounds
} trial_run;

// What one replay makes of a total.
static cl_uint expected(cl_uint total) {
    for (int round = 0; round < ROUNDS; round++) {
        cl_uint sum = 0;
        for (cl_uint i = 0; i < PARTS; i++) {
            cl_uint x = total + i;
            for (cl_uint t = 0; t < TURNS; t++) x = x * 1664525u + 1013904223u;
            sum += x;
        }
        total = sum;
    }
    return total;
}

static clmla_status launch(trial_run *run, host_chain *chain, const char *kernel, cl_mem from, cl_mem to,
                           cl_uint number, size_t global) {
    uint64_t most = run->context->facts.max_group_size;
    size_t local = global < GROUP || (most > 0 && most < GROUP) ? 1 : GROUP;
    host_launch made = host_launch_begin(run->context, "trial", &source, "-cl-std=CL1.2", kernel);
    host_arg_buffer(&made, from);
    host_arg_buffer(&made, to);
    host_arg_int(&made, (int32_t)number);
    return host_launch_enqueue(&made, chain, 1, &global, &local);
}

static clmla_status launch_all(trial_run *run, host_chain *chain) {
    for (int round = 0; round < ROUNDS; round++) {
        STATUS_OR_RETURN(launch(run, chain, "trial_spread", run->total, run->parts, TURNS, PARTS));
        STATUS_OR_RETURN(launch(run, chain, "trial_sum", run->parts, run->total, PARTS, 1));
    }
    return CLMLA_OK;
}

// Everything but the command buffer itself.
static clmla_status prepare(trial_run *run) {
    host_chain chain;
    STATUS_OR_RETURN(host_queue_create(&run->queue, run->context, "a trial of command buffers"));
    STATUS_OR_RETURN(
        host_buffer_create(&run->total, run->context, sizeof(cl_uint), NULL, "a trial of command buffers"));
    STATUS_OR_RETURN(
        host_buffer_create(&run->parts, run->context, PARTS * sizeof(cl_uint), NULL, "a trial of command buffers"));
    STATUS_OR_RETURN(host_recording_begin(&run->recording, run->context, run->queue));
    STATUS_OR_RETURN(host_chain_begin(&chain, run->context, run->queue, 0, NULL, false));
    return host_chain_finish(&chain, launch_all(run, &chain), NULL);
}

// `replays` in a row from *value on, which becomes what they leave. Nothing is waited for in between.
static cl_int replay(const trial_run *run, host_khr_buffer buffer, int replays, cl_uint *value) {
    const host_calls *calls = run->context->calls;
    cl_int code = calls->EnqueueWriteBuffer(run->queue, run->total, CL_FALSE, 0, sizeof *value, value, 0, NULL, NULL);
    for (int i = 0; i < replays && code == CL_SUCCESS; i++)
        code = run->khr->calls.EnqueueCommandBufferKHR(0, NULL, buffer, 0, NULL, NULL);
    // Also after a failure: the write reads *value until it is done.
    cl_int wait = calls->Finish(run->queue);
    if (code == CL_SUCCESS) code = wait;
    if (code != CL_SUCCESS) return code;
    return calls->EnqueueReadBuffer(run->queue, run->total, CL_TRUE, 0, sizeof *value, value, 0, NULL, NULL);
}

static bool check_replays(const trial_run *run, host_khr_buffer buffer, char reason[HOST_REASON_MAX]) {
    static const int replays[] = {1, 2, 3};
    for (cl_uint i = 0; i < sizeof replays / sizeof *replays; i++) {
        cl_uint start = 77u + 1000u * i, found = start, right = start;
        cl_int code = replay(run, buffer, replays[i], &found);
        for (int r = 0; r < replays[i]; r++) right = expected(right);
        if (code != CL_SUCCESS) {
            snprintf(reason, HOST_REASON_MAX, "a trial of its command buffers failed: %s (%d)", host_cl_name(code),
                     (int)code);
            return false;
        }
        if (found == right) continue;
        snprintf(reason, HOST_REASON_MAX, "a trial of its command buffers gave wrong results");
        return false;
    }
    return true;
}

static bool try_order(const trial_run *run, char reason[HOST_REASON_MAX]) {
    host_khr_buffer buffer = NULL;
    const host_recording *recording = &run->recording;
    if (!host_khr_buffer_make(&buffer, run->khr, run->queue, recording->commands, recording->count, reason))
        return false;
    bool right = check_replays(run, buffer, reason);
    host_khr_buffer_release(run->khr, &buffer);
    return right;
}

// The strongest statement of order that the driver takes and obeys.
static void choose_order(host_khr *khr, trial_run *run, char reason[HOST_REASON_MAX]) {
    bool right = false;
    for (int order = 0; order < HOST_ORDER_COUNT && !right; order++) {
        khr->order = (host_order)order;
        right = try_order(run, reason);
    }
    if (right) reason[0] = '\0';
}

static void run_trial(host_trial *trial, host_context *context) {
    host_context quiet = *context; // a trial that fails is no failed call: it leaves one warning
    host_last_failure told;
    quiet.log.callback = NULL;
    trial_run run = {.context = &quiet, .khr = &trial->khr};
    if (!context->facts.has_command_buffer) {
        snprintf(trial->reason, sizeof trial->reason, "the device has no cl_khr_command_buffer");
        return;
    }
    host_last_failure_keep(&told);
    if (host_khr_find(&trial->khr, context, trial->reason)) {
        if (prepare(&run) == CLMLA_OK)
            choose_order(&trial->khr, &run, trial->reason);
        else
            snprintf(trial->reason, sizeof trial->reason, "%.*s", HOST_REASON_MAX - 1, clmla_last_error());
    }
    host_last_failure_restore(&told);
    host_recording_finish(&run.recording);
    host_buffer_release(context, &run.total);
    host_buffer_release(context, &run.parts);
    host_queue_release(context, &run.queue);
    if (trial->reason[0])
        host_log(&context->log, CLMLA_LOG_WARNING, "command buffers of %s are not used: %s", context->facts.name,
                 trial->reason);
}

void host_trial_init(host_trial *trial) {
    pthread_mutex_init(&trial->lock, NULL);
}

void host_trial_finish(host_trial *trial) {
    pthread_mutex_destroy(&trial->lock);
}

const host_trial *host_trial_get(host_context *context) {
    host_trial *trial = &context->recordings->trial;
    pthread_mutex_lock(&trial->lock);
    if (!trial->done) run_trial(trial, context);
    trial->done = true;
    pthread_mutex_unlock(&trial->lock);
    return trial;
}
