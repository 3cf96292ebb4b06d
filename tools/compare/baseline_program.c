// SPDX-License-Identifier: Apache-2.0
#include "baseline_program.h"
#include "baseline_tile_text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// With what the compiler said, as far as a sentence holds it.
static bool build_failed(cl_program program, cl_device_id device, cl_int code, failure *failure) {
    char log[4096] = "";
    clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    return failure_set(failure, "building a baseline attention failed with OpenCL code %d: %.800s", (int)code, log);
}

bool baseline_build(cl_program *out, const session *session, const char *const *lines, cl_uint line_count,
                    const char *options, failure *failure) {
    cl_device_id device = clmla_context_device(session->context);
    cl_uint total = BASELINE_TILE_TEXT_LINES + line_count;
    const char **text = malloc(total * sizeof *text);
    if (!text) return failure_memory(failure);
    memcpy(text, baseline_tile_text, sizeof baseline_tile_text);
    memcpy(text + BASELINE_TILE_TEXT_LINES, lines, line_count * sizeof *lines);
    cl_int code;
    char all[512];
    int registers = clmla_context_facts(session->context)->float_vector_width >= 16 ? 32 : 16;
    snprintf(all, sizeof all, "-w -DVECTOR_REGISTERS=%d %s", registers, options);
    *out = clCreateProgramWithSource(clmla_context_opencl(session->context), total, text, NULL, &code);
    free(text);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clCreateProgramWithSource", code);
    code = clBuildProgram(*out, 1, &device, all, NULL, NULL);
    return code == CL_SUCCESS || build_failed(*out, device, code, failure);
}

bool baseline_kernel(cl_kernel *out, cl_program program, const char *name, failure *failure) {
    cl_int code;
    *out = clCreateKernel(program, name, &code);
    return code == CL_SUCCESS || failure_opencl(failure, "clCreateKernel", code);
}

const char *baseline_type_option(clmla_type type) {
    switch (type) {
    case CLMLA_TYPE_F32:
        return "-DKEYS_F32";
    case CLMLA_TYPE_F16:
        return "-DKEYS_F16";
    case CLMLA_TYPE_BF16:
        return "-DKEYS_BF16";
    default:
        return NULL;
    }
}

bool baseline_launch(const session *session, cl_kernel kernel, const size_t global[3],
                     const baseline_argument *arguments, size_t count, failure *failure) {
    static const size_t local[3] = {1, 1, 1};
    cl_int code = CL_SUCCESS;
    for (size_t i = 0; i < count && code == CL_SUCCESS; i++)
        code = clSetKernelArg(kernel, (cl_uint)i, arguments[i].bytes, arguments[i].value);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clSetKernelArg", code);
    code = clEnqueueNDRangeKernel(session->queue, kernel, 3, NULL, global, local, 0, NULL, NULL);
    return code == CL_SUCCESS || failure_opencl(failure, "clEnqueueNDRangeKernel", code);
}

bool baseline_pack(const session *session, cl_kernel pack, cl_mem rows, cl_mem packed, uint32_t sets,
                   uint32_t row_count, uint32_t width, float factor, failure *failure) {
    cl_int count = (cl_int)row_count, columns = (cl_int)width;
    const baseline_argument arguments[] = {BASELINE_ARGUMENT(rows), BASELINE_ARGUMENT(packed), BASELINE_ARGUMENT(count),
                                           BASELINE_ARGUMENT(columns), BASELINE_ARGUMENT(factor)};
    const size_t global[3] = {width, (row_count + 15) / 16, sets};
    return baseline_launch(session, pack, global, arguments, sizeof arguments / sizeof arguments[0], failure);
}

void baseline_release(cl_mem *memory) {
    if (*memory) clReleaseMemObject(*memory);
    *memory = NULL;
}

void baseline_release_kernel(cl_kernel *kernel) {
    if (*kernel) clReleaseKernel(*kernel);
    *kernel = NULL;
}
