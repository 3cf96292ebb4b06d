// SPDX-License-Identifier: Apache-2.0
#include "host/instruction_dot.h"
#include "host/error.h"
#include "host/launch.h"
#include "host/memory.h"
#include "host/os.h"
#include "host/source.h"
#include "host/verdict.h"
#include <stdio.h>
#include <string.h>

#define LANES 16
#define TILE (16 * LANES) // words of an AMX tile
#define TURNS 20000       // of a timed kernel: some 0.05 ms, of AMX 0.5 ms
#define TIMINGS 5         // of which the shortest counts, or up to
#define TIMINGS_MOST 20   // as long as they become
#define TIMING_STEP 0.95  // shorter by
#define WHAT "a trial of an instruction"

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
#define DOT_PORTABLE " -DDOT_PORTABLE"
#define AMX_PORTABLE DOT_PORTABLE " -DAMX_PORTABLE"

extern const host_source clmla_source_dot16_trial, clmla_source_dot_trial, clmla_source_amx_trial;

// What the words of a trial hold: lanes of codes or values, or a tile of values.
typedef enum dot_words { WORDS_INT16, WORDS_INT8, WORDS_BF16, WORDS_TILE } dot_words;

typedef struct dot_program {
    dot_words words;
    const char *options;
    const host_source *source;
    int products; // of a turn of trial_rate; 0: it is not timed
} dot_program;

// By instruction, from HOST_INSTRUCTION_INT16_DOT on.
static const dot_program programs[] = {
    // Of the device's vectors; it has multiply-adds of its own, of such vectors too.
    {WORDS_INT16, OPTIONS, &clmla_source_dot16_trial, 2 * FMA_PRODUCTS},
    {WORDS_INT8, OPTIONS " -DINT8", &clmla_source_dot_trial, 4 * FMA_PRODUCTS},
    {WORDS_BF16, OPTIONS " -DBF16", &clmla_source_dot_trial, 2 * FMA_PRODUCTS},
    {WORDS_TILE, OPTIONS, &clmla_source_amx_trial, 4 * 2 * LANES *TILE},
    {WORDS_INT8, OPTIONS " -DINT8" DOT_PORTABLE, &clmla_source_dot_trial, 0},
    {WORDS_BF16, OPTIONS " -DBF16" DOT_PORTABLE, &clmla_source_dot_trial, 0},
    {WORDS_TILE, OPTIONS AMX_PORTABLE, &clmla_source_amx_trial, 0},
};
_Static_assert(sizeof programs / sizeof *programs ==
                   HOST_INSTRUCTION_AMX_BF16_PORTABLE - HOST_INSTRUCTION_INT16_DOT + 1,
               "a program for each");

const char *host_dot_option(host_instruction instruction) {
    if (instruction == HOST_INSTRUCTION_AMX_BF16_PORTABLE) return AMX_PORTABLE;
    return host_instruction_is_portable_dot(instruction) ? DOT_PORTABLE : "";
}

typedef struct dot_run {
    host_context *context;
    cl_command_queue queue;
    cl_mem in, out;
    host_instruction instruction;
    const dot_program *program;
    int count; // words of each operand, and of what comes out
    char options[64];
} dot_run;

static dot_run begin_run(host_context *context, cl_command_queue queue, host_instruction instruction) {
    dot_run run = {.context = context, .queue = queue, .instruction = instruction};
    const dot_program *program = run.program = &programs[instruction - HOST_INSTRUCTION_INT16_DOT];
    if (program->words == WORDS_TILE) {
        run.count = TILE;
        snprintf(run.options, sizeof run.options, "%s", program->options);
        return run;
    }
    run.count = program->words == WORDS_INT16 && context->facts.float_vector_width < LANES ? LANES / 2 : LANES;
    snprintf(run.options, sizeof run.options, "%s -DVECTOR_WIDTH=%d", program->options, run.count);
    return run;
}

// Values of both operands: whole numbers of either sign, and bf16 values that are small whole numbers.
static void make_operands(uint32_t operands[2 * TILE], dot_words words) {
    for (uint32_t i = 0; i < 2 * TILE; i++) {
        uint32_t x = (i + 1) * 2654435761u;
        if (words == WORDS_INT8 || words == WORDS_INT16)
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

// Row at / 16, column at % 16 of a product of tiles.
static float tile_products(const uint32_t *a, const uint32_t *b, int at) {
    float sum = 0.0f;
    for (int k = 0; k < LANES; k++) sum += bf16_products(a[at / LANES * LANES + k], b[k * LANES + at % LANES]);
    return sum;
}

static uint32_t expected(const uint32_t *a, const uint32_t *b, int at, dot_words words) {
    uint32_t bits;
    if (words == WORDS_INT16) return int16_products(a[at], b[at]);
    if (words == WORDS_INT8) return int8_products(a[at], b[at]);
    float sum = words == WORDS_TILE ? tile_products(a, b, at) : bf16_products(a[at], b[at]);
    memcpy(&bits, &sum, sizeof bits);
    return bits;
}

static clmla_status run_kernel(const dot_run *run, const host_source *source, const char *kernel, double *seconds) {
    host_chain chain;
    size_t one = 1;
    STATUS_OR_RETURN(host_chain_begin(&chain, run->context, run->queue, 0, NULL, false));
    host_launch launch =
        host_launch_begin(run->context, "trial", source, source == &fma_source ? OPTIONS : run->options, kernel);
    host_arg_buffer(&launch, run->in);
    host_arg_buffer(&launch, run->out);
    host_arg_int(&launch, TURNS);
    double begin = host_seconds();
    STATUS_OR_RETURN(host_chain_finish(&chain, host_launch_enqueue(&launch, &chain, 1, &one, &one), NULL));
    cl_int code = run->context->calls->Finish(run->queue);
    if (seconds) *seconds = host_seconds() - begin;
    return code == CL_SUCCESS ? CLMLA_OK : host_fail_cl(&run->context->log, "clFinish", code, WHAT);
}

typedef struct timing {
    const host_source *source;
    const char *kernel;
    double shortest;
} timing;

static clmla_status run_once(bool *better, timing *t, const dot_run *run, bool counts) {
    double once;
    STATUS_OR_RETURN(run_kernel(run, t->source, t->kernel, &once));
    if (!counts) return CLMLA_OK; // the first one compiles
    *better |= once < t->shortest * TIMING_STEP;
    if (once < t->shortest) t->shortest = once;
    return CLMLA_OK;
}

// By turns, until neither has become shorter TIMINGS times running: beside other work the first ones may all be long.
static clmla_status find_shortest(timing timings[2], const dot_run *run) {
    int last = 0;
    for (int i = 0; i <= TIMINGS_MOST && i - last <= TIMINGS; i++) {
        bool better = false;
        for (int t = 0; t < 2; t++) STATUS_OR_RETURN(run_once(&better, &timings[t], run, i > 0));
        if (better && i > 1) last = i - 1;
    }
    return CLMLA_OK;
}

static clmla_status compare(const dot_run *run, const uint32_t *operands, host_instruction_trial *trial) {
    uint32_t found[TILE];
    STATUS_OR_RETURN(run_kernel(run, run->program->source, "trial_sum", NULL));
    cl_int code = run->context->calls->EnqueueReadBuffer(run->queue, run->out, CL_TRUE, 0,
                                                         (size_t)run->count * sizeof *found, found, 0, NULL, NULL);
    if (code != CL_SUCCESS) return host_fail_cl(&run->context->log, "clEnqueueReadBuffer", code, WHAT);
    trial->right = true;
    for (int i = 0; i < run->count; i++)
        trial->right &= found[i] == expected(operands, operands + run->count, i, run->program->words);
    if (!trial->right)
        snprintf(trial->reason, sizeof trial->reason, "a trial of its %s gave wrong sums",
                 host_instruction_name(run->instruction));
    return CLMLA_OK;
}

// What was measured once is kept with the verdicts: variants are chosen by it, and the same inputs are to give the same
// bits in every process.
static host_claim claim_of(const dot_run *run) {
    host_claim claim = {.sources = {run->program->source, &fma_source}};
    snprintf(claim.text, sizeof claim.text, "gain 1 of %s [%s]", host_instruction_name(run->instruction), run->options);
    return claim;
}

#define GAIN_UNIT 1000.0f // kept as a whole number, which reads alike in every locale
static bool recall(const dot_run *run, host_instruction_trial *trial) {
    host_claim claim = claim_of(run);
    host_verdict kept = host_verdict_find(run->context, &claim);
    unsigned gain = 0;
    if (kept.kind != HOST_VERDICT_RIGHT || sscanf(kept.reason, "%u", &gain) != 1) return false;
    trial->gain = (float)gain / GAIN_UNIT;
    return true;
}

static void keep(const dot_run *run, host_instruction_trial *trial) {
    host_claim claim = claim_of(run);
    host_verdict verdict = {.kind = HOST_VERDICT_RIGHT, .lasting = true};
    unsigned gain = (unsigned)(trial->gain * GAIN_UNIT + 0.5f);
    snprintf(verdict.reason, sizeof verdict.reason, "%u thousandths of the rate of f32 multiply-adds", gain);
    trial->gain = (float)gain / GAIN_UNIT; // as it will be recalled
    host_verdict_keep(run->context, &claim, &verdict);
}

static clmla_status measure(const dot_run *run, host_instruction_trial *trial) {
    const host_source *source = run->program->source;
    if (recall(run, trial)) return CLMLA_OK;
    bool has_fma = run->program->words == WORDS_INT16;
    timing timings[2] = {{source, "trial_rate", 1e9}, {has_fma ? source : &fma_source, "trial_fma", 1e9}};
    STATUS_OR_RETURN(find_shortest(timings, run));
    double products = (double)run->program->products / FMA_PRODUCTS;
    trial->gain = timings[0].shortest > 0 ? (float)(products * timings[1].shortest / timings[0].shortest) : 0.0f;
    keep(run, trial);
    return CLMLA_OK;
}

static clmla_status try_products(dot_run *run, host_instruction_trial *trial) {
    uint32_t operands[2 * TILE];
    make_operands(operands, run->program->words);
    STATUS_OR_RETURN(host_buffer_create(&run->in, run->context, sizeof operands, operands, WHAT));
    STATUS_OR_RETURN(host_buffer_create(&run->out, run->context, 4 * TILE * sizeof *operands, NULL, WHAT));
    STATUS_OR_RETURN(compare(run, operands, trial));
    return trial->right && run->program->products ? measure(run, trial) : CLMLA_OK;
}

clmla_status host_dot_try(host_context *context, cl_command_queue queue, host_instruction instruction,
                          host_instruction_trial *trial) {
    dot_run run = begin_run(context, queue, instruction);
    clmla_status status = try_products(&run, trial);
    host_buffer_release(context, &run.in);
    host_buffer_release(context, &run.out);
    return status;
}
