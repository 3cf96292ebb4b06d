// SPDX-License-Identifier: Apache-2.0
#include "lib/cache.h"
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/rows.h"
#include <stdio.h>

#define DEFAULT_PAGE_TOKENS 64u
#define LAYER_ALIGN 256u // bytes: layers of one buffer begin at multiples, as buffers do

static clmla_status choose_page_count(clmla_cache *cache, const clmla_cache_params *params) {
    const clmla_log *log = &cache->context->host.log;
    uint64_t page_bytes = clmla_row_layout_page_bytes(&cache->layout, cache->page_tokens), of_layers;
    cache->page_bytes = page_bytes;
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
    if (cache->layer_count > CLMLA_MAX_LAYERS)
        return host_fail(log, CLMLA_E_LIMIT, 0, "cache: %u layers are over the limit of %d", cache->layer_count,
                         CLMLA_MAX_LAYERS);
    if (cache->page_tokens > CLMLA_MAX_CONTEXT)
        return host_fail(log, CLMLA_E_LIMIT, 0, "cache: page_tokens %u is over the limit of %d", cache->page_tokens,
                         CLMLA_MAX_CONTEXT);
    if (params->page_count == 0 && params->bytes == 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "cache: both page_count and bytes are 0");
    return choose_page_count(cache, params);
}

// As many layers to a buffer as the device's largest holds.
static clmla_status group_layers(clmla_cache *cache) {
    const host_context *host = &cache->context->host;
    uint64_t bytes, largest = host->facts.max_buffer_bytes;
    if (!host_multiply(&bytes, cache->page_count, cache->page_bytes) ||
        !host_add(&cache->layer_stride, bytes, LAYER_ALIGN - 1))
        return host_fail(&host->log, CLMLA_E_LIMIT, 0, "cache: %llu pages of %u tokens of %u bytes pass 64 bits",
                         (unsigned long long)cache->page_count, cache->page_tokens, cache->layout.row_bytes);
    if (largest > 0 && bytes > largest)
        return host_fail(&host->log, CLMLA_E_LIMIT, 0,
                         "cache layer 0: %llu bytes are needed in one buffer, the device allows %llu",
                         (unsigned long long)bytes, (unsigned long long)largest);
    cache->layer_stride = cache->layer_stride / LAYER_ALIGN * LAYER_ALIGN;
    uint64_t fit = largest > 0 ? (largest - bytes) / cache->layer_stride + 1 : cache->layer_count;
    cache->layers_per_group = fit < cache->layer_count ? (uint32_t)fit : cache->layer_count;
    cache->group_count = (cache->layer_count + cache->layers_per_group - 1) / cache->layers_per_group;
    return CLMLA_OK;
}

uint32_t cache_group_layers(const clmla_cache *cache, uint32_t group) {
    uint32_t first = group * cache->layers_per_group;
    return cache->layer_count - first < cache->layers_per_group ? cache->layer_count - first : cache->layers_per_group;
}

// Rows without rotation have only positions to shift; scaled formats are never scaled a second time.
static cache_shift_mode shift_mode_of(const clmla_cache *cache) {
    if (cache->layout.rope_dim == 0 || cache->config.rope_type == CLMLA_ROPE_NONE) return CACHE_SHIFT_POSITIONS;
    return rows_keep_codes(cache->layout.format) ? CACHE_SHIFT_KEEP : CACHE_SHIFT_ROTATE;
}

static clmla_status allocate(clmla_cache *cache, bool share_prefixes) {
    host_context *host = &cache->context->host;
    STATUS_OR_RETURN(group_layers(cache));
    cache->groups = host_allocate(&host->allocator, cache->group_count, sizeof *cache->groups);
    if (!cache->groups)
        return host_fail(&host->log, CLMLA_E_MEMORY, 0, "cache: no host memory for %u buffers", cache->group_count);
    for (uint32_t i = 0; i < cache->group_count; i++) {
        uint32_t layers = cache_group_layers(cache, i);
        uint64_t bytes = (layers - 1) * cache->layer_stride + cache->page_count * cache->page_bytes;
        char what[64];
        snprintf(what, sizeof what, "cache layers %u to %u", i * cache->layers_per_group,
                 i * cache->layers_per_group + layers - 1);
        STATUS_OR_RETURN(host_buffer_create_lasting(&cache->groups[i], host, bytes, NULL, what));
    }
    // Without a log: what a call answers is logged when it is settled, after the owner could evict.
    cache_pages_params params = {.allocator = &host->allocator,
                                 .page_tokens = cache->page_tokens,
                                 .page_total = cache->page_count,
                                 .shift_mode = shift_mode_of(cache),
                                 .share_prefixes = share_prefixes};
    return host_log_failure(&host->log, cache_pages_init(&cache->pages, &params));
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
    STATUS_OR_OUT(allocate(cache, params->share_prefixes));
    cache->evict = params->evict;
    cache->evict_payload = params->evict_payload;
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
    cache_stages_finish(gone);
    host_event_release(host, &gone->last);
    cache_flush_finish(gone);
    cache_tables_finish(gone);
    for (uint32_t i = 0; gone->groups && i < gone->group_count; i++) host_buffer_release(host, &gone->groups[i]);
    host_release(&host->allocator, gone->groups);
    cache_pages_finish(&gone->pages);
    pthread_mutex_destroy(&gone->lock);
    host_release(&host->allocator, gone);
    *cache = NULL;
}

clmla_cache_usage clmla_cache_usage_get(const clmla_cache *cache) {
    if (!cache) return (clmla_cache_usage){0};
    uint64_t row = cache->layout.row_bytes + (cache->layout.scales_apart ? cache->layout.scale_row_bytes : 0u);
    clmla_cache_usage usage = {
        .page_tokens = cache->page_tokens,
        .pages = cache->page_count,
        .bytes = cache->page_bytes * cache->page_count * cache->layer_count,
        .bytes_per_token = row * cache->layer_count,
    };
    host_mutex *lock =
        &((clmla_cache *)cache)->lock; // readers take the lock of a cache that is otherwise const to them
    pthread_mutex_lock(lock);
    const cache_pages *pages = &cache->pages;
    usage.pages_free = cache_pages_available(pages);
    usage.pages_used = cache->page_count - usage.pages_free;
    usage.pages_shared = pages->shared_count;
    usage.pages_kept = pages->prefixes.kept_count;
    usage.tokens = pages->token_count;
    usage.sequences = pages->sequence_count;
    usage.prefix_tokens_asked = pages->prefixes.tokens_asked;
    usage.prefix_tokens_shared = pages->prefixes.tokens_found;
    for (uint32_t i = 0; i < pages->sequence_capacity; i++)
        if (pages->sequences[i].tokens > usage.longest_sequence) usage.longest_sequence = pages->sequences[i].tokens;
    pthread_mutex_unlock(lock);
    return usage;
}

const clmla_config *clmla_cache_config(const clmla_cache *cache) {
    return cache ? &cache->config : NULL;
}

clmla_status clmla_cache_rows(clmla_rows *out, const clmla_cache *cache, uint32_t layer) {
    if (!out || !cache)
        return host_fail(cache ? &cache->context->host.log : NULL, CLMLA_E_ARGUMENT, 0,
                         "cache: rows: an argument is NULL");
    if (layer >= cache->layer_count)
        return host_fail(&cache->context->host.log, CLMLA_E_ARGUMENT, 0, "cache: rows: there is no layer %u of %u",
                         layer, cache->layer_count);
    clmla_buffer memory = {cache->groups[layer / cache->layers_per_group],
                           layer % cache->layers_per_group * cache->layer_stride};
    return clmla_rows_from_tensor(out, &cache->layout, memory, cache->page_tokens, cache->page_count);
}
