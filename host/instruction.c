// SPDX-License-Identifier: Apache-2.0
#include "host/instruction.h"
#include "host/error.h"
#include "host/instruction_matrix.h"
#include "host/instruction_ring.h"
#include "host/instruction_sub_group.h"
#include "host/instruction_wgmma.h"
#include "host/launch.h"
#include "host/memory.h"
#include "host/os.h"
#include "host/source.h"
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

#define LANES 16
#define TILE (16 * LANES) // words of an AMX tile
#define TURNS 20000       // of a timed kernel: some 0.05 ms, of AMX 0.5 ms
#define TIMINGS 5         // of which the shortest counts, or up to
#define TIMINGS_MOST 20   // as long as they become
#define TIMING_STEP 0.95  // shorter by

// As many f32 multiply-adds as trial_rate has dot products.
static const char fma_text[] =
    "__kernel void trial_fma(__global const uint *in, __global uint *out, int turns) {\n"
    "    float16 a = convert_float16(vload16(0, in)) * 0x1p-32f, b = convert_float16(vload16(1, in));\n"
    "    float16 sums[12], total = (float16)0;\n"
    "    for (int i = 0; i < 12; i++) sums[i] = (float16)i;\n"
    "    for (int t = 0; t < turns; t++)\n"
    "        _Pragma(\"unroll\") for (int i = 0; i < 12; i++) sums[i] = fma(sums[i], a, b);\n"
    "    for (int i = 0; i < 12; i++) total += sums[i];\n"
    "    vstore16(as_uint16(total), 0, out);\n"
    "}\n";
static const host_source fma_source = {"instruction_fma", fma_text, sizeof fma_text - 1};
#define FMA_PRODUCTS (12 * LANES) // of a turn
#define OPTIONS "-cl-std=CL1.2"

#define DOT_OPTIONS OPTIONS " -DVECTOR_WIDTH=16"
#define DOT_PORTABLE " -DDOT_PORTABLE"
#define AMX_PORTABLE DOT_PORTABLE " -DAMX_PORTABLE"

extern const host_source clmla_source_dot16_trial, clmla_source_dot_trial, clmla_source_amx_trial;

static const struct {
    const char *name, *options;
    const host_source *source;
    int operand, sums; // words of each of the two operands, and of what comes out
    int products;      // of a turn of trial_rate
} instructions[HOST_INSTRUCTION_COUNT] = {
    // Of the device's vectors; its program has multiply-adds of its own, of such vectors too.
    [HOST_INSTRUCTION_INT16_DOT] = {"dot products of 16-bit codes", OPTIONS, &clmla_source_dot16_trial, LANES, LANES,
                                    2 * FMA_PRODUCTS},
    [HOST_INSTRUCTION_INT8_DOT] = {"dot products of bytes", DOT_OPTIONS " -DINT8", &clmla_source_dot_trial, LANES,
                                   LANES, 4 * FMA_PRODUCTS},
    [HOST_INSTRUCTION_BF16_DOT] = {"dot products of bf16 values", DOT_OPTIONS " -DBF16", &clmla_source_dot_trial, LANES,
                                   LANES, 2 * FMA_PRODUCTS},
    [HOST_INSTRUCTION_AMX_BF16] = {"AMX tiles of bf16 values", OPTIONS, &clmla_source_amx_trial, TILE, TILE,
                                   4 * 2 * LANES *TILE},
    [HOST_INSTRUCTION_INT8_DOT_PORTABLE] = {"dot products of bytes in OpenCL C", DOT_OPTIONS " -DINT8" DOT_PORTABLE,
                                            &clmla_source_dot_trial, LANES, LANES, 0},
    [HOST_INSTRUCTION_BF16_DOT_PORTABLE] = {"dot products of bf16 values in OpenCL C",
                                            DOT_OPTIONS " -DBF16" DOT_PORTABLE, &clmla_source_dot_trial, LANES, LANES, 0},
    [HOST_INSTRUCTION_AMX_BF16_PORTABLE] = {"tiles of bf16 values in OpenCL C", OPTIONS AMX_PORTABLE,
                                            &clmla_source_amx_trial, TILE, TILE, 0},
    [HOST_INSTRUCTION_MATRIX_NVIDIA] = {.name = "matrix products by mma.sync"},
    [HOST_INSTRUCTION_MATRIX_AMD_MFMA] = {.name = "matrix products by MFMA"},
    [HOST_INSTRUCTION_MATRIX_AMD_WMMA] = {.name = "matrix products by WMMA"},
    [HOST_INSTRUCTION_MATRIX_INTEL] = {.name = "matrix products by DPAS"},
    [HOST_INSTRUCTION_MATRIX_PORTABLE] = {.name = "matrix products in OpenCL C"},
    [HOST_INSTRUCTION_WGMMA] = {.name = "warpgroup products by wgmma"},
    [HOST_INSTRUCTION_WGMMA_PORTABLE] = {.name = "warpgroup products in OpenCL C"},
    [HOST_INSTRUCTION_RING] = {.name = "products by mma.sync and cp.async"},
    [HOST_INSTRUCTION_RING_PORTABLE] = {.name = "products by way of a ring in OpenCL C"},
    [HOST_INSTRUCTION_SUB_GROUPS] = {.name = "sub-groups"},
};

host_instruction host_instruction_form(const host_context *context, host_instruction instruction) {
    if (!context->portable_instructions) return instruction;
    switch (instruction) {
    case HOST_INSTRUCTION_INT8_DOT: return HOST_INSTRUCTION_INT8_DOT_PORTABLE;
    case HOST_INSTRUCTION_BF16_DOT: return HOST_INSTRUCTION_BF16_DOT_PORTABLE;
    case HOST_INSTRUCTION_AMX_BF16: return HOST_INSTRUCTION_AMX_BF16_PORTABLE;
    default: return instruction;
    }
}

const char *host_instruction_option(host_instruction instruction) {
    if (instruction == HOST_INSTRUCTION_AMX_BF16_PORTABLE) return AMX_PORTABLE;
    return host_instruction_is_portable_dot(instruction) ? DOT_PORTABLE : "";
}

// Whose operands and results a trial has.
static bool is_int8(host_instruction instruction) {
    return instruction == HOST_INSTRUCTION_INT8_DOT || instruction == HOST_INSTRUCTION_INT8_DOT_PORTABLE;
}

static bool is_amx(host_instruction instruction) {
    return instruction == HOST_INSTRUCTION_AMX_BF16 || instruction == HOST_INSTRUCTION_AMX_BF16_PORTABLE;
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

typedef struct trial_run {
    host_context *context;
    cl_command_queue queue;
    cl_mem in, out;
    host_instruction instruction;
    int lanes; // that are compared; of a program made for the vectors of the device theirs
    char options[64];
} trial_run;

// Values of both operands: whole numbers of either sign, and bf16 values that are small whole numbers.
static void make_operands(uint32_t operands[2 * TILE], host_instruction instruction) {
    for (uint32_t i = 0; i < 2 * TILE; i++) {
        uint32_t x = (i + 1) * 2654435761u;
        if (is_int8(instruction) || instruction == HOST_INSTRUCTION_INT16_DOT)
            operands[i] = x;
        else // 1, 2, 4 or 8, of either sign
            operands[i] = (0x3f80u + (x >> 8 & 3) * 0x80u + (x >> 16 & 1) * 0x8000u) << 16 |
                          (0x3f80u + (x >> 10 & 3) * 0x80u + (x >> 17 & 1) * 0x8000u);
    }
}

static float bf16(uint32_t bits) {
    float value;
    bits <<= 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float bf16_products(uint32_t a, uint32_t b) {
    return bf16(a >> 16) * bf16(b >> 16) + bf16(a & 0xffff) * bf16(b & 0xffff);
}

static uint32_t int8_products(uint32_t a, uint32_t b) {
    int32_t sum = 0;
    for (int i = 0; i < 32; i += 8) sum += (int32_t)(a >> i & 255) * (int8_t)(b >> i & 255);
    return (uint32_t)sum;
}

// As dot16_trial.cl has them: with 1 for what they are added to.
static uint32_t int16_products(uint32_t a, uint32_t b) {
    return 1u + (uint32_t)((int16_t)a * (int16_t)b) + (uint32_t)((int16_t)(a >> 16) * (int16_t)(b >> 16));
}

// Lane `at` of a dot product, or row at / 16, column at % 16 of a product of tiles.
static uint32_t expected(const uint32_t *operands, int at, const trial_run *run) {
    host_instruction instruction = run->instruction;
    const uint32_t *second = operands + instructions[instruction].operand;
    uint32_t bits;
    float sum = 0.0f;
    if (instruction == HOST_INSTRUCTION_INT16_DOT) return int16_products(operands[at], operands[run->lanes + at]);
    if (is_int8(instruction)) return int8_products(operands[at], second[at]);
    if (!is_amx(instruction)) sum = bf16_products(operands[at], second[at]);
    for (int k = 0; is_amx(instruction) && k < LANES; k++)
        sum += bf16_products(operands[at / LANES * LANES + k], second[k * LANES + at % LANES]);
    memcpy(&bits, &sum, sizeof bits);
    return bits;
}

static clmla_status run_kernel(const trial_run *run, const host_source *source, const char *kernel, double *seconds) {
    host_chain chain;
    size_t one = 1;
    STATUS_OR_RETURN(host_chain_begin(&chain, run->context, run->queue, 0, NULL, false));
    host_launch launch = host_launch_begin(run->context, "trial", source,
                                           source == &fma_source ? OPTIONS : run->options, kernel);
    host_arg_buffer(&launch, run->in);
    host_arg_buffer(&launch, run->out);
    host_arg_int(&launch, TURNS);
    double begin = host_seconds();
    STATUS_OR_RETURN(host_chain_finish(&chain, host_launch_enqueue(&launch, &chain, 1, &one, &one), NULL));
    cl_int code = run->context->calls->Finish(run->queue);
    if (seconds) *seconds = host_seconds() - begin;
    return code == CL_SUCCESS ? CLMLA_OK
                              : host_fail_cl(&run->context->log, "clFinish", code, "a trial of an instruction");
}

typedef struct timing {
    const host_source *source;
    const char *kernel;
    double shortest;
} timing;

static clmla_status run_once(bool *better, timing *t, const trial_run *run, bool counts) {
    double once;
    STATUS_OR_RETURN(run_kernel(run, t->source, t->kernel, &once));
    if (!counts) return CLMLA_OK; // the first one compiles
    *better |= once < t->shortest * TIMING_STEP;
    if (once < t->shortest) t->shortest = once;
    return CLMLA_OK;
}

// By turns, until neither has become shorter TIMINGS times running: beside other work the first ones may all be long.
static clmla_status find_shortest(timing timings[2], const trial_run *run) {
    int last = 0;
    for (int i = 0; i <= TIMINGS_MOST && i - last <= TIMINGS; i++) {
        bool better = false;
        for (int t = 0; t < 2; t++) STATUS_OR_RETURN(run_once(&better, &timings[t], run, i > 0));
        if (better && i > 1) last = i - 1;
    }
    return CLMLA_OK;
}

static clmla_status compare(const trial_run *run, const uint32_t *operands, host_instruction_trial *trial) {
    uint32_t found[TILE];
    host_instruction instruction = run->instruction;
    STATUS_OR_RETURN(run_kernel(run, instructions[instruction].source, "trial_sum", NULL));
    size_t bytes = (size_t)instructions[instruction].sums * sizeof(uint32_t);
    cl_int code = run->context->calls->EnqueueReadBuffer(run->queue, run->out, CL_TRUE, 0, bytes, found, 0, NULL, NULL);
    if (code != CL_SUCCESS)
        return host_fail_cl(&run->context->log, "clEnqueueReadBuffer", code, "a trial of an instruction");
    int sums = run->lanes < instructions[instruction].sums ? run->lanes : instructions[instruction].sums;
    for (int i = 0; i < sums; i++)
        if (found[i] != expected(operands, i, run)) {
            snprintf(trial->reason, sizeof trial->reason, "a trial of its %s gave wrong sums",
                     instructions[instruction].name);
            return CLMLA_OK;
        }
    trial->right = true;
    return CLMLA_OK;
}

static clmla_status try_products(trial_run *run, host_instruction_trial *trial) {
    const host_source *source = instructions[run->instruction].source;
    bool has_fma = run->instruction == HOST_INSTRUCTION_INT16_DOT;
    timing timings[2] = {{source, "trial_rate", 1e9}, {has_fma ? source : &fma_source, "trial_fma", 1e9}};
    uint32_t operands[2 * TILE];
    make_operands(operands, run->instruction);
    STATUS_OR_RETURN(
        host_buffer_create(&run->in, run->context, sizeof operands, operands, "a trial of an instruction"));
    STATUS_OR_RETURN(
        host_buffer_create(&run->out, run->context, 4 * TILE * sizeof(uint32_t), NULL, "a trial of an instruction"));
    STATUS_OR_RETURN(compare(run, operands, trial));
    if (!trial->right || !host_instruction_is_timed(run->instruction)) return CLMLA_OK;
    STATUS_OR_RETURN(find_shortest(timings, run));
    double products = (double)instructions[run->instruction].products / FMA_PRODUCTS;
    trial->gain = timings[0].shortest > 0 ? (float)(products * timings[1].shortest / timings[0].shortest) : 0.0f;
    return CLMLA_OK;
}

static void set_options(trial_run *run) {
    const char *options = instructions[run->instruction].options;
    if (run->instruction == HOST_INSTRUCTION_INT16_DOT) {
        run->lanes = run->context->facts.float_vector_width >= LANES ? LANES : LANES / 2;
        snprintf(run->options, sizeof run->options, "%s -DVECTOR_WIDTH=%d", options, run->lanes);
    } else if (options)
        snprintf(run->options, sizeof run->options, "%s", options);
}

static clmla_status run_trial(trial_run *run, host_instruction instruction, host_instruction_trial *trial) {
    cl_int code = CL_SUCCESS;
    run->queue =
        run->context->calls->CreateCommandQueueWithProperties(run->context->cl, run->context->device, NULL, &code);
    if (code != CL_SUCCESS) {
        run->queue = NULL;
        return host_fail_cl(&run->context->log, "clCreateCommandQueueWithProperties", code,
                            "a trial of an instruction");
    }
    if (instruction == HOST_INSTRUCTION_WGMMA || instruction == HOST_INSTRUCTION_WGMMA_PORTABLE)
        return host_wgmma_try(run->context, run->queue, instruction, trial);
    if (instruction == HOST_INSTRUCTION_RING || instruction == HOST_INSTRUCTION_RING_PORTABLE)
        return host_ring_try(run->context, run->queue, instruction, trial);
    if (instruction == HOST_INSTRUCTION_SUB_GROUPS) return host_sub_group_try(run->context, run->queue, trial);
    if (host_matrix_is(instruction)) return host_matrix_try(run->context, run->queue, instruction, trial);
    return try_products(run, trial);
}

static void try_instruction(host_context *context, host_instruction instruction, host_instruction_trial *trial) {
    host_context quiet = *context; // a trial that fails is no failed call: it leaves one warning
    host_last_failure told;
    quiet.log.callback = NULL;
    quiet.profile.callback = NULL;
    host_last_failure_keep(&told);
    trial_run run = {.context = &quiet, .instruction = instruction, .lanes = TILE};
    set_options(&run);
    bool granted = instruction != HOST_INSTRUCTION_AMX_BF16 || host_amx_permitted(trial->reason, sizeof trial->reason);
    if (granted && run_trial(&run, instruction, trial) != CLMLA_OK) {
        trial->right = false;
        snprintf(trial->reason, sizeof trial->reason, "a trial of its %s failed: %.100s",
                 instructions[instruction].name, clmla_last_error());
    }
    host_last_failure_restore(&told);
    host_buffer_release(context, &run.in);
    host_buffer_release(context, &run.out);
    if (run.queue) context->calls->ReleaseCommandQueue(run.queue);
    if (trial->reason[0]) host_log(&context->log, CLMLA_LOG_WARNING, "%s: %s", context->facts.name, trial->reason);
}

const host_instruction_trial *host_instruction_try(host_context *context, host_instruction instruction) {
    host_instructions *all = context->instructions;
    pthread_mutex_lock(&all->lock);
    if (!all->done[instruction]) try_instruction(context, instruction, &all->trials[instruction]);
    all->done[instruction] = true;
    pthread_mutex_unlock(&all->lock);
    return &all->trials[instruction];
}
