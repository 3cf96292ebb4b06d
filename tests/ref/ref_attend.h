// SPDX-License-Identifier: Apache-2.0
#ifndef REF_ATTEND_H
#define REF_ATTEND_H

#include <stdbool.h>
#include <stddef.h>

// A sequence's keys in order, decoded: rows [count][latent + rope].
typedef struct ref_keys {
    const double *rows;
    const bool *present; // [count]: false = not in the cache, to be left out; NULL = all there
    size_t count, latent, rope;
} ref_keys;

typedef struct ref_attended {
    double lse;           // natural; -inf when no key is seen
    double largest_score; // magnitude of the scores: see ref_attend.c
} ref_attended;

// Keys that query token i of query_tokens sees: the first so many.
size_t ref_visible(size_t query_tokens, size_t kv_tokens, size_t i, bool full);

// One query (latent + rope values) against the first `visible` keys: out [latent]; zeros when none is seen.
ref_attended ref_attend(double *out, const float *query, const ref_keys *keys, size_t visible, double scale);

#endif
