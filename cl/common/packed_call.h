// SPDX-License-Identifier: Apache-2.0
// Where the packed queries of attend_vector lie, as a kernel argument passed by value: offsets in elements of 4 bytes,
// in the plan's step (lib/plan_schedule.h) and in its workspace.
#ifndef CL_COMMON_PACKED_CALL_H
#define CL_COMMON_PACKED_CALL_H

#include "call.h"

typedef struct packed_call {
    call_long header, tiles, packed;
    call_int first_token; // what the kernel calls token 0 is this one of the step
    call_int head_count;
    call_float factor; // of every value
    call_int unused;
} packed_call;

#endif
