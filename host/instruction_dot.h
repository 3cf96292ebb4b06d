// SPDX-License-Identifier: Apache-2.0
// Dot products and tiles of x86 CPUs, which cl/common/dot.clh, dot16.clh and amx.clh reach by inline assembly, and
// OpenCL C in their place: how programs are built for them, and the trial of them.
#ifndef HOST_INSTRUCTION_DOT_H
#define HOST_INSTRUCTION_DOT_H

#include "host/instruction.h"

static inline bool host_dot_is(host_instruction instruction) {
    return instruction >= HOST_INSTRUCTION_INT16_DOT && instruction <= HOST_INSTRUCTION_AMX_BF16_PORTABLE;
}

// The definition for programs that use common/dot.clh or common/amx.clh: "" where it is the instruction itself, or
// another. Ownership: constants. Threads: any.
const char *host_dot_option(host_instruction instruction);

// Multiplies on the device and compares: sets trial->right, or the reason; of the instructions themselves also
// trial->gain. Waits for the queue. Errors: those of building, launching and reading; the trial says nothing then.
clmla_status host_dot_try(host_context *context, cl_command_queue queue, host_instruction instruction,
                          host_instruction_trial *trial);

#endif
