// SPDX-License-Identifier: Apache-2.0
// Compiled as ISO C, whose compilers fuse no product with a sum across statements here; f32 is kept as f32.
#include "tests/ref/ref_quantised.h"
#include <math.h>
#include <string.h>

#define UNIT 32 // columns that share a variant
#define GROUP 16

typedef struct scheme {
    unsigned levels, variant_bits;
    unsigned planes[3]; // bits of each, lowest first; 0 = none
    bool pairs;         // two columns in one element
    float a, b;         // the encoder's: d = bf16(m * a), Z = 1 / (d * b)
} scheme;

static const scheme q6 = {64, 3, {4, 2, 0}, false, 0x1.2deee2p-15f, 1736.4375f};
static const scheme q5 = {45, 1, {8, 2, 1}, true, 0x1.357f3ep-14f, 847.0f};
static const scheme q4 = {16, 3, {4, 0, 0}, false, 0x1.4ce19ap-11f, 98.4375f};
static const scheme rope_scheme = {128, 0, {4, 2, 1}, false, 0x1.29326ep-17f, 7056.4375f};

bool ref_is_quantised(ref_row_format format) {
    return format == REF_ROWS_Q8 || format == REF_ROWS_Q6 || format == REF_ROWS_Q5 || format == REF_ROWS_Q4;
}

static const scheme *scheme_of(const ref_quantised *part) {
    if (part->rope) return &rope_scheme;
    return part->format == REF_ROWS_Q6 ? &q6 : part->format == REF_ROWS_Q5 ? &q5 : &q4;
}

// --- where things lie

static size_t up4(size_t bytes) {
    return (bytes + 3) / 4 * 4;
}

static size_t units(size_t columns) {
    return (columns + UNIT - 1) / UNIT;
}

typedef struct places {
    size_t planes[3], d, variants, scales, end;
} places;

static places places_of(const scheme *s, size_t columns) {
    size_t elements = s->pairs ? GROUP * units(columns) : columns, at = 0;
    places out;
    for (int p = 0; p < 3; p++) {
        out.planes[p] = at;
        at += up4((elements * s->planes[p] + 7) / 8);
    }
    out.d = at;
    out.variants = at + 2;
    out.scales = out.variants + (s->variant_bits * units(columns) + 7) / 8;
    out.end = up4(out.scales + units(columns));
    return out;
}

size_t ref_quantised_bytes(const ref_quantised *part) {
    size_t n = part->columns;
    if (n == 0) return 0;
    return part->format == REF_ROWS_Q8 ? up4(n) + up4(2 * units(n)) : places_of(scheme_of(part), n).end;
}

// Bits [first, first + count) of a little-endian stream.
static unsigned get_bits(const unsigned char *stream, size_t first, unsigned count) {
    unsigned out = 0;
    for (unsigned i = 0; i < count; i++) out |= (unsigned)(stream[(first + i) / 8] >> (first + i) % 8 & 1) << i;
    return out;
}

static void put_bits(unsigned char *stream, size_t first, unsigned count, unsigned value) {
    for (unsigned i = 0; i < count; i++)
        stream[(first + i) / 8] |= (unsigned char)((value >> i & 1) << (first + i) % 8);
}

static unsigned get_element(const unsigned char *bytes, const scheme *s, const places *at, size_t index) {
    unsigned out = 0, shift = 0;
    for (int p = 0; p < 3; shift += s->planes[p++])
        out |= get_bits(bytes + at->planes[p], index * s->planes[p], s->planes[p]) << shift;
    return out;
}

static void put_element(unsigned char *bytes, const scheme *s, const places *at, size_t index, unsigned value) {
    for (int p = 0; p < 3; value >>= s->planes[p++])
        put_bits(bytes + at->planes[p], index * s->planes[p], s->planes[p], value & ((1u << s->planes[p]) - 1));
}

// --- decoding

static unsigned code_at(const unsigned char *bytes, const scheme *s, const places *at, size_t i) {
    if (!s->pairs) return get_element(bytes, s, at, i);
    unsigned pair = get_element(bytes, s, at, i / UNIT * GROUP + i % GROUP);
    return i % UNIT < GROUP ? pair % 45 : pair / 45;
}

static void decode_q8(double *out, size_t n, const unsigned char *bytes) {
    for (size_t i = 0; i < n; i++) {
        int code = bytes[i] < 128 ? bytes[i] : bytes[i] - 256;
        out[i] = code * ref_load(REF_BF16, bytes + up4(n), i / UNIT);
    }
}

void ref_quantised_decode(double *out, const ref_quantised *part, const unsigned char *bytes) {
    size_t n = part->columns;
    if (n == 0) return;
    if (part->format == REF_ROWS_Q8) {
        decode_q8(out, n, bytes);
        return;
    }
    const scheme *s = scheme_of(part);
    places at = places_of(s, n);
    double d = ref_load(REF_BF16, bytes + at.d, 0), h = (s->levels - 1) / 2.0, e = 0.75 * h;
    for (size_t i = 0; i < n; i++) {
        unsigned variant = get_bits(bytes + at.variants, i / UNIT * s->variant_bits, s->variant_bits);
        unsigned k = get_bits(bytes + at.scales, i / GROUP * 4, 4) + 1;
        double shift = (variant + 0.5) / (1 << s->variant_bits) - 0.5;
        double u = code_at(bytes, s, &at, i) + shift - h;
        out[i] = d * k * (u * (fabs(u) + e));
    }
}

// --- encoding

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static unsigned bf16_bits(float value) {
    uint32_t bits = bits_of(value);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static float bf16_value(unsigned bits) {
    return float_of((uint32_t)bits << 16);
}

static void put_u16(unsigned char *out, unsigned value) {
    out[0] = (unsigned char)value;
    out[1] = (unsigned char)(value >> 8);
}

static float recip(float x) {
    float y = float_of(0x7ef311c7u - bits_of(x));
    for (int i = 0; i < 3; i++) {
        float product = x * y;
        float rest = 2.0f - product;
        y = y * rest;
    }
    return y;
}

static float root(float x) {
    float y = float_of(0x5f375a86u - (bits_of(x) >> 1)), q = 0.5f * x;
    for (int i = 0; i < 3; i++) {
        float product = q * y;
        product = product * y;
        float rest = 1.5f - product;
        y = y * rest;
    }
    return x * y;
}

static float clamped(float value, float low, float high) {
    return value < low ? low : value > high ? high : value;
}

// The largest magnitude; false when some value is not below 2^120.
static bool find_peak(float *peak, const float *values, size_t count) {
    *peak = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(values[i]) < 0x1p120f)) return false;
        *peak = fmaxf(*peak, fabsf(values[i]));
    }
    return true;
}

// One unit being encoded: what the choice of a scale k leads to, for both groups.
typedef struct group_choice {
    float error[8]; // the least of each variant
    unsigned k[8];  // and where
} group_choice;

// Where value z lies among the levels when the scale is k, and the slope there.
static float position(float *slope, const scheme *s, float z, unsigned k) {
    float h = (float)(s->levels - 1) * 0.5f;
    float one_by_k = (float)(1.0 / k);
    float x = fabsf(z) * one_by_k;
    x = 0x1.8e38e4p+3f * x;
    x = 1.0f + x;
    *slope = root(x);
    float less = *slope - 1.0f;
    return copysignf(0.375f * h * less, z);
}

static float centre(const scheme *s, unsigned variant) {
    float h = (float)(s->levels - 1) * 0.5f;
    float shift = ((float)variant + 0.5f) / (float)(1u << s->variant_bits) - 0.5f;
    return h - shift;
}

static void try_scale(group_choice *choice, const scheme *s, const float *z, size_t count, unsigned k) {
    float positions[GROUP], slopes[GROUP];
    for (size_t i = 0; i < count; i++) positions[i] = position(&slopes[i], s, z[i], k);
    for (unsigned v = 0; v < 1u << s->variant_bits; v++) {
        float error = 0;
        for (size_t i = 0; i < count; i++) {
            float q = positions[i] + centre(s, v);
            float t = q - clamped(rintf(q), 0, (float)(s->levels - 1));
            t = t * slopes[i];
            float square = t * t;
            error = error + square;
        }
        float k2 = (float)k * (float)k;
        error = error * k2;
        if (!(error < choice->error[v])) continue;
        choice->error[v] = error;
        choice->k[v] = k;
    }
}

static group_choice choose_scales(const scheme *s, const float *z, size_t count) {
    group_choice out;
    float peak = 0;
    for (int v = 0; v < 8; v++) {
        out.error[v] = count ? INFINITY : 0;
        out.k[v] = 1;
    }
    for (size_t i = 0; i < count; i++) peak = fmaxf(peak, fabsf(z[i]));
    float least = 0x1.ccccccp-1f * peak, most = 0x1.333334p+0f * peak;
    unsigned first = (unsigned)clamped(floorf(least), 1, 16), last = (unsigned)clamped(ceilf(most), 1, 16);
    for (unsigned k = first; count && k <= last; k++) try_scale(&out, s, z, count, k);
    return out;
}

static unsigned choose_variant(const scheme *s, const group_choice *first, const group_choice *second) {
    unsigned best = 0;
    for (unsigned v = 1; v < 1u << s->variant_bits; v++)
        if (first->error[v] + second->error[v] < first->error[best] + second->error[best]) best = v;
    return best;
}

static unsigned code_of(const scheme *s, float z, unsigned k, unsigned variant) {
    float slope, q = position(&slope, s, z, k) + centre(s, variant);
    return (unsigned)clamped(rintf(q), 0, (float)(s->levels - 1));
}

static void encode_unit(unsigned char *bytes, const scheme *s, const places *at, size_t unit, const float *z,
                        size_t count) {
    size_t first = count < GROUP ? count : GROUP;
    group_choice groups[2] = {choose_scales(s, z, first), choose_scales(s, z + first, count - first)};
    unsigned variant = choose_variant(s, &groups[0], &groups[1]), codes[UNIT] = {0};
    for (size_t i = 0; i < count; i++) codes[i] = code_of(s, z[i], groups[i / GROUP].k[variant], variant);
    for (size_t i = 0; !s->pairs && i < count; i++) put_element(bytes, s, at, unit * UNIT + i, codes[i]);
    for (size_t i = 0; s->pairs && i < GROUP; i++)
        put_element(bytes, s, at, unit * GROUP + i, codes[i] + 45 * codes[GROUP + i]);
    put_bits(bytes + at->variants, unit * s->variant_bits, s->variant_bits, variant);
    bytes[at->scales + unit] =
        (unsigned char)((groups[0].k[variant] - 1) | (count > GROUP ? groups[1].k[variant] - 1 : 0) << 4);
}

static void encode_q8_group(unsigned char *codes, unsigned char *scale, const float *values, size_t count) {
    float peak, least = INFINITY;
    bool finite = find_peak(&peak, values, count);
    memset(codes, 0, count);
    put_u16(scale, finite ? 0 : 0x7fc0);
    if (!finite || peak < 0x1p-100f) return;
    unsigned b = bf16_bits(peak * 0x1.020408p-7f);
    float y = recip(bf16_value(b));
    for (int j = -4; j <= 11; j++) {
        float s = bf16_value((unsigned)((int)b + j)), by = recip(s), error = 0, f = s * y;
        unsigned char tried[UNIT];
        for (size_t i = 0; i < count; i++) {
            float p = values[i] * by, c = clamped(rintf(p), -127, 127), t = p - c;
            float square = t * t;
            error = error + square;
            tried[i] = (unsigned char)(signed char)c;
        }
        float f2 = f * f;
        error = error * f2;
        if (!(error < least)) continue;
        least = error;
        memcpy(codes, tried, count);
        put_u16(scale, (unsigned)((int)b + j));
    }
}

void ref_quantised_encode(unsigned char *bytes, const ref_quantised *part, const float *values) {
    size_t n = part->columns;
    if (n == 0) return;
    memset(bytes, 0, ref_quantised_bytes(part));
    for (size_t i = 0; part->format == REF_ROWS_Q8 && i < n; i += UNIT)
        encode_q8_group(bytes + i, bytes + up4(n) + i / UNIT * 2, values + i, n - i < UNIT ? n - i : UNIT);
    if (part->format == REF_ROWS_Q8) return;
    const scheme *s = scheme_of(part);
    places at = places_of(s, n);
    float peak, z[UNIT];
    if (!find_peak(&peak, values, n)) put_u16(bytes + at.d, 0x7fc0);
    if (!find_peak(&peak, values, n) || peak < 0x1p-100f) return;
    unsigned d = bf16_bits(peak * s->a);
    float by = recip(bf16_value(d) * s->b);
    put_u16(bytes + at.d, d);
    for (size_t i = 0; i < n; i += UNIT) {
        size_t count = n - i < UNIT ? n - i : UNIT;
        for (size_t c = 0; c < count; c++) z[c] = values[i + c] * by;
        encode_unit(bytes, s, &at, i / UNIT, z, count);
    }
}
