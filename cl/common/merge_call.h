// SPDX-License-Identifier: Apache-2.0
// What merge joins and where it lies, as a kernel argument passed by value. State 0 has a place of its own, the others
// lie state strides apart: so two tensors that were never one can be joined as well. Strides are in elements; offsets
// of states and output in bytes, of everything else in elements.
#ifndef CL_COMMON_MERGE_CALL_H
#define CL_COMMON_MERGE_CALL_H

#include "call.h"

typedef struct merge_call {
    call_long first, rest, state_stride, token_stride, head_stride;
    call_long first_lse, rest_lse, lse_state_stride, lse_token_stride, lse_head_stride;
    call_long output, output_token_stride, output_head_stride;
    call_long output_lse, output_lse_token_stride, output_lse_head_stride;
    call_long mask;
    call_int type; // of states and output: NUMBER_F32, ...
    call_int base2;
    call_int state_count, token_count, head_count, width;
} merge_call;

#endif
