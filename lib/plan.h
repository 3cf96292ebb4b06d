// SPDX-License-Identifier: Apache-2.0
// The plan object: a schedule on the device, and the workspace a step runs in.
//   plan.c         making plans, choosing variants and rules
//   plan_update.c  from a batch to the arrays on the device
//   plan_upload.c  the upload itself, and the workspace
#ifndef LIB_PLAN_H
#define LIB_PLAN_H

#include "host/launch.h"
#include "lib/plan_schedule.h"
#include "lib/variants.h"
#include <clmla/plan.h>

#define PLAN_STAGES 4 // uploads that may be under way at once before an update waits for the oldest

// One host copy of a step's arrays, read by the driver until `uploaded` is done.
typedef struct plan_stage {
    unsigned char *memory;
    size_t capacity;
    cl_event uploaded;
} plan_stage;

// Where the arrays of a step lie in the device buffer, in bytes.
typedef struct plan_offsets {
    uint64_t works, items, tiles, table, positions, slots, angles, total;
} plan_offsets;

typedef enum plan_workspace { PLAN_WORKSPACE_ATTEND, PLAN_WORKSPACE_LAYER, PLAN_WORKSPACE_COUNT } plan_workspace;

struct clmla_plan {
    clmla_context *context;
    clmla_plan_params params; // attend_variant points to the chosen variant's name
    const variant *attend;
    schedule_rules rules;

    plan_schedule schedule;
    bool ready;               // an update succeeded
    const clmla_cache *cache; // of the last update; NULL after clmla_plan_update_lengths
    uint64_t table_stride;    // entries a sequence in the uploaded page table
    plan_offsets offsets;
    cl_mem step; // the arrays on the device
    uint64_t step_bytes;

    plan_stage stages[PLAN_STAGES];
    uint32_t next_stage;
    cl_mem workspace[PLAN_WORKSPACE_COUNT];
    uint64_t workspace_bytes[PLAN_WORKSPACE_COUNT];
    cl_event last; // of the newest command of this plan: the next waits for it
};

// Begins the chain of an enqueue that uses the plan: it waits for the plan's last command too.
clmla_status plan_chain_begin(host_chain *chain, clmla_plan *plan, cl_command_queue queue, cl_uint wait_count,
                              const cl_event *wait);
// Ends it: the event becomes the plan's last, and the caller's if asked for.
clmla_status plan_chain_finish(host_chain *chain, clmla_plan *plan, clmla_status status, cl_event *event);

// Device memory of at least `bytes`, kept from step to step; grows, never shrinks.
clmla_status plan_workspace_get(cl_mem *out, clmla_plan *plan, plan_workspace which, uint64_t bytes);

// A host stage of `bytes`, free to be written. Then plan_upload enqueues it to plan->step and takes note of the event.
clmla_status plan_stage_take(plan_stage **out, clmla_plan *plan, uint64_t bytes);
clmla_status plan_upload(clmla_plan *plan, plan_stage *stage, uint64_t bytes, host_chain *chain);

#endif
