// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_merge.h"
#include <math.h>

double ref_merge(double *out, const float *states, size_t state_stride, const float *lse, size_t lse_stride, size_t count,
                 size_t width) {
    double top = -(double)INFINITY, total = 0;
    for (size_t d = 0; d < width; d++) out[d] = 0;
    for (size_t s = 0; s < count; s++)
        if (!isinf(lse[s * lse_stride])) top = fmax(top, (double)lse[s * lse_stride]);
    for (size_t s = 0; s < count; s++) {
        if (isinf(lse[s * lse_stride])) continue;
        double weight = exp((double)lse[s * lse_stride] - top);
        total += weight;
        for (size_t d = 0; d < width; d++) out[d] += weight * (double)states[s * state_stride + d];
    }
    if (total == 0) return -(double)INFINITY;
    for (size_t d = 0; d < width; d++) out[d] /= total;
    return top + log(total);
}
