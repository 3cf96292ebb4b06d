// SPDX-License-Identifier: Apache-2.0
// What gather writes, as a kernel argument passed by value. The offset is in bytes, strides in elements.
#ifndef CL_COMMON_GATHER_CALL_H
#define CL_COMMON_GATHER_CALL_H

#include "call.h"

typedef struct gather_call {
    call_long output, output_stride, output_head_stride;
    call_long deltas, turns; // in elements
    call_int type; // NUMBER_F32, ...
    call_int latent_dim, rope_dim, token_count, kv_head_count;
} gather_call;

#endif
