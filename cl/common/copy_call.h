// SPDX-License-Identifier: Apache-2.0
// What copy_pages copies, as a kernel argument passed by value.
#ifndef CL_COMMON_COPY_CALL_H
#define CL_COMMON_COPY_CALL_H

#include "call.h"

typedef struct copy_call {
    call_long pairs;                                // offset of the list, in ints
    call_long from_pages, to_pages;                 // pages of the two caches: a pair with a number outside is skipped
    call_long latent_bytes, rope_bytes, scale_bytes; // of one row and kv head
    call_int pair_count, page_tokens, kv_head_count;
    call_int from_scratch, to_scratch; // that side's page is the pair's own number
} copy_call;

#endif
