// SPDX-License-Identifier: Apache-2.0
// The warpgroup products of NVIDIA's Hopper, which cl/common/wgmma.clh reaches by inline PTX (host/ptx.h), and their
// trial.
#ifndef HOST_INSTRUCTION_WGMMA_H
#define HOST_INSTRUCTION_WGMMA_H

#include "host/instruction.h"

// HOST_INSTRUCTION_WGMMA for an NVIDIA GPU of compute capability 9.0, of a made-up device too; otherwise
// HOST_INSTRUCTION_WGMMA_PORTABLE, which runs anywhere and is slow. Threads: any.
host_instruction host_wgmma_find(const clmla_device_facts *facts);
// The compiler's options for it. Ownership: a constant.
const char *host_wgmma_option(host_instruction instruction);

// Multiplies tiles of f16 and of bf16 values on the device, in as much local memory as attend_wgmma's tiles take, and
// compares: sets trial->right, or the reason. Waits for the queue. Errors: those of building, launching and reading;
// trial->right is false then.
clmla_status host_wgmma_try(host_context *context, cl_command_queue queue, host_instruction instruction,
                            host_instruction_trial *trial);

#endif
