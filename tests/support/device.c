// SPDX-License-Identifier: Apache-2.0
#include "tests/support/device.h"
#include "lib/context.h"
#include "tests/support/suite.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_SKIPPED 77

static test_device device;
static const char *program_name;
static char case_text[512];

const test_device *test_device_get(void) {
    return &device;
}

static void print_log(void *payload, clmla_log_level level, const char *message) {
    (void)payload;
    if (level <= CLMLA_LOG_WARNING && strstr(message, "error:")) fprintf(stderr, "%s\n", message); // build logs
}

static uint32_t number_of(const char *variable) {
    const char *number = getenv(variable);
    return number ? (uint32_t)strtoul(number, NULL, 10) : 0;
}

// Binaries stay off the disk unless a folder is named, in which the programs of a run share what they compiled.
static const char *program_folder(void) {
    const char *folder = getenv("CLMLA_TEST_PROGRAMS");
    return folder ? folder : "";
}

// A CPU whose facts say GPU is given the variants for GPUs.
static void play_gpu(clmla_context *context) {
    const char *gpu = getenv("CLMLA_TEST_GPU");
    if (gpu && strcmp(gpu, "1") == 0) context->host.facts.type = CL_DEVICE_TYPE_GPU;
}

bool test_device_is_portable(void) {
    const char *portable = getenv("CLMLA_TEST_PORTABLE");
    return portable && strcmp(portable, "1") == 0;
}

// A CPU of any kind is given the variants for dot products and tiles, which OpenCL C makes then.
static void play_instructions(clmla_context *context) {
    clmla_device_facts *facts = &context->host.facts;
    if (!test_device_is_portable() || !(facts->type & CL_DEVICE_TYPE_CPU)) return;
    context->host.portable_instructions = true;
    facts->has_int8_dot = facts->has_bf16_dot = facts->has_amx_bf16 = true;
    facts->has_int16_dot = false; // whose kernel needs no part to be played: it is made for the vectors that there are
    facts->float_vector_width = 16;
}

// As many groups along y and z as one launch is to have; larger grids come in slices.
static void play_limit(clmla_context *context) {
    uint32_t most = number_of("CLMLA_TEST_MOST_GROUPS");
    if (most) context->host.most_groups = most;
}

static clmla_status make_context(clmla_context **out) {
    clmla_context_params params = {
        .device = getenv("CLMLA_TEST_DEVICE"),
        .vector_width = number_of("CLMLA_TEST_VECTOR_WIDTH"),
        .group_items = number_of("CLMLA_TEST_GROUP"),
        .log = {.callback = print_log, .level = CLMLA_LOG_WARNING},
        .program_folder = program_folder(),
        .tuning_file = "",
        .proof = CLMLA_PROOF_NEVER, // tests compare with references of their own, and also what a proof would refuse
    };
    clmla_status status = clmla_context_create(out, &params);
    if (status != CLMLA_OK) return status;
    play_gpu(*out);
    play_limit(*out);
    play_instructions(*out);
    return CLMLA_OK;
}

clmla_context *test_device_context(void) {
    clmla_context *context;
    TEST_OK(make_context(&context));
    return context;
}

cl_command_queue test_device_queue(const clmla_context *context, cl_command_queue_properties properties) {
    cl_queue_properties list[] = {CL_QUEUE_PROPERTIES, properties, 0};
    cl_int code;
    cl_command_queue queue = clCreateCommandQueueWithProperties(clmla_context_opencl(context),
                                                                clmla_context_device(context), list, &code);
    return code == CL_SUCCESS ? queue : NULL;
}

static clmla_status open_device(void) {
    clmla_status status = make_context(&device.context);
    if (status != CLMLA_OK) return status;
    const char *short_form = getenv("CLMLA_TEST_SHORT"), *few_programs = getenv("CLMLA_TEST_FEW_PROGRAMS");
    device.cl = clmla_context_opencl(device.context);
    device.id = clmla_context_device(device.context);
    device.facts = clmla_context_facts(device.context);
    device.queue = test_device_queue(device.context, 0);
    device.unordered = test_device_queue(device.context, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    cl_int code;
    device.tiny = clCreateBuffer(device.cl, CL_MEM_READ_WRITE, 4, NULL, &code);
    device.short_form = device.facts->is_interpreter || (short_form && strcmp(short_form, "1") == 0);
    device.few_programs = device.short_form || (few_programs && strcmp(few_programs, "1") == 0);
    return CLMLA_OK;
}

static void close_device(void) {
    if (device.queue) clReleaseCommandQueue(device.queue);
    if (device.unordered) clReleaseCommandQueue(device.unordered);
    if (device.tiny) clReleaseMemObject(device.tiny);
    clmla_context_destroy(&device.context);
}

int test_main(const char *name, void (*add_tests)(TCase *tcase)) {
    program_name = name;
    clmla_status status = open_device();
    if (status != CLMLA_OK) {
        fprintf(stderr, "%s: %s: %s\n", name, clmla_status_name(status), clmla_last_error());
        return status == CLMLA_E_NO_DEVICE ? EXIT_SKIPPED : EXIT_FAILURE;
    }
    printf("%s: device %s (%s)%s\n", name, device.facts->name, device.facts->platform_name,
           device.short_form     ? ", short form"
           : device.few_programs ? ", few programs"
                                 : "");
    if (test_device_is_portable() && !(device.facts->type & CL_DEVICE_TYPE_CPU)) {
        printf("%s: the device is no CPU: dot products and tiles by OpenCL C are left out\n", name);
        close_device();
        return EXIT_SKIPPED;
    }
    if (!device.unordered) printf("%s: no out-of-order queue here: those parts use the in-order queue\n", name);
    int result = test_run(name, add_tests);
    clmla_program_counts counts = clmla_context_programs(device.context);
    printf("%s: specialisations %u (%.1f s building)\n", name, counts.built + counts.loaded, counts.build_seconds);
    close_device();
    return result;
}

void test_case_begin(const char *family, int number, const char *format, ...) {
    va_list list;
    int at = snprintf(case_text, sizeof case_text, "%s case %d: ", family, number);
    va_start(list, format);
    vsnprintf(case_text + at, sizeof case_text - (size_t)at, format, list);
    va_end(list);
}

const char *test_case_text(void) {
    return case_text;
}

bool test_case_wanted(int number) {
    const char *wanted = getenv("CLMLA_TEST_CASE");
    return !wanted || strtol(wanted, NULL, 10) == number;
}

bool test_left_out(bool is, const char *format, ...) {
    va_list list;
    if (!is) return false;
    printf("%s: left out%s: ", program_name,
           device.short_form     ? " (short form)"
           : device.few_programs ? " (few programs)"
                                 : "");
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
    return true;
}

void test_fail(const char *file, int line, const char *what, const char *format, ...) {
    char message[1024];
    const char *query = getenv("CLMLA_TEST_DEVICE"), *number = strstr(case_text, "case ");
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    ck_abort_msg("%s:%d: %s: %s\n    %s\n    repeat: CLMLA_TEST_DEVICE='%s' CLMLA_TEST_CASE=%ld %s%s", file, line, what,
                 message, case_text, query ? query : "", number ? strtol(number + 5, NULL, 10) : 0L,
                 device.short_form     ? "CLMLA_TEST_SHORT=1 "
                 : device.few_programs ? "CLMLA_TEST_FEW_PROGRAMS=1 "
                                       : "",
                 program_name);
    abort(); // not reached: Check jumps back to its runner
}
