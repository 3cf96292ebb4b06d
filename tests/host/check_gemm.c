// SPDX-License-Identifier: Apache-2.0
// Dense products by CLBlast against a double loop: odd shapes, offsets, strides, a chain's waits and events. Without
// CLBlast, that the library says so.
#include "host/gemm.h"
#include "lib/context.h"
#include "tests/support/device.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PADDING 7        // floats before and after each matrix
#define CANARY -12345.0f // where a product must not write

typedef struct shape {
    size_t rows, outputs, inputs;
    size_t input_gap, weights_gap, output_gap; // unused floats after each row
} shape;

typedef struct matrix {
    size_t count, stride; // floats, both paddings included
    float *values;
    cl_mem memory;
} matrix;

static host_context *host(void) {
    return &((clmla_context *)(uintptr_t)test_device_get()->context)->host;
}

static matrix make(size_t rows, size_t columns, size_t gap, int seed) {
    cl_int code;
    matrix m = {.count = rows * (columns + gap) + 2 * PADDING, .stride = columns + gap};
    m.values = calloc(m.count, sizeof *m.values);
    ck_assert_ptr_nonnull(m.values);
    for (size_t i = 0; i < m.count; i++)
        m.values[i] = seed ? (float)((i * 7 + (size_t)seed * 5) % 23) / 16.0f - 0.7f : CANARY;
    m.memory = clCreateBuffer(host()->cl, CL_MEM_COPY_HOST_PTR, m.count * sizeof *m.values, m.values, &code);
    TEST_CL(code);
    return m;
}

static clmla_buffer place(const matrix *m) {
    return (clmla_buffer){m->memory, PADDING * sizeof(float)};
}

static void give_back(matrix *m) {
    clReleaseMemObject(m->memory);
    free(m->values);
}

// Whether element i of the output lies inside the product; its row and column.
static bool inside(const matrix *output, const shape *s, size_t i, size_t *row, size_t *column) {
    if (i < PADDING) return false;
    *row = (i - PADDING) / output->stride;
    *column = (i - PADDING) % output->stride;
    return *row < s->rows && *column < s->outputs;
}

static void compare(const shape *s, const matrix *input, const matrix *weights, const matrix *output) {
    for (size_t i = 0, t, r; i < output->count; i++) {
        double sum = 0.0, magnitude = 0.0, found = (double)output->values[i];
        if (!inside(output, s, i, &t, &r)) {
            ck_assert_msg(found == (double)CANARY, "%zu x %zu x %zu: element %zu was written", s->rows, s->outputs,
                          s->inputs, i);
            continue;
        }
        for (size_t c = 0; c < s->inputs; c++) {
            double term = (double)input->values[PADDING + t * input->stride + c] *
                          (double)weights->values[PADDING + r * weights->stride + c];
            sum += term;
            magnitude += fabs(term);
        }
        // The bound of a float sum in any order.
        double bound = (double)(s->inputs + 1) * (double)FLT_EPSILON * magnitude;
        ck_assert_msg(fabs(found - sum) <= bound, "%zu x %zu x %zu [%zu][%zu]: %g, expected %g", s->rows, s->outputs,
                      s->inputs, t, r, found, sum);
    }
}

typedef struct scene {
    const shape *shape;
    matrix input, weights, output;
    host_gemm product;
} scene;

static scene scene_make(const shape *s) {
    scene made = {s,
                  make(s->rows, s->inputs, s->input_gap, 1),
                  make(s->outputs, s->inputs, s->weights_gap, 2),
                  make(s->rows, s->outputs, s->output_gap, 0),
                  {0}};
    made.product = (host_gemm){.rows = s->rows,
                               .outputs = s->outputs,
                               .inputs = s->inputs,
                               .input = place(&made.input),
                               .weights = place(&made.weights),
                               .output = place(&made.output),
                               .input_stride = made.input.stride,
                               .weights_stride = made.weights.stride,
                               .output_stride = made.output.stride};
    return made;
}

static cl_event enqueue_behind(const scene *s, cl_command_queue queue, const cl_event *gate) {
    host_chain chain;
    cl_event done = NULL;
    TEST_OK(host_chain_begin(&chain, host(), queue, gate ? 1 : 0, gate, true));
    TEST_OK(host_chain_finish(&chain, host_gemm_enqueue(&s->product, &chain), &done));
    return done;
}

static bool is_complete(cl_event event) {
    cl_int state;
    TEST_CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    return state == CL_COMPLETE;
}

// Waits for the product, compares it and gives everything back.
static void scene_end(scene *s, cl_command_queue queue, cl_event done) {
    TEST_CL(clWaitForEvents(1, &done));
    TEST_CL(clEnqueueReadBuffer(queue, s->output.memory, CL_TRUE, 0, s->output.count * sizeof(float), s->output.values,
                                0, NULL, NULL));
    compare(s->shape, &s->input, &s->weights, &s->output);
    clReleaseEvent(done);
    give_back(&s->input);
    give_back(&s->weights);
    give_back(&s->output);
}

static cl_event gate_make(void) {
    cl_int code;
    cl_event gate = clCreateUserEvent(host()->cl, &code);
    TEST_CL(code);
    return gate;
}

// Behind a gate: nothing is written before it opens, all of it before the chain's event is complete.
static void check_product(cl_command_queue queue, const shape *s) {
    scene of = scene_make(s);
    cl_event gate = gate_make(), done = enqueue_behind(&of, queue, &gate);
    ck_assert(!is_complete(done));
    TEST_CL(clSetUserEventStatus(gate, CL_COMPLETE));
    scene_end(&of, queue, done);
    clReleaseEvent(gate);
}

// What products share ties no queue to another: one behind a closed gate lets one on another queue pass, and a third
// behind itself keeps its place.
START_TEST(products_of_two_queues) {
    const shape held = {64, 96, 128, 0, 0, 0}, passing = {33, 17, 40, 3, 1, 2}, larger = {70, 130, 140, 1, 0, 0};
    cl_command_queue queue = test_device_get()->queue;
    cl_int code;
    cl_command_queue other = clCreateCommandQueue(host()->cl, host()->device, 0, &code);
    TEST_CL(code);
    scene first = scene_make(&held), second = scene_make(&passing), third = scene_make(&larger);
    cl_event gate = gate_make(), first_done = enqueue_behind(&first, queue, &gate);
    cl_event third_done = enqueue_behind(&third, queue, NULL);
    scene_end(&second, other, enqueue_behind(&second, other, NULL));
    ck_assert(!is_complete(first_done));
    TEST_CL(clSetUserEventStatus(gate, CL_COMPLETE));
    scene_end(&first, queue, first_done);
    scene_end(&third, queue, third_done);
    clReleaseEvent(gate);
    clReleaseCommandQueue(other);
}
END_TEST

START_TEST(products) {
    const shape shapes[] = {
        {1, 1, 1, 0, 0, 0}, {33, 17, 40, 3, 1, 2}, {5, 70, 31, 0, 5, 0}, {64, 96, 128, 0, 0, 0}, {2, 3, 257, 1, 0, 9},
    };
    const test_device *device = test_device_get();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_product(device->queue, &shapes[i]);
        if (device->unordered) check_product(device->unordered, &shapes[i]);
    }
}
END_TEST

// What CLBlast refuses comes back as a failure, and the chain can be ended.
START_TEST(refused_products) {
    host_chain chain;
    cl_event done = NULL;
    matrix small = make(1, 1, 0, 1);
    host_gemm product = {9, 9, 9, place(&small), place(&small), place(&small), 9, 9, 9};
    TEST_OK(host_chain_begin(&chain, host(), test_device_get()->queue, 0, NULL, true));
    ck_assert_int_eq(host_chain_finish(&chain, host_gemm_enqueue(&product, &chain), &done), CLMLA_E_OPENCL);
    ck_assert_ptr_null(done);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "9 x 9 x 9"));
    give_back(&small);
}
END_TEST

START_TEST(no_products) {
    host_chain chain = {.context = host()};
    ck_assert_int_eq(host_gemm_enqueue(&(host_gemm){0}, &chain), CLMLA_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "CLBlast"));
}
END_TEST

static void add_tests(TCase *tcase) {
    if (host_gemm_available()) {
        tcase_add_test(tcase, products);
        tcase_add_test(tcase, products_of_two_queues);
        tcase_add_test(tcase, refused_products);
    } else {
        tcase_add_test(tcase, no_products);
    }
}

int main(void) {
    return test_main("check_gemm", add_tests);
}
