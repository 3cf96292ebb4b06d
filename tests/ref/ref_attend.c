// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_attend.h"
#include <math.h>
#include <stdlib.h>

size_t ref_visible(size_t query_tokens, size_t kv_tokens, size_t i, bool full) {
    if (full) return kv_tokens;
    return kv_tokens + i + 1 > query_tokens ? kv_tokens + i + 1 - query_tokens : 0;
}

// What |score| would be if its terms did not happen to cancel: their rounding errors are of that size even when the score
// itself is small.
static double typical_score(const float *query, const double *row, size_t width) {
    double queries = 0, keys = 0;
    for (size_t d = 0; d < width; d++) {
        queries += (double)query[d] * (double)query[d];
        keys += row[d] * row[d];
    }
    return sqrt(queries * keys / (double)width);
}

static double score_of(const float *query, const double *row, size_t width) {
    double sum = 0;
    for (size_t d = 0; d < width; d++) sum += (double)query[d] * row[d];
    return sum;
}

static bool is_there(const ref_keys *keys, size_t j) {
    return !keys->present || keys->present[j];
}

ref_attended ref_attend(double *out, const float *query, const ref_keys *keys, size_t visible, double scale) {
    size_t width = keys->latent + keys->rope;
    ref_attended result = {-(double)INFINITY, 0};
    double top = -(double)INFINITY, total = 0;
    double *scores = malloc((visible + 1) * sizeof *scores);
    if (!scores) abort();
    for (size_t d = 0; d < keys->latent; d++) out[d] = 0;
    bool any = false;
    for (size_t j = 0; j < visible; j++) {
        if (!is_there(keys, j)) continue;
        scores[j] = scale * score_of(query, keys->rows + j * width, width);
        result.largest_score = fmax(result.largest_score, fabs(scores[j]));
        result.largest_score = fmax(result.largest_score, scale * typical_score(query, keys->rows + j * width, width));
        top = fmax(top, scores[j]);
        any = true;
    }
    for (size_t j = 0; j < visible; j++) {
        if (!is_there(keys, j)) continue;
        double weight = exp(scores[j] - top);
        total += weight;
        for (size_t d = 0; d < keys->latent; d++) out[d] += weight * keys->rows[j * width + d];
    }
    for (size_t d = 0; any && d < keys->latent; d++) out[d] /= total;
    if (any) result.lse = top + log(total);
    free(scores);
    return result;
}
