// SPDX-License-Identifier: Apache-2.0
// Instructions that OpenCL C 1.2 reaches by inline assembly or a vendor's built-in functions alone: dot products and
// tiles of x86 CPUs, matrix units of GPUs. The device's facts say whether it should have them and its driver's compiler
// take them; a trial then shows whether it is so, and of CPUs whether it pays.
#ifndef HOST_INSTRUCTION_H
#define HOST_INSTRUCTION_H

#include "host/context.h"

typedef enum host_instruction {
    HOST_INSTRUCTION_NONE,
    // Dot products and tiles of x86 CPUs (host/instruction_dot.h).
    HOST_INSTRUCTION_INT16_DOT, // vpmaddwd or vpdpwssd: 8 or 16 lanes of 2 products of 16-bit codes
    HOST_INSTRUCTION_INT8_DOT,  // vpdpbusd: 16 lanes of 4 products of bytes
    HOST_INSTRUCTION_BF16_DOT,  // vdpbf16ps: 16 lanes of 2 products of bf16 values
    HOST_INSTRUCTION_AMX_BF16,  // tdpbf16ps: 16 x 16 sums of 32 products of bf16 values
    // OpenCL C in their place, to test what uses them where they are not.
    HOST_INSTRUCTION_INT8_DOT_PORTABLE,
    HOST_INSTRUCTION_BF16_DOT_PORTABLE,
    HOST_INSTRUCTION_AMX_BF16_PORTABLE,
    // Products of matrix tiles (host/instruction_matrix.h).
    HOST_INSTRUCTION_MATRIX_NVIDIA,
    HOST_INSTRUCTION_MATRIX_AMD_MFMA,
    HOST_INSTRUCTION_MATRIX_AMD_WMMA,
    HOST_INSTRUCTION_MATRIX_INTEL,
    HOST_INSTRUCTION_MATRIX_PORTABLE, // OpenCL C in their place, to test what uses them where they are not
    // Products of a warpgroup (host/instruction_wgmma.h).
    HOST_INSTRUCTION_WGMMA,
    HOST_INSTRUCTION_WGMMA_PORTABLE, // OpenCL C in their place, likewise
    // Products of what cp.async brought (host/instruction_ring.h).
    HOST_INSTRUCTION_RING,
    HOST_INSTRUCTION_RING_PORTABLE, // OpenCL C in their place, likewise
    HOST_INSTRUCTION_SUB_GROUPS,    // reductions over a group (host/instruction_sub_group.h)
    HOST_INSTRUCTION_COUNT
} host_instruction;

// As sentences name it. Ownership: a constant.
const char *host_instruction_name(host_instruction instruction);

// What a context uses of an instruction: itself, or of CPUs' dot products and tiles, when the context is told so,
// OpenCL C.
host_instruction host_instruction_form(const host_context *context, host_instruction instruction);

// OpenCL C in place of a CPU's dot products or tiles.
static inline bool host_instruction_is_portable_dot(host_instruction instruction) {
    return instruction >= HOST_INSTRUCTION_INT8_DOT_PORTABLE && instruction <= HOST_INSTRUCTION_AMX_BF16_PORTABLE;
}

// Whether a trial shows a gain: of instructions of CPUs.
static inline bool host_instruction_is_timed(host_instruction instruction) {
    return instruction == HOST_INSTRUCTION_INT16_DOT || instruction == HOST_INSTRUCTION_INT8_DOT ||
           instruction == HOST_INSTRUCTION_BF16_DOT || instruction == HOST_INSTRUCTION_AMX_BF16;
}

// What a trial found: constant once there.
typedef struct host_instruction_trial {
    bool right;            // it compiles, runs and gives the right sums
    bool keeps_subnormals; // of matrix products: a row's f16 values below 2^-14 are no zeros to it
    float gain; // products in the time of one product of an f32 multiply-add; 0: not timed, as matrix products
    uint64_t local_bytes; // of a ring: what a group may take, which can be more than the device's facts tell
    char reason[160];     // why it is not right; "" when it is
} host_instruction_trial;

// Sets facts->has_int16_dot, has_int8_dot, has_bf16_dot and has_amx_bf16: an x86 CPU with the instruction, under PoCL.
void host_instruction_facts(clmla_device_facts *facts);

typedef struct host_instructions host_instructions;
clmla_status host_instructions_create(host_instructions **out, host_context *context);
void host_instructions_destroy(host_instructions **instructions, host_context *context);

// The context's trial of an instruction the facts have, run now if it was not yet: builds a small program and waits for
// the device some milliseconds. Of AMX it first asks the system for the process (host_amx_permitted). One that found no
// memory is not right either, but is made again with the next question. Threads: any. Logs a warning when it fails.
const host_instruction_trial *host_instruction_try(host_context *context, host_instruction instruction);

#endif
