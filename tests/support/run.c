// SPDX-License-Identifier: Apache-2.0
#include "tests/support/run.h"
#include <stdlib.h>
#include <string.h>

static void run_once(const test_run *run) {
    const test_device *device = test_device_get();
    for (int i = 0; run->outputs[i]; i++) test_buffer_reset(run->outputs[i]);
    cl_event event = NULL;
    TEST_OK(run->enqueue(run->payload, device->queue, 0, NULL, &event));
    TEST_ASSERT(event != NULL, "no event came out");
    TEST_CL(clWaitForEvents(1, &event));
    TEST_CL(clReleaseEvent(event));
    for (int i = 0; run->outputs[i]; i++) test_buffer_fetch(run->outputs[i]);
}

static void check_bits(const unsigned char *expected, const test_buffer *output, int index, const char *when) {
    for (size_t i = 0; i < output->bytes; i++)
        TEST_ASSERT(expected[i] == output->found[i], "output %d, byte %zu of %zu: 0x%02x, %s 0x%02x", index, i,
                    output->bytes, expected[i], when, output->found[i]);
}

void test_run_twice(const test_run *run) {
    unsigned char *first[4] = {NULL};
    run_once(run);
    for (int i = 0; run->outputs[i]; i++) {
        first[i] = test_allocate(run->outputs[i]->bytes, 1);
        memcpy(first[i], run->outputs[i]->found, run->outputs[i]->bytes);
    }
    run_once(run);
    for (int i = 0; run->outputs[i]; i++) {
        check_bits(first[i], run->outputs[i], i, "in a second run");
        free(first[i]);
    }
    for (int i = 0; run->inputs[i]; i++) test_buffer_check_unchanged(run->inputs[i]);
}

// The writes of all inputs, behind `gate`.
static int write_inputs(const test_run *run, cl_command_queue queue, cl_event gate, cl_event *written) {
    int count = 0;
    for (int i = 0; run->inputs[i]; i++) {
        const test_buffer *input = run->inputs[i];
        if (input->bytes == 0) continue;
        TEST_CL(clEnqueueWriteBuffer(queue, input->view.memory, CL_FALSE, input->view.offset, input->bytes,
                                     input->initial, 1, &gate, &written[count++]));
    }
    return count;
}

static void check_pending(cl_event event) {
    cl_int state;
    TEST_CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    TEST_ASSERT(state != CL_COMPLETE, "it finished before the event it waits for");
}

static void run_behind_gate(const test_run *run, cl_command_queue queue) {
    unsigned char *expected[4] = {NULL};
    cl_event written[17], done = NULL, fetched;
    cl_int code;
    for (int i = 0; run->inputs[i]; i++) test_buffer_spoil(run->inputs[i]);
    for (int i = 0; run->outputs[i]; i++) {
        expected[i] = test_allocate(run->outputs[i]->bytes, 1);
        memcpy(expected[i], run->outputs[i]->found, run->outputs[i]->bytes);
        test_buffer_reset(run->outputs[i]);
    }
    cl_event gate = clCreateUserEvent(test_device_get()->cl, &code);
    TEST_CL(code);
    int count = write_inputs(run, queue, gate, written);
    written[count++] = gate;
    TEST_OK(run->enqueue(run->payload, queue, (cl_uint)count, written, &done));
    TEST_ASSERT(done != NULL, "no event came out");
    TEST_CL(clFlush(queue));
    check_pending(done);
    TEST_CL(clSetUserEventStatus(gate, CL_COMPLETE));
    for (int i = 0; run->outputs[i]; i++) {
        test_buffer *output = run->outputs[i];
        if (output->bytes == 0) continue;
        TEST_CL(clEnqueueReadBuffer(queue, output->view.memory, CL_FALSE, output->view.offset, output->bytes,
                                    output->found, 1, &done, &fetched));
        TEST_CL(clWaitForEvents(1, &fetched));
        TEST_CL(clReleaseEvent(fetched));
        check_bits(expected[i], output, i, "behind events");
    }
    TEST_CL(clWaitForEvents(1, &done));
    TEST_CL(clFinish(queue));
    for (int i = 0; i < count; i++) TEST_CL(clReleaseEvent(written[i]));
    TEST_CL(clReleaseEvent(done));
    for (int i = 0; run->outputs[i]; i++) {
        test_buffer_fetch(run->outputs[i]);
        free(expected[i]);
    }
}

void test_run_gated(const test_run *run) {
    const test_device *device = test_device_get();
    if (device->facts->is_interpreter) return;
    run_behind_gate(run, device->queue);
    if (device->unordered) run_behind_gate(run, device->unordered);
}

void test_run_events(const test_run *run) {
    if (test_device_get()->facts->is_interpreter) return;
    test_run_twice(run);
    test_run_gated(run);
}

void test_run_nothing(const test_run *run) {
    test_run_twice(run);
    for (int i = 0; run->outputs[i]; i++) test_buffer_check_unchanged(run->outputs[i]);
    test_run_gated(run);
}

static void check_refused(const test_run *run, cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                          clmla_status expected, const char *word) {
    cl_event untouched = (cl_event)(void *)run, event = untouched;
    for (int i = 0; run->outputs[i]; i++) test_buffer_reset(run->outputs[i]);
    clmla_status status = run->enqueue(run->payload, queue, wait_count, wait, &event);
    TEST_ASSERT(status == expected, "%s instead of %s that says '%s' (%s)", clmla_status_name(status),
                clmla_status_name(expected), word, status == CLMLA_OK ? "" : clmla_last_error());
    TEST_ASSERT(strstr(clmla_last_error(), word), "'%s' is not in the sentence: %s", word, clmla_last_error());
    TEST_ASSERT(!strchr(clmla_last_error(), '\n'), "more than one line: %s", clmla_last_error());
    TEST_ASSERT(event == untouched, "an event was made by a call that was refused: %s", word);
    TEST_CL(clFinish(test_device_get()->queue));
    for (int i = 0; run->outputs[i]; i++) test_buffer_check_unchanged(run->outputs[i]);
}

void test_run_refused(const test_run *run, const char *word) {
    check_refused(run, test_device_get()->queue, 0, NULL, CLMLA_E_ARGUMENT, word);
}

void test_run_limited(const test_run *run, const char *word) {
    check_refused(run, test_device_get()->queue, 0, NULL, CLMLA_E_LIMIT, word);
}

void test_run_wrong_waits(const test_run *run) {
    cl_event none = NULL;
    cl_int code;
    cl_event done = clCreateUserEvent(test_device_get()->cl, &code);
    TEST_CL(code);
    TEST_CL(clSetUserEventStatus(done, CL_COMPLETE));
    check_refused(run, NULL, 0, NULL, CLMLA_E_ARGUMENT, "queue");
    check_refused(run, test_device_get()->queue, 1, NULL, CLMLA_E_ARGUMENT, "wait");
    check_refused(run, test_device_get()->queue, 0, &done, CLMLA_E_ARGUMENT, "wait");
    check_refused(run, test_device_get()->queue, 1, &none, CLMLA_E_ARGUMENT, "wait");
    TEST_CL(clReleaseEvent(done));
}
