// SPDX-License-Identifier: Apache-2.0
// Every driver call and every allocation of a context's life failing, once and for good: the answer is a status that
// fits or success, with the right result, and nothing made stays behind.
#include "host/error.h"
#include "host/event.h"
#include "host/launch.h"
#include "host/memory.h"
#include "tests/host/faulty.h"
#include "tests/host/folder.h"
#include "tests/support/device.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char text[] = "__kernel void advance(__global int *x) { x[0] = x[0] * 2 + 1; }\n";
static const host_source source = {"advance", text, sizeof text - 1};
static const char bad_text[] = "__kernel void advance(__global int *x) { x[0] = no_such_thing; }\n";
static const host_source bad_source = {"bad", bad_text, sizeof bad_text - 1};

typedef struct scene {
    const char *name;
    const host_source *source;
    bool imported;  // the application's context instead of one of our own
    bool unordered; // an out-of-order queue
    bool stored;    // programs are kept in a folder
    bool filled;    // ... which holds the program from the start
} scene;

static void be_quiet(void *payload, clmla_log_level level, const char *message) {
    (void)payload, (void)level, (void)message;
}

static void take_time(void *payload, const char *operation, const char *kernel, uint64_t start, uint64_t end) {
    (void)payload, (void)operation, (void)kernel, (void)start, (void)end;
}

static clmla_status launch(const scene *s, host_chain *chain, cl_mem memory) {
    size_t one = 1;
    host_launch made = host_launch_begin(chain->context, "test", s->source, "", "advance");
    host_arg_buffer(&made, memory);
    return host_launch_enqueue(&made, chain, 1, &one, NULL);
}

// x = 3, advanced twice, with a wait for another queue's event and a barrier between.
static clmla_status enqueue(const scene *s, host_chain *chain, cl_mem memory, cl_event between) {
    static const cl_int three = 3;
    STATUS_OR_RETURN(host_chain_write(chain, memory, 0, sizeof three, &three));
    STATUS_OR_RETURN(launch(s, chain, memory));
    STATUS_OR_RETURN(host_chain_wait(chain, between));
    STATUS_OR_RETURN(host_chain_barrier(chain));
    return launch(s, chain, memory);
}

static clmla_status chain_all(const scene *s, host_context *context, cl_command_queue queue, cl_command_queue other) {
    cl_mem memory = NULL;
    cl_event between = NULL, done = NULL;
    host_chain chain;
    cl_int value = 0;
    TEST_CL(clEnqueueMarkerWithWaitList(other, 0, NULL, &between));
    clmla_status status = host_buffer_create(&memory, context, sizeof value, NULL, "a number");
    if (status == CLMLA_OK)
        status = host_buffer_check(context, (clmla_buffer){memory, 0}, sizeof value, sizeof value, "test", "number");
    if (status == CLMLA_OK) status = host_chain_begin(&chain, context, queue, 1, &between, true);
    if (status == CLMLA_OK) {
        status = host_chain_finish(&chain, enqueue(s, &chain, memory, between), &done);
        ck_assert_int_eq(done != NULL, status == CLMLA_OK);
    }
    if (status == CLMLA_OK) status = host_event_wait(context, done);
    if (status == CLMLA_OK) status = host_queue_finish(context, queue);
    TEST_CL(clFinish(other));
    TEST_CL(clFinish(queue));
    if (status == CLMLA_OK) {
        TEST_CL(clEnqueueReadBuffer(queue, memory, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
        ck_assert_int_eq(value, 15);
    }
    host_event_release(context, &done);
    host_buffer_release(context, &memory);
    TEST_CL(clReleaseEvent(between));
    return status;
}

static cl_command_queue make_queue(const host_context *context, cl_command_queue_properties properties) {
    cl_queue_properties list[] = {CL_QUEUE_PROPERTIES, properties, 0};
    cl_int code;
    cl_command_queue queue = clCreateCommandQueueWithProperties(context->cl, context->device, list, &code);
    TEST_CL(code);
    return queue;
}

// A context from its making to its end.
static clmla_status live_through(const scene *s, const char *folder) {
    host_context context;
    clmla_context_params params = {.device = getenv("CLMLA_TEST_DEVICE"),
                                   .allocator = faulty_allocator(),
                                   .log = {be_quiet, NULL, CLMLA_LOG_DEBUG},
                                   .profile = {take_time, NULL},
                                   .program_folder = folder};
    if (s->imported) {
        params.opencl.context = test_device_get()->cl;
        params.opencl.device = test_device_get()->id;
    }
    clmla_status status = host_context_init(&context, &params, faulty_calls());
    if (status != CLMLA_OK) return status;
    cl_command_queue queue =
        make_queue(&context, CL_QUEUE_PROFILING_ENABLE | (s->unordered ? CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE : 0));
    cl_command_queue other = make_queue(&context, 0);
    status = chain_all(s, &context, queue, other);
    TEST_CL(clReleaseCommandQueue(queue));
    TEST_CL(clReleaseCommandQueue(other));
    host_context_finish(&context);
    return status;
}

static void check_nothing_lives(const scene *s, long at, const char *failed) {
    bool nothing = faulty_nothing_lives();
    faulty_live live = faulty_live_get();
    ck_assert_msg(nothing,
                  "%s, fault %ld (%s): left %ld allocations, %ld contexts, %ld programs, %ld kernels, %ld buffers, "
                  "%ld events",
                  s->name, at, failed, live.allocations, live.contexts, live.programs, live.kernels, live.buffers,
                  live.events);
}

static void check_status(const scene *s, faulty_kind kind, long at, const char *failed, clmla_status status) {
    // A platform that cannot say its devices or its name is passed over.
    bool lookup = strcmp(failed, "clGetDeviceIDs") == 0 || strcmp(failed, "clGetPlatformInfo") == 0;
    bool fits = kind == FAULTY_ALLOCATION ? status == CLMLA_E_MEMORY
                                          : status == CLMLA_E_OPENCL || (status == CLMLA_E_NO_DEVICE && lookup) ||
                                                (status == CLMLA_E_BUILD && strcmp(failed, "clBuildProgram") == 0);
    fits |= status == CLMLA_OK && faulty_may_pass(failed);
    fits |= status == CLMLA_E_BUILD && s->source == &bad_source;
    ck_assert_msg(fits, "%s, fault %ld (%s): %s: %s", s->name, at, failed, clmla_status_name(status),
                  clmla_last_error());
    if (status == CLMLA_E_OPENCL)
        ck_assert_msg(clmla_last_cl_error() == FAULTY_CODE, "%s, fault %ld (%s): %s", s->name, at, failed,
                      clmla_last_error());
}

// With a program in it. Only the first one is built: each build takes a driver a tenth of a second even of what it
// keeps.
static void fill_folder(const scene *s, const char *folder) {
    static unsigned char *program;
    static char name[128];
    static size_t bytes;
    char path[256];
    if (!program) {
        TEST_OK(live_through(s, folder));
        ck_assert_int_eq(test_folder_files(), 1);
        snprintf(name, sizeof name, "%s", strrchr(test_folder_first(), '/') + 1);
        program = test_file_read(test_folder_first(), &bytes); // till the process ends
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    test_file_write(path, program, bytes);
}

// The folder as the scene wants it.
static const char *prepare_folder(const scene *s) {
    if (!s->stored) return "";
    const char *folder = test_folder_make();
    faulty_arm(FAULTY_NONE, 0, false);
    if (s->filled) fill_folder(s, folder);
    return folder;
}

static long fail_each(const scene *s, faulty_kind kind, bool lasting) {
    for (long at = 0;; at++) {
        const char *folder = prepare_folder(s);
        faulty_arm(kind, at, lasting);
        clmla_status status = live_through(s, folder);
        const char *failed = faulty_hit();
        if (failed) check_status(s, kind, at, failed, status);
        check_nothing_lives(s, at, failed ? failed : "none");
        faulty_arm(FAULTY_NONE, 0, false);
        if (s->stored) test_folder_remove();
        if (failed) continue;
        ck_assert_int_eq(status, s->source == &bad_source ? CLMLA_E_BUILD : CLMLA_OK);
        return at;
    }
}

static const scene scenes[] = {
    {.name = "built", .source = &source, .stored = true},
    {.name = "loaded", .source = &source, .unordered = true, .stored = true, .filled = true},
    {.name = "imported", .source = &source, .imported = true, .unordered = true},
    {.name = "broken", .source = &bad_source, .imported = true},
};

START_TEST(driver_calls_fail) {
    scene s = scenes[_i];
    s.unordered = s.unordered && test_device_get()->unordered;
    // A context by query reads some thirty facts of a device, twice; every scene makes a program at least.
    ck_assert_int_gt(fail_each(&s, FAULTY_CALL, false), s.imported ? 30 : 60);
    ck_assert_int_gt(fail_each(&s, FAULTY_CALL, true), s.imported ? 30 : 60);
}
END_TEST

START_TEST(allocations_fail) {
    scene s = scenes[_i];
    s.unordered = s.unordered && test_device_get()->unordered;
    ck_assert_int_gt(fail_each(&s, FAULTY_ALLOCATION, false), 3);
    ck_assert_int_gt(fail_each(&s, FAULTY_ALLOCATION, true), 0);
}
END_TEST

static void add_tests(TCase *tcase) {
    int count = sizeof scenes / sizeof *scenes;
    tcase_add_loop_test(tcase, driver_calls_fail, 0, count);
    tcase_add_loop_test(tcase, allocations_fail, 0, count);
}

int main(void) {
    return test_main("check_faults", add_tests);
}
