// SPDX-License-Identifier: Apache-2.0
// What attend_matrix_ring is made of, which cl/common/ring.clh reaches by inline PTX: products by mma.sync of what
// cp.async brought into local memory and ldmatrix takes out of it, of NVIDIA's GPUs from sm_80 on; and their trial.
#ifndef HOST_INSTRUCTION_RING_H
#define HOST_INSTRUCTION_RING_H

#include "host/instruction.h"

// HOST_INSTRUCTION_RING for an NVIDIA GPU of compute capability 8.0 or more, of a made-up device too; otherwise
// HOST_INSTRUCTION_RING_PORTABLE, which runs anywhere and is slow. Threads: any.
host_instruction host_ring_find(const clmla_device_facts *facts);
// The compiler's option for it. Ownership: a constant.
const char *host_ring_option(host_instruction instruction);

// Multiplies tiles of f16 and of bf16 values on the device and compares: sets trial->right, or the reason;
// trial->keeps_subnormals; and trial->local_bytes, the most local memory of what such devices have that a program is
// given: NVIDIA's OpenCL tells of 48 KiB, and drivers were seen to give more. Waits for the queue. Errors: those of
// building, launching and reading; trial->right is false then.
clmla_status host_ring_try(host_context *context, cl_command_queue queue, host_instruction instruction,
                           host_instruction_trial *trial);

#endif
