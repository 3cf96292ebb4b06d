// SPDX-License-Identifier: Apache-2.0
// How the rope parts of the layers of one buffer lie, in elements.
#ifndef ROW_SHIFT_CALL_H
#define ROW_SHIFT_CALL_H

#include "call.h"

#define ROW_SHIFT_INTS 8
#define ROW_SHIFT_EACH 4 // rows that a work-item of shift_group takes

typedef struct row_shift_call {
    call_long first;            // from the buffer's start to the first layer
    call_long layer, page, row; // from one to the next
    call_long rope_offset;      // from a row to its rope part
    call_int rope_dim, halves, shift_count, unused;
} row_shift_call;

#endif
