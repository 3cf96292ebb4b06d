// SPDX-License-Identifier: Apache-2.0
// What append reads, as a kernel argument passed by value. Strides are in elements; offsets of latent and rope in
// bytes, of norm, table, positions, normed and normed_weight in elements.
#ifndef CL_COMMON_APPEND_CALL_H
#define CL_COMMON_APPEND_CALL_H

#include "call.h"

typedef struct append_call {
    call_long latent, latent_stride, latent_head_stride;
    call_long rope, rope_stride, rope_head_stride;
    call_long norm, table, positions;
    call_long normed, normed_stride, normed_weight;
    call_int type; // of latent and rope: NUMBER_F32, ...
    call_int latent_dim, rope_dim, token_count, kv_head_count;
    call_int table_rows, input_halves, row_halves; // with a rope table
    call_int power_of_two;
    call_float norm_epsilon;
    call_int normed_width; // 0: no rows are normed beside
    call_float normed_epsilon;
} append_call;

#endif
