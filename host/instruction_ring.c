// SPDX-License-Identifier: Apache-2.0
#include "host/instruction_ring.h"
#include "host/error.h"
#include "host/launch.h"
#include "host/memory.h"
#include "host/source.h"
#include "host/trial_values.h"
#include "host/vendors.h"
#include <stdio.h>

#define AMPERE 80
#define TILE 16
#define ROW 64
#define A_VALUES (TILE * TILE)
#define VALUES (A_VALUES + TILE * ROW)
#define SCORE_COLUMN 32 // of the rows, where the depth of scores begins
#define VALUE_COLUMN 16
#define SUMS (2 * A_VALUES + TILE * 8)
#define KIB 1024u
#define LEAST_LOCAL (16 * KIB) // what every device has
#define WAVE 32
#define WHAT "a trial of products by way of a ring"

extern const host_source clmla_source_ring_trial;

host_instruction host_ring_find(const clmla_device_facts *facts) {
    bool has =
        facts->type & CL_DEVICE_TYPE_GPU && facts->vendor_id == VENDOR_NVIDIA && facts->compute_capability >= AMPERE;
    return has ? HOST_INSTRUCTION_RING : HOST_INSTRUCTION_RING_PORTABLE;
}

const char *host_ring_option(host_instruction instruction) {
    return instruction == HOST_INSTRUCTION_RING ? "-DMATRIX_NVIDIA" : "-DMATRIX_PORTABLE";
}

// Sum i: of scores by 16 keys, of values by 16 columns, of scores by 8 keys.
static float expected(uint32_t i, float unit) {
    bool values = i >= A_VALUES && i < 2 * A_VALUES;
    uint32_t width = i < 2 * A_VALUES ? TILE : 8, row = i % A_VALUES / width, column = i % A_VALUES % width;
    float sum = 0;
    for (uint32_t k = 0; k < TILE; k++) {
        uint32_t at = values ? k * ROW + VALUE_COLUMN + column : column * ROW + SCORE_COLUMN + k;
        sum += host_trial_value(row * TILE + k) * host_trial_value(A_VALUES + at);
    }
    return sum * unit;
}

typedef struct ring_run {
    host_context *context;
    cl_command_queue queue;
    host_instruction instruction;
    cl_mem values, packed, sums;
    float found[SUMS + 1];
} ring_run;

static clmla_status multiply(ring_run *run, bool bf16, uint64_t local) {
    host_chain chain;
    char options[128];
    size_t wave = WAVE;
    snprintf(options, sizeof options, "-cl-std=CL1.2 %s %s -DLOCAL_BYTES=%llu", host_ring_option(run->instruction),
             bf16 ? "-DROWS_BF16" : "-DROWS_F16", (unsigned long long)local);
    STATUS_OR_RETURN(host_chain_begin(&chain, run->context, run->queue, 0, NULL, false));
    host_launch launch =
        host_launch_begin(run->context, "trial", &clmla_source_ring_trial, options, clmla_source_ring_trial.name);
    host_arg_buffer(&launch, run->values);
    host_arg_buffer(&launch, run->packed);
    host_arg_buffer(&launch, run->sums);
    STATUS_OR_RETURN(host_chain_finish(&chain, host_launch_enqueue(&launch, &chain, 1, &wave, &wave), NULL));
    cl_int code = run->context->calls->EnqueueReadBuffer(run->queue, run->sums, CL_TRUE, 0, sizeof run->found,
                                                         run->found, 0, NULL, NULL);
    return code == CL_SUCCESS ? CLMLA_OK : host_fail_cl(&run->context->log, "clEnqueueReadBuffer", code, WHAT);
}

static clmla_status run_kind(bool *right, ring_run *run, host_trial_kind kind, uint64_t local) {
    uint16_t codes[VALUES];
    for (uint32_t i = 0; i < VALUES; i++) codes[i] = host_trial_operand(i, A_VALUES, kind);
    STATUS_OR_RETURN(host_buffer_create(&run->values, run->context, sizeof codes, codes, WHAT));
    STATUS_OR_RETURN(host_buffer_create(&run->packed, run->context, A_VALUES * sizeof *codes, NULL, WHAT));
    STATUS_OR_RETURN(host_buffer_create(&run->sums, run->context, sizeof run->found, NULL, WHAT));
    STATUS_OR_RETURN(multiply(run, kind == HOST_TRIAL_BF16, local));
    *right = run->found[SUMS] == 0.0f;
    for (uint32_t i = 0; i < SUMS; i++) *right &= run->found[i] == expected(i, host_trial_unit(kind));
    return CLMLA_OK;
}

static clmla_status try_kind(bool *right, ring_run *run, host_trial_kind kind, uint64_t local) {
    clmla_status status = run_kind(right, run, kind, local);
    host_buffer_release(run->context, &run->values);
    host_buffer_release(run->context, &run->packed);
    host_buffer_release(run->context, &run->sums);
    return status;
}

// What a group can have of a multiprocessor's local memory, the most first.
static uint64_t local_of(uint32_t capability) {
    static const struct {
        uint32_t capability, kib;
    } known[] = {{80, 163}, {86, 99}, {87, 163}, {88, 163}, {89, 99}, {120, 99}, {121, 99}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].capability == capability) return (uint64_t)known[i].kib * KIB;
    return 227ull * KIB;
}

// A driver that refuses so much, or gives it and forgets what is in it, is asked for less.
static uint64_t find_local(ring_run *run) {
    static const uint32_t kibs[] = {227, 163, 99};
    const clmla_device_facts *facts = &run->context->facts;
    uint64_t most = local_of(facts->compute_capability);
    for (size_t i = 0; i < sizeof kibs / sizeof *kibs; i++) {
        uint64_t local = (uint64_t)kibs[i] * KIB;
        bool right = false;
        if (local > most || local <= facts->local_bytes) continue;
        if (try_kind(&right, run, HOST_TRIAL_F16, local) == CLMLA_OK && right) return local;
    }
    return facts->local_bytes;
}

clmla_status host_ring_try(host_context *context, cl_command_queue queue, host_instruction instruction,
                           host_instruction_trial *trial) {
    ring_run *run = host_allocate(&context->allocator, 1, sizeof *run);
    clmla_status status = CLMLA_OK;
    if (!run) return host_fail(&context->log, CLMLA_E_MEMORY, 0, WHAT ": no memory for %zu bytes", sizeof *run);
    *run = (ring_run){.context = context, .queue = queue, .instruction = instruction};
    for (int kind = 0; kind < HOST_TRIAL_KINDS && status == CLMLA_OK && !trial->reason[0]; kind++) {
        bool right = false;
        status = try_kind(&right, run, (host_trial_kind)kind, LEAST_LOCAL);
        if (kind == HOST_TRIAL_SUBNORMAL)
            trial->keeps_subnormals = right;
        else if (status == CLMLA_OK && !right)
            snprintf(trial->reason, sizeof trial->reason,
                     "a trial of its products by way of a ring of %s values gave wrong sums",
                     kind == HOST_TRIAL_BF16 ? "bf16" : "f16");
    }
    trial->right = status == CLMLA_OK && !trial->reason[0];
    trial->local_bytes =
        instruction == HOST_INSTRUCTION_RING && trial->right ? find_local(run) : context->facts.local_bytes;
    host_release(&context->allocator, run);
    return status;
}
