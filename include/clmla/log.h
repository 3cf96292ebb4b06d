// SPDX-License-Identifier: Apache-2.0
// Three callbacks through which the library speaks and allocates. All are optional; zeroed structs mean "none".
// The library keeps a copy of the struct, so only what `payload` points to must outlive the objects made with it.
#ifndef CLMLA_LOG_H
#define CLMLA_LOG_H

#include <clmla/api.h>
#include <stddef.h>
#include <stdint.h>

CLMLA_BEGIN

typedef enum clmla_log_level {
    CLMLA_LOG_ERROR = 0, // the sentence of every failed call made with a context
    CLMLA_LOG_WARNING,   // something was worked around: a cache entry discarded, a kernel variant refused at run time
    CLMLA_LOG_INFO,      // programs built, loaded or stored, with their times
    CLMLA_LOG_DEBUG      // one line for each choice made
} clmla_log_level;

// Receives one line (no trailing newline; a build log may hold newlines). May be called from any thread, including
// a driver's own; must not call back into the object that is logging.
typedef struct clmla_log {
    void (*callback)(void *payload, clmla_log_level level, const char *message);
    void *payload;
    clmla_log_level level; // lines above this level are not produced; 0 = errors alone
} clmla_log;

// Host memory for everything the library itself allocates. `allocate` returns memory aligned as malloc's, or NULL;
// `release` accepts what allocate returned, never NULL. Both NULL = malloc and free. Must be thread-safe if the
// objects made with it are used from several threads. (cJSON, used while a config or index is read, calls malloc.)
typedef struct clmla_allocator {
    void *(*allocate)(void *payload, size_t bytes);
    void (*release)(void *payload, void *memory);
    void *payload;
} clmla_allocator;

// Receives the device time of each kernel the library enqueued on a queue that has CL_QUEUE_PROFILING_ENABLE (those
// inside a replayed command buffer excepted, recording.h), once it has finished: the operation ("attend"), the variant
// and kernel ("attend_vector"), and the device's own clock in nanoseconds. Called from the driver's thread; must not
// call into OpenCL or clmla.
typedef struct clmla_profile {
    void (*callback)(void *payload, const char *operation, const char *kernel, uint64_t start_ns, uint64_t end_ns);
    void *payload;
} clmla_profile;

CLMLA_END

#endif
