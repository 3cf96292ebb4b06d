// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_gather.h"
#include "tests/ref/ref_quantised.h"
#include <math.h>

static double latent_scale(const ref_row *row, const ref_row_kind *kind, size_t index) {
    size_t group = ref_row_group(kind);
    double flat = kind->format == REF_ROWS_FP8_FLAT ? (double)kind->latent_scale : 1.0;
    if (group == 0) return flat;
    if (kind->format != REF_ROWS_FP8_PAGED)
        return (double)(float)(flat * ref_load(REF_F32, row->scales, index / group));
    unsigned code = row->scales[index / group];
    return code == 255 ? (double)NAN : ldexp(1.0, (int)code - 127);
}

void ref_gather(double *out, const ref_row *row, const ref_row_kind *kind) {
    if (ref_is_quantised(kind->format)) {
        ref_quantised_decode(out, &(ref_quantised){kind->format, false, kind->latent_dim}, row->latent);
        ref_quantised_decode(out + kind->latent_dim, &(ref_quantised){kind->format, true, kind->rope_dim}, row->rope);
        return;
    }
    double rope_scale = kind->format == REF_ROWS_FP8_FLAT ? (double)kind->rope_scale : 1.0;
    for (size_t i = 0; i < kind->latent_dim; i++)
        out[i] = ref_load(ref_row_latent_type(kind->format), row->latent, i) * latent_scale(row, kind, i);
    for (size_t i = 0; i < kind->rope_dim; i++)
        out[kind->latent_dim + i] = ref_load(ref_row_rope_type(kind->format), row->rope, i) * rope_scale;
}
