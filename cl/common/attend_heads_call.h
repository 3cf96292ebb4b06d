// SPDX-License-Identifier: Apache-2.0
// What attend_heads reads and writes, as a kernel argument passed by value. Offsets and strides in elements.
#ifndef CL_COMMON_ATTEND_HEADS_CALL_H
#define CL_COMMON_ATTEND_HEADS_CALL_H

#include "call.h"

typedef struct attend_heads_call {
    call_long query, query_token, query_head;
    call_long key, key_token, key_head;
    call_long key_rope, key_rope_token;
    call_long value, value_token, value_head;
    call_long output, output_token, output_head;
    call_long lse, lse_token, lse_head;
    call_long window; // 0 = none
    call_int token_count, key_count, key_first, query_first;
    call_int head_count, nope_dim, rope_dim, value_dim;
    call_int full, carry;
    call_float scale, softcap;
} attend_heads_call;

#endif
