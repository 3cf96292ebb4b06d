// SPDX-License-Identifier: Apache-2.0
// How the rows of the layers of one buffer lie, in words of 4 bytes; and how works on them are told to kernels. One text
// for host and device, as row_call.h.
#ifdef __OPENCL_VERSION__
typedef long move_long;
typedef int move_int;
#else
#include <stdint.h>
typedef int64_t move_long;
typedef int32_t move_int;
#endif

#define ROW_MOVE_INTS 8 // of one move or shift

typedef struct row_move_call {
    move_long layer, page, scale_offset; // from one layer or page to the next; from a page to scales that lie apart
    move_int row_words, scale_words;     // of a row, and of its scales that lie apart (0 = none do)
} row_move_call;
