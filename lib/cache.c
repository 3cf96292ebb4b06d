// SPDX-License-Identifier: Apache-2.0
#include "lib/cache.h"
#include "host/error.h"
#include "host/memory.h"
#include <stdio.h>

#define DEFAULT_PAGE_TOKENS 64u

static clmla_status choose_page_count(clmla_cache *cache, const clmla_cache_params *params) {
    const clmla_log *log = &cache->context->host.log;
    uint64_t page_bytes = clmla_row_layout_page_bytes(&cache->layout, cache->page_tokens), of_layers;
    if (page_bytes == 0 || !host_multiply(&of_layers, page_bytes, cache->layer_count))
        return host_fail(log, CLMLA_E_LIMIT, 0, "cache: a page of %u tokens for %u layers passes 64 bits",
                         cache->page_tokens, cache->layer_count);
    cache->page_count = params->page_count ? params->page_count : params->bytes / of_layers;
    if (cache->page_count == 0)
        return host_fail(log, CLMLA_E_LIMIT, 0,
                         "cache: a budget of %llu bytes does not hold one page: %u layers of %llu bytes",
                         (unsigned long long)params->bytes, cache->layer_count, (unsigned long long)page_bytes);
    if (cache->page_count > INT32_MAX)
        return host_fail(log, CLMLA_E_LIMIT, 0, "cache: %llu pages are over the limit of 2147483647",
                         (unsigned long long)cache->page_count);
    return CLMLA_OK;
}

// Settles every number of the cache; nothing is allocated.
static clmla_status settle(clmla_cache *cache, const clmla_cache_params *params) {
    const clmla_log *log = &cache->context->host.log;
    const clmla_config *config = &cache->config;
    STATUS_OR_RETURN(host_log_failure(log, clmla_config_derive(&cache->values, config)));
    STATUS_OR_RETURN(
        host_log_failure(log, clmla_row_layout_make(&cache->layout, params->format,
                                                    params->rope_order_given ? params->rope_order : config->rope_order,
                                                    config->kv_lora_rank, config->qk_rope_head_dim)));
    cache->layer_count = params->layer_count ? params->layer_count : config->layer_count;
    cache->page_tokens = params->page_tokens ? params->page_tokens : DEFAULT_PAGE_TOKENS;
    if (cache->layer_count == 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "cache: neither layer_count nor the config says how many layers");
    if (cache->page_tokens > CLMLA_MAX_CONTEXT)
        return host_fail(log, CLMLA_E_LIMIT, 0, "cache: page_tokens %u is over the limit of %d", cache->page_tokens,
                         CLMLA_MAX_CONTEXT);
    if (params->page_count == 0 && params->bytes == 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "cache: both page_count and bytes are 0");
    return choose_page_count(cache, params);
}

static clmla_status allocate(clmla_cache *cache) {
    host_context *host = &cache->context->host;
    uint64_t bytes;
    uint64_t page_bytes = clmla_row_layout_page_bytes(&cache->layout, cache->page_tokens);
    if (!host_multiply(&bytes, cache->page_count, page_bytes))
        return host_fail(&host->log, CLMLA_E_LIMIT, 0, "cache: %llu pages of %u tokens of %u bytes pass 64 bits",
                         (unsigned long long)cache->page_count, cache->page_tokens, cache->layout.row_bytes);
    cache->layers = host_allocate(&host->allocator, cache->layer_count, sizeof *cache->layers);
    if (!cache->layers)
        return host_fail(&host->log, CLMLA_E_MEMORY, 0, "cache: no host memory for %u layers", cache->layer_count);
    for (uint32_t i = 0; i < cache->layer_count; i++) {
        char what[64];
        snprintf(what, sizeof what, "cache layer %u", i);
        STATUS_OR_RETURN(host_buffer_create(&cache->layers[i], host, bytes, NULL, what));
    }
    return cache_pages_init(&cache->pages, &host->allocator, &host->log, cache->page_tokens, cache->page_count);
}

clmla_status clmla_cache_create(clmla_cache **out, clmla_context *context, const clmla_config *config,
                                const clmla_cache_params *params) {
    if (out) *out = NULL;
    if (!out || !context || !config || !params)
        return host_fail(context ? &context->host.log : NULL, CLMLA_E_ARGUMENT, 0,
                         "cache: out, context, config or params is NULL");
    clmla_status status = CLMLA_OK;
    clmla_cache *cache = host_allocate(&context->host.allocator, 1, sizeof *cache);
    if (!cache)
        return host_fail(&context->host.log, CLMLA_E_MEMORY, 0, "cache: no host memory for %zu bytes", sizeof *cache);
    cache->context = context;
    cache->config = *config;
    pthread_mutex_init(&cache->lock, NULL);
    STATUS_OR_OUT(settle(cache, params));
    STATUS_OR_OUT(allocate(cache));
    *out = cache;
    cache = NULL;
out:
    clmla_cache_destroy(&cache);
    return status;
}

void clmla_cache_destroy(clmla_cache **cache) {
    if (!cache || !*cache) return;
    clmla_cache *gone = *cache;
    host_context *host = &gone->context->host;
    for (uint32_t i = 0; gone->layers && i < gone->layer_count; i++) host_buffer_release(host, &gone->layers[i]);
    host_release(&host->allocator, gone->layers);
    cache_pages_finish(&gone->pages);
    pthread_mutex_destroy(&gone->lock);
    host_release(&host->allocator, gone);
    *cache = NULL;
}

static clmla_status missing(const clmla_cache *cache, const char *call) {
    return host_fail(cache ? &cache->context->host.log : NULL, CLMLA_E_ARGUMENT, 0, "cache: %s: an argument is NULL",
                     call);
}

// Readers take the lock of a cache that is otherwise const to them.
static void lock(const clmla_cache *cache) {
    pthread_mutex_lock(&((clmla_cache *)cache)->lock);
}

static void unlock(const clmla_cache *cache) {
    pthread_mutex_unlock(&((clmla_cache *)cache)->lock);
}

clmla_status clmla_cache_sequence_create(clmla_sequence *out, clmla_cache *cache) {
    if (!out || !cache) return missing(cache, "sequence create");
    lock(cache);
    clmla_status status = cache_pages_create_sequence(out, &cache->pages);
    unlock(cache);
    return status;
}

clmla_status clmla_cache_sequence_drop(clmla_cache *cache, clmla_sequence sequence) {
    if (!cache) return missing(cache, "sequence drop");
    lock(cache);
    clmla_status status = cache_pages_drop_sequence(&cache->pages, sequence);
    unlock(cache);
    return status;
}

clmla_status clmla_cache_sequence_truncate(clmla_cache *cache, clmla_sequence sequence, uint32_t tokens) {
    if (!cache) return missing(cache, "sequence truncate");
    lock(cache);
    clmla_status status = cache_pages_truncate(&cache->pages, sequence, tokens);
    unlock(cache);
    return status;
}

clmla_status clmla_cache_sequence_length(uint32_t *tokens, const clmla_cache *cache, clmla_sequence sequence) {
    if (!tokens || !cache) return missing(cache, "sequence length");
    lock(cache);
    const cache_sequence *found = cache_pages_sequence(&cache->pages, sequence);
    if (found) *tokens = found->tokens;
    unlock(cache);
    return found ? CLMLA_OK : CLMLA_E_SEQUENCE;
}

clmla_status clmla_cache_sequence_pages(int32_t *pages, size_t capacity, size_t *count, const clmla_cache *cache,
                                        clmla_sequence sequence) {
    if ((!pages && capacity > 0) || !count || !cache) return missing(cache, "sequence pages");
    lock(cache);
    const cache_sequence *found = cache_pages_sequence(&cache->pages, sequence);
    if (found) *count = found->page_count;
    for (uint32_t i = 0; found && i < found->page_count && i < capacity; i++) pages[i] = found->pages[i];
    unlock(cache);
    return found ? CLMLA_OK : CLMLA_E_SEQUENCE;
}

clmla_status clmla_cache_reserve(clmla_cache *cache, const clmla_batch *batch) {
    if (!cache || !batch || !batch->sequences) return missing(cache, "reserve");
    if (batch->sequence_count == 0)
        return host_fail(&cache->context->host.log, CLMLA_E_ARGUMENT, 0, "cache: reserve: the batch has no sequences");
    lock(cache);
    clmla_status status =
        cache_pages_reserve(&cache->pages, batch->sequence_count, batch->sequences, batch->query_tokens);
    unlock(cache);
    return status;
}

clmla_cache_usage clmla_cache_usage_get(const clmla_cache *cache) {
    if (!cache) return (clmla_cache_usage){0};
    const clmla_row_layout *layout = &cache->layout;
    uint64_t row_bytes = layout->row_bytes + (layout->scales_apart ? layout->scale_row_bytes : 0u);
    uint64_t bytes_per_token = row_bytes * cache->layer_count;
    clmla_cache_usage usage = {
        .page_tokens = cache->page_tokens,
        .pages = cache->page_count,
        .bytes = bytes_per_token * cache->page_tokens * cache->page_count,
        .bytes_per_token = bytes_per_token,
    };
    lock(cache);
    const cache_pages *pages = &cache->pages;
    usage.pages_free = pages->free_count;
    usage.pages_used = cache->page_count - pages->free_count;
    usage.tokens = pages->token_count;
    usage.sequences = pages->sequence_count;
    for (uint32_t i = 0; i < pages->sequence_capacity; i++)
        if (pages->sequences[i].tokens > usage.longest_sequence) usage.longest_sequence = pages->sequences[i].tokens;
    unlock(cache);
    return usage;
}

const clmla_config *clmla_cache_config(const clmla_cache *cache) {
    return cache ? &cache->config : NULL;
}

clmla_status clmla_cache_rows(clmla_rows *out, const clmla_cache *cache, uint32_t layer) {
    if (!out || !cache) return missing(cache, "rows");
    if (layer >= cache->layer_count)
        return host_fail(&cache->context->host.log, CLMLA_E_ARGUMENT, 0, "cache: rows: there is no layer %u of %u",
                         layer, cache->layer_count);
    return clmla_rows_from_tensor(out, &cache->layout, (clmla_buffer){cache->layers[layer], 0}, cache->page_tokens,
                                  cache->page_count);
}
