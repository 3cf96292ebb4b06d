// SPDX-License-Identifier: Apache-2.0
// Events as the layers above hold them, without a cl*() call of their own.
#ifndef HOST_EVENT_H
#define HOST_EVENT_H

#include "host/context.h"

// Accepts NULL; false if the driver refuses, which leaves the caller without a hold of its own.
bool host_event_retain(host_context *context, cl_event event);
void host_event_release(host_context *context, cl_event *event); // accepts NULL inside; sets it NULL
// Blocks until the event's command is done or failed; where the driver cannot wait for it, until all of its queue is.
// Accepts NULL.
clmla_status host_event_wait(host_context *context, cl_event event);
// Blocks until everything on the queue is done.
clmla_status host_queue_finish(host_context *context, cl_command_queue queue);

// An in-order queue of the library's own, for what it tries. Errors: CLMLA_E_OPENCL. `what` names what it is for.
clmla_status host_queue_create(cl_command_queue *out, host_context *context, const char *what);
void host_queue_release(host_context *context, cl_command_queue *queue); // accepts NULL inside; sets it NULL

#endif
