// SPDX-License-Identifier: Apache-2.0
// Reads what a device says about itself, and finds devices. The public functions of clmla/device.h sit on these.
#ifndef HOST_DEVICE_H
#define HOST_DEVICE_H

#include "host/calls.h"
#include <clmla/device.h>
#include <clmla/log.h>

// Reads every fact of a device once. Errors: CLMLA_E_OPENCL.
clmla_status host_device_read(clmla_device_facts *facts, cl_device_id device, const host_calls *calls,
                              const clmla_log *log);

// Finds the device a query picks (clmla_device_pick's rule): its id and facts.
clmla_status host_device_find(cl_device_id *device, clmla_device_facts *facts, const char *query,
                              const host_calls *calls, const clmla_allocator *allocator, const clmla_log *log);

#endif
