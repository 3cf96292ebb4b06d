// SPDX-License-Identifier: Apache-2.0
// Dense products of many rows by CLBlast, behind one function. The only user of CLBlast.
#ifndef HOST_GEMM_H
#define HOST_GEMM_H

#include "host/launch.h"

// output[t][r] = sum_c input[t][c] * weights[r][c], all f32, strides in elements.
typedef struct host_gemm {
    size_t rows, outputs, inputs; // t, r, c
    clmla_buffer input, weights, output;
    uint64_t input_stride, weights_stride, output_stride;
} host_gemm;

// What products of a context need beside their matrices: one buffer, as large as the largest asked for, which those use
// whose queue comes to them after the one before; others have CLBlast make one for the call. Errors: CLMLA_E_MEMORY.
typedef struct host_gemm_space host_gemm_space;
clmla_status host_gemm_space_create(host_gemm_space **out, host_context *context);
void host_gemm_space_destroy(host_gemm_space **space, host_context *context);

// Whether the library was built with CLBlast.
bool host_gemm_available(void);

// Errors: CLMLA_E_UNSUPPORTED without CLBlast; CLMLA_E_OPENCL. CLBlast keeps its programs in a process-wide cache,
// which holds on to the OpenCL context until the process ends.
clmla_status host_gemm_enqueue(const host_gemm *product, host_chain *chain);

#endif
