// SPDX-License-Identifier: Apache-2.0
// shift_group: as shift_naive; a group takes as many rows of a run side by side as it has work-items for their pairs,
// and ROW_SHIFT_EACH times so many. A work-item has one pair of each, whose angle it reads once. For GPUs.
//                                                                                            ref: tests/ref/ref_shift.c
// grid: global (GROUP * ceil(most_rows / (rows side by side * ROW_SHIFT_EACH)), shift_count, layer_count), local
// (GROUP, 1, 1).
// options: ELEMENT_*, GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/element.clh"
#include "common/row_shifts.clh"
#include "common/slice.clh"

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void shift_group(
    __global element_t *memory, row_shift_call call, const __global int *shifts, long shifts_offset,
    const __global float *table, long table_offset) {
    int item = get_local_id(0), pairs = call.rope_dim / 2, wide = min(pairs, GROUP), aside = GROUP / wide;
    row_shift shift;
    row_shift_load(&shift, shifts + shifts_offset, slice_group(1));
    int first = (int)get_group_id(0) * aside * ROW_SHIFT_EACH + item / wide;
    const __global float *angles = table + table_offset + shift.angles * call.rope_dim;
    if (item / wide >= aside || first >= shift.rows) return;
    for (int pair = item % wide; pair < pairs; pair += wide) {
        float c = angles[2 * pair], s = angles[2 * pair + 1], a[ROW_SHIFT_EACH], b[ROW_SHIFT_EACH];
        long one = row_shift_first(&call, pair), two = one + row_shift_second(&call);
#pragma unroll
        for (int i = 0; i < ROW_SHIFT_EACH; i++) {
            int row = first + i * aside; // past the last its own first again: others write theirs
            long at = row_shift_offset(&call, &shift, slice_group(2), row < shift.rows ? row : first);
            a[i] = element_load(memory, at + one);
            b[i] = element_load(memory, at + two);
        }
#pragma unroll
        for (int i = 0; i < ROW_SHIFT_EACH; i++) {
            if (first + i * aside >= shift.rows) continue;
            long at = row_shift_offset(&call, &shift, slice_group(2), first + i * aside);
            element_store(memory, at + one, a[i] * c - b[i] * s);
            element_store(memory, at + two, a[i] * s + b[i] * c);
        }
    }
}
