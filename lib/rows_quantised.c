// SPDX-License-Identifier: Apache-2.0
#include "lib/rows_quantised.h"

static uint32_t up4(uint32_t bytes) {
    return (bytes + 3) & ~3u;
}

// Units of 32 columns share a variant, and in q8 a scale.
static uint32_t units(uint32_t columns) {
    return (columns + 31) / 32;
}

// A plane: `bits` of each element.
static uint32_t plane(uint32_t bits, uint32_t elements) {
    return up4((bits * elements + 7) / 8);
}

// Codes, then the part's scale, each unit's variant and two scales.
static uint32_t with_scales(uint32_t planes, uint32_t variant_bits, uint32_t columns) {
    return up4(planes + 2 + (variant_bits * units(columns) + 7) / 8 + units(columns));
}

static uint32_t q8_bytes(uint32_t columns) {
    return up4(columns) + up4(2 * units(columns));
}

uint32_t rows_quantised_latent_bytes(clmla_row_format format, uint32_t columns) {
    uint32_t pairs = 16 * units(columns); // q5: two columns of a unit in one number of 11 bits
    if (columns == 0) return 0;
    if (format == CLMLA_ROWS_Q8) return q8_bytes(columns);
    if (format == CLMLA_ROWS_Q6) return with_scales(plane(4, columns) + plane(2, columns), 3, columns);
    if (format == CLMLA_ROWS_Q5) return with_scales(plane(8, pairs) + plane(2, pairs) + plane(1, pairs), 1, columns);
    if (format == CLMLA_ROWS_Q4) return with_scales(plane(4, columns), 3, columns);
    return 0;
}

uint32_t rows_quantised_rope_bytes(clmla_row_format format, uint32_t columns) {
    if (columns == 0) return 0;
    if (format == CLMLA_ROWS_Q8) return q8_bytes(columns);
    if (format == CLMLA_ROWS_Q6 || format == CLMLA_ROWS_Q5 || format == CLMLA_ROWS_Q4)
        return with_scales(plane(4, columns) + plane(2, columns) + plane(1, columns), 0, columns);
    return 0;
}
