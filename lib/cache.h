// SPDX-License-Identifier: Apache-2.0
// The cache object: device buffers, and page arithmetic kept apart in cache_pages.h.
//   cache.c         making caches, layers in buffers, usage
//   cache_calls.c   the public calls on sequences: the lock, and the owner's chance to evict
//   cache_flush.c   pending row work, enqueued
//   cache_save.c, cache_load.c, cache_span.c  rows to and from bytes (cache_file.h)
//   cache_tables.c  block tables on the device
//   cache_stage.c   host memory the driver reads from, and the cache's last event
#ifndef LIB_CACHE_H
#define LIB_CACHE_H

#include "host/launch.h"
#include "lib/cache_pages.h"
#include "lib/context.h"
#include <clmla/cache.h>

#define CACHE_STAGES 4 // uploads that may be under way at once before one more waits for the oldest

// Host memory the driver reads until `read` is done.
typedef struct cache_stage {
    unsigned char *memory;
    size_t capacity;
    cl_event read;
} cache_stage;

// Row work that was taken from the pages and is being enqueued. `done` launches have been: a failed flush goes on
// there.
typedef struct cache_flushing {
    cache_work_list works;
    bool uploaded;
    size_t done;
    cl_mem memory; // the works, then cos and sin of each delta
    uint64_t capacity;
} cache_flushing;

struct clmla_cache {
    clmla_context *context;
    clmla_config config;
    clmla_config_values values;
    clmla_row_layout layout;
    uint32_t layer_count, page_tokens;
    uint64_t page_count;
    uint64_t page_bytes, layer_stride; // bytes; from one layer of a group to the next
    cl_mem *groups;                    // [group_count], each of layers_per_group layers but for the last
    uint32_t group_count, layers_per_group;
    cache_pages pages; // sequences and free pages
    host_mutex lock;   // guards pages against readers of usage
    clmla_cache_evict evict;
    void *evict_payload;
    bool evicting;

    cache_stage stages[CACHE_STAGES];
    uint32_t next_stage;
    cache_flushing flushing;
    cl_mem tables[CACHE_TABLE_COUNT]; // [table_rows][table_stride] int32 each; NULL until something needs it
    uint32_t table_rows;
    uint64_t table_stride;
    bool tables_grown; // and not all sequences are shown again
    cl_event last;     // of the newest command the cache itself enqueued: uses on other queues wait for it
};

// What a step over a cache reads besides rows. Sequence s has row s - 1 of each table, whose entry p is at
// memory[row · stride + p]; entries past a sequence's pages are undefined. Valid until the next update.
typedef struct cache_tables {
    cl_mem pages; // page numbers
    cl_mem
        page_rows; // rows of each page; what a page holds past them are no keys. NULL: all pages but the last are full
    cl_mem
        deltas; // positions by which rows of each page are still to be rotated. NULL: none of these sequences has any
    uint64_t stride; // entries
} cache_tables;

// Adds to the chain, before a step's own commands: pending row work, then what the tables do not show yet of these
// sequences, which must exist. In proportion to what changed. On failure what was not enqueued is left for the next
// call. The chain must have been begun with want_event, and not be a recorded one.
clmla_status cache_tables_update(cache_tables *out, clmla_cache *cache, uint32_t count, const clmla_sequence *sequences,
                                 host_chain *chain);
static inline int32_t cache_table_row(clmla_sequence sequence) {
    return (int32_t)(sequence - 1);
}
void cache_tables_finish(clmla_cache *cache);

// Pending row work alone, behind the cache's last command. cache_tables_update begins with it.
clmla_status cache_flush_enqueue(clmla_cache *cache, host_chain *chain);
void cache_flush_finish(clmla_cache *cache);

// Makes the sequences of a saved cache and takes pages for them, the owner's evict callback asked: cache_restore.h.
struct cache_saved;
clmla_status cache_restore(clmla_cache *cache, const struct cache_saved *saved, uint32_t *ids);

// A host stage of `bytes`, free to be written; with four under way it waits for the oldest.
clmla_status cache_stage_take(cache_stage **out, clmla_cache *cache, uint64_t bytes);
// Enqueues `bytes` of it, from `begin` on, to a device buffer: the driver reads the stage until then.
clmla_status cache_stage_write(cache_stage *stage, clmla_cache *cache, cl_mem memory, uint64_t offset, uint64_t begin,
                               uint64_t bytes, host_chain *chain);
void cache_stages_finish(clmla_cache *cache);
// Takes note of the chain's newest event as the cache's last.
void cache_note_last(clmla_cache *cache, host_chain *chain);

uint32_t cache_group_layers(const clmla_cache *cache, uint32_t group); // layers of one buffer

#endif
