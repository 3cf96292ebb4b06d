// SPDX-License-Identifier: Apache-2.0
// Sub-groups, through which the work-items of a group reduce without a barrier each time their number is halved: which
// devices are built for them, how, and the trial of it.
#ifndef HOST_INSTRUCTION_SUB_GROUP_H
#define HOST_INSTRUCTION_SUB_GROUP_H

#include "host/instruction.h"

// The language and definition a program with common/group.clh is built with for the device's sub-groups, of a made-up
// device too: "-cl-std=CL2.0 -DSUB_GROUPS"; NULL when the facts have none. Ownership: constants. Threads: any.
const char *host_sub_group_options(const clmla_device_facts *facts);

// Reduces on the device and compares: sets trial->right, or the reason. Waits for the queue. Errors: those of building,
// launching and reading; trial->right is false then.
clmla_status host_sub_group_try(host_context *context, cl_command_queue queue, host_instruction_trial *trial);

#endif
