// SPDX-License-Identifier: Apache-2.0
// Bytes to a cache. Everything about the bytes is checked first; then sequences and pages are made; then rows are
// written, which only the driver can make fail, and then what was made is dropped again.
#include "host/error.h"
#include "host/memory.h"
#include "host/os.h"
#include "lib/cache_file.h"
#include "lib/cache_restore.h"
#include "lib/cache_span.h"
#include <string.h>

#define COPY_BYTES (4u << 20)

// --- checks --------------------------------------------------------------------------------------------------------

// A delta is for rows that are rotated when they are read; the configuration says whether these are.
static clmla_status check_deltas(const clmla_cache *cache, const cache_saved *saved) {
    if (cache->pages.shift_mode == CACHE_SHIFT_KEEP) return CLMLA_OK;
    for (uint32_t i = 0; i < saved->sequence_count; i++)
        for (uint32_t k = 0; k < saved->sequences[i].run_count; k++)
            if (cache_saved_run_at(&saved->sequences[i], k).delta != 0)
                return host_fail(NULL, CLMLA_E_CORRUPTED, 0,
                                 "%s: sequence %u, run %u: a delta, and rows in %s have none", saved->name, i, k,
                                 saved->config.format);
    return CLMLA_OK;
}

static clmla_status check(const clmla_cache *cache, cache_saved *saved) {
    cache_file_config expected;
    cache_file_config_make(&expected, &cache->config, &cache->values, &cache->layout, cache->layer_count);
    STATUS_OR_RETURN(cache_file_config_match(&saved->config, &expected, saved->name));
    STATUS_OR_RETURN(cache_saved_read_sequences(saved));
    STATUS_OR_RETURN(check_deltas(cache, saved));
    return cache_saved_check_rows(saved);
}

// --- rows ----------------------------------------------------------------------------------------------------------

// What a load writes: one plane of one layer of one sequence.
typedef struct target {
    const cache_saved *saved;
    uint32_t index, layer;
    int kind;
    cache_plane plane;
    cache_span *span;
} target;

static clmla_status write_entry(const target *to, const cache_entry *entry) {
    for (uint32_t row = 0, rows; row < entry->rows; row += rows) {
        const unsigned char *from =
            cache_saved_rows(&rows, to->saved, to->index, to->layer, to->kind == CACHE_PLANE_SCALES,
                             entry->first_row + row, entry->rows - row);
        // The driver only reads it.
        STATUS_OR_RETURN(
            cache_span_add(to->span, &to->plane, entry->page, row, rows, (unsigned char *)(uintptr_t)from));
    }
    return CLMLA_OK;
}

static clmla_status write_rows(clmla_cache *cache, const cache_saved *saved, const uint32_t *ids, host_chain *chain) {
    cache_span span = {.chain = chain, .write = true, .limit = COPY_BYTES};
    target to = {.saved = saved, .span = &span};
    for (to.index = 0; to.index < saved->sequence_count; to.index++) {
        const cache_sequence *sequence = &cache->pages.sequences[ids[to.index] - 1];
        for (to.layer = 0; to.layer < cache->layer_count; to.layer++)
            for (to.kind = 0; to.kind < CACHE_PLANES; to.kind++) {
                if (!cache_plane_of(&to.plane, cache, to.layer, to.kind)) continue;
                for (uint32_t e = 0; e < sequence->entry_count; e++)
                    if (!cache_restore_shares(&cache->pages, saved, ids, to.index, e))
                        STATUS_OR_RETURN(write_entry(&to, &sequence->entries[e]));
            }
    }
    return cache_span_flush(&span);
}

// Pending row work first: it may still read pages that were taken now. Waits, also after a failure: the driver reads
// the caller's bytes.
static clmla_status fill(clmla_cache *cache, const cache_saved *saved, const uint32_t *ids, host_chain *chain) {
    clmla_status status = cache_flush_enqueue(cache, chain);
    if (status == CLMLA_OK) status = write_rows(cache, saved, ids, chain);
    cache_note_last(cache, chain);
    clmla_status settled = host_chain_settle(chain);
    return status != CLMLA_OK ? status : settled;
}

// --- loading -------------------------------------------------------------------------------------------------------

static clmla_status place(clmla_cache *cache, const cache_saved *saved, uint32_t *ids, host_chain *chain) {
    STATUS_OR_RETURN(cache_restore(cache, saved, ids));
    clmla_status status = fill(cache, saved, ids, chain);
    pthread_mutex_lock(&cache->lock);
    if (status == CLMLA_OK)
        cache_pages_restore_tokens(&cache->pages, saved, ids);
    else
        cache_pages_take_back(&cache->pages, ids, saved->sequence_count);
    pthread_mutex_unlock(&cache->lock);
    return status;
}

// What load and load_memory were given.
typedef struct request {
    clmla_sequence *sequences;
    size_t capacity, *count;
    clmla_cache *cache;
    cl_command_queue queue;
    cl_uint wait_count;
    const cl_event *wait;
} request;

static clmla_status load_checked(const request *r, const cache_saved *saved) {
    host_context *host = &r->cache->context->host;
    host_chain chain;
    if (r->sequences && r->capacity < saved->sequence_count)
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0, "%s: %u sequences, there is room for %zu", saved->name,
                         saved->sequence_count, r->capacity);
    if (r->sequences) {
        uint32_t *ids = host_allocate(&host->allocator, saved->sequence_count, sizeof *ids);
        if (!ids)
            return host_fail(&host->log, CLMLA_E_MEMORY, 0, "%s: no host memory for %u sequences", saved->name,
                             saved->sequence_count);
        clmla_status status = host_chain_begin(&chain, host, r->queue, r->wait_count, r->wait, true);
        if (status == CLMLA_OK) status = host_chain_finish(&chain, place(r->cache, saved, ids, &chain), NULL);
        if (status == CLMLA_OK) memcpy(r->sequences, ids, saved->sequence_count * sizeof *ids);
        host_release(&host->allocator, ids);
        STATUS_OR_RETURN(status);
    }
    *r->count = saved->sequence_count;
    return CLMLA_OK;
}

static clmla_status load(const request *r, const void *bytes, uint64_t count, const char *name) {
    const host_context *host = &r->cache->context->host;
    cache_saved saved;
    clmla_status status = cache_saved_open(&saved, bytes, count, name, &host->allocator);
    if (status == CLMLA_OK) status = check(r->cache, &saved);
    host_log_failure(&host->log, status);
    if (status == CLMLA_OK) status = load_checked(r, &saved);
    cache_saved_close(&saved);
    return status;
}

static clmla_status missing(const clmla_cache *cache) {
    return host_fail(cache ? &cache->context->host.log : NULL, CLMLA_E_ARGUMENT, 0, "cache: load: an argument is NULL");
}

clmla_status clmla_cache_load_memory(clmla_sequence *sequences, size_t capacity, size_t *count, clmla_cache *cache,
                                     const void *memory, size_t bytes, cl_command_queue queue, cl_uint wait_count,
                                     const cl_event *wait) {
    if (!count || !cache || (!memory && bytes > 0)) return missing(cache);
    return load(&(request){sequences, capacity, count, cache, queue, wait_count, wait}, memory, bytes, "memory");
}

clmla_status clmla_cache_load(clmla_sequence *sequences, size_t capacity, size_t *count, clmla_cache *cache,
                              const char *path, cl_command_queue queue, cl_uint wait_count, const cl_event *wait) {
    host_map map;
    if (!count || !cache || !path) return missing(cache);
    STATUS_OR_RETURN(host_log_failure(&cache->context->host.log, host_map_open(&map, path)));
    clmla_status status =
        load(&(request){sequences, capacity, count, cache, queue, wait_count, wait}, map.data, map.bytes, path);
    host_map_close(&map);
    return status;
}

// --- looking -------------------------------------------------------------------------------------------------------

static clmla_status describe(clmla_cache_file_info *out, const cache_saved *saved) {
    clmla_cache_file_info info = {.version = saved->version,
                                  .rope_order = (clmla_rope_order)saved->config.rope_order,
                                  .latent_dim = saved->config.latent_dim,
                                  .rope_dim = saved->config.rope_dim,
                                  .layer_count = saved->config.layer_count,
                                  .bytes = saved->count,
                                  .sequence_count = saved->sequence_count};
    if (clmla_row_format_parse(&info.format, saved->config.format) != CLMLA_OK)
        return host_fail(NULL, CLMLA_E_MISMATCH, 0, "%s: row format: '%s' is none this library knows", saved->name,
                         saved->config.format);
    for (uint32_t i = 0; i < saved->sequence_count; i++) {
        const cache_saved_sequence *sequence = &saved->sequences[i];
        if (sequence->tokens > info.longest_sequence) info.longest_sequence = sequence->tokens;
        info.tokens += sequence->tokens;
        info.rows += sequence->tokens - sequence->shared;
    }
    *out = info;
    return CLMLA_OK;
}

static clmla_status examine(clmla_cache_file_info *out, const void *bytes, uint64_t count, const char *name) {
    cache_saved saved;
    clmla_status status = cache_saved_open(&saved, bytes, count, name, NULL);
    if (status == CLMLA_OK) status = cache_saved_read_sequences(&saved);
    if (status == CLMLA_OK) status = describe(out, &saved);
    cache_saved_close(&saved);
    return status;
}

clmla_status clmla_cache_file_examine_memory(clmla_cache_file_info *out, const void *memory, size_t bytes) {
    if (!out || (!memory && bytes > 0)) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "cache file: an argument is NULL");
    return examine(out, memory, bytes, "memory");
}

clmla_status clmla_cache_file_examine(clmla_cache_file_info *out, const char *path) {
    host_map map;
    if (!out || !path) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "cache file: an argument is NULL");
    STATUS_OR_RETURN(host_map_open(&map, path));
    clmla_status status = examine(out, map.data, map.bytes, path);
    host_map_close(&map);
    return status;
}
