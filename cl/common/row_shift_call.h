// SPDX-License-Identifier: Apache-2.0
// How the rope parts of the layers of one buffer lie, in elements; one text for host and device, as row_call.h.
#ifdef __OPENCL_VERSION__
typedef long shift_long;
typedef int shift_int;
#else
#include <stdint.h>
typedef int64_t shift_long;
typedef int32_t shift_int;
#endif

#define ROW_SHIFT_INTS 8

typedef struct row_shift_call {
    shift_long layer, page, row, rope_offset; // from one layer, page or row to the next; from a row to its rope part
    shift_int rope_dim, halves, shift_count;
} row_shift_call;
