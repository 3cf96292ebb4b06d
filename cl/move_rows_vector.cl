// SPDX-License-Identifier: Apache-2.0
// move_rows_vector: as move_rows_naive, in vectors; one work-item a group has a run, or a part of its columns, and goes
// through its rows upwards. For CPU devices.                                       ref: tests/ref/ref_move_rows.c
// grid: global (column parts, move_count, layer_count), local (1, 1, 1).   options: VECTOR_WIDTH
#include "common/vector.clh"
#include "common/row_moves.clh"

// Columns [begin, end) of every row.
static inline void move_part(const row_move_part *part, int rows, int begin, int end) {
    for (int row = 0; row < rows; row++) {
        const __global uint *from = part->from + row * part->row;
        __global uint *to = part->to + row * part->row;
        int word = begin;
        for (; word + VECTOR_WIDTH <= end; word += VECTOR_WIDTH)
            VECTOR_NAME(vstore)(VECTOR_NAME(vload)(0, from + word), 0, to + word);
        for (; word < end; word++) to[word] = from[word];
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void move_rows_vector(__global uint *memory, row_move_call call,
                                                                              const __global int *moves,
                                                                              long moves_offset, int move_count) {
    int index = get_global_id(1), parts = get_global_size(0), column = get_global_id(0);
    if (index >= move_count) return;
    row_move move;
    row_move_load(&move, moves + moves_offset, index);
    int width = (call.row_words + parts - 1) / parts;
    int begin = min(column * width, call.row_words), end = min(begin + width, call.row_words);
    row_move_part part;
    row_move_find(&part, memory, &call, &move, get_global_id(2), 0);
    move_part(&part, move.rows, begin, end);
    if (column > 0 || call.scale_words == 0) return;
    row_move_find(&part, memory, &call, &move, get_global_id(2), 1);
    move_part(&part, move.rows, 0, call.scale_words);
}
