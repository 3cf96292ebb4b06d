// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include <stdarg.h>
#include <stdio.h>

#define SENTENCE_MAX 1024

static _Thread_local struct {
    char sentence[SENTENCE_MAX];
    cl_int code;
} last;

const char *clmla_last_error(void) {
    return last.sentence;
}

int32_t clmla_last_cl_error(void) {
    return last.code;
}

static void write_line(const clmla_log *log, clmla_log_level level, const char *line) {
    if (log && log->callback && level <= log->level) log->callback(log->payload, level, line);
}

clmla_status host_fail(const clmla_log *log, clmla_status status, cl_int code, const char *format, ...) {
    char sentence[SENTENCE_MAX]; // apart from `last`, which may be among the arguments
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    snprintf(last.sentence, sizeof last.sentence, "%s", sentence);
    last.code = code;
    write_line(log, CLMLA_LOG_ERROR, last.sentence);
    return status;
}

clmla_status host_fail_cl(const clmla_log *log, const char *call, cl_int code, const char *format, ...) {
    char what[SENTENCE_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return host_fail(log, CLMLA_E_OPENCL, code, "%s (%s): %s (%d)", call, what, host_cl_name(code), (int)code);
}

void host_log(const clmla_log *log, clmla_log_level level, const char *format, ...) {
    if (!log || !log->callback || level > log->level) return;
    char line[2 * SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    write_line(log, level, line);
}

const char *host_cl_name(cl_int code) {
    switch (code) {
#define NAME(value)                                                                                                    \
    case value: return #value;
        NAME(CL_SUCCESS) NAME(CL_DEVICE_NOT_FOUND) NAME(CL_DEVICE_NOT_AVAILABLE) NAME(CL_COMPILER_NOT_AVAILABLE)
        NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE) NAME(CL_OUT_OF_RESOURCES) NAME(CL_OUT_OF_HOST_MEMORY)
        NAME(CL_PROFILING_INFO_NOT_AVAILABLE) NAME(CL_MEM_COPY_OVERLAP) NAME(CL_BUILD_PROGRAM_FAILURE)
        NAME(CL_MISALIGNED_SUB_BUFFER_OFFSET) NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
        NAME(CL_INVALID_VALUE) NAME(CL_INVALID_DEVICE_TYPE) NAME(CL_INVALID_PLATFORM) NAME(CL_INVALID_DEVICE)
        NAME(CL_INVALID_CONTEXT) NAME(CL_INVALID_QUEUE_PROPERTIES) NAME(CL_INVALID_COMMAND_QUEUE)
        NAME(CL_INVALID_HOST_PTR) NAME(CL_INVALID_MEM_OBJECT) NAME(CL_INVALID_BINARY) NAME(CL_INVALID_BUILD_OPTIONS)
        NAME(CL_INVALID_PROGRAM) NAME(CL_INVALID_PROGRAM_EXECUTABLE) NAME(CL_INVALID_KERNEL_NAME)
        NAME(CL_INVALID_KERNEL_DEFINITION) NAME(CL_INVALID_KERNEL) NAME(CL_INVALID_ARG_INDEX)
        NAME(CL_INVALID_ARG_VALUE) NAME(CL_INVALID_ARG_SIZE) NAME(CL_INVALID_KERNEL_ARGS)
        NAME(CL_INVALID_WORK_DIMENSION) NAME(CL_INVALID_WORK_GROUP_SIZE) NAME(CL_INVALID_WORK_ITEM_SIZE)
        NAME(CL_INVALID_GLOBAL_OFFSET) NAME(CL_INVALID_EVENT_WAIT_LIST) NAME(CL_INVALID_EVENT)
        NAME(CL_INVALID_OPERATION) NAME(CL_INVALID_BUFFER_SIZE) NAME(CL_INVALID_GLOBAL_WORK_SIZE)
        NAME(CL_INVALID_PROPERTY)
#undef NAME
    case -1001: return "CL_PLATFORM_NOT_FOUND_KHR";
    default: return "OpenCL error";
    }
}
