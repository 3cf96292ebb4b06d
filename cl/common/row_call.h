// SPDX-License-Identifier: Apache-2.0
// Where the rows of a paged cache lie, as a kernel argument passed by value. The host fills what the device reads.
#ifndef CL_COMMON_ROW_CALL_H
#define CL_COMMON_ROW_CALL_H

#include "call.h"

// Bytes: from the buffer's start, and from one row, page or kv head to the next.
typedef struct row_part_call {
    call_long offset, row, page, head;
} row_part_call;

typedef struct row_call {
    row_part_call latent, rope, scales;
    call_long page_count;
    call_int page_tokens;
    call_int scaled;                      // fp8_flat: whether there are scales too
    call_float latent_scale, rope_scale;  // fp8_flat
    call_int latent_dim, rope_dim;
    call_int rope_halves, unused;         // the pairs of the rope part stand in halves, not side by side
} row_call;

#endif
