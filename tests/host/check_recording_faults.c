// SPDX-License-Identifier: Apache-2.0
// Every driver call and allocation of a recording's life failing, once and for good; and drivers whose command buffers
// are missing, broken or wrong: the results are right or a status tells, and nothing made stays behind.
#include "host/event.h"
#include "host/memory.h"
#include "host/recording.h"
#include "tests/host/faulty.h"
#include "tests/host/folder.h"
#include "tests/support/device.h"
#include <stdio.h>
#include <string.h>

static const char text[] = "__kernel void advance(__global uint *x, int plus) { x[0] = x[0] * 3 + (uint)plus; }\n";
static const host_source source = {"advance", text, sizeof text - 1};

#define REPLAYS 3

typedef struct outcome {
    bool command_buffer;
    char reason[HOST_REASON_MAX];
    int warnings;
} outcome;

static void count_warnings(void *payload, clmla_log_level level, const char *message) {
    outcome *o = payload;
    o->warnings += level == CLMLA_LOG_WARNING && strstr(message, "command buffers") != NULL;
}

static clmla_status launch(host_chain *chain, cl_mem memory, int plus) {
    size_t one = 1;
    host_launch made = host_launch_begin(chain->context, "test", &source, "", "advance");
    host_arg_buffer(&made, memory);
    host_arg_int(&made, plus);
    return host_launch_enqueue(&made, chain, 1, &one, NULL);
}

static clmla_status record(host_recording *recording, host_context *context, cl_command_queue queue, cl_mem memory) {
    host_chain chain;
    clmla_status status = host_recording_begin(recording, context, queue);
    if (status != CLMLA_OK) return status;
    for (int i = 0; i < 2 && status == CLMLA_OK; i++) {
        status = host_chain_begin(&chain, context, queue, 0, NULL, false);
        if (status == CLMLA_OK) status = host_chain_finish(&chain, launch(&chain, memory, i + 1), NULL);
    }
    clmla_status ended = host_recording_end(recording);
    ck_assert(status == CLMLA_OK || ended == status); // what failed is answered again
    return ended;
}

static clmla_status replay(host_recording *recording, cl_command_queue queue) {
    host_context *context = recording->context;
    clmla_status status = CLMLA_OK;
    for (int i = 0; i < REPLAYS && status == CLMLA_OK; i++) {
        cl_event done = NULL;
        bool told = i % 2 == 0;
        status = host_recording_replay(recording, 0, NULL, told ? &done : NULL);
        ck_assert_int_eq(done != NULL, told && status == CLMLA_OK);
        if (status == CLMLA_OK) status = host_event_wait(context, done);
        host_event_release(context, &done);
    }
    return status == CLMLA_OK ? host_queue_finish(context, queue) : status;
}

// x = 1, three times tripled plus 1, tripled plus 2.
static void check_value(cl_command_queue queue, cl_mem memory) {
    cl_uint value = 0, right = 1;
    for (int i = 0; i < REPLAYS; i++) right = (right * 3 + 1) * 3 + 2;
    TEST_CL(clEnqueueReadBuffer(queue, memory, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
    ck_assert_uint_eq(value, right);
}

static clmla_status use(host_context *context, outcome *o) {
    const cl_uint one = 1;
    cl_mem memory = NULL;
    cl_int code;
    host_recording recording = {0};
    cl_command_queue queue = clCreateCommandQueueWithProperties(context->cl, context->device, NULL, &code);
    TEST_CL(code);
    clmla_status status = host_buffer_create(&memory, context, sizeof one, &one, "a number");
    if (status == CLMLA_OK) status = record(&recording, context, queue, memory);
    o->command_buffer = recording.buffer != NULL;
    snprintf(o->reason, sizeof o->reason, "%s", recording.reason);
    if (status == CLMLA_OK) status = replay(&recording, queue);
    if (status == CLMLA_OK) check_value(queue, memory);
    host_recording_finish(&recording);
    TEST_CL(clFinish(queue));
    host_buffer_release(context, &memory);
    TEST_CL(clReleaseCommandQueue(queue));
    return status;
}

// A context with one recording, from its making to its end. has_extension: what the device says of itself.
static clmla_status live_through(const char *folder, bool has_extension, outcome *o) {
    host_context context;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .allocator = faulty_allocator(),
                                   .log = {count_warnings, o, CLMLA_LOG_WARNING},
                                   .program_folder = folder};
    *o = (outcome){0};
    clmla_status status = host_context_init(&context, &params, faulty_calls());
    if (status != CLMLA_OK) return status;
    context.facts.has_command_buffer &= has_extension;
    status = use(&context, o);
    host_context_finish(&context);
    return status;
}

static void check_status(long at, const char *failed, clmla_status status) {
    bool fits = status == CLMLA_OK || status == CLMLA_E_OPENCL || status == CLMLA_E_BUILD || status == CLMLA_E_MEMORY;
    ck_assert_msg(fits, "fault %ld (%s): %s: %s", at, failed, clmla_status_name(status), clmla_last_error());
    if (status == CLMLA_E_OPENCL)
        ck_assert_msg(clmla_last_cl_error() == FAULTY_CODE, "fault %ld (%s): %s", at, failed, clmla_last_error());
}

static void check_nothing_lives(long at, const char *failed) {
    bool nothing = faulty_nothing_lives();
    faulty_live live = faulty_live_get();
    ck_assert_msg(nothing,
                  "fault %ld (%s): left %ld allocations, %ld contexts, %ld queues, %ld programs, %ld kernels, "
                  "%ld buffers, %ld events, %ld command buffers",
                  at, failed, live.allocations, live.contexts, live.queues, live.programs, live.kernels, live.buffers,
                  live.events, live.command_buffers);
}

// Answers how many there are to fail.
static long fail_each(faulty_kind kind, bool lasting, bool has_extension) {
    const char *folder = test_folder_make(); // programs are built once and loaded from then on
    outcome o;
    faulty_arm(FAULTY_NONE, 0, false);
    TEST_OK(live_through(folder, has_extension, &o));
    for (long at = 0;; at++) {
        faulty_arm(kind, at, lasting);
        clmla_status status = live_through(folder, has_extension, &o);
        const char *failed = faulty_hit();
        faulty_arm(FAULTY_NONE, 0, false);
        check_status(at, failed ? failed : "none", status);
        check_nothing_lives(at, failed ? failed : "none");
        if (failed) continue;
        TEST_OK(status);
        test_folder_remove();
        return at;
    }
}

// With command buffers, where the device has them, and without.
START_TEST(driver_calls_fail) {
    bool has = _i == 0;
    ck_assert_int_gt(fail_each(FAULTY_CALL, false, has),
                     has && test_device_get()->facts->has_command_buffer ? 100 : 50);
    ck_assert_int_gt(fail_each(FAULTY_CALL, true, has), 50);
}
END_TEST

START_TEST(allocations_fail) {
    ck_assert_int_gt(fail_each(FAULTY_ALLOCATION, false, _i == 0), 3);
    ck_assert_int_gt(fail_each(FAULTY_ALLOCATION, true, _i == 0), 3);
}
END_TEST

// A driver that says it ran a command buffer and did not: the trial finds out, one warning tells, results are right.
START_TEST(wrong_command_buffers_are_not_used) {
    outcome o;
    faulty_arm(FAULTY_NONE, 0, false);
    faulty_swallow_replays(true);
    TEST_OK(live_through("", true, &o));
    faulty_swallow_replays(false);
    ck_assert(!o.command_buffer);
    if (test_device_get()->facts->has_command_buffer) {
        ck_assert_msg(strstr(o.reason, "wrong results") != NULL, "%s", o.reason);
        ck_assert_int_eq(o.warnings, 1);
    }
    check_nothing_lives(0, "none");
}
END_TEST

START_TEST(missing_command_buffers_are_not_missed) {
    outcome o;
    faulty_arm(FAULTY_NONE, 0, false);
    TEST_OK(live_through("", false, &o));
    ck_assert(!o.command_buffer);
    ck_assert_str_eq(o.reason, "the device has no cl_khr_command_buffer");
    ck_assert_int_eq(o.warnings, 0);
    check_nothing_lives(0, "none");
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, driver_calls_fail, 0, 2);
    tcase_add_loop_test(tcase, allocations_fail, 0, 2);
    tcase_add_test(tcase, wrong_command_buffers_are_not_used);
    tcase_add_test(tcase, missing_command_buffers_are_not_missed);
}

int main(void) {
    return test_main("check_recording_faults", add_tests);
}
