// SPDX-License-Identifier: Apache-2.0
#include "baseline_program.h"
#include "baseline_group.h"
#include "baseline_group_text.h"
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

// For CPUs' kernels alone; those for GPUs know their group.
static void common_options(char *out, size_t size, const clmla_device_facts *facts) {
    int registers = facts->float_vector_width >= 16 ? 32 : 16;
    if (baseline_group_items(facts))
        snprintf(out, size, "-w%s", facts->has_half ? " -DHAS_HALF" : "");
    else
        snprintf(out, size, "-w -DVECTOR_REGISTERS=%d", registers);
}

bool baseline_build(cl_program *out, const session *session, baseline_text text, const char *options,
                    failure *failure) {
    const clmla_device_facts *facts = clmla_context_facts(session->context);
    const baseline_text first = baseline_group_items(facts)
                                    ? (baseline_text){baseline_group_text, BASELINE_GROUP_TEXT_LINES}
                                    : (baseline_text){baseline_tile_text, BASELINE_TILE_TEXT_LINES};
    cl_uint total = first.line_count + text.line_count;
    const char **lines = malloc(total * sizeof *lines);
    if (!lines) return failure_memory(failure);
    memcpy(lines, first.lines, first.line_count * sizeof *lines);
    memcpy(lines + first.line_count, text.lines, text.line_count * sizeof *lines);
    cl_device_id device = clmla_context_device(session->context);
    cl_int code;
    char common[64], all[768];
    common_options(common, sizeof common, facts);
    snprintf(all, sizeof all, "%s %s", common, options);
    *out = clCreateProgramWithSource(clmla_context_opencl(session->context), total, lines, NULL, &code);
    free(lines);
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

bool baseline_launch(const session *session, cl_kernel kernel, const size_t global[3], size_t items,
                     const baseline_argument *arguments, size_t count, failure *failure) {
    const size_t local[3] = {items, 1, 1};
    cl_int code = CL_SUCCESS;
    for (size_t i = 0; i < count && code == CL_SUCCESS; i++)
        code = clSetKernelArg(kernel, (cl_uint)i, arguments[i].bytes, arguments[i].value);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clSetKernelArg", code);
    code = clEnqueueNDRangeKernel(session->queue, kernel, 3, NULL, global, items ? local : NULL, 0, NULL, NULL);
    return code == CL_SUCCESS || failure_opencl(failure, "clEnqueueNDRangeKernel", code);
}

bool baseline_pack(const session *session, cl_kernel pack, cl_mem rows, cl_mem packed, uint32_t sets,
                   uint32_t row_count, uint32_t width, float factor, failure *failure) {
    cl_int count = (cl_int)row_count, columns = (cl_int)width;
    const baseline_argument arguments[] = {BASELINE_ARGUMENT(rows), BASELINE_ARGUMENT(packed), BASELINE_ARGUMENT(count),
                                           BASELINE_ARGUMENT(columns), BASELINE_ARGUMENT(factor)};
    const size_t global[3] = {width, (row_count + 15) / 16, sets};
    return baseline_launch(session, pack, global, 1, arguments, sizeof arguments / sizeof arguments[0], failure);
}

void baseline_release(cl_mem *memory) {
    if (*memory) clReleaseMemObject(*memory);
    *memory = NULL;
}

void baseline_release_kernel(cl_kernel *kernel) {
    if (*kernel) clReleaseKernel(*kernel);
    *kernel = NULL;
}
