// SPDX-License-Identifier: Apache-2.0
// Small floating-point formats in double, by arithmetic on their definition rather than on bits of f32.
#ifndef REF_NUMBER_H
#define REF_NUMBER_H

#include <stddef.h>
#include <stdint.h>

typedef enum ref_type { REF_F32, REF_F16, REF_BF16, REF_F8_E4M3 } ref_type;

size_t ref_bytes(ref_type type);
// The value of element `index` of an array of `type`.
double ref_load(ref_type type, const void *array, size_t index);
// Stores a float, rounded to nearest even; overflow gives infinity, NaN a quiet NaN (e4m3: its only NaN, also for
// overflow).
void ref_store(ref_type type, void *array, size_t index, float value);

// The value of an e8m0 code: 2^(code - 127), 255 NaN.
double ref_e8m0(unsigned char code);

#endif
