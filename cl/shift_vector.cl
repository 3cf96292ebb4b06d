// SPDX-License-Identifier: Apache-2.0
// shift_vector: as shift_naive; one work-item a group has a row. For CPU devices.    ref: tests/ref/ref_shift.c
// grid: global (most_rows, shift_count * layer_count), local (1, 1).   options: ELEMENT_*, VECTOR_WIDTH
#include "common/vector.clh"
#include "common/element.clh"
#include "common/row_shifts.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
shift_vector(__global element_t *memory, row_shift_call call, const __global int *shifts, long shifts_offset,
             const __global float *table, long table_offset) {
    int row = get_global_id(0);
    row_shift shift;
    row_shift_load(&shift, shifts + shifts_offset, get_global_id(1) % call.shift_count);
    if (row >= shift.rows) return;
    long at = row_shift_offset(&call, &shift, get_global_id(1) / call.shift_count, row);
    for (int pair = 0; pair < call.rope_dim / 2; pair++)
        row_shift_pair(memory, at, &call, table + table_offset + shift.angles * call.rope_dim, pair);
}
