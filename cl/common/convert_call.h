// SPDX-License-Identifier: Apache-2.0
// What convert_rows does with rows besides where they lie, as a kernel argument passed by value.
#ifndef CL_COMMON_CONVERT_CALL_H
#define CL_COMMON_CONVERT_CALL_H

#include "call.h"

typedef struct convert_call {
    call_long deltas, turns; // in elements
    call_int latent_dim, rope_dim, token_count, kv_head_count;
    call_int from_halves, to_halves; // orders of the rope parts
    call_int power_of_two;
} convert_call;

#endif
