// SPDX-License-Identifier: Apache-2.0
#include "bench_limits.h"
#include "bench_data.h"
#include "bench_limits_text.h"
#include "bench_time.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCUMULATORS 12
#define CPU_GROUPS_A_UNIT 8   // groups are dealt out as cores get free
#define GPU_ITEMS_A_UNIT 2048 // a multiple of a group
#define MOST_LANES 16         // of a dot product: 512 bits
#define LAUNCH_SECONDS 0.001  // long against the launch itself, short against other programs' turns
#define SEARCHES 10
#define READ_PIECE_BYTES 33554432.0 // of a CPU: about a millisecond
#define READ_LEAST_BYTES 268435456.0
#define READ_LEAST_BYTES_GPU 1073741824.0 // and in one piece: its launches take longer and its memory is faster

// A program of bench_limits.cl on its way to a rate.
typedef struct meter {
    const session *session;
    const clmla_device_facts *facts;
    bench_effort effort; // of one search
    cl_program program;
    cl_kernel kernel;
    cl_mem out;
    size_t items, group;
    uint32_t lanes;              // dot products: of an instruction
    uint64_t count;              // reading: vectors of a work-item in a launch
    uint32_t piece, piece_count; // reading: what the next launch reads, of how many
} meter;

static bool is_cpu(const clmla_device_facts *facts) {
    return (facts->type & CL_DEVICE_TYPE_CPU) != 0;
}

static uint32_t vector_width(const clmla_device_facts *facts) {
    if (!is_cpu(facts)) return 1;
    return facts->float_vector_width >= 16 ? 16 : facts->float_vector_width >= 8 ? 8 : 4;
}

static void meter_close(meter *meter) {
    if (meter->kernel) clReleaseKernel(meter->kernel);
    if (meter->program) clReleaseProgram(meter->program);
    if (meter->out) clReleaseMemObject(meter->out);
}

// *built is false if the compiler refuses the text. lanes: of a dot product, else 0.
static bool meter_open(meter *out, bool *built, const session *session, const char *define, uint32_t lanes,
                       double seconds, failure *failure) {
    cl_int code;
    char flags[96], real[16] = "float";
    cl_context context = clmla_context_opencl(session->context);
    cl_device_id device = clmla_context_device(session->context);
    *out = (meter){.session = session,
                   .facts = clmla_context_facts(session->context),
                   .lanes = lanes,
                   .effort = {.seconds = seconds}};
    uint32_t width = vector_width(out->facts);
    if (width > 1) snprintf(real, sizeof real, "float%u", width);
    snprintf(flags, sizeof flags, "-w -cl-std=CL1.2 -D%s -DREAL=%s -DLANE_COUNT=%u", define, real, lanes);
    out->group = bench_limits_group(out->facts);
    out->items = (size_t)out->facts->compute_units * (is_cpu(out->facts) ? CPU_GROUPS_A_UNIT : GPU_ITEMS_A_UNIT);
    out->program = clCreateProgramWithSource(context, BENCH_LIMITS_TEXT_LINES,
                                             (const char **)(uintptr_t)bench_limits_text, NULL, &code);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clCreateProgramWithSource", code);
    *built = clBuildProgram(out->program, 1, &device, flags, NULL, NULL) == CL_SUCCESS;
    if (!*built) return true;
    out->kernel = clCreateKernel(out->program, "rate", &code);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clCreateKernel", code);
    return session_buffer(&out->out, session, (uint64_t)out->items * MOST_LANES * sizeof(float), NULL, failure);
}

static bool set(cl_kernel kernel, cl_uint index, size_t bytes, const void *value, failure *failure) {
    cl_int code = clSetKernelArg(kernel, index, bytes, value);
    return code == CL_SUCCESS || failure_opencl(failure, "clSetKernelArg", code);
}

static bool launch(void *payload, failure *failure) {
    const meter *meter = payload;
    cl_int code = clEnqueueNDRangeKernel(meter->session->queue, meter->kernel, 1, NULL, &meter->items, &meter->group, 0,
                                         NULL, NULL);
    return code == CL_SUCCESS || failure_opencl(failure, "clEnqueueNDRangeKernel", code);
}

// The shortest launch. Other programs' turns only lengthen one, so the search goes on until it twice found none
// shorter.
static bool find_shortest(double *seconds, meter *meter, bench_run run, failure *failure) {
    bench_times times;
    *seconds = HUGE_VAL;
    for (int i = 0, in_vain = 0; i < SEARCHES && in_vain < 2; i++) {
        if (!bench_time(&times, meter->session, &meter->effort, run, meter, failure)) return false;
        in_vain = times.minimum < 0.99 * *seconds ? 0 : in_vain + 1;
        *seconds = fmin(*seconds, times.minimum);
    }
    return true;
}

// --- multiply-adds and dot products
// ------------------------------------------------------------------------------------

static bool set_rounds(meter *meter, cl_int rounds, failure *failure) {
    return set(meter->kernel, 3, sizeof rounds, &rounds, failure);
}

// Operations a second of a kernel whose work-item does `operations` a round. Arguments 1 and 2 are set.
static bool measure_rounds(double *rate, meter *meter, double operations, failure *failure) {
    const bench_effort once = {.repeat = 3};
    bench_times times = {0};
    cl_int rounds = 256;
    if (!set(meter->kernel, 0, sizeof meter->out, &meter->out, failure)) return false;
    for (; times.minimum < 0.5 * LAUNCH_SECONDS && rounds < 1 << 28; rounds *= 2)
        if (!set_rounds(meter, rounds, failure) || !bench_time(&times, meter->session, &once, launch, meter, failure))
            return false;
    double seconds = 0.0;
    if (!set_rounds(meter, rounds, failure) || !find_shortest(&seconds, meter, launch, failure)) return false;
    *rate = operations * (double)rounds * (double)meter->items / seconds;
    return true;
}

static bool measure_fma(bench_limit *out, const session *session, double seconds, failure *failure) {
    meter meter;
    bool built = false;
    const cl_float scale = 0.999f, shift = 1e-3f;
    bool done = meter_open(&meter, &built, session, "FMA", 0, seconds, failure);
    if (done && !built) done = failure_set(failure, "the device's compiler refuses the FMA kernel of bench_limits.cl");
    double operations = 2.0 * ACCUMULATORS * vector_width(meter.facts), rate = 0.0;
    done = done && set(meter.kernel, 1, sizeof scale, &scale, failure) &&
           set(meter.kernel, 2, sizeof shift, &shift, failure) && measure_rounds(&rate, &meter, operations, failure);
    out->rate = rate * 1e-9;
    meter_close(&meter);
    return done;
}

// A dot product of a CPU. What is refused has a reason.
typedef struct dot {
    const char *define, *instruction;
    uint32_t left, right; // a lane's factors while the rate is measured
    double products;      // of a lane
    uint32_t least_lanes; // it has no narrower form
    // A lane's factors and their sum as bits, for a check of each lane.
    void (*example)(uint32_t lane, uint32_t *left, uint32_t *right, uint32_t *sum);
} dot;

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// 300 · −lane − 200 · 7, of 16-bit values.
static void example_int16(uint32_t lane, uint32_t *left, uint32_t *right, uint32_t *sum) {
    *left = 300u | (uint32_t)-200 << 16;
    *right = (-lane & 0xffffu) | 7u << 16;
    *sum = (uint32_t)(-300 * (int32_t)lane - 1400);
}

// (lane + 1) · 3 − 2 · lane: small whole numbers are exact in bf16.
static void example_bf16(uint32_t lane, uint32_t *left, uint32_t *right, uint32_t *sum) {
    float l = (float)lane;
    *left = bits_of(l + 1.0f) >> 16 | (bits_of(-2.0f) & 0xffff0000u);
    *right = bits_of(3.0f) >> 16 | (bits_of(l) & 0xffff0000u);
    *sum = bits_of(3.0f * (l + 1.0f) - 2.0f * l);
}

// 200 · −lane + lane · 1 + 1 · 2 + 0 · 7: unsigned times signed.
static void example_int8(uint32_t lane, uint32_t *left, uint32_t *right, uint32_t *sum) {
    *left = 200u | lane << 8 | 1u << 16;
    *right = (-lane & 0xffu) | 1u << 8 | 2u << 16 | 7u << 24;
    *sum = (uint32_t)(-200 * (int32_t)lane + (int32_t)lane + 2);
}

// An instruction the processor does not know ends the process, so the facts are asked first.
static const char *refusal(const clmla_device_facts *facts, const dot *dot, bool there) {
    if (!is_cpu(facts)) return "the instruction is a CPU's, and the device is none";
    if (!there) return "the CPU does not have it, or the driver is not known to take inline assembly";
    if (vector_width(facts) < dot->least_lanes) return "the device's native vectors are narrower";
    return NULL;
}

static bool run_check(uint32_t *sums, cl_kernel kernel, const meter *meter, cl_mem left, cl_mem right,
                      failure *failure) {
    const size_t one = 1;
    cl_command_queue queue = meter->session->queue;
    if (!set(kernel, 0, sizeof left, &left, failure) || !set(kernel, 1, sizeof right, &right, failure) ||
        !set(kernel, 2, sizeof meter->out, &meter->out, failure))
        return false;
    cl_int code = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, &one, 0, NULL, NULL);
    if (code == CL_SUCCESS)
        code = clEnqueueReadBuffer(queue, meter->out, CL_TRUE, 0, meter->lanes * sizeof *sums, sums, 0, NULL, NULL);
    return code == CL_SUCCESS || failure_opencl(failure, "the check of a dot product", code);
}

static bool check(bool *right_answer, const meter *meter, const dot *dot, failure *failure) {
    uint32_t left[MOST_LANES], right[MOST_LANES], expected[MOST_LANES], found[MOST_LANES] = {0};
    cl_mem buffers[2] = {NULL, NULL};
    cl_int code;
    for (uint32_t i = 0; i < MOST_LANES; i++) dot->example(i, &left[i], &right[i], &expected[i]);
    cl_kernel kernel = clCreateKernel(meter->program, "check", &code);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clCreateKernel", code);
    bool done = session_buffer(&buffers[0], meter->session, sizeof left, left, failure) &&
                session_buffer(&buffers[1], meter->session, sizeof right, right, failure) &&
                run_check(found, kernel, meter, buffers[0], buffers[1], failure);
    *right_answer = memcmp(found, expected, meter->lanes * sizeof *found) == 0;
    for (int i = 0; i < 2; i++)
        if (buffers[i]) clReleaseMemObject(buffers[i]);
    clReleaseKernel(kernel);
    return done;
}

static bool measure_built_dot(bench_limit *out, meter *meter, const dot *dot, failure *failure) {
    bool right_answer = false;
    double rate = 0.0;
    if (!check(&right_answer, meter, dot, failure)) return false;
    if (!right_answer) {
        snprintf(out->reason, sizeof out->reason, "%s gave wrong sums", dot->instruction);
        return true;
    }
    if (!set(meter->kernel, 1, sizeof dot->left, &dot->left, failure) ||
        !set(meter->kernel, 2, sizeof dot->right, &dot->right, failure) ||
        !measure_rounds(&rate, meter, 2.0 * dot->products * meter->lanes * ACCUMULATORS, failure))
        return false;
    out->rate = rate * 1e-9;
    return true;
}

static bool measure_dot(bench_limit *out, const session *session, const dot *dot, bool there, double seconds,
                        failure *failure) {
    const clmla_device_facts *facts = clmla_context_facts(session->context);
    const char *reason = refusal(facts, dot, there);
    if (reason) {
        snprintf(out->reason, sizeof out->reason, "%s: %s", dot->instruction, reason);
        return true;
    }
    meter meter;
    bool built = false, done = meter_open(&meter, &built, session, dot->define, vector_width(facts), seconds, failure);
    if (done && !built)
        snprintf(out->reason, sizeof out->reason, "%s: the device's compiler refuses the inline assembly",
                 dot->instruction);
    if (done && built) done = measure_built_dot(out, &meter, dot, failure);
    meter_close(&meter);
    return done;
}

// --- reading
// -----------------------------------------------------------------------------------------------------------

// A line of what Linux tells of the last cache of CPU 0; "" where it does not.
static void last_cache_text(char *out, int size, const char *name) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index3/%s", name);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(out, size, file)) out[0] = '\0';
    if (file) fclose(file);
}

// CPUs of a list like "0-7,64-71"; at least one.
static double cpus_of(const char *list) {
    double count = 0.0;
    for (char *end; *list; list = *end == ',' ? end + 1 : "") {
        double first = strtod(list, &end), last = *end == '-' ? strtod(end + 1, &end) : first;
        count += last - first + 1.0;
    }
    return fmax(count, 1.0);
}

// The device's cache. Some drivers call the second level of a CPU that; the host, which is the device, knows the last:
// each of them, for as many CPUs as share one. (sysconf(_SC_LEVEL3_CACHE_SIZE) counts CPUs that a virtual machine has
// not.)
static double cache_bytes(const clmla_device_facts *facts) {
    char kib[32], cpus[256];
    if (!is_cpu(facts)) return (double)facts->cache_bytes;
    last_cache_text(kib, sizeof kib, "size");
    last_cache_text(cpus, sizeof cpus, "shared_cpu_list");
    double caches = ceil((double)facts->compute_units / cpus_of(cpus));
    return fmax((double)facts->cache_bytes, 1024.0 * strtod(kib, NULL) * fmax(caches, 1.0));
}

// A launch reads one of some pieces and the next one the next, so that launches are short and what they read was long
// ago. All pieces together are four times the cache, as far as the device has room.
static void choose_pieces(meter *meter) {
    const clmla_device_facts *facts = meter->facts;
    bool cpu = is_cpu(facts);
    double bytes = fmax(4.0 * cache_bytes(facts), cpu ? READ_LEAST_BYTES : READ_LEAST_BYTES_GPU);
    bytes = fmin(bytes, fmin((double)facts->max_buffer_bytes, 0.25 * (double)facts->global_bytes));
    meter->piece_count = cpu && bytes > READ_PIECE_BYTES ? (uint32_t)(bytes / READ_PIECE_BYTES) : 1;
    double vector = (double)vector_width(facts) * sizeof(float);
    meter->count = (uint64_t)(bytes / meter->piece_count / vector / (double)meter->items) / 8 * 8;
}

static bool launch_reading(void *payload, failure *failure) {
    meter *meter = payload;
    cl_ulong base = meter->piece * meter->count * meter->items;
    meter->piece = (meter->piece + 1) % meter->piece_count;
    return set(meter->kernel, 5, sizeof base, &base, failure) && launch(meter, failure);
}

static bool set_reading(meter *meter, cl_mem in, failure *failure) {
    cl_ulong count = meter->count, first = is_cpu(meter->facts) ? count : 1,
             step = is_cpu(meter->facts) ? 1 : meter->items;
    return set(meter->kernel, 0, sizeof in, &in, failure) &&
           set(meter->kernel, 1, sizeof meter->out, &meter->out, failure) &&
           set(meter->kernel, 2, sizeof first, &first, failure) && set(meter->kernel, 3, sizeof step, &step, failure) &&
           set(meter->kernel, 4, sizeof count, &count, failure);
}

static bool fill(const meter *meter, cl_mem memory, uint64_t bytes, failure *failure) {
    const cl_float value = 1e-9f;
    cl_int code =
        clEnqueueFillBuffer(meter->session->queue, memory, &value, sizeof value, 0, (size_t)bytes, 0, NULL, NULL);
    return code == CL_SUCCESS || failure_opencl(failure, "clEnqueueFillBuffer", code);
}

bool bench_limits_measure_read(bench_limits *out, const session *session, double seconds, failure *failure) {
    meter meter;
    bool built = false;
    cl_mem in = NULL;
    double shortest = 1.0;
    bool done = meter_open(&meter, &built, session, "READ", 0, seconds, failure);
    if (done && !built) done = failure_set(failure, "the device's compiler refuses the READ kernel of bench_limits.cl");
    choose_pieces(&meter);
    uint64_t piece = meter.count * meter.items * vector_width(meter.facts) * sizeof(float),
             bytes = piece * meter.piece_count;
    done = done && session_buffer(&in, session, bytes, NULL, failure) && fill(&meter, in, bytes, failure) &&
           set_reading(&meter, in, failure) && find_shortest(&shortest, &meter, launch_reading, failure);
    out->read.rate = (double)piece / shortest * 1e-9;
    out->read_bytes = (double)bytes;
    bench_release(&in);
    meter_close(&meter);
    return done;
}

bool bench_limits_measure(bench_limits *out, const session *session, double seconds, failure *failure) {
    static const dot int16 = {"INT16_DOT", "vpmaddwd", 0x00010001u, 0x00010001u, 2.0, 8, example_int16};
    static const dot bf16 = {"BF16_DOT", "vdpbf16ps", 0x3f803f80u, 0x3a833a83u, 2.0, 16, example_bf16};
    static const dot int8 = {"INT8_DOT", "vpdpbusd", 0x01010101u, 0x01010101u, 4.0, 16, example_int8};
    const clmla_device_facts *facts = clmla_context_facts(session->context);
    *out = (bench_limits){0};
    return measure_fma(&out->fma, session, seconds, failure) &&
           measure_dot(&out->int16_dot, session, &int16, facts->has_int16_dot, seconds, failure) &&
           measure_dot(&out->bf16_dot, session, &bf16, facts->has_bf16_dot, seconds, failure) &&
           measure_dot(&out->int8_dot, session, &int8, facts->has_int8_dot, seconds, failure) &&
           bench_limits_measure_read(out, session, seconds, failure);
}
