// SPDX-License-Identifier: Apache-2.0
// Host memory through the caller's allocator, and device buffers with their sizes checked.
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <clmla/log.h>
#include <clmla/opencl.h>
#include <clmla/status.h>
#include <stdbool.h>
#include <stddef.h>

struct host_context;

// Zeroed memory for count elements of size bytes, or NULL (also when count·size overflows; count 0 gives a valid
// pointer). allocator may be NULL or zeroed = malloc. Release with host_release and the same allocator; NULL is
// accepted.
void *host_allocate(const clmla_allocator *allocator, size_t count, size_t size);
void host_release(const clmla_allocator *allocator, void *memory);
// A copy of a string. NULL when out of memory.
char *host_copy_string(const clmla_allocator *allocator, const char *text);

// *out = a * b or a + b; false when it does not fit 64 bits.
bool host_multiply(uint64_t *out, uint64_t a, uint64_t b);
bool host_add(uint64_t *out, uint64_t a, uint64_t b);

// Makes a device buffer of at least one byte. `what` names it in the sentence. When `data` is not NULL the buffer
// starts with a copy of it (bytes long). Errors: CLMLA_E_LIMIT (over CL_DEVICE_MAX_MEM_ALLOC_SIZE, both figures named),
// CLMLA_E_OPENCL.
clmla_status host_buffer_create(cl_mem *out, struct host_context *context, uint64_t bytes, const void *data,
                                const char *what);
// The same for what stays and is read again and again, weights and cached rows: a CPU's buffer of 4 MiB and more is of
// large pages where the system has them for who asks. With pages of 4 KiB what exceeds the caches waits for its
// addresses, too. Blocks, by a queue of its own: not for what grows while steps are enqueued. On errors *out is NULL or
// as it was.
clmla_status host_buffer_create_lasting(cl_mem *out, struct host_context *context, uint64_t bytes, const void *data,
                                        const char *what);
// Releases and sets NULL; accepts NULL.
void host_buffer_release(struct host_context *context, cl_mem *buffer);

// Checks that `bytes` bytes lie inside buffer.memory from buffer.offset on, that the offset is a multiple of `align`,
// and that the memory belongs to the context. bytes 0 needs no memory at all. Errors: CLMLA_E_ARGUMENT, e.g. "attend:
// query: 4608 bytes needed from offset 0, the buffer has 2304".
clmla_status host_buffer_check(struct host_context *context, clmla_buffer buffer, uint64_t bytes, uint32_t align,
                               const char *operation, const char *what);

#endif
