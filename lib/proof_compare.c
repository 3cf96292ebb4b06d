// SPDX-License-Identifier: Apache-2.0
#include "lib/proof.h"
#include <float.h>
#include <math.h>
#include <stdio.h>

// Both results may be off by what docs and tests allow one of them against doubles: of a row's largest value, or of
// scores.
#define BAR_OUTPUT (2 * 2e-6)
#define BAR_LSE (2 * 1e-6)
// The same of rounded products: cosine differences of the whole, of a row, and of its log-sum-exp.
#define ROUNDING_16 1e-5
#define ROUNDING_8 2e-4
#define ROUNDING_ROW 10.0 // times that of the whole
#define ROUNDING_LSE (2 * 2e-2)

void proof_fill(float *values, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) {
        uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u + seed * 0xd1342543de82ef95u;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        values[i] = (float)((int32_t)(x >> 32) >> 8) * 0x1p-23f;
    }
}

double proof_rounding(const variant *variant, clmla_compute compute) {
    if (compute != CLMLA_COMPUTE_FAST) return 0.0;
    switch (variant->method) {
    case VARIANT_NAIVE:
    case VARIANT_VECTOR:
    case VARIANT_VECTOR_MANY:
    case VARIANT_GROUP:
    case VARIANT_TILE:
        return 0.0;
    case VARIANT_INT8_DOT:
        return ROUNDING_8;
    default:
        return ROUNDING_16;
    }
}

// NaN counts as infinitely far.
static double worse(double most, double value) {
    return value <= most ? most : isnan(value) ? (double)INFINITY : value;
}

typedef struct sums {
    double error, peak;   // of a row: largest error, largest value
    double product, both; // for a cosine
} sums;

static sums sum_row(const float *found, const float *naive, size_t width) {
    sums s = {0, 0, 0, 0};
    for (size_t i = 0; i < width; i++) {
        double x = (double)found[i], y = (double)naive[i];
        s.error = worse(s.error, fabs(x - y));
        s.peak = worse(s.peak, fabs(y));
        s.product += x * y;
        s.both += x * x + y * y;
    }
    return s;
}

static double cosine_difference(double product, double both) {
    return both > 0 ? fabs(1.0 - 2.0 * product / both) : (double)NAN;
}

void proof_compare(host_verdict *out, const proof_result *found, const proof_result *naive, size_t rows, size_t width,
                   double rounding) {
    double output = 0, lse = 0, rows_off = 0, product = 0, both = 0;
    bool finite = true;
    for (size_t r = 0; r < rows; r++) {
        sums s = sum_row(found->values + r * width, naive->values + r * width, width);
        double most = fabs((double)naive->largest[r]), sum = fabs((double)naive->lse[r]);
        finite = finite && s.peak > 0 && isfinite(s.peak) && isfinite(most) && isfinite(sum);
        output = worse(output, s.error / (s.peak * fmax(1.0, most / 8.0)));
        rows_off = worse(rows_off, cosine_difference(s.product, s.both));
        double scale = rounding > 0 ? fmax(1.0, most / 4.0) : fmax(1.0, fmax(most, sum));
        lse = worse(lse, fabs((double)found->lse[r] - (double)naive->lse[r]) / scale);
        lse = worse(lse, fabs((double)found->largest[r] - (double)naive->largest[r]) / scale);
        product += s.product;
        both += s.both;
    }
    if (rounding > 0) output = worse(0, cosine_difference(product, both));
    double bar = rounding > 0 ? rounding : BAR_OUTPUT, lse_bar = rounding > 0 ? ROUNDING_LSE : BAR_LSE;
    bool right = output <= bar && lse <= lse_bar && (rounding == 0.0 || rows_off <= ROUNDING_ROW * rounding);
    // Where the naive kernel itself fails, nothing was learnt of the variant: another start compares again.
    *out = (host_verdict){.kind = right && finite ? HOST_VERDICT_RIGHT : HOST_VERDICT_WRONG, .lasting = finite};
    if (!finite)
        snprintf(out->reason, sizeof out->reason, "naive gave no finite numbers on this device to compare with");
    else
        snprintf(out->reason, sizeof out->reason,
                 "%s naive on this device by %.1e%s, %.1e in lse and largest score (allowed: %.0e, %.0e)",
                 right ? "within bounds of" : "differed from", output, rounding > 0 ? " in cosine" : " of a row's peak",
                 lse, bar, lse_bar);
}
