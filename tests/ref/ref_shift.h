// SPDX-License-Identifier: Apache-2.0
#ifndef REF_SHIFT_H
#define REF_SHIFT_H

#include "tests/ref/ref_number.h"
#include <stdbool.h>

// What `count` stored values are after each pair of them is turned by delta · theta^(-2·pair/count), in double.
void ref_shift(double *out, ref_type type, const void *values, size_t count, bool halves, double theta, int delta);

#endif
