// SPDX-License-Identifier: Apache-2.0
// The compressed cache: pages of latent rows for a number of layers, and sequences that own pages.
//
// One page number stands for the same page in every layer. A sequence holds pages in order; until rows are removed from
// its middle, token t of it lies in row t % page_tokens of its page t / page_tokens. A contiguous cache is one with a
// page per sequence: page_tokens = the longest context. Follows vLLM's paged attention (arXiv 2309.06180); the
// operations on sequences are those of llama.cpp's memory.
//
// Pages are shared between sequences that were forked, copied or started from the same tokens, and are never written
// while they are: who writes first gets a copy. A sequence's rows are counted from 0 in the order they were appended;
// "tokens from, to" are such counts. Which position a row was rotated for is kept apart: removing rows leaves the
// positions of the others, shifting changes them. Masks (causal, window) count rows, not positions.
//
// Calls that change a cache are host work and return at once. What they need done on the device (copies of pages, rows
// moved together, rotations) is collected and enqueued before the rows of the next step by clmla_plan_update, or by
// clmla_cache_flush for callers who append without a plan. A flush must be ordered, like a step, behind enqueued work
// that uses the cache's rows: by an in-order queue or by its wait list.
//
// Host work of every call is in proportion to the pages it touches; taking pages out of the middle of a sequence also
// moves the list of those behind them, a few bytes each.
#ifndef CLMLA_CACHE_H
#define CLMLA_CACHE_H

#include <clmla/config.h>
#include <clmla/context.h>
#include <clmla/rows.h>
#include <stdbool.h>

CLMLA_BEGIN

// Opaque. Threads: one at a time may change a cache, clmla_plan_update and clmla_cache_flush included;
// clmla_cache_usage_get and the queries about sequences (length, pages, slots, positions, tokens) are safe from any
// thread at any time, and see a change whole or not at all. Different caches, of one context or of several, are
// independent: each may be changed, stepped, saved and loaded by a thread of its own with no lock around it.
typedef struct clmla_cache clmla_cache;

// A sequence's name within its cache. 0 is never one.
typedef uint32_t clmla_sequence;

// Asked once by a call that finds too few free pages, before it gives up: may drop, truncate or otherwise change
// sequences of this cache, those of the call included, and answers whether the call is to be tried once more. On the
// calling thread. Calls made from inside it do not ask it again.
typedef bool (*clmla_cache_evict)(void *payload, clmla_cache *cache, uint64_t pages_missing);

typedef struct clmla_cache_params {
    clmla_row_format format;
    clmla_rope_order rope_order; // used when rope_order_given; otherwise the config's
    bool rope_order_given;
    uint32_t layer_count;    // 0 = the config's
    uint32_t page_tokens;    // 0 = 64
    uint64_t page_count;     // pages; 0 = as many as `bytes` holds
    uint64_t bytes;          // budget for all layers together; used when page_count is 0
    bool share_prefixes;     // keep pages whose token ids are told, for sequences that start with the same tokens
    clmla_cache_evict evict; // optional
    void *evict_payload;
} clmla_cache_params;

// New tokens for some sequences, in the order their rows stand in x: all of sequences[0] first. The i-th new token of a
// sequence of length n becomes its token n + i.
typedef struct clmla_batch {
    uint32_t sequence_count;         // >= 1; no sequence twice
    const clmla_sequence *sequences; // [sequence_count]
    const uint32_t *query_tokens;    // [sequence_count], each >= 0; NULL = 1 each
    const int32_t *positions; // [sum of query_tokens] rotary positions, >= 0; NULL = from one after the sequence's last
} clmla_batch;

typedef struct clmla_cache_usage {
    uint32_t page_tokens;
    uint64_t pages, pages_free, pages_used; // free: nobody holds them
    uint64_t pages_shared;                  // of those used: by several sequences
    uint64_t pages_kept;      // of those free: kept for what they hold, and used again last, the longest unused first
    uint64_t bytes;           // of device memory, all layers
    uint64_t bytes_per_token; // all layers: row bytes × layers
    uint64_t tokens;          // of all sequences; shared ones count for each
    uint32_t sequences;
    uint32_t longest_sequence;                          // tokens
    uint64_t prefix_tokens_asked, prefix_tokens_shared; // by clmla_cache_sequence_create_with_tokens so far
} clmla_cache_usage;

// Makes a cache, contents undefined (they never matter). Layers lie in as few buffers as the device's largest buffer
// allows. The config is copied.
// Out     : *out, to be given to clmla_cache_destroy; NULL on failure.
// Errors  : CLMLA_E_ARGUMENT; those of clmla_config_check; CLMLA_E_LIMIT (one layer would pass the device's largest
//           buffer: both figures in the sentence; the budget does not hold a page; more than CLMLA_MAX_LAYERS layers);
//           CLMLA_E_OPENCL; CLMLA_E_MEMORY.
CLMLA_API clmla_status clmla_cache_create(clmla_cache **out, clmla_context *context, const clmla_config *config,
                                          const clmla_cache_params *params);

// Frees the cache and sets *cache to NULL. Accepts NULL. Enqueued work keeps its memory alive.
CLMLA_API void clmla_cache_destroy(clmla_cache **cache);

// --- sequences -----------------------------------------------------------------------------------------------------
// All or nothing: on an error nothing changed. CLMLA_E_CACHE_FULL says how many pages are missing. Besides what is
// named all of them answer CLMLA_E_ARGUMENT for NULL, CLMLA_E_SEQUENCE for an id that is none, CLMLA_E_MEMORY.

// Makes an empty sequence. Ids of dropped sequences are used again.
CLMLA_API clmla_status clmla_cache_sequence_create(clmla_sequence *out, clmla_cache *cache);
// Drops a sequence; pages that no other holds are free.
CLMLA_API clmla_status clmla_cache_sequence_drop(clmla_cache *cache, clmla_sequence sequence);
// Drops all sequences but these. A sequence may be named twice.
CLMLA_API clmla_status clmla_cache_keep_only(clmla_cache *cache, const clmla_sequence *sequences, size_t count);
// Makes a sequence with the same rows; all pages are shared. Takes no page: the first of the two to be lengthened takes
// one for a copy of the last page, unless that is full.
CLMLA_API clmla_status clmla_cache_sequence_fork(clmla_sequence *out, clmla_cache *cache, clmla_sequence sequence);
// Gives the empty sequence `to` the first `tokens` rows of `from`, shared likewise. Errors: CLMLA_E_ARGUMENT (`to` is
// not empty; more tokens than there are).
CLMLA_API clmla_status clmla_cache_sequence_copy_prefix(clmla_cache *cache, clmla_sequence to, clmla_sequence from,
                                                        uint32_t tokens);
// Keeps the first `tokens` tokens; pages past them are freed. Errors: CLMLA_E_ARGUMENT if longer.
CLMLA_API clmla_status clmla_cache_sequence_truncate(clmla_cache *cache, clmla_sequence sequence, uint32_t tokens);
// Removes tokens from .. to-1. Those behind move up by so many; in the page that `to` lies in their rows move together,
// other pages are left as they are, so that a page in the middle may then hold fewer rows. Positions stay.
// Errors: CLMLA_E_ARGUMENT (from > to, or past the end); CLMLA_E_CACHE_FULL (that page is shared and none is free).
CLMLA_API clmla_status clmla_cache_sequence_remove(clmla_cache *cache, clmla_sequence sequence, uint32_t from,
                                                   uint32_t to);
// Adds `delta` to the positions of tokens from .. to-1 and has their rope parts rotated by as much (not without rotary
// embedding). Plain formats: on the device, once for all shifts before a flush; shared pages are copied first. Scaled
// formats keep their codes and a delta a page, so that many shifts equal one; a range that ends inside a page takes a
// page for the rest of it.
// Errors: CLMLA_E_ARGUMENT (no such tokens; a position would leave 0 .. 2^31-1); CLMLA_E_CACHE_FULL.
CLMLA_API clmla_status clmla_cache_sequence_shift(clmla_cache *cache, clmla_sequence sequence, uint32_t from,
                                                  uint32_t to, int32_t delta);
// The tokens a sequence holds, reserved ones included.
CLMLA_API clmla_status clmla_cache_sequence_length(uint32_t *tokens, const clmla_cache *cache, clmla_sequence sequence);
// The pages of a sequence in order: *count how many, pages[0 .. min(capacity, *count)) filled.
CLMLA_API clmla_status clmla_cache_sequence_pages(int32_t *pages, size_t capacity, size_t *count,
                                                  const clmla_cache *cache, clmla_sequence sequence);
// Where tokens first .. first+count-1 lie: slots as clmla_append takes them. Errors: CLMLA_E_ARGUMENT (past the end).
CLMLA_API clmla_status clmla_cache_sequence_slots(int64_t *slots, const clmla_cache *cache, clmla_sequence sequence,
                                                  uint32_t first, uint32_t count);
// And their rotary positions.
CLMLA_API clmla_status clmla_cache_sequence_positions(int32_t *positions, const clmla_cache *cache,
                                                      clmla_sequence sequence, uint32_t first, uint32_t count);
// And the positions by which their rope parts are still to be rotated when they are read: of scaled formats alone, else
// 0. clmla_plan_update tells clmla_attend by itself; clmla_gather is told by its caller.
CLMLA_API clmla_status clmla_cache_sequence_deltas(int32_t *deltas, const clmla_cache *cache, clmla_sequence sequence,
                                                   uint32_t first, uint32_t count);

// Takes the pages a batch needs and lengthens its sequences by their new tokens: all of it or nothing. The rows are
// written when each layer runs.
// Errors  : CLMLA_E_CACHE_FULL; CLMLA_E_SEQUENCE; CLMLA_E_ARGUMENT (a sequence twice, a position below 0);
//           CLMLA_E_LIMIT (longer than CLMLA_MAX_CONTEXT, or positions past 31 bits).
CLMLA_API clmla_status clmla_cache_reserve(clmla_cache *cache, const clmla_batch *batch);

// --- prefixes ------------------------------------------------------------------------------------------------------
// With share_prefixes: full pages whose token ids were told are kept, also when nobody holds them any more, until their
// memory is needed, the longest unused first. Ids are compared, not only their hash.

// Makes a sequence that starts with the kept pages of the longest prefix of these tokens, and says how many tokens that
// is: a multiple of page_tokens, and less than `count`, so that a step has a token left to run. The rest is to be
// reserved and run as usual. Errors: CLMLA_E_ARGUMENT also without share_prefixes.
CLMLA_API clmla_status clmla_cache_sequence_create_with_tokens(clmla_sequence *out, clmla_cache *cache,
                                                               const int32_t *tokens, uint32_t count,
                                                               uint32_t *shared_tokens);
// Tells the ids of a sequence's next `count` tokens whose ids are not known yet, in order. To be called once the steps
// that write their rows are enqueued in all layers, because from then on others may share them. Errors:
// CLMLA_E_ARGUMENT (more than the sequence holds; other ids than were told for a page it shares; no share_prefixes).
CLMLA_API clmla_status clmla_cache_commit_tokens(clmla_cache *cache, clmla_sequence sequence, const int32_t *tokens,
                                                 uint32_t count);
// The ids of a sequence's leading tokens, as far as they were told (or loaded, cache_file.h): *count how many,
// tokens[0 .. min(capacity, *count)) filled. None without share_prefixes.
CLMLA_API clmla_status clmla_cache_sequence_tokens(int32_t *tokens, size_t capacity, size_t *count,
                                                   const clmla_cache *cache, clmla_sequence sequence);
// Forgets all prefixes: kept pages are plain free ones.
CLMLA_API void clmla_cache_forget_prefixes(clmla_cache *cache);

// --- the rest ------------------------------------------------------------------------------------------------------

// Enqueues what changes of the cache have left to be done on the device; a marker if there is nothing.
// clmla_plan_update does it by itself. Async: an enqueue (opencl.h). Errors: CLMLA_E_ARGUMENT; CLMLA_E_LIMIT (2^31 row
// moves at once); CLMLA_E_MEMORY; CLMLA_E_BUILD; CLMLA_E_OPENCL. After any of them what was not enqueued is left for
// the next flush, and nothing is done twice.
CLMLA_API clmla_status clmla_cache_flush(clmla_cache *cache, cl_command_queue queue, cl_uint wait_count,
                                         const cl_event *wait, cl_event *event);

// Threads: any, at any time. Of NULL: zeros, and NULL. The config is the cache's own copy.
CLMLA_API clmla_cache_usage clmla_cache_usage_get(const clmla_cache *cache);
CLMLA_API const clmla_config *clmla_cache_config(const clmla_cache *cache);

// The rows of one layer, as the operations take them: a view into a buffer that other layers may share. Valid while the
// cache lives. Errors: CLMLA_E_ARGUMENT.
CLMLA_API clmla_status clmla_cache_rows(clmla_rows *out, const clmla_cache *cache, uint32_t layer);

CLMLA_END

#endif
