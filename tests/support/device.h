// SPDX-License-Identifier: Apache-2.0
// One device for a whole test program, and its main function. Environment:
//   CLMLA_TEST_DEVICE   a query as clmla_context_params.device takes it; unset = the default device
//   CLMLA_TEST_SHORT    1 = tiny shapes alone, for slow devices; also when the device is an interpreter
//   CLMLA_TEST_FEW_PROGRAMS   1 = fewer pairs of row formats and widths, each a program that the driver compiles; so
//                             does the short form
//   CLMLA_TEST_VECTOR_WIDTH   4, 8 or 16: clmla_context_params.vector_width
//   CLMLA_TEST_GROUP    32, 64, 128 or 256: clmla_context_params.group_items
//   CLMLA_TEST_GPU      1 = whatever the device is, the variants for GPUs
//   CLMLA_TEST_PORTABLE   1 = dot products and tiles of CPUs with AVX-512 and AMX, by OpenCL C on a CPU of any kind
//   CLMLA_TEST_CASE     a number: of each generated family of cases only this one
#ifndef TEST_DEVICE_H
#define TEST_DEVICE_H

#include <check.h>
#include <clmla/clmla.h>

typedef struct test_device {
    clmla_context *context;
    cl_context cl;
    cl_device_id id;
    const clmla_device_facts *facts;
    cl_command_queue queue;     // in-order
    cl_command_queue unordered; // out-of-order; NULL when the device has none
    cl_mem tiny;                // 4 bytes
    bool short_form;
    bool few_programs; // in the short form too
} test_device;

// The program's device; open while test_main runs.
const test_device *test_device_get(void);

// Whether CLMLA_TEST_PORTABLE asks for such a CPU.
bool test_device_is_portable(void);

// A context on the same device, with counts of its own.
clmla_context *test_device_context(void);
cl_command_queue test_device_queue(const clmla_context *context, cl_command_queue_properties properties);

// Opens the device, runs the suite in this process (OpenCL does not survive a fork) and prints what it compiled.
// Answers main's exit status: 0, 1, or 77 when there is no device to test with.
int test_main(const char *name, void (*add_tests)(TCase *tcase));

// Names the case at work: shown with the command that repeats it when an assertion fails.
void test_case_begin(const char *family, int number, const char *format, ...) __attribute__((format(printf, 3, 4)));
const char *test_case_text(void);
// Whether case `number` is to run (CLMLA_TEST_CASE).
bool test_case_wanted(int number);
// Answers `is`; if so, prints what the program leaves out, so that a test that returns then has not passed in silence.
bool test_left_out(bool is, const char *format, ...) __attribute__((format(printf, 2, 3)));

// An assertion that shows the case.
#define TEST_ASSERT(condition, ...)                                                                                    \
    do {                                                                                                               \
        if (!(condition)) test_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                                      \
    } while (0)
#define TEST_OK(call)                                                                                                  \
    do {                                                                                                               \
        clmla_status test_ok_status = (call);                                                                          \
        if (test_ok_status != CLMLA_OK)                                                                                \
            test_fail(__FILE__, __LINE__, #call, "%s: %s", clmla_status_name(test_ok_status), clmla_last_error());     \
    } while (0)
#define TEST_CL(call)                                                                                                  \
    do {                                                                                                               \
        cl_int test_cl_code = (call);                                                                                  \
        if (test_cl_code != CL_SUCCESS) test_fail(__FILE__, __LINE__, #call, "OpenCL error %d", (int)test_cl_code);    \
    } while (0)
_Noreturn void test_fail(const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
