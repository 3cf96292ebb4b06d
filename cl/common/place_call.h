// SPDX-License-Identifier: Apache-2.0
// Which row of a cache each token stands for, as a kernel argument passed by value: clmla_row_places without its
// buffers. Offsets and strides are in elements of the buffer's type.
#ifndef CL_COMMON_PLACE_CALL_H
#define CL_COMMON_PLACE_CALL_H

#include "call.h"

typedef struct place_call {
    call_long slots, sequences, indices, table, indptr; // offsets
    call_long table_stride, table_count;
    call_int sequence_count;
} place_call;

#endif
