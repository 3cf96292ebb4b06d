// SPDX-License-Identifier: Apache-2.0
// Whether a device's command buffers can be trusted: tried once per context, before the first is used in earnest.
// Drivers are known to miss dependencies and to refuse what their version of the extension promises.
#ifndef HOST_TRIAL_H
#define HOST_TRIAL_H

#include "host/command_buffer.h"
#include "host/os.h"

typedef struct host_trial {
    host_mutex lock; // held while the trial runs; what it found is constant afterwards
    bool done;
    host_khr khr;
    char reason[HOST_REASON_MAX]; // why command buffers are not used; "" if they are
} host_trial;

void host_trial_init(host_trial *trial);
void host_trial_finish(host_trial *trial);

// The context's trial, run now if it was not yet: builds a small program, and waits for the device. Sums that depend on
// each other are recorded, replayed with changed data, also while an earlier replay is under way, and compared.
// Threads: any. Logs a warning when a device that has command buffers fails.
const host_trial *host_trial_get(host_context *context);

#endif
