// SPDX-License-Identifier: Apache-2.0
// How the rows of the layers of one buffer lie, in words of 4 bytes; and how works on them are told to kernels.
#ifndef ROW_MOVE_CALL_H
#define ROW_MOVE_CALL_H

#include "call.h"

#define ROW_MOVE_INTS 8  // of one move or shift
#define ROW_MOVE_AHEAD 8 // rows that a group of move_rows_group reads before it writes them

typedef struct row_move_call {
    call_long first, layer, page; // from the buffer's start to the first layer; from one layer or page to the next
    call_long scale_offset;       // from a page to scales that lie apart
    call_int row_words, scale_words; // of a row, and of its scales that lie apart (0 = none do)
} row_move_call;

#endif
