// SPDX-License-Identifier: Apache-2.0
#include "ref_attend_heads.h"
#include <math.h>

static double dot(const double *a, const double *b, size_t count) {
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

static double score(const ref_heads *s, const double *query, const double *key) {
    double raw = s->scale * dot(query, key, s->key_dim);
    return s->softcap != 0.0 ? s->softcap * tanh(raw / s->softcap) : raw;
}

static bool sees(const ref_heads *s, size_t token, size_t key) {
    long own = (long)s->kv_tokens - (long)s->query_tokens + s->ahead + (long)token, j = (long)key;
    return (s->full || j <= own) && (s->window == 0 || j > own - (long)s->window);
}

void ref_attend_heads(double *out, double *lse, const ref_heads *s, const double *query, const double *keys,
                      const double *values) {
    for (size_t t = 0; t < s->query_tokens; t++)
        for (size_t h = 0; h < s->heads; h++) {
            size_t g = h / (s->heads / s->kv_heads);
            const double *q = query + (t * s->heads + h) * s->key_dim;
            double *o = out + (t * s->heads + h) * s->value_dim, peak = -INFINITY, sum = 0.0;
            for (size_t j = 0; j < s->kv_tokens; j++)
                if (sees(s, t, j)) peak = fmax(peak, score(s, q, keys + (j * s->kv_heads + g) * s->key_dim));
            for (size_t d = 0; d < s->value_dim; d++) o[d] = 0.0;
            for (size_t j = 0; j < s->kv_tokens; j++) {
                if (!sees(s, t, j)) continue;
                double p = exp(score(s, q, keys + (j * s->kv_heads + g) * s->key_dim) - peak);
                sum += p;
                for (size_t d = 0; d < s->value_dim; d++) o[d] += p * values[(j * s->kv_heads + g) * s->value_dim + d];
            }
            for (size_t d = 0; d < s->value_dim && sum != 0.0; d++) o[d] /= sum;
            if (lse) lse[t * s->heads + h] = sum != 0.0 ? peak + log(sum) : -INFINITY;
        }
}
