// SPDX-License-Identifier: Apache-2.0
// move_rows_group: as move_rows_naive; a group takes ROW_MOVE_AHEAD rows of a run, its work-items 16 bytes of each
// where both ends lie so. For GPUs: all rows are on their way before one is written.     ref: tests/ref/ref_move_rows.c
// A run that moves within its page is one group's, whose work-items go through the rows of their own columns upwards:
// what they write they have read before.
// grid: global (GROUP * ceil(page_tokens / ROW_MOVE_AHEAD), move_count, layer_count), local (GROUP, 1, 1).   options:
// GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/row_moves.clh"
#include "common/slice.clh"

static inline uint4 move_load(const int words, const __global uint *from) {
    return words == 4 ? *(const __global uint4 *)from : (uint4)(*from);
}

static inline void move_store(const int words, __global uint *to, uint4 value) {
    if (words == 4)
        *(__global uint4 *)to = value;
    else
        *to = value.x;
}

// Rows [begin, end), a work-item `words` words of each at a time: 4, or 1; a constant of the caller.
static inline __attribute__((always_inline)) void move_columns(const int words, const row_move_part *part, int begin,
                                                               int end) {
    for (int column = get_local_id(0) * words; column < part->row; column += GROUP * words)
        for (int row = begin; row < end; row += ROW_MOVE_AHEAD) {
            uint4 rows[ROW_MOVE_AHEAD];
#pragma unroll
            for (int i = 0; i < ROW_MOVE_AHEAD; i++)
                rows[i] = move_load(words, part->from + min(row + i, end - 1) * part->row + column);
#pragma unroll
            for (int i = 0; i < ROW_MOVE_AHEAD; i++)
                if (row + i < end) move_store(words, part->to + (row + i) * part->row + column, rows[i]);
        }
}

static inline void move_part(const row_move_part *part, int begin, int end) {
    if ((((size_t)part->from | (size_t)part->to | (size_t)part->row * 4) & 15) == 0)
        move_columns(4, part, begin, end);
    else
        move_columns(1, part, begin, end);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void move_rows_group(
    __global uint *memory, row_move_call call, const __global int *moves, long moves_offset, int move_count) {
    row_move move;
    row_move_load(&move, moves + moves_offset, slice_group(1));
    int begin = get_group_id(0) * ROW_MOVE_AHEAD, end = min(begin + ROW_MOVE_AHEAD, move.rows);
    if (move.from_page == move.to_page) end = begin == 0 ? move.rows : 0;
    row_move_part part;
    row_move_find(&part, memory, &call, &move, slice_group(2), 0);
    move_part(&part, begin, end);
    if (call.scale_words == 0) return;
    row_move_find(&part, memory, &call, &move, slice_group(2), 1);
    move_part(&part, begin, end);
}
