// SPDX-License-Identifier: Apache-2.0
// Where attend left the states of rows whose keys were cut, as a kernel argument passed by value: offsets in elements
// of 4 bytes, in the plan's step (lib/plan_schedule.h) and in its workspace.
#ifndef CL_COMMON_STATES_CALL_H
#define CL_COMMON_STATES_CALL_H

#include "call.h"

typedef struct states_call {
    call_long header, items;
    call_long states, state_lse;
    call_int first_token; // what the kernel calls token 0 is this one of the step
    call_int head_count;
} states_call;

#endif
