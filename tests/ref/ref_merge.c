// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_merge.h"
#include <math.h>

double ref_merge(double *out, const double *states, const double *lse, size_t count, size_t width, bool base2) {
    double top = -(double)INFINITY, total = 0, unit = base2 ? log(2.0) : 1.0;
    for (size_t d = 0; d < width; d++) out[d] = 0;
    for (size_t s = 0; s < count; s++)
        if (!isinf(lse[s])) top = fmax(top, lse[s]);
    for (size_t s = 0; s < count; s++) {
        if (isinf(lse[s])) continue;
        double weight = exp((lse[s] - top) * unit);
        total += weight;
        for (size_t d = 0; d < width; d++) out[d] += weight * states[s * width + d];
    }
    if (total == 0) return -(double)INFINITY;
    for (size_t d = 0; d < width; d++) out[d] /= total;
    return top + log(total) / unit;
}
