// SPDX-License-Identifier: Apache-2.0
// Where the rows of a paged cache lie, as a kernel argument passed by value. One text for host and device: the host fills
// what the device reads. 64-bit members first, so that both lay it out alike.
#ifndef ROW_CALL_H
#define ROW_CALL_H

#ifdef __OPENCL_VERSION__
typedef long call_long;
typedef int call_int;
typedef float call_float;
#else
#include <stdint.h>
typedef int64_t call_long;
typedef int32_t call_int;
typedef float call_float;
#endif

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
} row_call;

#endif
