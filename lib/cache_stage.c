// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/cache.h"

clmla_status cache_stage_take(cache_stage **out, clmla_cache *cache, uint64_t bytes) {
    host_context *host = &cache->context->host;
    cache_stage *stage = &cache->stages[cache->next_stage];
    // A command that failed is told of once, and reads no more.
    clmla_status status = host_event_wait(host, stage->read);
    host_event_release(host, &stage->read);
    STATUS_OR_RETURN(status);
    if (bytes > stage->capacity) {
        uint64_t room = bytes + bytes / 2;
        host_release(&host->allocator, stage->memory);
        stage->capacity = 0;
        stage->memory = room > SIZE_MAX ? NULL : host_allocate(&host->allocator, (size_t)room, 1);
        if (!stage->memory)
            return host_fail(&host->log, CLMLA_E_MEMORY, 0, "cache: no host memory for %llu bytes",
                             (unsigned long long)room);
        stage->capacity = (size_t)room;
    }
    cache->next_stage = (cache->next_stage + 1) % CACHE_STAGES;
    *out = stage;
    return CLMLA_OK;
}

// The chain's newest event, held. One that cannot be is waited for: nobody has to wait for it later.
static cl_event hold_last(host_context *host, host_chain *chain) {
    if (host_event_retain(host, chain->last)) return chain->last;
    host_chain_settle(chain);
    return NULL;
}

clmla_status cache_stage_write(cache_stage *stage, clmla_cache *cache, cl_mem memory, uint64_t offset, uint64_t begin,
                               uint64_t bytes, host_chain *chain) {
    host_context *host = &cache->context->host;
    STATUS_OR_RETURN(host_chain_write(chain, memory, offset, bytes, stage->memory + begin));
    host_event_release(host, &stage->read);
    stage->read = hold_last(host, chain);
    cache_note_last(cache, chain);
    return CLMLA_OK;
}

void cache_stages_finish(clmla_cache *cache) {
    host_context *host = &cache->context->host;
    for (int i = 0; i < CACHE_STAGES; i++) {
        // The driver reads a stage until its upload is done: its memory must not go before.
        host_event_wait(host, cache->stages[i].read);
        host_event_release(host, &cache->stages[i].read);
        host_release(&host->allocator, cache->stages[i].memory);
    }
}

void cache_note_last(clmla_cache *cache, host_chain *chain) {
    host_context *host = &cache->context->host;
    if (!chain->last) return;
    cl_event last = hold_last(host, chain);
    host_event_release(host, &cache->last);
    cache->last = last;
}
