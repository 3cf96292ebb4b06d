// SPDX-License-Identifier: Apache-2.0
// Multi-head, grouped-query and multi-query attention in double.
#ifndef REF_ATTEND_HEADS_H
#define REF_ATTEND_HEADS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ref_heads {
    size_t heads, kv_heads; // head h reads kv head h / (heads / kv_heads)
    size_t key_dim, value_dim;
    size_t query_tokens, kv_tokens; // causal: the last query token sees every key
    double scale;
    double softcap; // 0 = none
    size_t window;  // keys a token sees at most, its own the last of them; 0 = all
    bool full;      // not causal
    long ahead;     // the keys are a chunk of a sequence: by so many keys the query tokens stand further on
} ref_heads;

// query [query_tokens][heads][key_dim], keys [kv_tokens][kv_heads][key_dim], values [kv_tokens][kv_heads][value_dim];
// out [query_tokens][heads][value_dim]; lse [query_tokens][heads], natural, or NULL. A token that sees no key: 0,
// -infinity.
void ref_attend_heads(double *out, double *lse, const ref_heads *shape, const double *query, const double *keys,
                      const double *values);

#endif
