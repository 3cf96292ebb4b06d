// SPDX-License-Identifier: Apache-2.0
// Matrix units, which cl/common/matrix.clh reaches by inline assembly and built-in functions: which of its forms a
// device is built for, and the trial of it.
#ifndef HOST_INSTRUCTION_MATRIX_H
#define HOST_INSTRUCTION_MATRIX_H

#include "host/instruction.h"

typedef struct host_matrix {
    host_instruction instruction;
    const char *option; // of the compiler
    uint32_t wave;      // work-items that multiply together
} host_matrix;

// By vendor and device name, of a made-up device too; HOST_INSTRUCTION_MATRIX_PORTABLE, which runs anywhere and is
// slow, when it has no matrix units that are known here. Ownership: constants. Threads: any.
const host_matrix *host_matrix_find(const clmla_device_facts *facts);

static inline bool host_matrix_is(host_instruction instruction) {
    return instruction >= HOST_INSTRUCTION_MATRIX_NVIDIA && instruction <= HOST_INSTRUCTION_MATRIX_PORTABLE;
}

// Multiplies two 16 x 16 tiles of f16 and of bf16 values on the device and compares: sets trial->right, or the reason;
// and trial->keeps_subnormals. Waits for the queue. Errors: those of building, launching and reading; trial->right is
// false then.
clmla_status host_matrix_try(host_context *context, cl_command_queue queue, host_instruction instruction,
                             host_instruction_trial *trial);

#endif
