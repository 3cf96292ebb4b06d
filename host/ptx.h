// SPDX-License-Identifier: Apache-2.0
// Instructions of NVIDIA's PTX that its OpenCL compiler cannot be asked for. What it makes of OpenCL C is PTX text for
// a plain architecture (sm_90); wgmma needs the one whose name ends in a (sm_90a), and no option of the compiler names
// it. A kernel therefore puts such instructions into its inline assembly as comments,
//     //@sm_90a wgmma.fence.sync.aligned;
// which stand in the compiled PTX where they belong, with their operands named. host_ptx_raise makes them instructions
// and names the target; the driver takes the result as a program binary.
#ifndef HOST_PTX_H
#define HOST_PTX_H

#include <stdbool.h>
#include <stddef.h>

// Whether the text of a kernel program has such comments.
bool host_ptx_is_wanted(const char *source);

// In place, in a text of `length` bytes and room for HOST_PTX_MORE more, which ends in no 0; answers its new length, or
// 0 when this is no PTX text for sm_90.
#define HOST_PTX_MORE 1
size_t host_ptx_raise(char *text, size_t length);

#endif
