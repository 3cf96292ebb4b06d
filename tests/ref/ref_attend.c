// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_attend.h"
#include <math.h>
#include <stdlib.h>

static bool on_rank(const ref_mask *mask, size_t g) {
    return g / mask->interleave % mask->world == mask->rank;
}

size_t ref_mask_count(const ref_mask *mask) {
    size_t count = 0;
    for (size_t g = 0; g < mask->kv_tokens; g++) count += on_rank(mask, g);
    return count;
}

void ref_mask_places(size_t *places, const ref_mask *mask) {
    for (size_t g = 0; g < mask->kv_tokens; g++)
        if (on_rank(mask, g)) *places++ = g;
}

bool ref_mask_sees(const ref_mask *mask, size_t i, size_t g) {
    // The query's own place is kv_tokens - query_tokens + i; sums on both sides keep all of it unsigned.
    size_t own = mask->kv_tokens + i, key = g + mask->query_tokens;
    if (!mask->full && key > own) return false;
    return mask->window == 0 || key + mask->window > own;
}

// What |score| would be if its terms did not happen to cancel: their rounding errors are of that size even when the
// score itself is small.
static double typical_score(const double *query, const double *row, size_t width) {
    double queries = 0, keys = 0;
    for (size_t d = 0; d < width; d++) {
        queries += query[d] * query[d];
        keys += row[d] * row[d];
    }
    return sqrt(queries * keys / (double)width);
}

static double score_of(const double *query, const double *row, size_t width) {
    double sum = 0;
    for (size_t d = 0; d < width; d++) sum += query[d] * row[d];
    return sum;
}

static double sink_factor(double lse, const float *sink) {
    if (!sink || lse == -(double)INFINITY) return 1;
    return 1 / (1 + exp((double)*sink - lse));
}

ref_attended ref_attend(double *out, const double *query, const ref_keys *keys, const bool *sees,
                        const ref_softmax *softmax) {
    ref_attended result = {-(double)INFINITY, -(double)INFINITY, 0};
    double total = 0;
    double *scores = malloc((keys->count + 1) * sizeof *scores);
    if (!scores) abort();
    for (size_t d = 0; d < keys->value; d++) out[d] = 0;
    bool any = false;
    for (size_t j = 0; j < keys->count; j++) {
        if (!keys->rows[j] || (sees && !sees[j])) continue;
        scores[j] = softmax->scale * score_of(query, keys->rows[j], keys->width);
        if (!any) // enough of a sample: rows of one sequence are of one size
            result.largest_score = softmax->scale * typical_score(query, keys->rows[j], keys->width);
        result.largest_score = fmax(result.largest_score, fabs(scores[j]));
        if (softmax->softcap != 0) scores[j] = softmax->softcap * tanh(scores[j] / softmax->softcap);
        result.max = fmax(result.max, scores[j]);
        any = true;
    }
    for (size_t j = 0; j < keys->count; j++) {
        if (!keys->rows[j] || (sees && !sees[j])) continue;
        double weight = exp(scores[j] - result.max);
        total += weight;
        for (size_t d = 0; d < keys->value; d++) out[d] += weight * keys->rows[j][d];
    }
    if (any) result.lse = result.max + log(total);
    for (size_t d = 0; any && d < keys->value; d++) out[d] *= sink_factor(result.lse, softmax->sink) / total;
    free(scores);
    return result;
}
