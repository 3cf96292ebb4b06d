// SPDX-License-Identifier: Apache-2.0
#include "host/instruction_matrix.h"
#include "host/error.h"
#include "host/launch.h"
#include "host/memory.h"
#include "host/source.h"
#include "host/trial_values.h"
#include "host/vendors.h"
#include <stdio.h>
#include <string.h>

#define TILE 16
#define VALUES (TILE * TILE)
#define WHAT "a trial of matrix products"

extern const host_source clmla_source_matrix_trial;

static const host_matrix forms[] = {
    {HOST_INSTRUCTION_MATRIX_NVIDIA, "-DMATRIX_NVIDIA", 32},
    {HOST_INSTRUCTION_MATRIX_AMD_MFMA, "-DMATRIX_AMD_MFMA", 64},
    {HOST_INSTRUCTION_MATRIX_AMD_WMMA, "-DMATRIX_AMD_WMMA", 32},
    // With 128 registers a thread, sums that are operands of DPAS were seen to go to memory.
    {HOST_INSTRUCTION_MATRIX_INTEL, "-DMATRIX_INTEL=8 -cl-intel-256-GRF-per-thread", 8},
    {HOST_INSTRUCTION_MATRIX_INTEL, "-DMATRIX_INTEL=16 -cl-intel-256-GRF-per-thread", 16},
    {HOST_INSTRUCTION_MATRIX_PORTABLE, "-DMATRIX_PORTABLE", 32},
};

static const host_matrix *form_of(host_instruction instruction, uint32_t wave) {
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].instruction == instruction && (wave == 0 || forms[i].wave == wave)) return &forms[i];
    return form_of(HOST_INSTRUCTION_MATRIX_PORTABLE, 0);
}

static bool begins_with(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

const host_matrix *host_matrix_find(const clmla_device_facts *facts) {
    host_instruction found = HOST_INSTRUCTION_MATRIX_PORTABLE;
    uint32_t wave = 0;
    if (!(facts->type & CL_DEVICE_TYPE_GPU) || facts->type & CL_DEVICE_TYPE_CPU) return form_of(found, wave);
    if (facts->vendor_id == VENDOR_NVIDIA) found = HOST_INSTRUCTION_MATRIX_NVIDIA;
    if (facts->vendor_id == VENDOR_AMD) {
        if (begins_with(facts->name, "gfx90a") || begins_with(facts->name, "gfx94"))
            found = HOST_INSTRUCTION_MATRIX_AMD_MFMA;
        if (begins_with(facts->name, "gfx11")) found = HOST_INSTRUCTION_MATRIX_AMD_WMMA;
    }
    if (facts->vendor_id == VENDOR_INTEL && facts->has_sub_group_matrix) {
        found = HOST_INSTRUCTION_MATRIX_INTEL;
        wave = facts->least_sub_group; // of another width: none of the forms
    }
    return form_of(found, wave);
}

static float product_at(uint32_t row, uint32_t column) {
    float sum = 0;
    for (uint32_t k = 0; k < TILE; k++)
        sum += host_trial_value(row * TILE + k) * host_trial_value(VALUES + k * TILE + column);
    return sum;
}

typedef struct matrix_run {
    host_context *context;
    cl_command_queue queue;
    cl_mem values, packed, sums;
} matrix_run;

static clmla_status multiply(const matrix_run *run, const host_matrix *form, bool bf16, float found[2 * VALUES]) {
    const host_calls *calls = run->context->calls;
    host_chain chain;
    char options[96];
    size_t wave = form->wave;
    snprintf(options, sizeof options, "-cl-std=CL1.2 %s %s", form->option, bf16 ? "-DROWS_BF16" : "-DROWS_F16");
    STATUS_OR_RETURN(host_chain_begin(&chain, run->context, run->queue, 0, NULL, false));
    host_launch launch =
        host_launch_begin(run->context, "trial", &clmla_source_matrix_trial, options, clmla_source_matrix_trial.name);
    host_arg_buffer(&launch, run->values);
    host_arg_buffer(&launch, run->packed);
    host_arg_buffer(&launch, run->sums);
    STATUS_OR_RETURN(host_chain_finish(&chain, host_launch_enqueue(&launch, &chain, 1, &wave, &wave), NULL));
    cl_int code =
        calls->EnqueueReadBuffer(run->queue, run->sums, CL_TRUE, 0, 2 * VALUES * sizeof(float), found, 0, NULL, NULL);
    return code == CL_SUCCESS ? CLMLA_OK : host_fail_cl(&run->context->log, "clEnqueueReadBuffer", code, WHAT);
}

static bool all_right(const float found[2 * VALUES], float unit) {
    for (uint32_t i = 0; i < 2 * VALUES; i++)
        if (!(found[i] == product_at(i % VALUES / TILE, i % TILE) * unit)) return false;
    return true;
}

static clmla_status try_kind(matrix_run *run, const host_matrix *form, host_trial_kind kind,
                             host_instruction_trial *trial) {
    bool bf16 = kind == HOST_TRIAL_BF16;
    uint16_t values[2 * VALUES];
    float found[2 * VALUES];
    for (uint32_t i = 0; i < 2 * VALUES; i++) values[i] = host_trial_operand(i, VALUES, kind);
    STATUS_OR_RETURN(host_buffer_create(&run->values, run->context, sizeof values, values, WHAT));
    STATUS_OR_RETURN(host_buffer_create(&run->packed, run->context, VALUES * sizeof *values, NULL, WHAT));
    STATUS_OR_RETURN(host_buffer_create(&run->sums, run->context, sizeof found, NULL, WHAT));
    STATUS_OR_RETURN(multiply(run, form, bf16, found));
    host_trial_judge(trial, kind, all_right(found, host_trial_unit(kind)), "matrix");
    return CLMLA_OK;
}

clmla_status host_matrix_try(host_context *context, cl_command_queue queue, host_instruction instruction,
                             host_instruction_trial *trial) {
    const host_matrix *form = host_matrix_find(&context->facts);
    clmla_status status = CLMLA_OK;
    if (form->instruction != instruction) form = form_of(instruction, 0);
    for (int kind = 0; kind < HOST_TRIAL_KINDS && status == CLMLA_OK && !trial->reason[0]; kind++) {
        matrix_run run = {.context = context, .queue = queue};
        status = try_kind(&run, form, (host_trial_kind)kind, trial);
        host_buffer_release(context, &run.values);
        host_buffer_release(context, &run.packed);
        host_buffer_release(context, &run.sums);
    }
    return status;
}
