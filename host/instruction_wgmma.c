// SPDX-License-Identifier: Apache-2.0
#include "host/instruction_wgmma.h"
#include "host/error.h"
#include "host/launch.h"
#include "host/memory.h"
#include "host/source.h"
#include "host/trial_values.h"
#include "host/vendors.h"
#include <stdio.h>

#define HOPPER 90
#define ROWS 64
#define DEPTH 64    // of both products
#define KEYS 32     // of scores
#define COLUMNS 128 // of values
#define ROW_VALUES (ROWS * DEPTH)
#define VALUES (ROW_VALUES + DEPTH * COLUMNS)
#define SCORES (ROWS * KEYS)
#define SUMS (SCORES + ROWS * COLUMNS)
#define WARPGROUP 128
#define WHAT "a trial of warpgroup products"

extern const host_source clmla_source_wgmma_trial;

host_instruction host_wgmma_find(const clmla_device_facts *facts) {
    bool hopper =
        facts->type & CL_DEVICE_TYPE_GPU && facts->vendor_id == VENDOR_NVIDIA && facts->compute_capability == HOPPER;
    return hopper ? HOST_INSTRUCTION_WGMMA : HOST_INSTRUCTION_WGMMA_PORTABLE;
}

const char *host_wgmma_option(host_instruction instruction) {
    return instruction == HOST_INSTRUCTION_WGMMA ? "-DWGMMA_NVIDIA -DMATRIX_NVIDIA"
                                                 : "-DWGMMA_PORTABLE -DMATRIX_PORTABLE";
}

static float expected(uint32_t i, float unit) {
    float sum = 0;
    bool scores = i < SCORES;
    uint32_t width = scores ? KEYS : COLUMNS, row = (scores ? i : i - SCORES) / width,
             column = (scores ? i : i - SCORES) % width;
    for (uint32_t k = 0; k < DEPTH; k++)
        sum += host_trial_value(row * DEPTH + k) *
               host_trial_value(ROW_VALUES + (scores ? column * COLUMNS + k : k * COLUMNS + column));
    return sum * unit;
}

typedef struct wgmma_run {
    host_context *context;
    cl_command_queue queue;
    cl_mem values, sums;
    float found[SUMS];
    uint16_t codes[VALUES];
} wgmma_run;

static clmla_status multiply(wgmma_run *run, host_instruction instruction, bool bf16) {
    host_chain chain;
    char options[96];
    size_t group = WARPGROUP;
    snprintf(options, sizeof options, "-cl-std=CL1.2 %s %s", host_wgmma_option(instruction),
             bf16 ? "-DROWS_BF16" : "-DROWS_F16");
    STATUS_OR_RETURN(host_chain_begin(&chain, run->context, run->queue, 0, NULL, false));
    host_launch launch =
        host_launch_begin(run->context, "trial", &clmla_source_wgmma_trial, options, clmla_source_wgmma_trial.name);
    host_arg_buffer(&launch, run->values);
    host_arg_buffer(&launch, run->sums);
    STATUS_OR_RETURN(host_chain_finish(&chain, host_launch_enqueue(&launch, &chain, 1, &group, &group), NULL));
    cl_int code = run->context->calls->EnqueueReadBuffer(run->queue, run->sums, CL_TRUE, 0, sizeof run->found,
                                                         run->found, 0, NULL, NULL);
    return code == CL_SUCCESS ? CLMLA_OK : host_fail_cl(&run->context->log, "clEnqueueReadBuffer", code, WHAT);
}

static clmla_status try_kind(wgmma_run *run, host_instruction instruction, host_trial_kind kind,
                             host_instruction_trial *trial) {
    bool bf16 = kind == HOST_TRIAL_BF16, right = true;
    for (uint32_t i = 0; i < VALUES; i++) run->codes[i] = host_trial_operand(i, ROW_VALUES, kind);
    STATUS_OR_RETURN(host_buffer_create(&run->values, run->context, sizeof run->codes, run->codes, WHAT));
    STATUS_OR_RETURN(host_buffer_create(&run->sums, run->context, sizeof run->found, NULL, WHAT));
    STATUS_OR_RETURN(multiply(run, instruction, bf16));
    for (uint32_t i = 0; i < SUMS; i++) right &= run->found[i] == expected(i, host_trial_unit(kind));
    host_trial_judge(trial, kind, right, "warpgroup");
    return CLMLA_OK;
}

clmla_status host_wgmma_try(host_context *context, cl_command_queue queue, host_instruction instruction,
                            host_instruction_trial *trial) {
    clmla_status status = CLMLA_OK;
    wgmma_run *run = host_allocate(&context->allocator, 1, sizeof *run);
    if (!run) return host_fail(&context->log, CLMLA_E_MEMORY, 0, WHAT ": no memory for %zu bytes", sizeof *run);
    run->context = context;
    run->queue = queue;
    for (int kind = 0; kind < HOST_TRIAL_KINDS && status == CLMLA_OK && !trial->reason[0]; kind++) {
        status = try_kind(run, instruction, (host_trial_kind)kind, trial);
        host_buffer_release(context, &run->values);
        host_buffer_release(context, &run->sums);
    }
    host_release(&context->allocator, run);
    return status;
}
