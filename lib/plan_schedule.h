// SPDX-License-Identifier: Apache-2.0
// How a step's keys are shared out over a device: integer arithmetic from lengths to the arrays the attend kernels
// follow. Equal inputs give equal arrays. The arithmetic itself is in cl/common/schedule.clh, which the device compiles
// too. All entries are int32; on the device the arrays are sections of one buffer (plan_layout.c).
//
// header [16]              0 part_count  1 work_count  2 item_count  3 tile_count  4 query tokens T  5 state rows
//                          6 most rows of a piece. Kernels of a plan with a capacity take their counts from here.
// parts [part_count + 1]   part p does works parts[p] .. parts[p + 1] - 1 in that order. A part is one work-group.
// works [work_count][16]   one piece: some rows against some keys
//    0 sequence                     1 first of the step's tokens that is this sequence's
//    2 query tokens                 3 keys of the sequence on this rank
//    4 first row    5 row count     rows of (sequence, kv head): row = token in the sequence · G + head in the group
//    6 first key    7 past the last the rank's own key numbers
//    8 first state row, or -1: the piece is all of its tile and its result goes to the output
//    9 first packed tile (0 when nothing is packed)
//   10 kv head     11 keys over all ranks   12 .. 15 zero
// items [item_count][8]    one for each (sequence, kv head, row tile) whose keys were cut
//    0 first token of the sequence   1 first row   2 row count   3 kv head   4 first state row   5 pieces   6, 7 zero
//    row r of piece p is state row [4] + p · [2] + r of the states, their log-sum-exp and their largest score.
// tiles [tile_count][4]    packed query tiles of pack_rows rows; each (sequence, kv head) starts a new one
//    0 first token of the sequence   1 first row   2 rows of this sequence and kv head   3 kv head
//
// Masks: key j of this rank is key g = (j / I)·I·W + rank·I + j % I of its sequence (W ranks, I the interleave). The
// row of query token i of s_q with s_k keys in all sees g when (full or g <= s_k − s_q + i) and (no window or g > s_k −
// s_q + i − window). With share(n) the number of a sequence's first n keys that lie on this rank, what a row sees is
// one range of j: from share(s_k − s_q + i − window + 1) to before share(s_k − s_q + i + 1), both arguments clamped to
// 0 .. s_k. A tile's pieces leave out keys that none of its rows sees.
#ifndef LIB_PLAN_SCHEDULE_H
#define LIB_PLAN_SCHEDULE_H

#include "cl/common/schedule.clh"
#include <clmla/log.h>
#include <clmla/plan.h>
#include <clmla/status.h>

// Indices stay so far below 2^31 that a kernel may round them up to a block.
#define SCHEDULE_MOST (INT32_MAX - 4096)

typedef struct plan_schedule {
    const clmla_allocator *allocator;
    int32_t *memory; // the arrays below, one after the other
    uint64_t memory_ints;
    int32_t *header, *parts, *works, *items, *tiles;
    uint32_t part_count, work_count, item_count, tile_count;
    uint32_t state_rows;
    uint32_t query_tokens; // T
    uint32_t most_rows;    // of a piece
    uint32_t longest_kv;   // keys of the longest sequence on this rank
    uint32_t sequence_count;
} plan_schedule;

// The most any step within a capacity needs of each.
typedef struct schedule_bounds {
    uint64_t parts, works, items, tiles, state_rows;
    uint32_t most_rows;
} schedule_bounds;

// Makes the schedule of a step, reusing the memory. Errors: CLMLA_E_LIMIT (an index would pass 31 bits),
// CLMLA_E_MEMORY; the schedule is then empty.
clmla_status plan_schedule_make(plan_schedule *schedule, const schedule_rules *rules, const clmla_lengths *lengths,
                                const clmla_log *log);
void plan_schedule_finish(plan_schedule *schedule);

// Errors: CLMLA_E_LIMIT.
clmla_status plan_schedule_bounds(schedule_bounds *out, const schedule_rules *rules,
                                  const clmla_plan_capacity *capacity, const clmla_log *log);

#endif
