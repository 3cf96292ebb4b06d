// SPDX-License-Identifier: Apache-2.0
#include "host/instruction.h"
#include "host/error.h"
#include "host/event.h"
#include "host/instruction_dot.h"
#include "host/instruction_matrix.h"
#include "host/instruction_ring.h"
#include "host/instruction_sub_group.h"
#include "host/instruction_wgmma.h"
#include "host/memory.h"
#include "host/os.h"
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

const char *host_instruction_name(host_instruction instruction) {
    static const char *const names[HOST_INSTRUCTION_COUNT] = {
        [HOST_INSTRUCTION_NONE] = "",
        [HOST_INSTRUCTION_INT16_DOT] = "dot products of 16-bit codes",
        [HOST_INSTRUCTION_INT8_DOT] = "dot products of bytes",
        [HOST_INSTRUCTION_BF16_DOT] = "dot products of bf16 values",
        [HOST_INSTRUCTION_AMX_BF16] = "AMX tiles of bf16 values",
        [HOST_INSTRUCTION_INT8_DOT_PORTABLE] = "dot products of bytes in OpenCL C",
        [HOST_INSTRUCTION_BF16_DOT_PORTABLE] = "dot products of bf16 values in OpenCL C",
        [HOST_INSTRUCTION_AMX_BF16_PORTABLE] = "tiles of bf16 values in OpenCL C",
        [HOST_INSTRUCTION_MATRIX_NVIDIA] = "matrix products by mma.sync",
        [HOST_INSTRUCTION_MATRIX_AMD_MFMA] = "matrix products by MFMA",
        [HOST_INSTRUCTION_MATRIX_AMD_WMMA] = "matrix products by WMMA",
        [HOST_INSTRUCTION_MATRIX_INTEL] = "matrix products by DPAS",
        [HOST_INSTRUCTION_MATRIX_PORTABLE] = "matrix products in OpenCL C",
        [HOST_INSTRUCTION_WGMMA] = "warpgroup products by wgmma",
        [HOST_INSTRUCTION_WGMMA_PORTABLE] = "warpgroup products in OpenCL C",
        [HOST_INSTRUCTION_RING] = "products by mma.sync and cp.async",
        [HOST_INSTRUCTION_RING_PORTABLE] = "products by way of a ring in OpenCL C",
        [HOST_INSTRUCTION_SUB_GROUPS] = "sub-groups",
    };
    return names[instruction];
}

host_instruction host_instruction_form(const host_context *context, host_instruction instruction) {
    if (!context->portable_instructions) return instruction;
    switch (instruction) {
    case HOST_INSTRUCTION_INT8_DOT:
        return HOST_INSTRUCTION_INT8_DOT_PORTABLE;
    case HOST_INSTRUCTION_BF16_DOT:
        return HOST_INSTRUCTION_BF16_DOT_PORTABLE;
    case HOST_INSTRUCTION_AMX_BF16:
        return HOST_INSTRUCTION_AMX_BF16_PORTABLE;
    default:
        return instruction;
    }
}

struct host_instructions {
    host_mutex lock; // held while a trial runs
    bool done[HOST_INSTRUCTION_COUNT];
    host_instruction_trial trials[HOST_INSTRUCTION_COUNT];
};

#if defined(__x86_64__) && defined(__GNUC__) && !defined(_WIN32)
// Not every compiler has names for these in __builtin_cpu_supports.
static bool cpu_has_amx_bf16(void) {
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 22 & 1 && d >> 24 & 1;
}
#endif

void host_instruction_facts(clmla_device_facts *facts) {
    facts->has_int16_dot = facts->has_int8_dot = facts->has_bf16_dot = facts->has_amx_bf16 = false;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(_WIN32)
    // Elsewhere inline assembly was seen to be refused, or is compiled by way of SPIR-V, which has none.
    if (!(facts->type & CL_DEVICE_TYPE_CPU) || !strstr(facts->platform_name, "Portable Computing Language")) return;
    __builtin_cpu_init();
    facts->has_int16_dot = __builtin_cpu_supports("avx2");
    facts->has_int8_dot = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
    facts->has_bf16_dot = __builtin_cpu_supports("avx512bf16");
    facts->has_amx_bf16 = facts->has_bf16_dot && cpu_has_amx_bf16();
#endif
}

clmla_status host_instructions_create(host_instructions **out, host_context *context) {
    host_instructions *made = host_allocate(&context->allocator, 1, sizeof *made);
    if (!made)
        return host_fail(&context->log, CLMLA_E_MEMORY, 0, "instructions: no memory for %zu bytes", sizeof *made);
    pthread_mutex_init(&made->lock, NULL);
    *out = made;
    return CLMLA_OK;
}

void host_instructions_destroy(host_instructions **instructions_, host_context *context) {
    if (!*instructions_) return;
    pthread_mutex_destroy(&(*instructions_)->lock);
    host_release(&context->allocator, *instructions_);
    *instructions_ = NULL;
}

static clmla_status run_trial(host_context *context, cl_command_queue queue, host_instruction instruction,
                              host_instruction_trial *trial) {
    if (host_dot_is(instruction)) return host_dot_try(context, queue, instruction, trial);
    if (host_matrix_is(instruction)) return host_matrix_try(context, queue, instruction, trial);
    if (instruction == HOST_INSTRUCTION_RING || instruction == HOST_INSTRUCTION_RING_PORTABLE)
        return host_ring_try(context, queue, instruction, trial);
    if (instruction == HOST_INSTRUCTION_SUB_GROUPS) return host_sub_group_try(context, queue, trial);
    return host_wgmma_try(context, queue, instruction, trial);
}

// Of AMX nothing runs before the system has granted it.
static clmla_status run_granted(host_context *context, host_instruction instruction, host_instruction_trial *trial) {
    cl_command_queue queue = NULL;
    if (instruction == HOST_INSTRUCTION_AMX_BF16 && !host_amx_permitted(trial->reason, sizeof trial->reason))
        return CLMLA_OK;
    STATUS_OR_RETURN(host_queue_create(&queue, context, "a trial of an instruction"));
    clmla_status status = run_trial(context, queue, instruction, trial);
    host_queue_release(context, &queue);
    return status;
}

// Whether something was learnt: not where there was no memory to try.
static bool try_instruction(host_context *context, host_instruction instruction, host_instruction_trial *trial) {
    host_context quiet = *context; // a trial that fails is no failed call: it leaves one warning
    host_last_failure told;
    quiet.log.callback = NULL;
    quiet.profile.callback = NULL;
    host_last_failure_keep(&told);
    clmla_status status = run_granted(&quiet, instruction, trial);
    bool learnt = !host_is_shortage(status);
    if (status != CLMLA_OK) {
        trial->right = false;
        snprintf(trial->reason, sizeof trial->reason, "a trial of its %s failed: %.100s",
                 host_instruction_name(instruction), clmla_last_error());
    }
    host_last_failure_restore(&told);
    if (trial->reason[0]) host_log(&context->log, CLMLA_LOG_WARNING, "%s: %s", context->facts.name, trial->reason);
    return learnt;
}

const host_instruction_trial *host_instruction_try(host_context *context, host_instruction instruction) {
    static const host_instruction_trial unmade = {.reason = "a trial of its instruction found no memory"};
    host_instructions *all = context->instructions;
    pthread_mutex_lock(&all->lock);
    if (!all->done[instruction]) {
        host_instruction_trial trial = {.right = false}; // no other thread sees one that may be made again
        all->done[instruction] = try_instruction(context, instruction, &trial);
        if (all->done[instruction]) all->trials[instruction] = trial;
    }
    const host_instruction_trial *found = all->done[instruction] ? &all->trials[instruction] : &unmade;
    pthread_mutex_unlock(&all->lock);
    return found;
}
