// SPDX-License-Identifier: Apache-2.0
// Types of the structs that host code fills and kernels take by value: one text for both. In such a struct 64-bit
// members come first, so that both sides lay it out alike.
#ifndef CL_COMMON_CALL_H
#define CL_COMMON_CALL_H

#ifdef __OPENCL_VERSION__
typedef long call_long;
typedef int call_int;
typedef float call_float;
#else
#include <stdint.h>
typedef int64_t call_long;
typedef int32_t call_int;
typedef float call_float;
#endif

#endif
