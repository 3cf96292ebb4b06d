// SPDX-License-Identifier: Apache-2.0
// Two mistakes that Oclgrind must report, or its silence about other kernels says nothing.

// Every work-item of a group writes the same element.
__kernel void race(__global int *out) { out[0] = (int)get_local_id(0); }

// The last work-item writes past the buffer's end.
__kernel void overrun(__global int *out) { out[get_global_id(0) + 1] = 1; }
