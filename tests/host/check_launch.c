// SPDX-License-Identifier: Apache-2.0
// Chains of launches: wait lists and events on in-order and out-of-order queues, failures on the way, profiling.
#include "host/event.h"
#include "host/launch.h"
#include "lib/context.h"
#include "tests/support/device.h"
#include <clmla/recording.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

static const char text[] =
    "__kernel void advance(__global int *x, int times, int plus) { if (get_global_id(0) == 0) x[0] "
    "= x[0] * times + plus; }\n";
static const host_source source = {"advance", text, sizeof text - 1};

static host_context *host(void) {
    return &((clmla_context *)(uintptr_t)test_device_get()->context)->host;
}

static cl_mem number(cl_int value) {
    cl_int code;
    cl_mem memory = clCreateBuffer(host()->cl, CL_MEM_COPY_HOST_PTR, sizeof value, &value, &code);
    TEST_CL(code);
    return memory;
}

static cl_int value_of(cl_mem memory) {
    cl_int value;
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, memory, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
    return value;
}

static void add(host_chain *chain, cl_mem memory, int times, int plus, size_t global) {
    host_launch launch = host_launch_begin(host(), "test", &source, "", "advance");
    host_arg_buffer(&launch, memory);
    host_arg_int(&launch, times);
    host_arg_int(&launch, plus);
    TEST_OK(host_launch_enqueue(&launch, chain, 1, &global, NULL));
}

static cl_int state_of(cl_event event) {
    cl_int state;
    TEST_CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    return state;
}

// ((1·2+1)·2+1)·2+1: right only if three dependent launches run one after another, behind the gate.
static void check_order(cl_command_queue queue) {
    cl_int code;
    cl_mem memory = number(1);
    for (int round = 0; round < 20; round++) {
        host_chain chain;
        cl_event gate = clCreateUserEvent(host()->cl, &code), done = NULL;
        TEST_CL(code);
        cl_int before = value_of(memory);
        TEST_OK(host_chain_begin(&chain, host(), queue, 1, &gate, true));
        for (int i = 0; i < 3; i++) add(&chain, memory, 2, 1, 1);
        TEST_OK(host_chain_finish(&chain, CLMLA_OK, &done));
        ck_assert_ptr_nonnull(done);
        TEST_CL(clFlush(queue));
        ck_assert_int_ne(state_of(done), CL_COMPLETE);
        TEST_CL(clSetUserEventStatus(gate, CL_COMPLETE));
        TEST_CL(clWaitForEvents(1, &done));
        ck_assert_int_eq(value_of(memory), (cl_int)(((uint32_t)before * 8u) + 7u));
        clReleaseEvent(gate);
        clReleaseEvent(done);
        TEST_CL(clFinish(queue));
    }
    clReleaseMemObject(memory);
}

START_TEST(launches_keep_their_order) {
    const test_device *device = test_device_get();
    check_order(device->queue);
    if (device->unordered) check_order(device->unordered);
}
END_TEST

// A chain also waits for an event handed in later (a plan's upload), on either kind of queue.
static void check_joined_wait(cl_command_queue queue) {
    cl_int code;
    host_chain chain;
    cl_mem memory = number(5);
    cl_event first = clCreateUserEvent(host()->cl, &code), second = clCreateUserEvent(host()->cl, &code), done = NULL;
    TEST_OK(host_chain_begin(&chain, host(), queue, 1, &first, true));
    TEST_OK(host_chain_wait(&chain, second));
    TEST_OK(host_chain_wait(&chain, NULL));
    add(&chain, memory, 3, 0, 1);
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, &done));
    TEST_CL(clSetUserEventStatus(first, CL_COMPLETE));
    TEST_CL(clFlush(queue));
    ck_assert_int_ne(state_of(done), CL_COMPLETE);
    TEST_CL(clSetUserEventStatus(second, CL_COMPLETE));
    TEST_CL(clWaitForEvents(1, &done));
    ck_assert_int_eq(value_of(memory), 15);
    clReleaseEvent(first);
    clReleaseEvent(second);
    clReleaseEvent(done);
    clReleaseMemObject(memory);
}

START_TEST(later_waits_join) {
    const test_device *device = test_device_get();
    check_joined_wait(device->queue);
    if (device->unordered) check_joined_wait(device->unordered);
}
END_TEST

// An event of another queue that nobody flushed: the chain sees to it, or this would never end.
START_TEST(waits_across_queues_are_sent_off) {
    const test_device *device = test_device_get();
    cl_command_queue other = test_device_queue(device->context, 0);
    host_chain first, second;
    cl_event between = NULL, done = NULL;
    cl_mem memory = number(4);
    TEST_OK(host_chain_begin(&first, host(), other, 0, NULL, true));
    add(&first, memory, 1, 6, 1);
    TEST_OK(host_chain_finish(&first, CLMLA_OK, &between));
    TEST_OK(host_chain_begin(&second, host(), device->queue, 0, NULL, true));
    TEST_OK(host_chain_wait(&second, between));
    add(&second, memory, 3, 0, 1);
    TEST_OK(host_chain_finish(&second, CLMLA_OK, &done));
    TEST_CL(clWaitForEvents(1, &done));
    ck_assert_int_eq(value_of(memory), 30);
    clReleaseEvent(between);
    clReleaseEvent(done);
    clReleaseCommandQueue(other);
    clReleaseMemObject(memory);
}
END_TEST

START_TEST(empty_chains_and_grids) {
    host_chain chain;
    cl_event done = NULL;
    cl_command_queue queue = test_device_get()->queue;
    cl_mem memory = number(3);
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, true));
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, &done)); // nothing enqueued: a marker
    ck_assert_ptr_nonnull(done);
    TEST_CL(clWaitForEvents(1, &done));
    clReleaseEvent(done);
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, false));
    add(&chain, memory, 7, 7, 0); // an empty grid
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, NULL));
    ck_assert_int_eq(value_of(memory), 3);
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, true));
    add(&chain, memory, 1, 1, 1);
    done = NULL;
    ck_assert_int_eq(host_chain_finish(&chain, CLMLA_E_LIMIT, &done), CLMLA_E_LIMIT); // a failure passes through
    ck_assert_ptr_null(done);
    clReleaseMemObject(memory);
}
END_TEST

static const char count_text[] = "__kernel void count(__global int *x) {\n"
                                 "    atomic_add(x, 1 + (int)get_global_id(1) + 100 * (int)get_global_id(2));\n"
                                 "}\n";
static const host_source count_source = {"count", count_text, sizeof count_text - 1};

static clmla_status count_grid(host_chain *chain, cl_mem memory, const size_t *local) {
    static const size_t global[3] = {2, 10, 7};
    host_launch launch = host_launch_begin(host(), "test", &count_source, "", "count");
    host_arg_buffer(&launch, memory);
    return host_launch_enqueue(&launch, chain, 3, global, local);
}

// A grid of more groups than the device takes comes in slices, each item once and under its own number. A recording
// refuses it.
START_TEST(large_grids_come_in_slices) {
    static const size_t locals[2][3] = {{1, 1, 1}, {2, 2, 1}};
    host_chain chain;
    host_context *context = host();
    clmla_recording *recording = NULL;
    cl_command_queue queue = test_device_get()->queue;
    size_t before = context->most_groups;
    for (size_t most = 0; most < 6; most++)
        for (int form = 0; form < 3; form++) {
            cl_mem memory = number(0);
            context->most_groups = most;
            TEST_OK(host_chain_begin(&chain, context, queue, 0, NULL, false));
            TEST_OK(host_chain_finish(&chain, count_grid(&chain, memory, form ? locals[form - 1] : NULL), NULL));
            ck_assert_int_eq(value_of(memory), 2 * (70 + 7 * 45 + 10 * 100 * 21));
            clReleaseMemObject(memory);
        }
    context->most_groups = 3;
    cl_mem memory = number(0);
    TEST_OK(clmla_recording_begin(&recording, (clmla_context *)(uintptr_t)test_device_get()->context, queue));
    TEST_OK(host_chain_begin(&chain, context, queue, 0, NULL, false));
    ck_assert_int_eq(host_chain_finish(&chain, count_grid(&chain, memory, NULL), NULL), CLMLA_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "a recording keeps no launch in slices"));
    clmla_recording_destroy(&recording);
    context->most_groups = before;
    clReleaseMemObject(memory);
}
END_TEST

static void check_begin(cl_command_queue queue, cl_uint count, const cl_event *wait, const char *word) {
    host_chain chain;
    ck_assert_int_eq(host_chain_begin(&chain, host(), queue, count, wait, true), CLMLA_E_ARGUMENT);
    ck_assert_msg(strstr(clmla_last_error(), word) != NULL, "%s", clmla_last_error());
}

START_TEST(wrong_waits_and_queues) {
    cl_event none = NULL;
    cl_command_queue queue = test_device_get()->queue;
    clmla_context *other = NULL;
    check_begin(NULL, 0, NULL, "queue");
    check_begin(queue, 1, NULL, "wait");
    check_begin(queue, 0, &none, "wait");
    check_begin(queue, 1, &none, "wait[0]");
    TEST_OK(clmla_context_create(&other, &(clmla_context_params){.device = test_device_get()->facts->name}));
    cl_command_queue foreign = test_device_queue(other, 0);
    check_begin(foreign, 0, NULL, "another context");
    clReleaseCommandQueue(foreign);
    clmla_context_destroy(&other);
}
END_TEST

typedef struct times {
    pthread_mutex_t lock;
    int count;
    bool right;
} times;

static void take_time(void *payload, const char *operation, const char *kernel, uint64_t start, uint64_t end) {
    times *t = payload;
    pthread_mutex_lock(&t->lock);
    t->count++;
    t->right = t->right && strcmp(operation, "test") == 0 && strcmp(kernel, "advance") == 0 && end >= start;
    pthread_mutex_unlock(&t->lock);
}

START_TEST(device_times_are_reported) {
    times t = {PTHREAD_MUTEX_INITIALIZER, 0, true};
    host_context context = *host(); // the same programs; only who is told differs
    context.profile = (clmla_profile){take_time, &t};
    cl_command_queue queue = test_device_queue(test_device_get()->context, CL_QUEUE_PROFILING_ENABLE);
    host_chain chain;
    cl_mem memory = number(1);
    TEST_OK(host_chain_begin(&chain, &context, queue, 0, NULL, false));
    for (int i = 0; i < 3; i++) {
        size_t one = 1;
        host_launch launch = host_launch_begin(&context, "test", &source, "", "advance");
        host_arg_buffer(&launch, memory);
        host_arg_int(&launch, 2);
        host_arg_int(&launch, 0);
        TEST_OK(host_launch_enqueue(&launch, &chain, 1, &one, NULL));
    }
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, NULL));
    TEST_CL(clFinish(queue));
    for (int i = 0; i < 500; i++) { // callbacks may come after the wait
        pthread_mutex_lock(&t.lock);
        int count = t.count;
        pthread_mutex_unlock(&t.lock);
        if (count == 3) break;
        struct timespec pause = {0, 10000000};
        nanosleep(&pause, NULL);
    }
    pthread_mutex_lock(&t.lock);
    ck_assert_int_eq(t.count, 3);
    ck_assert(t.right);
    pthread_mutex_unlock(&t.lock);
    clReleaseCommandQueue(queue);
    clReleaseMemObject(memory);
}
END_TEST

// A failure on the way ends the launch, gives the kernel back and leaves the chain usable.
START_TEST(failed_launches_leave_the_chain_whole) {
    host_chain chain;
    cl_event done = NULL;
    size_t one = 1;
    cl_mem memory = number(2);
    TEST_OK(host_chain_begin(&chain, host(), test_device_get()->queue, 0, NULL, true));
    host_launch launch = host_launch_begin(host(), "test", &source, "", "advance");
    host_arg_buffer(&launch, memory);
    host_arg_long(&launch, 1); // the kernel's is an int
    host_arg_int(&launch, 1);
    ck_assert_int_eq(host_launch_enqueue(&launch, &chain, 1, &one, NULL), CLMLA_E_OPENCL);
    ck_assert_int_eq(clmla_last_cl_error(), CL_INVALID_ARG_SIZE);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "advance, argument 1"));
    launch = host_launch_begin(host(), "test", &source, "", "no_such_kernel");
    host_arg_buffer(&launch, memory);
    ck_assert_int_eq(host_launch_enqueue(&launch, &chain, 1, &one, NULL), CLMLA_E_OPENCL);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "no_such_kernel"));
    add(&chain, memory, 5, 1, 1);
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, &done));
    TEST_CL(clWaitForEvents(1, &done));
    ck_assert_int_eq(value_of(memory), 11);
    clReleaseEvent(done);
    clReleaseMemObject(memory);
}
END_TEST

// Writes keep their place between launches; a chain without a command still waits for the caller's events.
static void check_write(cl_command_queue queue) {
    cl_int code;
    const cl_int seven = 7;
    host_chain chain;
    cl_event gate = clCreateUserEvent(host()->cl, &code), done = NULL, marker = NULL;
    TEST_CL(code);
    cl_mem memory = number(1);
    TEST_OK(host_chain_begin(&chain, host(), queue, 1, &gate, true));
    add(&chain, memory, 2, 1, 1);
    TEST_OK(host_chain_write(&chain, memory, 0, sizeof seven, &seven));
    TEST_OK(host_chain_barrier(&chain));
    add(&chain, memory, 2, 1, 1);
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, &done));
    TEST_OK(host_chain_begin(&chain, host(), queue, 1, &gate, true));
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, &marker));
    TEST_CL(clFlush(queue));
    ck_assert_int_ne(state_of(done), CL_COMPLETE);
    ck_assert_int_ne(state_of(marker), CL_COMPLETE);
    TEST_CL(clSetUserEventStatus(gate, CL_COMPLETE));
    TEST_OK(host_event_wait(host(), done));
    TEST_OK(host_event_wait(host(), marker));
    TEST_OK(host_event_wait(host(), NULL));
    ck_assert_int_eq(value_of(memory), 15);
    clReleaseEvent(gate);
    host_event_release(host(), &done);
    host_event_release(host(), &marker);
    ck_assert_ptr_null(done);
    clReleaseMemObject(memory);
}

START_TEST(writes_and_markers_keep_their_place) {
    const test_device *device = test_device_get();
    check_write(device->queue);
    if (device->unordered) check_write(device->unordered);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, launches_keep_their_order);
    tcase_add_test(tcase, later_waits_join);
    tcase_add_test(tcase, waits_across_queues_are_sent_off);
    tcase_add_test(tcase, empty_chains_and_grids);
    tcase_add_test(tcase, large_grids_come_in_slices);
    tcase_add_test(tcase, wrong_waits_and_queues);
    tcase_add_test(tcase, device_times_are_reported);
    tcase_add_test(tcase, failed_launches_leave_the_chain_whole);
    tcase_add_test(tcase, writes_and_markers_keep_their_place);
}

int main(void) {
    return test_main("check_launch", add_tests);
}
