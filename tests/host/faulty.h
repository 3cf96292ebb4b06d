// SPDX-License-Identifier: Apache-2.0
// Driver calls and an allocator that fail on demand and keep account of what was made and not released.
#ifndef TEST_FAULTY_H
#define TEST_FAULTY_H

#include "host/calls.h"
#include <clmla/log.h>
#include <stdbool.h>

#define FAULTY_CODE CL_OUT_OF_RESOURCES // what a failing driver call answers

// Every member of the table is wrapped, and so are the entry points of command buffers that it gives out. Those that
// release never fail: they are counted.
const host_calls *faulty_calls(void);
clmla_allocator faulty_allocator(void);

typedef enum faulty_kind { FAULTY_NONE, FAULTY_CALL, FAULTY_ALLOCATION } faulty_kind;
// From now on the at-th call or allocation, counted from 0, fails; lasting: all after it as well.
void faulty_arm(faulty_kind kind, long at, bool lasting);
// The first call that failed since faulty_arm ("clBuildProgram", "an allocation"); NULL if none did.
const char *faulty_hit(void);
// Whether what the call serves can do without it, so that nobody need be told that it failed.
bool faulty_may_pass(const char *call);

typedef struct faulty_live {
    long allocations, contexts, queues, programs, kernels, buffers, events, command_buffers;
} faulty_live;
// What was made through the table and the allocator and not released yet.
faulty_live faulty_live_get(void);
// Waits up to five seconds until nothing of that is left: callbacks of events may come late. False if something stays.
bool faulty_nothing_lives(void);

// What becomes of a replay's command buffer: as the driver does it, or not at all, while it claims success.
void faulty_swallow_replays(bool swallow);

#endif
