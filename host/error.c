// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include <stdarg.h>
#include <stdio.h>

static _Thread_local host_last_failure last;

const char *clmla_last_error(void) {
    return last.sentence;
}

int32_t clmla_last_cl_error(void) {
    return last.code;
}

void host_last_failure_keep(host_last_failure *out) {
    *out = last;
}

void host_last_failure_restore(const host_last_failure *kept) {
    last = *kept;
}

static void write_line(const clmla_log *log, clmla_log_level level, const char *line) {
    if (log && log->callback && level <= log->level) log->callback(log->payload, level, line);
}

clmla_status host_fail(const clmla_log *log, clmla_status status, cl_int code, const char *format, ...) {
    char sentence[HOST_SENTENCE_MAX]; // apart from `last`, which may be among the arguments
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    // Names come from files and callers: whatever they hold, a sentence stays one line.
    for (char *at = sentence; *at; at++)
        if ((unsigned char)*at < ' ') *at = ' ';
    snprintf(last.sentence, sizeof last.sentence, "%s", sentence);
    last.code = code;
    write_line(log, CLMLA_LOG_ERROR, last.sentence);
    return status;
}

clmla_status host_fail_cl(const clmla_log *log, const char *call, cl_int code, const char *format, ...) {
    char what[HOST_SENTENCE_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return host_fail(log, CLMLA_E_OPENCL, code, "%s (%s): %s (%d)", call, what, host_cl_name(code), (int)code);
}

void host_log(const clmla_log *log, clmla_log_level level, const char *format, ...) {
    if (!log || !log->callback || level > log->level) return;
    char line[2 * HOST_SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    write_line(log, level, line);
}

#define CODE(name)                                                                                                     \
    { name, #name }
// clang-format off
static const struct {
    cl_int code;
    const char *name;
} codes[] = {
    CODE(CL_SUCCESS), CODE(CL_DEVICE_NOT_FOUND), CODE(CL_DEVICE_NOT_AVAILABLE), CODE(CL_COMPILER_NOT_AVAILABLE),
    CODE(CL_MEM_OBJECT_ALLOCATION_FAILURE), CODE(CL_OUT_OF_RESOURCES), CODE(CL_OUT_OF_HOST_MEMORY),
    CODE(CL_PROFILING_INFO_NOT_AVAILABLE), CODE(CL_MEM_COPY_OVERLAP), CODE(CL_BUILD_PROGRAM_FAILURE),
    CODE(CL_MISALIGNED_SUB_BUFFER_OFFSET), CODE(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST), CODE(CL_INVALID_VALUE),
    CODE(CL_INVALID_DEVICE_TYPE), CODE(CL_INVALID_PLATFORM), CODE(CL_INVALID_DEVICE), CODE(CL_INVALID_CONTEXT),
    CODE(CL_INVALID_QUEUE_PROPERTIES), CODE(CL_INVALID_COMMAND_QUEUE), CODE(CL_INVALID_HOST_PTR),
    CODE(CL_INVALID_MEM_OBJECT), CODE(CL_INVALID_BINARY), CODE(CL_INVALID_BUILD_OPTIONS), CODE(CL_INVALID_PROGRAM),
    CODE(CL_INVALID_PROGRAM_EXECUTABLE), CODE(CL_INVALID_KERNEL_NAME), CODE(CL_INVALID_KERNEL_DEFINITION),
    CODE(CL_INVALID_KERNEL), CODE(CL_INVALID_ARG_INDEX), CODE(CL_INVALID_ARG_VALUE), CODE(CL_INVALID_ARG_SIZE),
    CODE(CL_INVALID_KERNEL_ARGS), CODE(CL_INVALID_WORK_DIMENSION), CODE(CL_INVALID_WORK_GROUP_SIZE),
    CODE(CL_INVALID_WORK_ITEM_SIZE), CODE(CL_INVALID_GLOBAL_OFFSET), CODE(CL_INVALID_EVENT_WAIT_LIST),
    CODE(CL_INVALID_EVENT), CODE(CL_INVALID_OPERATION), CODE(CL_INVALID_BUFFER_SIZE),
    CODE(CL_INVALID_GLOBAL_WORK_SIZE), CODE(CL_INVALID_PROPERTY),
    // Of cl_ext.h.
    {-1001, "CL_PLATFORM_NOT_FOUND_KHR"}, {-1138, "CL_INVALID_COMMAND_BUFFER_KHR"},
    {-1139, "CL_INVALID_SYNC_POINT_WAIT_LIST_KHR"}, {-1140, "CL_INCOMPATIBLE_COMMAND_QUEUE_KHR"},
};
// clang-format on

bool host_is_shortage(clmla_status status) {
    cl_int code = clmla_last_cl_error();
    return status == CLMLA_E_MEMORY ||
           (status == CLMLA_E_OPENCL && (code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY));
}

const char *host_cl_name(cl_int code) {
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == code) return codes[i].name;
    return "OpenCL error";
}
