// SPDX-License-Identifier: Apache-2.0
// plan_naive: the schedule of a step from lengths on the device, by one work-item: the text that the host runs too.
// Arrays, and what the header counts: lib/plan_schedule.h.                  checked against the host:
// tests/kernel/check_plan.c
//   query_tokens (NULL: 1 each), kv_tokens [sequence_count] int32: below 0 counts as 0; over the rules' most is cut to
//   it
//   step   the arrays, at five offsets in ints
// grid: global (1), local (1).   options: none
#include "common/schedule.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void plan_naive(
    const __global int *query_tokens, long query_offset, const __global int *kv_tokens, long kv_offset,
    int sequence_count, __global int *step, long header, long parts, long works, long items, long tiles, int head_count,
    int kv_head_count, int row_tile, int pack_rows, int row_floor, int block_tokens, int piece_keys, int units,
    int parts_per_unit, int part_keys, int least_split, int split_tokens, int full, int window, int rank, int world,
    int interleave, int most_query_tokens, int most_kv_tokens) {
    schedule_rules rules = {head_count,    kv_head_count, row_tile,       pack_rows, row_floor,   block_tokens,
                            piece_keys,    units,         parts_per_unit, part_keys, least_split, split_tokens,
                            full,          window,        rank,           world,     interleave,  most_query_tokens,
                            most_kv_tokens};
    schedule_lengths lengths;
    schedule_arrays arrays = {step + header, step + parts, step + works, step + items, step + tiles};
    schedule_totals totals;
    lengths.sequence_count = sequence_count;
    lengths.query_tokens = query_tokens ? query_tokens + query_offset : query_tokens;
    lengths.kv_tokens = kv_tokens + kv_offset;
    totals = schedule_measure(&rules, &lengths);
    schedule_write(&rules, &lengths, &totals, &arrays);
}
