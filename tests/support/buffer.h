// SPDX-License-Identifier: Apache-2.0
// Device buffers with canaries on both sides and a host copy of what they start with.
#ifndef TEST_BUFFER_H
#define TEST_BUFFER_H

#include "tests/support/device.h"
#include "tests/support/random.h"

typedef struct test_buffer {
    clmla_buffer view; // what operations are given: never at offset 0, aligned to 8 bytes and no more
    size_t bytes;
    unsigned char *initial; // [bytes]
    unsigned char *found;   // [bytes] as last fetched
} test_buffer;

// Makes a buffer that starts with `data`; NULL = NaN in every format (f32, f16, bf16).
void test_buffer_make(test_buffer *out, size_t bytes, const void *data);
// Writes the initial contents and the canaries again. Blocks.
void test_buffer_reset(const test_buffer *buffer);
// Writes bytes that are no sensible data, so that a read before the real write shows. Blocks.
void test_buffer_spoil(const test_buffer *buffer);
// Reads it back into `found` and checks the canaries. Blocks.
const void *test_buffer_fetch(test_buffer *buffer);
// Fetches, and asserts that it holds what it started with.
void test_buffer_check_unchanged(test_buffer *buffer);
void test_buffer_free(test_buffer *buffer); // accepts a zeroed one

// Random floats: rows [rows][stride] with width used and NaN between. Made with data of the given mean and deviation.
void test_buffer_make_rows(test_buffer *out, test_random *random, size_t rows, size_t stride, size_t width, double mean,
                           double deviation);
static inline const float *test_buffer_floats(const test_buffer *buffer) {
    return (const float *)(const void *)buffer->initial;
}
static inline const float *test_buffer_found(const test_buffer *buffer) {
    return (const float *)(const void *)buffer->found;
}

// Four bytes of device memory: too small for anything. The program's own, not to be freed.
clmla_buffer test_buffer_tiny(void);

// A fresh host array of NaN, byte pattern as above; freed with free().
void *test_nan_bytes(size_t bytes);
void *test_allocate(size_t count, size_t size); // zeroed; asserts success; at least a byte

#endif
