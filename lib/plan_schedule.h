// SPDX-License-Identifier: Apache-2.0
// How a batch's keys are split over a device: pure arithmetic from lengths to the work list the attend kernels follow
// (cl/common/work.clh), the states to merge (cl/common/state.clh), and the query tiles to pack (cl/attend_vector.cl).
// Equal inputs give equal schedules.
#ifndef LIB_PLAN_SCHEDULE_H
#define LIB_PLAN_SCHEDULE_H

#include <clmla/log.h>
#include <clmla/plan.h>
#include <clmla/status.h>

#define WORK_INTS 12 // per work item
#define ITEM_INTS 4  // per merged token
#define TILE_INTS 4  // per packed tile

// What does not change from step to step.
typedef struct schedule_rules {
    uint32_t head_count;
    uint32_t row_tile;     // most rows (token, head) of a work item
    uint32_t pack_rows;    // rows of a packed tile; row_tile is a multiple; 0 = nothing is packed
    uint32_t block_tokens; // splits are multiples of it
    uint32_t works_wanted; // compute units times works per unit
    uint32_t least_split;  // keys
    uint32_t split_tokens; // fixed split; 0 = from works_wanted
} schedule_rules;

typedef struct plan_schedule {
    const clmla_allocator *allocator;
    int32_t *works, *items, *tiles; // [capacity][..._INTS]
    uint32_t work_count, item_count, tile_count;
    uint32_t work_capacity, item_capacity, tile_capacity;
    uint32_t state_count;  // partial states of [head_count] heads each
    uint32_t query_tokens; // T
    uint32_t most_rows;    // of a work item
    uint32_t longest_kv;   // keys of the longest sequence
    uint32_t sequence_count;
} plan_schedule;

// Makes the schedule of a step, reusing the arrays. Errors: CLMLA_E_LIMIT (an index would pass 31 bits),
// CLMLA_E_MEMORY; the schedule is then empty.
clmla_status plan_schedule_make(plan_schedule *schedule, const schedule_rules *rules, const clmla_lengths *lengths,
                                const clmla_log *log);
void plan_schedule_finish(plan_schedule *schedule);

#endif
