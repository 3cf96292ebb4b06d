// SPDX-License-Identifier: Apache-2.0
// Multi-head, grouped-query and multi-query attention in double.
#ifndef REF_ATTEND_HEADS_H
#define REF_ATTEND_HEADS_H

#include <stddef.h>

typedef struct ref_heads {
    size_t heads, kv_heads; // head h reads kv head h / (heads / kv_heads)
    size_t key_dim, value_dim;
    size_t query_tokens, kv_tokens; // causal: the last query token sees every key
    double scale;
} ref_heads;

// query [query_tokens][heads][key_dim], keys [kv_tokens][kv_heads][key_dim], values [kv_tokens][kv_heads][value_dim];
// out [query_tokens][heads][value_dim].
void ref_attend_heads(double *out, const ref_heads *shape, const double *query, const double *keys,
                      const double *values);

#endif
