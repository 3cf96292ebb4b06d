// SPDX-License-Identifier: Apache-2.0
// move_rows_naive: copies runs of whole rows, scales that lie apart included, from slots to slots of the layers of one
// buffer. One work-item has a 4-byte column of a run and goes through its rows upwards, so that a run may move down by
// any distance within its page; runs of one launch touch no page that another writes.
// ref: tests/ref/ref_move_rows.c
// moves [move_count][8] int: from page, from row, to page, to row, rows, 0, 0, 0
// grid: global (words of a row, move_count, layer_count), local free.
#include "common/row_moves.clh"

__kernel void move_rows_naive(__global uint *memory, row_move_call call, const __global int *moves, long moves_offset,
                              int move_count) {
    int word = get_global_id(0), index = get_global_id(1);
    if (word >= call.row_words + call.scale_words || index >= move_count) return;
    row_move move;
    row_move_load(&move, moves + moves_offset, index);
    int scale = word >= call.row_words;
    row_move_part part;
    row_move_find(&part, memory, &call, &move, get_global_id(2), scale);
    int column = scale ? word - call.row_words : word;
    for (int row = 0; row < move.rows; row++) part.to[row * part.row + column] = part.from[row * part.row + column];
}
