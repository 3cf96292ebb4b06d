// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_number.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>

typedef struct format {
    size_t bytes;
    int fraction_bits, exponent_bits;
    bool has_infinity; // false: the top exponent is ordinary, but for the all-ones code, which is NaN
} format;

static const format formats[] = {
    [REF_F32] = {4, 23, 8, true},
    [REF_F16] = {2, 10, 5, true},
    [REF_BF16] = {2, 7, 8, true},
    [REF_F8_E4M3] = {1, 3, 4, false},
};

size_t ref_bytes(ref_type type) {
    return formats[type].bytes;
}

static int bias_of(const format *f) {
    return (1 << (f->exponent_bits - 1)) - 1;
}

static double decode(const format *f, uint32_t code) {
    uint32_t fraction = code & ((1u << f->fraction_bits) - 1), top = (1u << f->exponent_bits) - 1;
    uint32_t exponent = code >> f->fraction_bits & top;
    double sign = code >> (f->fraction_bits + f->exponent_bits) & 1 ? -1.0 : 1.0;
    if (exponent == top && f->has_infinity) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == top && fraction == (1u << f->fraction_bits) - 1) return (double)NAN;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias_of(f) - f->fraction_bits);
    return sign * ldexp((1u << f->fraction_bits) + fraction, (int)exponent - bias_of(f) - f->fraction_bits);
}

static uint32_t encode_magnitude(const format *f, double value) {
    int least = 1 - bias_of(f), exponent;
    uint32_t top = (1u << f->exponent_bits) - 1;
    uint32_t overflow = f->has_infinity ? top << f->fraction_bits : (1u << (f->fraction_bits + f->exponent_bits)) - 1;
    if (isnan(value)) return f->has_infinity ? (top << f->fraction_bits) + (1u << (f->fraction_bits - 1)) : overflow;
    if (isinf(value)) return overflow;
    if (value == 0) return 0;
    frexp(value, &exponent);
    exponent = exponent - 1 < least ? least : exponent - 1;
    // In units of the last place; nearbyint rounds halves to even. A carry into the next exponent adds up by itself.
    double units = nearbyint(ldexp(value, f->fraction_bits - exponent));
    double code = units + ldexp(exponent - least, f->fraction_bits);
    return code >= overflow ? overflow : (uint32_t)code;
}

double ref_load(ref_type type, const void *array, size_t index) {
    const format *f = &formats[type];
    const unsigned char *bytes = (const unsigned char *)array + index * f->bytes;
    uint32_t code = 0;
    for (size_t i = 0; i < f->bytes; i++) code |= (uint32_t)bytes[i] << (8 * i);
    return decode(f, code);
}

void ref_store(ref_type type, void *array, size_t index, float value) {
    const format *f = &formats[type];
    unsigned char *bytes = (unsigned char *)array + index * f->bytes;
    uint32_t code = encode_magnitude(f, fabs((double)value));
    if (signbit(value)) code |= 1u << (f->fraction_bits + f->exponent_bits);
    for (size_t i = 0; i < f->bytes; i++) bytes[i] = (unsigned char)(code >> (8 * i));
}

double ref_e8m0(unsigned char code) {
    return code == 255 ? (double)NAN : ldexp(1.0, (int)code - 127);
}
