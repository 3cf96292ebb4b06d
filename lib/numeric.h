// SPDX-License-Identifier: Apache-2.0
// Scalar conversions between f32 and the narrow types of files and rows. To narrow types: round to nearest, ties to
// even; too large becomes infinity; NaN stays NaN.
#ifndef LIB_NUMERIC_H
#define LIB_NUMERIC_H

#include <stdint.h>

float numeric_f16_to_f32(uint16_t bits);
uint16_t numeric_f32_to_f16(float value);
float numeric_bf16_to_f32(uint16_t bits);
uint16_t numeric_f32_to_bf16(float value);
// OCP e4m3fn: 0x7f and 0xff are NaN.
float numeric_e4m3_to_f32(uint8_t bits);

#endif
