// SPDX-License-Identifier: Apache-2.0
// How the rope parts of the layers of one buffer lie, in elements.
#ifndef ROW_SHIFT_CALL_H
#define ROW_SHIFT_CALL_H

#include "call.h"

#define ROW_SHIFT_INTS 8

typedef struct row_shift_call {
    call_long layer, page, row, rope_offset; // from one layer, page or row to the next; from a row to its rope part
    call_int rope_dim, halves, shift_count;
} row_shift_call;

#endif
