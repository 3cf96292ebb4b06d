// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_dot.h"
#include <math.h>
#include <string.h>

#define TILE 16

static float value_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Subnormals count as zeros.
static float flushed(float value) {
    return fpclassify(value) == FP_SUBNORMAL ? copysignf(0.0f, value) : value;
}

static float multiply_add(float sum, uint32_t a, uint32_t b, int odd) {
    float x = flushed(value_of(odd ? a & 0xffff0000u : a << 16)),
          y = flushed(value_of(odd ? b & 0xffff0000u : b << 16));
    return flushed(fmaf(x, y, flushed(sum)));
}

uint32_t ref_vpdpbusd(uint32_t sum, uint32_t a, uint32_t b) {
    for (int byte = 0; byte < 4; byte++) {
        int32_t product = (int32_t)(a >> 8 * byte & 255) * (int8_t)(b >> 8 * byte & 255);
        sum += (uint32_t)product;
    }
    return sum;
}

uint32_t ref_vdpbf16ps(uint32_t sum, uint32_t a, uint32_t b) {
    return bits_of(multiply_add(multiply_add(value_of(sum), a, b, 1), a, b, 0));
}

uint32_t ref_vpmulhrsw(uint32_t a, uint32_t b) {
    uint32_t out = 0;
    for (int half = 0; half < 2; half++) {
        double product = (double)(int16_t)(a >> 16 * half) * (int16_t)(b >> 16 * half);
        out |= (uint32_t)(uint16_t)(int32_t)floor(product / 32768.0 + 0.5) << 16 * half;
    }
    return out;
}

uint16_t ref_bf16(uint32_t value) {
    double x = (double)flushed(value_of(value));
    int exponent;
    if (isnan(x)) return (uint16_t)(value >> 16 | 0x40);
    if (isinf(x) || x == 0.0) return (uint16_t)(bits_of((float)x) >> 16);
    double fraction = frexp(x, &exponent);
    return (uint16_t)(bits_of((float)ldexp(rint(fraction * 256.0) / 256.0, exponent)) >> 16); // 8 bits, ties to even
}

void ref_tdpbf16ps(uint32_t *sums, const uint32_t *a, const uint32_t *b) {
    for (int m = 0; m < TILE; m++)
        for (int n = 0; n < TILE; n++) {
            float parts[2] = {0.0f, 0.0f};
            for (int k = 0; k < TILE; k++)
                for (int odd = 0; odd < 2; odd++)
                    parts[odd] = multiply_add(parts[odd], a[m * TILE + k], b[k * TILE + n], odd);
            float sum = flushed(value_of(sums[m * TILE + n]));
            sums[m * TILE + n] = bits_of(flushed(sum + flushed(parts[0] + parts[1])));
        }
}
