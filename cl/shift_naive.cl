// SPDX-License-Identifier: Apache-2.0
// shift_naive: rotates the rope part of runs of rows by a number of positions, in the layers of one buffer. One
// work-item has a pair of a row: (a, b) -> (a*cos - b*sin, a*sin + b*cos), computed in f32, rounded once.
// ref: tests/ref/ref_shift.c
// shifts [shift_count][8] int: page, first row, rows, row of the table, 0, 0, 0, 0
// table [..][rope_dim / 2][2] float: cos and sin of delta * frequency, of magnitude 1
// grid: global (rope_dim / 2, most_rows, shift_count * layer_count), local free.   options: ELEMENT_*
#include "common/element.clh"
#include "common/row_shifts.clh"

__kernel void shift_naive(__global element_t *memory, row_shift_call call, const __global int *shifts,
                          long shifts_offset, const __global float *table, long table_offset) {
    int pair = get_global_id(0), row = get_global_id(1);
    row_shift shift;
    row_shift_load(&shift, shifts + shifts_offset, get_global_id(2) % call.shift_count);
    if (pair >= call.rope_dim / 2 || row >= shift.rows) return;
    long at = row_shift_offset(&call, &shift, get_global_id(2) / call.shift_count, row);
    row_shift_pair(memory, at, &call, table + table_offset + shift.angles * call.rope_dim, pair);
}
