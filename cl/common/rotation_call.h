// SPDX-License-Identifier: Apache-2.0
// What absorb rotates on the way, as a kernel argument passed by value: offsets in elements.
#ifndef CL_COMMON_ROTATION_CALL_H
#define CL_COMMON_ROTATION_CALL_H

#include "call.h"

typedef struct rotation_call {
    call_long table, positions;
    call_int width; // R; 0: nothing is rotated
    call_int table_rows, input_halves, output_halves;
} rotation_call;

#endif
