// SPDX-License-Identifier: Apache-2.0
// Block tables on the device: a row for each sequence id, kept from step to step and brought up to date by writing the
// entries that changed. They grow by doubling and are then written anew.
#include "host/error.h"
#include "host/memory.h"
#include "lib/cache.h"

#define LEAST_STRIDE 16u

static const char *const table_names[CACHE_TABLE_COUNT] = {"the cache's page table", "the cache's rows of each page",
                                                           "the cache's deltas of each page"};

// Everything has to be shown again by one table.
static void hide(clmla_cache *cache, int kind) {
    for (uint32_t i = 0; i < cache->pages.sequence_capacity; i++) cache->pages.sequences[i].unshown[kind] = 0;
}

static clmla_status make_table(cl_mem *out, clmla_cache *cache, int kind, uint64_t rows, uint64_t stride) {
    uint64_t bytes;
    if (!host_multiply(&bytes, rows, stride) || !host_multiply(&bytes, bytes, sizeof(int32_t)))
        return host_fail(&cache->context->host.log, CLMLA_E_LIMIT, 0,
                         "cache: a table of %llu times %llu passes 64 bits", (unsigned long long)rows,
                         (unsigned long long)stride);
    return host_buffer_create(out, &cache->context->host, bytes, NULL, table_names[kind]);
}

// All tables that are there, larger. Work that is enqueued keeps the old ones.
static clmla_status grow(clmla_cache *cache, uint64_t rows, uint64_t stride) {
    host_context *host = &cache->context->host;
    cl_mem made[CACHE_TABLE_COUNT] = {NULL};
    clmla_status status = CLMLA_OK;
    for (int i = 0; i < CACHE_TABLE_COUNT; i++)
        if (cache->tables[i]) STATUS_OR_OUT(make_table(&made[i], cache, i, rows, stride));
    for (int i = 0; i < CACHE_TABLE_COUNT; i++) {
        cl_mem old = cache->tables[i];
        cache->tables[i] = made[i];
        made[i] = old;
        hide(cache, i);
    }
    cache->table_rows = (uint32_t)rows;
    cache->table_stride = stride;
out:
    for (int i = 0; i < CACHE_TABLE_COUNT; i++) host_buffer_release(host, &made[i]);
    return status;
}

// What a batch asks of the tables.
typedef struct demand {
    uint64_t stride;
    bool wanted[CACHE_TABLE_COUNT];
} demand;

static demand demand_of(const clmla_cache *cache, uint32_t count, const clmla_sequence *sequences) {
    demand out = {.stride = 1, .wanted = {[CACHE_TABLE_PAGES] = true}};
    for (uint32_t i = 0; i < count; i++) {
        const cache_sequence *sequence = &cache->pages.sequences[sequences[i] - 1];
        if (sequence->entry_count > out.stride) out.stride = sequence->entry_count;
        out.wanted[CACHE_TABLE_ROWS] |= sequence->short_count > 0;
        out.wanted[CACHE_TABLE_DELTAS] |= sequence->delta_count > 0;
    }
    return out;
}

// Grown tables show no sequence yet: those of earlier updates have to be shown too, their steps may be launched still.
static clmla_status make_room(clmla_cache *cache, const demand *need) {
    uint64_t rows = cache->pages.sequence_capacity, stride = cache->table_stride;
    if (rows > cache->table_rows || need->stride > stride) {
        if (need->stride > stride) stride = need->stride > 2 * stride ? need->stride : 2 * stride;
        if (stride < LEAST_STRIDE && cache->page_count >= LEAST_STRIDE) stride = LEAST_STRIDE;
        STATUS_OR_RETURN(grow(cache, rows, stride));
        cache->tables_grown = true;
    }
    for (int i = 0; i < CACHE_TABLE_COUNT; i++) {
        if (!need->wanted[i] || cache->tables[i]) continue;
        STATUS_OR_RETURN(make_table(&cache->tables[i], cache, i, cache->table_rows, cache->table_stride));
        hide(cache, i);
    }
    return CLMLA_OK;
}

static int32_t value(const clmla_cache *cache, const cache_sequence *sequence, int kind, uint32_t index) {
    const cache_entry *entry = &sequence->entries[index];
    if (kind == CACHE_TABLE_PAGES) return entry->page;
    if (kind == CACHE_TABLE_DELTAS) return entry->delta;
    // The last page grows; its end is told by the sequence's length.
    return (int32_t)(index + 1 < sequence->entry_count ? entry->rows : cache->page_tokens);
}

static uint64_t unshown(const cache_sequence *sequence, int kind) {
    return sequence->used && sequence->unshown[kind] < sequence->entry_count
               ? sequence->entry_count - sequence->unshown[kind]
               : 0;
}

// One table's changed entries of one sequence, through the stage from *begin on.
static clmla_status show(clmla_cache *cache, uint32_t index, int kind, cache_stage *stage, uint64_t *begin,
                         host_chain *chain) {
    cache_sequence *sequence = &cache->pages.sequences[index];
    uint64_t count = unshown(sequence, kind), first = sequence->unshown[kind];
    int32_t *out = (int32_t *)(void *)(stage->memory + *begin);
    if (count == 0) return CLMLA_OK;
    for (uint64_t i = 0; i < count; i++) out[i] = value(cache, sequence, kind, (uint32_t)(first + i));
    uint64_t offset = (index * cache->table_stride + first) * sizeof(int32_t), bytes = count * sizeof(int32_t);
    STATUS_OR_RETURN(cache_stage_write(stage, cache, cache->tables[kind], offset, *begin, bytes, chain));
    *begin += bytes;
    sequence->unshown[kind] = sequence->entry_count;
    return CLMLA_OK;
}

// The sequences to be shown: those named, or after growing all there are, which `sequences` NULL stands for.
static clmla_status show_all(clmla_cache *cache, const demand *need, uint32_t count, const clmla_sequence *sequences,
                             host_chain *chain) {
    uint64_t bytes = 0, begin = 0;
    cache_stage *stage;
    for (uint32_t i = 0; i < count; i++)
        for (int kind = 0; kind < CACHE_TABLE_COUNT; kind++)
            if (need->wanted[kind])
                bytes += sizeof(int32_t) * unshown(&cache->pages.sequences[sequences ? sequences[i] - 1 : i], kind);
    if (bytes == 0) return CLMLA_OK;
    STATUS_OR_RETURN(cache_stage_take(&stage, cache, bytes));
    for (uint32_t i = 0; i < count; i++)
        for (int kind = 0; kind < CACHE_TABLE_COUNT; kind++)
            if (need->wanted[kind])
                STATUS_OR_RETURN(show(cache, sequences ? sequences[i] - 1 : i, kind, stage, &begin, chain));
    return CLMLA_OK;
}

clmla_status cache_tables_update(cache_tables *out, clmla_cache *cache, uint32_t count, const clmla_sequence *sequences,
                                 host_chain *chain) {
    STATUS_OR_RETURN(cache_flush_enqueue(cache, chain));
    demand need = demand_of(cache, count, sequences);
    STATUS_OR_RETURN(make_room(cache, &need));
    if (cache->tables_grown) {
        demand all = need;
        for (int i = 0; i < CACHE_TABLE_COUNT; i++) all.wanted[i] = cache->tables[i] != NULL;
        STATUS_OR_RETURN(show_all(cache, &all, cache->pages.sequence_capacity, NULL, chain));
        cache->tables_grown = false;
    } else {
        STATUS_OR_RETURN(show_all(cache, &need, count, sequences, chain));
    }
    *out = (cache_tables){
        .pages = cache->tables[CACHE_TABLE_PAGES],
        .page_rows = need.wanted[CACHE_TABLE_ROWS] ? cache->tables[CACHE_TABLE_ROWS] : NULL,
        .deltas = need.wanted[CACHE_TABLE_DELTAS] ? cache->tables[CACHE_TABLE_DELTAS] : NULL,
        .stride = cache->table_stride,
    };
    return CLMLA_OK;
}

void cache_tables_finish(clmla_cache *cache) {
    for (int i = 0; i < CACHE_TABLE_COUNT; i++) host_buffer_release(&cache->context->host, &cache->tables[i]);
}
