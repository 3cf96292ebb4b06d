// SPDX-License-Identifier: Apache-2.0
// The public calls on sequences. Each holds the lock while it changes or reads the pages, never while the owner's evict
// callback runs: that makes calls of its own.
#include "host/error.h"
#include "lib/cache.h"
#include "lib/cache_restore.h"

static clmla_status missing(const clmla_cache *cache, const char *call) {
    return host_fail(cache ? &cache->context->host.log : NULL, CLMLA_E_ARGUMENT, 0, "cache: %s: an argument is NULL",
                     call);
}

// Readers take the lock of a cache that is otherwise const to them.
static void lock(const clmla_cache *cache) {
    pthread_mutex_lock(&((clmla_cache *)cache)->lock);
}

static clmla_status unlock(const clmla_cache *cache, clmla_status status) {
    pthread_mutex_unlock(&((clmla_cache *)cache)->lock);
    return host_log_failure(&cache->context->host.log, status);
}

// --- calls that may want pages -----------------------------------------------------------------------------------

typedef struct request {
    clmla_status (*run)(cache_pages *pages, const struct request *request);
    const clmla_batch *batch;
    clmla_sequence sequence;
    uint32_t from, to;
    int32_t delta;
    const struct cache_saved *saved;
    uint32_t *ids;
} request;

static clmla_status attempt(uint64_t *pages_missing, clmla_cache *cache, const request *request) {
    pthread_mutex_lock(&cache->lock);
    clmla_status status = request->run(&cache->pages, request);
    *pages_missing = cache->pages.missing;
    pthread_mutex_unlock(&cache->lock);
    return status;
}

static clmla_status run(clmla_cache *cache, const request *request) {
    const clmla_log *log = &cache->context->host.log;
    uint64_t pages_missing;
    bool asks = cache->evict && !cache->evicting;
    host_last_failure told;
    if (asks) host_last_failure_keep(&told);
    clmla_status status = attempt(&pages_missing, cache, request);
    if (status != CLMLA_E_CACHE_FULL || !asks) return host_log_failure(log, status);
    host_last_failure_restore(&told); // what the owner makes room for is no failed call
    cache->evicting = true;
    bool again = cache->evict(cache->evict_payload, cache, pages_missing);
    cache->evicting = false;
    if (again) return host_log_failure(log, attempt(&pages_missing, cache, request));
    return host_fail(log, CLMLA_E_CACHE_FULL, 0, "cache: %llu pages of %u tokens are missing and none was evicted",
                     (unsigned long long)pages_missing, cache->page_tokens);
}

static clmla_status run_reserve(cache_pages *pages, const request *r) {
    return cache_pages_reserve(pages, r->batch->sequence_count, r->batch->sequences, r->batch->query_tokens,
                               r->batch->positions);
}

clmla_status clmla_cache_reserve(clmla_cache *cache, const clmla_batch *batch) {
    if (!cache || !batch || !batch->sequences) return missing(cache, "reserve");
    if (batch->sequence_count == 0)
        return host_fail(&cache->context->host.log, CLMLA_E_ARGUMENT, 0, "cache: reserve: the batch has no sequences");
    return run(cache, &(request){.run = run_reserve, .batch = batch});
}

static clmla_status run_remove(cache_pages *pages, const request *r) {
    return cache_pages_remove(pages, r->sequence, r->from, r->to);
}

clmla_status clmla_cache_sequence_remove(clmla_cache *cache, clmla_sequence sequence, uint32_t from, uint32_t to) {
    if (!cache) return missing(cache, "sequence remove");
    return run(cache, &(request){.run = run_remove, .sequence = sequence, .from = from, .to = to});
}

static clmla_status run_shift(cache_pages *pages, const request *r) {
    return cache_pages_shift(pages, r->sequence, r->from, r->to, r->delta);
}

clmla_status clmla_cache_sequence_shift(clmla_cache *cache, clmla_sequence sequence, uint32_t from, uint32_t to,
                                        int32_t delta) {
    if (!cache) return missing(cache, "sequence shift");
    return run(cache, &(request){.run = run_shift, .sequence = sequence, .from = from, .to = to, .delta = delta});
}

static clmla_status run_restore(cache_pages *pages, const request *r) {
    return cache_pages_restore(pages, r->saved, r->ids);
}

clmla_status cache_restore(clmla_cache *cache, const struct cache_saved *saved, uint32_t *ids) {
    return run(cache, &(request){.run = run_restore, .saved = saved, .ids = ids});
}

// --- calls that want none ----------------------------------------------------------------------------------------

clmla_status clmla_cache_sequence_create(clmla_sequence *out, clmla_cache *cache) {
    if (!out || !cache) return missing(cache, "sequence create");
    lock(cache);
    return unlock(cache, cache_pages_create_sequence(out, &cache->pages));
}

clmla_status clmla_cache_sequence_drop(clmla_cache *cache, clmla_sequence sequence) {
    if (!cache) return missing(cache, "sequence drop");
    lock(cache);
    return unlock(cache, cache_pages_drop_sequence(&cache->pages, sequence));
}

clmla_status clmla_cache_sequence_truncate(clmla_cache *cache, clmla_sequence sequence, uint32_t tokens) {
    if (!cache) return missing(cache, "sequence truncate");
    lock(cache);
    return unlock(cache, cache_pages_truncate(&cache->pages, sequence, tokens));
}

clmla_status clmla_cache_keep_only(clmla_cache *cache, const clmla_sequence *sequences, size_t count) {
    if (!cache || (!sequences && count > 0)) return missing(cache, "keep only");
    if (count > UINT32_MAX)
        return host_fail(&cache->context->host.log, CLMLA_E_LIMIT, 0, "cache: keep only: %zu sequences", count);
    lock(cache);
    return unlock(cache, cache_pages_keep_only(&cache->pages, (uint32_t)count, sequences));
}

clmla_status clmla_cache_sequence_fork(clmla_sequence *out, clmla_cache *cache, clmla_sequence sequence) {
    if (!out || !cache) return missing(cache, "sequence fork");
    lock(cache);
    return unlock(cache, cache_pages_fork(out, &cache->pages, sequence));
}

clmla_status clmla_cache_sequence_copy_prefix(clmla_cache *cache, clmla_sequence to, clmla_sequence from,
                                              uint32_t tokens) {
    if (!cache) return missing(cache, "sequence copy prefix");
    lock(cache);
    return unlock(cache, cache_pages_copy_prefix(&cache->pages, to, from, tokens));
}

clmla_status clmla_cache_sequence_create_with_tokens(clmla_sequence *out, clmla_cache *cache, const int32_t *tokens,
                                                     uint32_t count, uint32_t *shared_tokens) {
    if (!out || !cache || (!tokens && count > 0) || !shared_tokens)
        return missing(cache, "sequence create with tokens");
    lock(cache);
    return unlock(cache, cache_pages_create_with_tokens(out, shared_tokens, &cache->pages, tokens, count));
}

clmla_status clmla_cache_commit_tokens(clmla_cache *cache, clmla_sequence sequence, const int32_t *tokens,
                                       uint32_t count) {
    if (!cache || (!tokens && count > 0)) return missing(cache, "commit tokens");
    lock(cache);
    return unlock(cache, cache_pages_commit_tokens(&cache->pages, sequence, tokens, count));
}

void clmla_cache_forget_prefixes(clmla_cache *cache) {
    if (!cache) return;
    lock(cache);
    cache_pages_forget_prefixes(&cache->pages);
    unlock(cache, CLMLA_OK);
}

// --- queries -----------------------------------------------------------------------------------------------------

clmla_status clmla_cache_sequence_length(uint32_t *tokens, const clmla_cache *cache, clmla_sequence sequence) {
    if (!tokens || !cache) return missing(cache, "sequence length");
    lock(cache);
    const cache_sequence *found = cache_pages_sequence(&cache->pages, sequence);
    if (found) *tokens = found->tokens;
    return unlock(cache, found ? CLMLA_OK : CLMLA_E_SEQUENCE);
}

clmla_status clmla_cache_sequence_pages(int32_t *pages, size_t capacity, size_t *count, const clmla_cache *cache,
                                        clmla_sequence sequence) {
    if ((!pages && capacity > 0) || !count || !cache) return missing(cache, "sequence pages");
    lock(cache);
    const cache_sequence *found = cache_pages_sequence(&cache->pages, sequence);
    if (found) *count = found->entry_count;
    for (uint32_t i = 0; found && i < found->entry_count && i < capacity; i++) pages[i] = found->entries[i].page;
    return unlock(cache, found ? CLMLA_OK : CLMLA_E_SEQUENCE);
}

clmla_status clmla_cache_sequence_tokens(int32_t *tokens, size_t capacity, size_t *count, const clmla_cache *cache,
                                         clmla_sequence sequence) {
    if ((!tokens && capacity > 0) || !count || !cache) return missing(cache, "sequence tokens");
    lock(cache);
    const cache_sequence *found = cache_pages_sequence(&cache->pages, sequence);
    if (found) {
        *count = found->known;
        cache_pages_tokens(tokens, &cache->pages, found, 0,
                           capacity < found->known ? (uint32_t)capacity : found->known);
    }
    return unlock(cache, found ? CLMLA_OK : CLMLA_E_SEQUENCE);
}

// Finds the sequence and checks that it has such tokens.
static clmla_status find_tokens(const cache_sequence **out, const clmla_cache *cache, clmla_sequence sequence,
                                uint32_t first, uint32_t count) {
    *out = cache_pages_sequence(&cache->pages, sequence);
    if (!*out) return CLMLA_E_SEQUENCE;
    if (first <= (*out)->tokens && count <= (*out)->tokens - first) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "cache: sequence %u has %u tokens, not %u from %u on", sequence,
                     (*out)->tokens, count, first);
}

clmla_status clmla_cache_sequence_slots(int64_t *slots, const clmla_cache *cache, clmla_sequence sequence,
                                        uint32_t first, uint32_t count) {
    const cache_sequence *found;
    if (!cache || (!slots && count > 0)) return missing(cache, "sequence slots");
    lock(cache);
    clmla_status status = find_tokens(&found, cache, sequence, first, count);
    if (status == CLMLA_OK) cache_pages_slots(slots, &cache->pages, found, first, count);
    return unlock(cache, status);
}

clmla_status clmla_cache_sequence_positions(int32_t *positions, const clmla_cache *cache, clmla_sequence sequence,
                                            uint32_t first, uint32_t count) {
    const cache_sequence *found;
    if (!cache || (!positions && count > 0)) return missing(cache, "sequence positions");
    lock(cache);
    clmla_status status = find_tokens(&found, cache, sequence, first, count);
    if (status == CLMLA_OK) cache_runs_list(positions, &found->runs, first, count);
    return unlock(cache, status);
}

clmla_status clmla_cache_sequence_deltas(int32_t *deltas, const clmla_cache *cache, clmla_sequence sequence,
                                         uint32_t first, uint32_t count) {
    const cache_sequence *found;
    if (!cache || (!deltas && count > 0)) return missing(cache, "sequence deltas");
    lock(cache);
    clmla_status status = find_tokens(&found, cache, sequence, first, count);
    if (status == CLMLA_OK) cache_pages_deltas(deltas, found, first, count);
    return unlock(cache, status);
}
