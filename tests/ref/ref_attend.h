// SPDX-License-Identifier: Apache-2.0
// Attention of one query in double, over a list of keys that says which of them it sees.
#ifndef REF_ATTEND_H
#define REF_ATTEND_H

#include <stdbool.h>
#include <stddef.h>

// What a query sees of its sequence, from the definition: key by key, by the place each has in the whole sequence.
typedef struct ref_mask {
    size_t query_tokens, kv_tokens; // of the sequence; keys over all ranks
    bool full;
    size_t window;                  // 0 = none
    size_t rank, world, interleave; // key g lies on rank (g / interleave) % world
} ref_mask;

// This rank's keys.
size_t ref_mask_count(const ref_mask *mask);
// places[j] is the place in the sequence of this rank's key j, of ref_mask_count keys.
void ref_mask_places(size_t *places, const ref_mask *mask);
// Whether query token i sees the key at place g.
bool ref_mask_sees(const ref_mask *mask, size_t i, size_t g);

// Keys in order, decoded.
typedef struct ref_keys {
    const double *const *rows;  // [count], each of latent + rope values; NULL = no such key
    size_t count, width, value; // value: columns that are summed, from the row's start
} ref_keys;

typedef struct ref_softmax {
    double scale, softcap; // softcap 0 = none
    const float *sink;     // of the query's head, natural; NULL = none
} ref_softmax;

typedef struct ref_attended {
    double lse, max;      // natural; both -inf when no key is seen
    double largest_score; // magnitude of the scores: see ref_attend.c
} ref_attended;

// One query of `width` values against the keys with sees[j] (NULL = all): out [value]; zeros when none is seen.
ref_attended ref_attend(double *out, const double *query, const ref_keys *keys, const bool *sees,
                        const ref_softmax *softmax);

#endif
