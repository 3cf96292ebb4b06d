// SPDX-License-Identifier: Apache-2.0
// Recordings of chains: what is kept and what is not, in which order it runs again, what is refused, and that command
// buffers and single enqueues leave the same bits. Failing driver calls are in check_recording_faults.c.
#include "host/error.h"
#include "host/recording.h"
#include "lib/context.h"
#include "tests/support/device.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char text[] =
    "__kernel void advance(__global uint *x, int times, int plus) { x[0] = x[0] * (uint)times + (uint)plus; }\n"
    "__kernel void blur(__global const float *from, __global float *to, int count, float by) {\n"
    "    int i = (int)get_global_id(0);\n"
    "    if (i < count) to[i] = from[i] * by + from[(i + 1) % count] / (from[(i + 7) % count] + 3.0f);\n"
    "}\n";
static const host_source source = {"advance", text, sizeof text - 1};

static host_context *host(void) {
    return &((clmla_context *)(uintptr_t)test_device_get()->context)->host;
}

static cl_command_queue queue_make(cl_command_queue_properties properties) {
    return test_device_queue(test_device_get()->context, properties);
}

static cl_mem memory_make(size_t bytes, const void *data) {
    cl_int code;
    cl_mem memory = clCreateBuffer(host()->cl, CL_MEM_COPY_HOST_PTR, bytes, (void *)(uintptr_t)data, &code);
    TEST_CL(code);
    return memory;
}

static cl_mem number(cl_uint value) {
    return memory_make(sizeof value, &value);
}

static void set_number(cl_command_queue queue, cl_mem memory, cl_uint value) {
    TEST_CL(clEnqueueWriteBuffer(queue, memory, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
}

static cl_uint number_of(cl_command_queue queue, cl_mem memory) {
    cl_uint value;
    TEST_CL(clEnqueueReadBuffer(queue, memory, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
    return value;
}

static clmla_status advance(host_chain *chain, cl_mem memory, int times, int plus) {
    size_t one = 1;
    host_launch launch = host_launch_begin(chain->context, "test", &source, "", "advance");
    host_arg_buffer(&launch, memory);
    host_arg_int(&launch, times);
    host_arg_int(&launch, plus);
    return host_launch_enqueue(&launch, chain, 1, &one, NULL);
}

// A chain of its own, as a public operation would make.
static void enqueue_advance(cl_command_queue queue, cl_mem memory, int times, int plus) {
    host_chain chain;
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, false));
    TEST_OK(host_chain_finish(&chain, advance(&chain, memory, times, plus), NULL));
}

static void refused(clmla_status status, const char *word) {
    TEST_ASSERT(status == CLMLA_E_ARGUMENT, "%s, not a refusal that says '%s'", clmla_status_name(status), word);
    TEST_ASSERT(strstr(clmla_last_error(), word), "no '%s' in '%s'", word, clmla_last_error());
}

static void end(host_recording *recording, bool plain) {
    recording->plain = plain;
    TEST_OK(host_recording_end(recording));
    TEST_ASSERT((recording->buffer == NULL) == (recording->reason[0] != '\0'), "reason '%s'", recording->reason);
    if (plain) ck_assert_ptr_null(recording->buffer);
}

#define STEPS 12

static cl_uint stepped(cl_uint value) {
    for (cl_uint i = 0; i < STEPS; i++) value = value * (2 * i + 3) + i;
    return value;
}

// Twelve launches in three chains, right only in their order; nothing runs before the first replay.
static void check_order(bool plain) {
    cl_command_queue queue = queue_make(0);
    cl_mem memory = number(1);
    host_recording recording;
    TEST_OK(host_recording_begin(&recording, host(), queue));
    for (int c = 0; c < 3; c++) {
        host_chain chain;
        TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, false));
        for (int i = c * STEPS / 3; i < (c + 1) * STEPS / 3; i++) TEST_OK(advance(&chain, memory, 2 * i + 3, i));
        TEST_OK(host_chain_finish(&chain, CLMLA_OK, NULL));
    }
    end(&recording, plain);
    ck_assert_uint_eq(recording.count, STEPS);
    ck_assert_uint_eq(number_of(queue, memory), 1);
    for (cl_uint start = 1; start < 5; start++) {
        set_number(queue, memory, start);
        TEST_OK(host_recording_replay(&recording, 0, NULL, NULL));
        ck_assert_uint_eq(number_of(queue, memory), stepped(start));
    }
    // Many at once: the host is far ahead of the device.
    cl_uint right = number_of(queue, memory);
    for (int i = 0; i < 50; i++) TEST_OK(host_recording_replay(&recording, 0, NULL, NULL));
    for (int i = 0; i < 50; i++) right = stepped(right);
    ck_assert_uint_eq(number_of(queue, memory), right);
    host_recording_finish(&recording);
    clReleaseMemObject(memory);
    clReleaseCommandQueue(queue);
}

START_TEST(replays_keep_the_order) {
    check_order(_i);
}
END_TEST

#define VALUES 1000

// Ten launches that read what the one before wrote.
static void record_blur(host_recording *recording, cl_command_queue queue, const cl_mem *memory) {
    host_chain chain;
    TEST_OK(host_recording_begin(recording, host(), queue));
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, false));
    for (int i = 0; i < 10; i++) {
        size_t global = 1024, local = 8;
        host_launch launch = host_launch_begin(host(), "test", &source, "", "blur");
        host_arg_buffer(&launch, memory[i % 2]);
        host_arg_buffer(&launch, memory[1 - i % 2]);
        host_arg_int(&launch, VALUES);
        host_arg_float(&launch, 0.3f + 0.1f * (float)i);
        TEST_OK(host_launch_enqueue(&launch, &chain, 1, &global, &local));
    }
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, NULL));
}

START_TEST(both_ways_give_the_same_bits) {
    float values[VALUES], found[2][VALUES];
    cl_command_queue queue = queue_make(0);
    cl_mem memory[2] = {memory_make(sizeof values, values), memory_make(sizeof values, values)};
    host_recording recordings[2];
    for (int plain = 0; plain < 2; plain++) {
        record_blur(&recordings[plain], queue, memory);
        end(&recordings[plain], plain);
    }
    printf("check_recording: replays are %s%s\n",
           recordings[0].buffer ? "command buffers" : "plain: ", recordings[0].reason);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < VALUES; i++) values[i] = (float)(i % 37) * 0.17f + (float)round;
        for (int plain = 0; plain < 2; plain++) {
            TEST_CL(clEnqueueWriteBuffer(queue, memory[0], CL_TRUE, 0, sizeof values, values, 0, NULL, NULL));
            TEST_OK(host_recording_replay(&recordings[plain], 0, NULL, NULL));
            TEST_CL(clEnqueueReadBuffer(queue, memory[0], CL_TRUE, 0, sizeof values, found[plain], 0, NULL, NULL));
        }
        ck_assert_int_eq(memcmp(found[0], found[1], sizeof values), 0);
        ck_assert_int_ne(memcmp(found[0], values, sizeof values), 0);
    }
    for (int i = 0; i < 2; i++) {
        host_recording_finish(&recordings[i]);
        clReleaseMemObject(memory[i]);
    }
    clReleaseCommandQueue(queue);
}
END_TEST

static cl_int state_of(cl_event event) {
    cl_int state;
    TEST_CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    return state;
}

// A replay waits for the caller's events and gives one, whether it has commands or not. Its loop index: bit 0 plain,
// bit 1 no commands.
START_TEST(replays_wait_and_tell) {
    cl_int code;
    cl_command_queue queue = queue_make(0);
    cl_mem memory = number(4);
    cl_event gate = clCreateUserEvent(host()->cl, &code), done = NULL, none = NULL;
    bool empty = _i & 2;
    host_recording recording;
    TEST_CL(code);
    TEST_OK(host_recording_begin(&recording, host(), queue));
    if (!empty) enqueue_advance(queue, memory, 3, 5);
    end(&recording, _i & 1);
    if (empty) ck_assert_ptr_nonnull(strstr(recording.reason, "nothing"));
    TEST_OK(host_recording_replay(&recording, 1, &gate, &done));
    TEST_CL(clFlush(queue));
    ck_assert_int_ne(state_of(done), CL_COMPLETE);
    TEST_CL(clSetUserEventStatus(gate, CL_COMPLETE));
    TEST_CL(clWaitForEvents(1, &done));
    ck_assert_uint_eq(number_of(queue, memory), empty ? 4 : 17);
    refused(host_recording_replay(&recording, 1, NULL, NULL), "wait");
    refused(host_recording_replay(&recording, 0, &gate, NULL), "wait");
    refused(host_recording_replay(&recording, 1, &none, NULL), "wait[0]");
    ck_assert_uint_eq(number_of(queue, memory), empty ? 4 : 17);
    clReleaseEvent(done);
    clReleaseEvent(gate);
    host_recording_finish(&recording);
    clReleaseMemObject(memory);
    clReleaseCommandQueue(queue);
}
END_TEST

// The end of a recording waits for what it enqueued.
START_TEST(the_end_waits_for_the_last_replay) {
    cl_command_queue queue = queue_make(0);
    cl_mem memory = number(1);
    cl_event done = NULL;
    host_recording recording;
    TEST_OK(host_recording_begin(&recording, host(), queue));
    for (int i = 0; i < STEPS; i++) enqueue_advance(queue, memory, 2 * i + 3, i);
    end(&recording, _i);
    for (int i = 0; i < 20; i++) {
        if (done) clReleaseEvent(done);
        TEST_OK(host_recording_replay(&recording, 0, NULL, &done));
    }
    host_recording_finish(&recording);
    ck_assert_int_eq(state_of(done), CL_COMPLETE);
    ck_assert_int_eq(recording.state, HOST_RECORDING_NONE);
    host_recording_finish(&recording); // a zeroed one
    clReleaseEvent(done);
    clReleaseMemObject(memory);
    clReleaseCommandQueue(queue);
}
END_TEST

// A kernel's arguments stay those it was recorded with, whatever else is launched from its program in between.
START_TEST(recorded_kernels_are_private) {
    cl_command_queue queue = queue_make(0);
    cl_mem memory = number(1), other = number(1);
    host_recording recording;
    enqueue_advance(queue, other, 2, 0); // leaves a kernel in the pool
    TEST_OK(host_recording_begin(&recording, host(), queue));
    enqueue_advance(queue, memory, 3, 1);
    enqueue_advance(queue, memory, 5, 2);
    end(&recording, _i);
    for (int i = 0; i < 3; i++) {
        enqueue_advance(queue, other, 7, i);
        set_number(queue, memory, 10);
        TEST_OK(host_recording_replay(&recording, 0, NULL, NULL));
        enqueue_advance(queue, other, 11, i);
        ck_assert_uint_eq(number_of(queue, memory), 157);
    }
    host_recording_finish(&recording);
    clReleaseMemObject(memory);
    clReleaseMemObject(other);
    clReleaseCommandQueue(queue);
}
END_TEST

START_TEST(two_recordings_at_once) {
    cl_command_queue queues[2] = {queue_make(0), queue_make(0)};
    cl_mem memory[2] = {number(1), number(1)};
    host_recording recordings[2];
    for (int i = 0; i < 2; i++) TEST_OK(host_recording_begin(&recordings[i], host(), queues[i]));
    for (int i = 0; i < 2 * STEPS; i++) enqueue_advance(queues[i % 2], memory[i % 2], i / 2 * 2 + 3, i / 2);
    end(&recordings[1], _i);
    end(&recordings[0], _i);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(recordings[i].count, STEPS);
        TEST_OK(host_recording_replay(&recordings[i], 0, NULL, NULL));
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(number_of(queues[i], memory[i]), stepped(1));
        host_recording_finish(&recordings[i]);
        clReleaseMemObject(memory[i]);
        clReleaseCommandQueue(queues[i]);
    }
}
END_TEST

typedef struct elsewhere {
    cl_command_queue queue;
    cl_mem memory;
    host_recording *recording;
    clmla_status ended;
    char sentence[256];
} elsewhere;

static void *work_elsewhere(void *payload) {
    elsewhere *e = payload;
    host_recording *another = e->recording;
    enqueue_advance(e->queue, e->memory, 2, 1);
    e->ended = host_recording_end(another);
    snprintf(e->sentence, sizeof e->sentence, "%s", clmla_last_error());
    return NULL;
}

START_TEST(other_threads_are_not_recorded) {
    cl_command_queue queue = queue_make(0);
    cl_mem memory = number(1), other = number(20);
    pthread_t thread;
    host_recording recording;
    TEST_OK(host_recording_begin(&recording, host(), queue));
    enqueue_advance(queue, memory, 3, 1);
    elsewhere e = {.queue = queue, .memory = other, .recording = &recording};
    ck_assert_int_eq(pthread_create(&thread, NULL, work_elsewhere, &e), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(e.ended, CLMLA_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(e.sentence, "another thread"));
    ck_assert_uint_eq(number_of(queue, other), 41); // ran at once
    enqueue_advance(queue, memory, 5, 2);
    end(&recording, false);
    ck_assert_uint_eq(recording.count, 2);
    TEST_OK(host_recording_replay(&recording, 0, NULL, NULL));
    ck_assert_uint_eq(number_of(queue, memory), 22);
    ck_assert_uint_eq(number_of(queue, other), 41);
    host_recording_finish(&recording);
    clReleaseMemObject(memory);
    clReleaseMemObject(other);
    clReleaseCommandQueue(queue);
}
END_TEST

// --- refusals --------------------------------------------------------------------------------------------------------

typedef clmla_status (*wrong_use)(cl_command_queue queue, cl_mem memory);

static clmla_status wait_on_list(cl_command_queue queue, cl_mem memory) {
    host_chain chain;
    cl_int code;
    (void)memory;
    cl_event event = clCreateUserEvent(host()->cl, &code);
    TEST_CL(code);
    clmla_status status = host_chain_begin(&chain, host(), queue, 1, &event, false);
    TEST_CL(
        clSetUserEventStatus(event, CL_COMPLETE)); // nothing waits for it, but a driver may keep it until it is told
    clReleaseEvent(event);
    return status;
}

static clmla_status want_event(cl_command_queue queue, cl_mem memory) {
    host_chain chain;
    (void)memory;
    return host_chain_begin(&chain, host(), queue, 0, NULL, true);
}

static clmla_status take_event(cl_command_queue queue, cl_mem memory) {
    host_chain chain;
    cl_event event = NULL;
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, false));
    clmla_status status = host_chain_finish(&chain, advance(&chain, memory, 1, 1), &event);
    ck_assert_ptr_null(event);
    return status;
}

static clmla_status write(cl_command_queue queue, cl_mem memory) {
    static const cl_uint nine = 9;
    host_chain chain;
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, false));
    return host_chain_finish(&chain, host_chain_write(&chain, memory, 0, sizeof nine, &nine), NULL);
}

static clmla_status raise_barrier(cl_command_queue queue, cl_mem memory) {
    host_chain chain;
    (void)memory;
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, false));
    clmla_status status = host_chain_barrier(&chain);
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, NULL)); // even if nobody looked at the status
    return status;
}

static const struct {
    wrong_use use;
    const char *word;
} wrong_uses[] = {{wait_on_list, "wait lists belong to the replay"},
                  {want_event, "events come from the replay"},
                  {take_event, "events come from the replay"},
                  {write, "make this call between replays"},
                  {raise_barrier, "other libraries"}};

// Each refusal is answered once more at the end, and the recording cannot be replayed.
START_TEST(what_cannot_be_recorded_is_refused) {
    cl_command_queue queue = queue_make(0);
    cl_mem memory = number(6);
    host_recording recording;
    TEST_OK(host_recording_begin(&recording, host(), queue));
    enqueue_advance(queue, memory, 3, 1);
    refused(wrong_uses[_i].use(queue, memory), wrong_uses[_i].word);
    enqueue_advance(queue, memory, 3, 1);
    refused(host_recording_end(&recording), wrong_uses[_i].word);
    refused(host_recording_replay(&recording, 0, NULL, NULL), wrong_uses[_i].word);
    refused(host_recording_end(&recording), "not open");
    enqueue_advance(queue, memory, 2, 1); // the queue is an ordinary one again
    ck_assert_uint_eq(number_of(queue, memory), 13);
    host_recording_finish(&recording);
    clReleaseMemObject(memory);
    clReleaseCommandQueue(queue);
}
END_TEST

START_TEST(wrong_queues_and_moments) {
    cl_command_queue queue = queue_make(0);
    cl_mem memory = number(1);
    host_recording recording, second;
    clmla_context *other = NULL;
    refused(host_recording_begin(&recording, host(), NULL), "queue is NULL");
    if (test_device_get()->unordered)
        refused(host_recording_begin(&recording, host(), test_device_get()->unordered), "out-of-order");
    TEST_OK(clmla_context_create(&other, &(clmla_context_params){.device = test_device_get()->facts->name}));
    cl_command_queue foreign = test_device_queue(other, 0);
    refused(host_recording_begin(&recording, host(), foreign), "another context");
    clReleaseCommandQueue(foreign);
    clmla_context_destroy(&other);

    TEST_OK(host_recording_begin(&recording, host(), queue));
    refused(host_recording_begin(&second, host(), queue), "another recording");
    refused(host_recording_replay(&recording, 0, NULL, NULL), "not ended");
    enqueue_advance(queue, memory, 3, 1); // neither refusal was an enqueue: the recording is whole
    end(&recording, false);
    refused(host_recording_end(&recording), "not open");

    TEST_OK(host_recording_begin(&second, host(), queue));
    refused(host_recording_replay(&recording, 0, NULL, NULL), "another recording");
    refused(host_recording_end(&second), "another recording");
    host_recording_finish(&second);
    TEST_OK(host_recording_replay(&recording, 0, NULL, NULL));
    ck_assert_uint_eq(number_of(queue, memory), 4);

    TEST_OK(host_recording_begin(&second, host(), queue));
    enqueue_advance(queue, memory, 3, 1);
    host_recording_finish(&second); // open: what it kept is forgotten
    enqueue_advance(queue, memory, 2, 2);
    ck_assert_uint_eq(number_of(queue, memory), 10);
    host_recording_finish(&recording);
    clReleaseMemObject(memory);
    clReleaseCommandQueue(queue);
}
END_TEST

// Waits for events that are handed in later are the business of whoever replays.
START_TEST(later_waits_are_left_out) {
    cl_int code;
    cl_command_queue queue = queue_make(0);
    cl_mem memory = number(1);
    host_chain chain;
    host_recording recording;
    cl_event never = clCreateUserEvent(host()->cl, &code);
    TEST_CL(code);
    TEST_OK(host_recording_begin(&recording, host(), queue));
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, false));
    TEST_OK(host_chain_wait(&chain, never));
    TEST_OK(host_chain_finish(&chain, advance(&chain, memory, 3, 1), NULL));
    end(&recording, false);
    TEST_OK(host_recording_replay(&recording, 0, NULL, NULL));
    ck_assert_uint_eq(number_of(queue, memory), 4);
    host_recording_finish(&recording);
    clSetUserEventStatus(never, -1);
    clReleaseEvent(never);
    clReleaseMemObject(memory);
    clReleaseCommandQueue(queue);
}
END_TEST

START_TEST(failed_launches_fail_the_recording) {
    cl_command_queue queue = queue_make(0);
    cl_mem memory = number(1);
    size_t one = 1, zero = 0;
    host_chain chain;
    host_recording recording;
    TEST_OK(host_recording_begin(&recording, host(), queue));
    TEST_OK(host_chain_begin(&chain, host(), queue, 0, NULL, false));
    host_launch empty = host_launch_begin(host(), "test", &source, "", "advance");
    TEST_OK(host_launch_enqueue(&empty, &chain, 1, &zero, NULL)); // an empty grid is kept out
    host_launch launch = host_launch_begin(host(), "test", &source, "", "advance");
    host_arg_buffer(&launch, memory);
    host_arg_long(&launch, 1); // the kernel's is an int
    host_arg_int(&launch, 1);
    ck_assert_int_eq(host_launch_enqueue(&launch, &chain, 1, &one, NULL), CLMLA_E_OPENCL);
    ck_assert_int_eq(host_chain_finish(&chain, CLMLA_E_OPENCL, NULL), CLMLA_E_OPENCL);
    ck_assert_uint_eq(recording.count, 0);
    (void)host_fail(NULL, CLMLA_E_LIMIT, 0, "something else meanwhile");
    ck_assert_int_eq(host_recording_end(&recording), CLMLA_E_OPENCL);
    ck_assert_int_eq(clmla_last_cl_error(), CL_INVALID_ARG_SIZE);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "advance, argument 1"));
    refused(host_recording_replay(&recording, 0, NULL, NULL), "advance, argument 1");
    host_recording_finish(&recording);
    clReleaseMemObject(memory);
    clReleaseCommandQueue(queue);
}
END_TEST

// --- measuring -------------------------------------------------------------------------------------------------------

typedef struct times {
    pthread_mutex_t lock;
    int count;
    bool right;
} times;

static void take_time(void *payload, const char *operation, const char *kernel, uint64_t start, uint64_t finish) {
    times *t = payload;
    pthread_mutex_lock(&t->lock);
    t->count++;
    t->right = t->right && strcmp(operation, "test") == 0 && strcmp(kernel, "advance") == 0 && finish >= start;
    pthread_mutex_unlock(&t->lock);
}

static int count_of(times *t) {
    pthread_mutex_lock(&t->lock);
    int count = t->count;
    pthread_mutex_unlock(&t->lock);
    return count;
}

// Loop index 0: by a command buffer if there is one, of which nothing is reported.
START_TEST(plain_replays_report_their_kernels) {
    times t = {PTHREAD_MUTEX_INITIALIZER, 0, true};
    host_context context = *host(); // the same programs and recordings; only who is told differs
    context.profile = (clmla_profile){take_time, &t};
    cl_command_queue queue = queue_make(CL_QUEUE_PROFILING_ENABLE);
    cl_mem memory = number(1);
    host_chain chain;
    host_recording recording;
    TEST_OK(host_recording_begin(&recording, &context, queue));
    TEST_OK(host_chain_begin(&chain, &context, queue, 0, NULL, false));
    for (int i = 0; i < 3; i++) TEST_OK(advance(&chain, memory, 2, 1));
    TEST_OK(host_chain_finish(&chain, CLMLA_OK, NULL));
    end(&recording, _i);
    int expected = recording.buffer ? 0 : 6;
    ck_assert_int_eq(count_of(&t), 0);
    for (int i = 0; i < 2; i++) TEST_OK(host_recording_replay(&recording, 0, NULL, NULL));
    ck_assert_uint_eq(number_of(queue, memory), 127);
    for (int i = 0; i < 500 && count_of(&t) < expected; i++) nanosleep(&(struct timespec){0, 10000000}, NULL);
    ck_assert_int_eq(count_of(&t), expected);
    ck_assert(t.right);
    host_recording_finish(&recording);
    clReleaseMemObject(memory);
    clReleaseCommandQueue(queue);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, replays_keep_the_order, 0, 2);
    tcase_add_test(tcase, both_ways_give_the_same_bits);
    tcase_add_loop_test(tcase, replays_wait_and_tell, 0, 4);
    tcase_add_loop_test(tcase, the_end_waits_for_the_last_replay, 0, 2);
    tcase_add_loop_test(tcase, recorded_kernels_are_private, 0, 2);
    tcase_add_loop_test(tcase, two_recordings_at_once, 0, 2);
    tcase_add_test(tcase, other_threads_are_not_recorded);
    tcase_add_loop_test(tcase, what_cannot_be_recorded_is_refused, 0, sizeof wrong_uses / sizeof *wrong_uses);
    tcase_add_test(tcase, wrong_queues_and_moments);
    tcase_add_test(tcase, later_waits_are_left_out);
    tcase_add_test(tcase, failed_launches_fail_the_recording);
    tcase_add_loop_test(tcase, plain_replays_report_their_kernels, 0, 2);
}

int main(void) {
    return test_main("check_recording", add_tests);
}
