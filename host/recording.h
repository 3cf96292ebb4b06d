// SPDX-License-Identifier: Apache-2.0
// Recordings: launches kept instead of enqueued, and enqueued again as often as asked. The public functions of
// clmla/recording.h sit on these.
//
// A recording belongs to a context, an in-order queue and the thread that began it. While it is open, the chains
// (launch.h) of that thread on that queue find it here and give it their kernels; other threads' chains do not.
#ifndef HOST_RECORDING_H
#define HOST_RECORDING_H

#include "host/trial.h"
#include <stdatomic.h>

typedef enum host_recording_state {
    HOST_RECORDING_NONE, // zeroed
    HOST_RECORDING_OPEN,
    HOST_RECORDING_READY,
    HOST_RECORDING_FAILED
} host_recording_state;

// Who is to be told of replays.
typedef struct host_replayed {
    void (*tell)(void *payload);
    void *payload;
    struct host_replayed *next;
} host_replayed;

typedef struct host_recording {
    host_context *context;
    cl_command_queue queue; // retained
    pthread_t thread;
    host_recording_state state;
    struct host_recording *next; // in the context's list, while open

    host_command *commands; // each with a kernel of its own, which is not in its pool while the recording lives
    size_t count, capacity;

    host_replayed *told;

    // The first failure between begin and end.
    clmla_status failure;
    cl_int failure_code;
    char failure_text[256];

    bool plain;                   // set before the end: no command buffer (tests compare both)
    const host_khr *khr;          // the context's
    host_khr_buffer buffer;       // NULL = the commands are enqueued one by one
    char reason[HOST_REASON_MAX]; // why there is none
    cl_event last;                // of the newest replay
    bool untold;                  // a replay may run whose end no event tells
} host_recording;

// What a context knows of recordings.
typedef struct host_recordings {
    host_mutex lock; // guards `first` and the links
    host_recording *first;
    atomic_uint open; // members of the list: chains look further only if there are any
    host_trial trial;
} host_recordings;

clmla_status host_recordings_create(host_recordings **out, host_context *context);
void host_recordings_destroy(host_recordings **recordings, host_context *context);

// The recording that this thread has open on the queue, or NULL.
host_recording *host_recording_find(const host_context *context, cl_command_queue queue);
// Keeps a command and takes its kernel. Errors: CLMLA_E_MEMORY, and the kernel stays the caller's.
clmla_status host_recording_add(host_recording *recording, const host_command *command);
// Has `tell` called with `payload` after every replay that was enqueued; once, if asked for again. The payload must
// outlive the last replay. Errors: CLMLA_E_MEMORY.
clmla_status host_recording_on_replay(host_recording *recording, void (*tell)(void *payload), void *payload);
// Takes note of a failure whose sentence is clmla_last_error(); passes the status through. CLMLA_OK leaves no note.
clmla_status host_recording_note(host_recording *recording, clmla_status status);
// The same for an enqueue that was refused before it had a chain: if this thread records the queue, that fails.
clmla_status host_recording_refused(const host_context *context, cl_command_queue queue, clmla_status status);

// As clmla_recording_*. begin fills *recording, which must not move from then on; on failure nothing is to be finished.
clmla_status host_recording_begin(host_recording *recording, host_context *context, cl_command_queue queue);
clmla_status host_recording_end(host_recording *recording);
clmla_status host_recording_replay(host_recording *recording, cl_uint wait_count, const cl_event *wait,
                                   cl_event *event);
// Accepts a zeroed one.
void host_recording_finish(host_recording *recording);

#endif
