// SPDX-License-Identifier: Apache-2.0
#include "tests/support/buffer.h"
#include <stdlib.h>
#include <string.h>

// 66 words: views are then aligned to 8 bytes and to nothing larger.
#define CANARY_WORDS 66u
#define CANARY_BYTES (CANARY_WORDS * sizeof(uint32_t))

// Distinct NaNs: a kernel that reads one shows it in its result.
static uint32_t canary_word(uint32_t i) {
    return 0xffc5a000u + i;
}

void *test_allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size ? size : 1);
    TEST_ASSERT(memory != NULL, "%zu x %zu bytes", count, size);
    return memory;
}

void *test_nan_bytes(size_t bytes) {
    unsigned char *out = test_allocate(bytes, 1);
    for (size_t i = 0; i < bytes; i++) out[i] = i % 2 ? 0x7f : 0xff; // 0x7fff, 0x7fff7fff: NaN as f16, bf16 and f32
    return out;
}

static cl_mem make_memory(size_t bytes) {
    cl_int code;
    cl_mem memory = clCreateBuffer(test_device_get()->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    TEST_CL(code);
    return memory;
}

void test_buffer_make(test_buffer *out, size_t bytes, const void *data) {
    *out = (test_buffer){.bytes = bytes};
    out->view.memory = make_memory(bytes + 2 * CANARY_BYTES);
    out->view.offset = CANARY_BYTES;
    out->initial = test_nan_bytes(bytes);
    if (data) memcpy(out->initial, data, bytes);
    out->found = test_allocate(bytes, 1);
    test_buffer_reset(out);
}

static void write_all(const test_buffer *buffer, const unsigned char *contents) {
    uint32_t canary[CANARY_WORDS];
    cl_command_queue queue = test_device_get()->queue;
    for (uint32_t i = 0; i < CANARY_WORDS; i++) canary[i] = canary_word(i);
    TEST_CL(clEnqueueWriteBuffer(queue, buffer->view.memory, CL_TRUE, 0, CANARY_BYTES, canary, 0, NULL, NULL));
    TEST_CL(clEnqueueWriteBuffer(queue, buffer->view.memory, CL_TRUE, CANARY_BYTES + buffer->bytes, CANARY_BYTES,
                                 canary, 0, NULL, NULL));
    if (buffer->bytes > 0)
        TEST_CL(clEnqueueWriteBuffer(queue, buffer->view.memory, CL_TRUE, CANARY_BYTES, buffer->bytes, contents, 0,
                                     NULL, NULL));
    // A blocking write may return when it has copied the host's bytes, before the device's memory holds them (Intel's
    // CPU runtime does so): another queue must not start earlier.
    TEST_CL(clFinish(queue));
}

void test_buffer_reset(const test_buffer *buffer) {
    write_all(buffer, buffer->initial);
}

void test_buffer_spoil(const test_buffer *buffer) {
    unsigned char *spoilt = test_allocate(buffer->bytes, 1);
    memset(spoilt, 0x3f, buffer->bytes); // 0.747 as f32: plausible, and wrong
    write_all(buffer, spoilt);
    free(spoilt);
}

static void check_canary(const test_buffer *buffer, size_t offset, const char *where) {
    uint32_t canary[CANARY_WORDS];
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, buffer->view.memory, CL_TRUE, offset, CANARY_BYTES, canary, 0,
                                NULL, NULL));
    for (uint32_t i = 0; i < CANARY_WORDS; i++)
        TEST_ASSERT(canary[i] == canary_word(i), "word %u of the canary %s a buffer of %zu bytes is 0x%08x", i, where,
                    buffer->bytes, canary[i]);
}

const void *test_buffer_fetch(test_buffer *buffer) {
    check_canary(buffer, 0, "before");
    check_canary(buffer, CANARY_BYTES + buffer->bytes, "after");
    if (buffer->bytes == 0) return buffer->found;
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, buffer->view.memory, CL_TRUE, CANARY_BYTES, buffer->bytes,
                                buffer->found, 0, NULL, NULL));
    return buffer->found;
}

void test_buffer_check_unchanged(test_buffer *buffer) {
    test_buffer_fetch(buffer);
    for (size_t i = 0; i < buffer->bytes; i++)
        TEST_ASSERT(buffer->found[i] == buffer->initial[i], "byte %zu of %zu changed from 0x%02x to 0x%02x", i,
                    buffer->bytes, buffer->initial[i], buffer->found[i]);
}

void test_buffer_make_rows(test_buffer *out, test_random *random, size_t rows, size_t stride, size_t width, double mean,
                           double deviation) {
    float *values = test_nan_bytes(rows * stride * sizeof *values);
    for (size_t r = 0; r < rows; r++) test_random_fill(random, values + r * stride, width, mean, deviation);
    test_buffer_make(out, rows * stride * sizeof *values, values);
    free(values);
}

clmla_buffer test_buffer_tiny(void) {
    return (clmla_buffer){test_device_get()->tiny, 0};
}

void test_buffer_free(test_buffer *buffer) {
    if (buffer->view.memory) clReleaseMemObject(buffer->view.memory);
    free(buffer->initial);
    free(buffer->found);
    *buffer = (test_buffer){0};
}
