// SPDX-License-Identifier: Apache-2.0
#include "ref_attend_heads.h"
#include <math.h>

static double dot(const double *a, const double *b, size_t count) {
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

void ref_attend_heads(double *out, const ref_heads *s, const double *query, const double *keys, const double *values) {
    for (size_t t = 0; t < s->query_tokens; t++)
        for (size_t h = 0; h < s->heads; h++) {
            size_t g = h / (s->heads / s->kv_heads), seen = s->kv_tokens - s->query_tokens + t + 1;
            const double *q = query + (t * s->heads + h) * s->key_dim;
            double *o = out + (t * s->heads + h) * s->value_dim, peak = -INFINITY, sum = 0.0;
            for (size_t j = 0; j < seen; j++)
                peak = fmax(peak, s->scale * dot(q, keys + (j * s->kv_heads + g) * s->key_dim, s->key_dim));
            for (size_t d = 0; d < s->value_dim; d++) o[d] = 0.0;
            for (size_t j = 0; j < seen; j++) {
                double p = exp(s->scale * dot(q, keys + (j * s->kv_heads + g) * s->key_dim, s->key_dim) - peak);
                sum += p;
                for (size_t d = 0; d < s->value_dim; d++) o[d] += p * values[(j * s->kv_heads + g) * s->value_dim + d];
            }
            for (size_t d = 0; d < s->value_dim; d++) o[d] /= sum;
        }
}
