// SPDX-License-Identifier: Apache-2.0
// Quotients and scales are f32 by definition: a double quotient of two f32 rounds to the f32 nearest to the true one.
#include "tests/ref/ref_append.h"
#include "tests/ref/ref_quantised.h"
#include <float.h>
#include <math.h>

#define LARGEST 448.0 // of e4m3

static float divided(float value, float by) {
    return (float)((double)value / (double)by);
}

static void store_e4m3(unsigned char *out, size_t index, float value) {
    if (value > LARGEST) value = (float)LARGEST; // false for NaN
    if (value < -LARGEST) value = -(float)LARGEST;
    ref_store(REF_F8_E4M3, out, index, value);
}

// The exponent of the least power of two that is 1e-4, and peak / 448, or more.
static int exponent_for(double peak) {
    float least = fmaxf((float)(peak / LARGEST), 1e-4f);
    int exponent;
    return frexp((double)least, &exponent) == 0.5 ? exponent - 1 : exponent;
}

// Writes the scale of a group and answers it.
static float write_scale(const ref_row *row, const ref_row_kind *kind, size_t group, double peak) {
    if (kind->format == REF_ROWS_FP8_PAGED) {
        row->scales[group] = isinf(peak) ? 255 : (unsigned char)(exponent_for(peak) + 127);
        return isinf(peak) ? INFINITY : ldexpf(1.0f, exponent_for(peak));
    }
    float scale = fmaxf((float)(peak / LARGEST), FLT_MIN);
    if (kind->power_of_two) scale = isinf(peak) ? INFINITY : ldexpf(1.0f, exponent_for(peak));
    ref_store(REF_F32, row->scales, group, scale);
    return scale;
}

static void append_group(const ref_row *row, const ref_row_kind *kind, const float *values, size_t first,
                         size_t count) {
    float by = kind->format == REF_ROWS_FP8_FLAT ? kind->latent_scale : 1.0f;
    double peak = 0;
    for (size_t i = 0; i < count; i++) peak = fmax(peak, fabs((double)divided(values[first + i], by)));
    float scale = write_scale(row, kind, first / ref_row_group(kind), peak);
    for (size_t i = 0; i < count; i++)
        store_e4m3(row->latent, first + i, divided(divided(values[first + i], by), scale));
}

static void append_latent(const ref_row *row, const ref_row_kind *kind, const float *values) {
    size_t group = ref_row_group(kind), width = kind->latent_dim;
    for (size_t first = 0; group && first < width; first += group)
        append_group(row, kind, values, first, width - first < group ? width - first : group);
    for (size_t i = 0; !group && i < width; i++) {
        if (kind->format == REF_ROWS_FP8_FLAT)
            store_e4m3(row->latent, i, divided(values[i], kind->latent_scale));
        else
            ref_store(ref_row_latent_type(kind->format), row->latent, i, values[i]);
    }
}

void ref_append(const ref_row *row, const ref_row_kind *kind, const float *latent, const float *rope) {
    if (ref_is_quantised(kind->format)) {
        ref_quantised_encode(row->latent, &(ref_quantised){kind->format, false, kind->latent_dim}, latent);
        ref_quantised_encode(row->rope, &(ref_quantised){kind->format, true, kind->rope_dim}, rope);
        return;
    }
    append_latent(row, kind, latent);
    for (size_t i = 0; i < kind->rope_dim; i++) {
        if (kind->format == REF_ROWS_FP8_FLAT)
            store_e4m3(row->rope, i, divided(rope[i], kind->rope_scale));
        else
            ref_store(ref_row_rope_type(kind->format), row->rope, i, rope[i]);
    }
}
