// SPDX-License-Identifier: Apache-2.0
// The compressed cache: pages of latent rows for a number of layers, and sequences that own pages.
//
// One page number stands for the same page in every layer. A sequence holds pages in order, so token t of it lies in
// row t % page_tokens of its page t / page_tokens. A contiguous cache is one with a page per sequence: page_tokens =
// the longest context. Follows vLLM's paged attention (arXiv 2309.06180).
#ifndef CLMLA_CACHE_H
#define CLMLA_CACHE_H

#include <clmla/config.h>
#include <clmla/context.h>
#include <clmla/rows.h>
#include <stdbool.h>

CLMLA_BEGIN

// Opaque. Threads: one at a time may change a cache; clmla_cache_usage and the length queries are safe from any thread
// at any time. Different caches are independent.
typedef struct clmla_cache clmla_cache;

// A sequence's name within its cache. 0 is never one.
typedef uint32_t clmla_sequence;

typedef struct clmla_cache_params {
    clmla_row_format format;
    clmla_rope_order rope_order; // used when rope_order_given; otherwise the config's
    bool rope_order_given;
    uint32_t layer_count; // 0 = the config's
    uint32_t page_tokens; // 0 = 64
    uint64_t page_count;  // pages; 0 = as many as `bytes` holds
    uint64_t bytes;       // budget for all layers together; used when page_count is 0
} clmla_cache_params;

// New tokens for some sequences, in the order their rows stand in x: all of sequences[0] first. The i-th new token of a
// sequence of length n becomes its token n + i.
typedef struct clmla_batch {
    uint32_t sequence_count;         // >= 1; no sequence twice
    const clmla_sequence *sequences; // [sequence_count]
    const uint32_t *query_tokens;    // [sequence_count], each >= 0; NULL = 1 each
    const int32_t *positions;        // [sum of query_tokens] rotary positions; NULL = the token's index in its sequence
} clmla_batch;

typedef struct clmla_cache_usage {
    uint32_t page_tokens;
    uint64_t pages, pages_free, pages_used;
    uint64_t bytes;           // of device memory, all layers
    uint64_t bytes_per_token; // all layers: row bytes × layers
    uint64_t tokens;          // held by all sequences
    uint32_t sequences;
    uint32_t longest_sequence; // tokens
} clmla_cache_usage;

// Makes a cache: one buffer per layer, contents undefined (they never matter). The config is copied.
// Out     : *out, to be given to clmla_cache_destroy; NULL on failure.
// Errors  : CLMLA_E_ARGUMENT; CLMLA_E_LIMIT (a layer's buffer would pass the device's largest: both figures in the
//           sentence; or the budget does not hold a page); CLMLA_E_OPENCL; CLMLA_E_MEMORY.
CLMLA_API clmla_status clmla_cache_create(clmla_cache **out, clmla_context *context, const clmla_config *config,
                                          const clmla_cache_params *params);

// Frees the cache and sets *cache to NULL. Accepts NULL. Enqueued work keeps its memory alive.
CLMLA_API void clmla_cache_destroy(clmla_cache **cache);

// Makes an empty sequence. Ids of dropped sequences are used again. Errors: CLMLA_E_MEMORY.
CLMLA_API clmla_status clmla_cache_sequence_create(clmla_sequence *out, clmla_cache *cache);
// Drops a sequence and frees its pages. Errors: CLMLA_E_SEQUENCE.
CLMLA_API clmla_status clmla_cache_sequence_drop(clmla_cache *cache, clmla_sequence sequence);
// Keeps the first `tokens` tokens; pages past them are freed. Errors: CLMLA_E_SEQUENCE; CLMLA_E_ARGUMENT if longer.
CLMLA_API clmla_status clmla_cache_sequence_truncate(clmla_cache *cache, clmla_sequence sequence, uint32_t tokens);
// The tokens a sequence holds, reserved ones included. Errors: CLMLA_E_SEQUENCE.
CLMLA_API clmla_status clmla_cache_sequence_length(uint32_t *tokens, const clmla_cache *cache, clmla_sequence sequence);
// The pages of a sequence in order: *count how many, pages[0 .. min(capacity, *count)) filled. Errors:
// CLMLA_E_SEQUENCE.
CLMLA_API clmla_status clmla_cache_sequence_pages(int32_t *pages, size_t capacity, size_t *count,
                                                  const clmla_cache *cache, clmla_sequence sequence);

// Takes the pages a batch needs and lengthens its sequences by their new tokens: all of it or nothing. The rows are
// written when each layer runs. Host work alone: nothing is enqueued.
// Errors  : CLMLA_E_CACHE_FULL (the sentence says how many pages are missing); CLMLA_E_SEQUENCE; CLMLA_E_ARGUMENT
//           (a sequence twice); CLMLA_E_LIMIT (longer than CLMLA_MAX_CONTEXT). On any of them nothing changed.
CLMLA_API clmla_status clmla_cache_reserve(clmla_cache *cache, const clmla_batch *batch);

CLMLA_API clmla_cache_usage clmla_cache_usage_get(const clmla_cache *cache);
CLMLA_API const clmla_config *clmla_cache_config(const clmla_cache *cache);

// The rows of one layer, as the operations take them. Valid while the cache lives. Errors: CLMLA_E_ARGUMENT.
CLMLA_API clmla_status clmla_cache_rows(clmla_rows *out, const clmla_cache *cache, uint32_t layer);

CLMLA_END

#endif
