// SPDX-License-Identifier: Apache-2.0
// How failures are reported inside the library: a status travels up, the sentence is set once, where it is known.
// The sentence and the driver's code live in thread-local storage, the library's only state outside objects.
#ifndef HOST_ERROR_H
#define HOST_ERROR_H

#include <clmla/log.h>
#include <clmla/opencl.h>
#include <clmla/status.h>
#include <stdbool.h>

#if defined(__GNUC__) && !defined(_WIN32)
#define HOST_PRINTF(text, first) __attribute__((format(printf, text, first)))
#elif defined(__GNUC__)
#define HOST_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#else
#define HOST_PRINTF(text, first)
#endif

// Sets the thread's sentence and OpenCL code, logs the sentence at CLMLA_LOG_ERROR if log has a callback, returns
// status. log may be NULL. Sentences are one line, impersonal, without a full stop, and name what and where.
clmla_status host_fail(const clmla_log *log, clmla_status status, cl_int code, const char *format, ...)
    HOST_PRINTF(4, 5);

// CLMLA_E_OPENCL with "<call> (<what the format says>): CL_OUT_OF_RESOURCES (-5)".
clmla_status host_fail_cl(const clmla_log *log, const char *call, cl_int code, const char *format, ...)
    HOST_PRINTF(4, 5);

// What the thread was told last, kept over something that may fail without its caller failing: a trial, say. A success
// leaves the sentence as it was (clmla/status.h).
#define HOST_SENTENCE_MAX 1024
typedef struct host_last_failure {
    char sentence[HOST_SENTENCE_MAX];
    cl_int code;
} host_last_failure;
void host_last_failure_keep(host_last_failure *out);
void host_last_failure_restore(const host_last_failure *kept);

// Writes a log line if the log's level lets it through. log may be NULL.
void host_log(const clmla_log *log, clmla_log_level level, const char *format, ...) HOST_PRINTF(3, 4);

// "CL_OUT_OF_RESOURCES", or "OpenCL error" for a code without a name.
const char *host_cl_name(cl_int code);

// Logs the sentence of a failure that came from a function without a log; passes the status through.
static inline clmla_status host_log_failure(const clmla_log *log, clmla_status status) {
    if (status != CLMLA_OK) host_log(log, CLMLA_LOG_ERROR, "%s", clmla_last_error());
    return status;
}

// Whether the thread's last failure, which gave `status`, was for want of memory on host or device: what was tried then
// may go right another time.
bool host_is_shortage(clmla_status status);

// Inside a function with `clmla_status status = CLMLA_OK;` and a label `out:`.
#define STATUS_OR_OUT(expression)                                                                                      \
    do {                                                                                                               \
        status = (expression);                                                                                         \
        if (status != CLMLA_OK) goto out;                                                                              \
    } while (0)

// Inside a function without anything to clean up.
#define STATUS_OR_RETURN(expression)                                                                                   \
    do {                                                                                                               \
        clmla_status status_or_return = (expression);                                                                  \
        if (status_or_return != CLMLA_OK) return status_or_return;                                                     \
    } while (0)

#endif
