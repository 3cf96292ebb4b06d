// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_convert_rows.h"
#include "tests/ref/ref_append.h"
#include "tests/ref/ref_gather.h"
#include <stdlib.h>

// Where the half (0 or 1) of a pair stands in a part of `width` values.
static size_t place_of(size_t pair, size_t half, size_t width, bool halves) {
    return halves ? half * (width / 2) + pair : 2 * pair + half;
}

void ref_convert_rows(const ref_row *to, const ref_row_kind *to_kind, bool to_halves, const ref_row *from,
                      const ref_row_kind *from_kind, bool from_halves) {
    size_t latent = from_kind->latent_dim, rope = from_kind->rope_dim;
    double *decoded = calloc(latent + rope, sizeof *decoded);
    float *values = calloc(latent + rope, sizeof *values);
    if (!decoded || !values) abort();
    ref_gather(decoded, from, from_kind);
    for (size_t i = 0; i < latent + rope; i++) values[i] = (float)decoded[i];
    for (size_t pair = 0; pair < rope / 2; pair++)
        for (size_t half = 0; half < 2; half++)
            values[latent + place_of(pair, half, rope, to_halves)] =
                (float)decoded[latent + place_of(pair, half, rope, from_halves)];
    ref_append(to, to_kind, values, values + latent);
    free(decoded);
    free(values);
}
