// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/cache.h"
#include "lib/plan.h"
#include <string.h>

#define SECTION_ALIGN 64u

static uint64_t place(uint64_t *end, uint64_t count, uint64_t bytes) {
    uint64_t begin = (*end + SECTION_ALIGN - 1) / SECTION_ALIGN * SECTION_ALIGN;
    *end = begin + count * bytes;
    return begin;
}

// Lays a step's arrays out; table, slots and angles only when there is a cache.
static plan_offsets lay_out(const clmla_plan *plan, const clmla_cache *cache) {
    const plan_schedule *schedule = &plan->schedule;
    plan_offsets at = {0};
    at.works = place(&at.total, schedule->work_count, WORK_INTS * sizeof(int32_t));
    at.items = place(&at.total, schedule->item_count, ITEM_INTS * sizeof(int32_t));
    at.tiles = place(&at.total, schedule->tile_count, TILE_INTS * sizeof(int32_t));
    if (!cache) return at;
    at.table = place(&at.total, schedule->sequence_count * plan->table_stride, sizeof(int32_t));
    at.positions = place(&at.total, schedule->query_tokens, sizeof(int32_t));
    at.slots = place(&at.total, schedule->query_tokens, sizeof(int64_t));
    at.angles = place(&at.total, schedule->query_tokens, cache->layout.rope_dim * sizeof(float));
    return at;
}

static void copy_schedule(unsigned char *stage, const clmla_plan *plan) {
    const plan_schedule *schedule = &plan->schedule;
    const plan_offsets *at = &plan->offsets;
    if (schedule->work_count)
        memcpy(stage + at->works, schedule->works, schedule->work_count * WORK_INTS * sizeof(int32_t));
    if (schedule->item_count)
        memcpy(stage + at->items, schedule->items, schedule->item_count * ITEM_INTS * sizeof(int32_t));
    if (schedule->tile_count)
        memcpy(stage + at->tiles, schedule->tiles, schedule->tile_count * TILE_INTS * sizeof(int32_t));
}

static uint32_t new_tokens(const clmla_batch *batch, uint32_t i) {
    return batch->query_tokens ? batch->query_tokens[i] : 1;
}

// Page table, slots and rotary angles of a batch whose rows are reserved.
static clmla_status copy_cache(unsigned char *stage, const clmla_plan *plan, const clmla_cache *cache,
                               const clmla_batch *batch) {
    const plan_offsets *at = &plan->offsets;
    int32_t *table = (int32_t *)(void *)(stage + at->table), *positions = (int32_t *)(void *)(stage + at->positions);
    int64_t *slots = (int64_t *)(void *)(stage + at->slots);
    uint32_t token = 0;
    for (uint32_t i = 0; i < batch->sequence_count; i++) {
        const cache_sequence *sequence = cache_pages_sequence(&cache->pages, batch->sequences[i]);
        int32_t *entries = table + i * plan->table_stride;
        for (uint64_t p = 0; p < plan->table_stride; p++)
            entries[p] = p < sequence->page_count ? sequence->pages[p] : -1;
        uint32_t count = new_tokens(batch, i);
        for (uint32_t t = 0; t < count; t++, token++) {
            uint32_t index = sequence->tokens - count + t;
            positions[token] = batch->positions ? batch->positions[token] : (int32_t)index;
            slots[token] =
                (int64_t)sequence->pages[index / cache->page_tokens] * cache->page_tokens + index % cache->page_tokens;
        }
    }
    return clmla_rope_table((float *)(void *)(stage + at->angles), &cache->config, positions, token,
                            CLMLA_ANGLE_DOUBLE);
}

static clmla_status update(clmla_plan *plan, const clmla_lengths *lengths, const clmla_cache *cache,
                           const clmla_batch *batch, host_chain *chain) {
    plan_stage *stage = NULL;
    clmla_status status = CLMLA_OK;
    STATUS_OR_OUT(plan_schedule_make(&plan->schedule, &plan->rules, lengths, &plan->context->host.log));
    plan->offsets = lay_out(plan, cache);
    plan->cache = cache;
    if (plan->offsets.total > 0) {
        STATUS_OR_OUT(plan_stage_take(&stage, plan, plan->offsets.total));
        copy_schedule(stage->memory, plan);
        if (cache) STATUS_OR_OUT(copy_cache(stage->memory, plan, cache, batch));
        STATUS_OR_OUT(plan_upload(plan, stage, plan->offsets.total, chain));
    }
    plan->ready = true;
out:
    return status;
}

// One update: `lengths` and, with a cache, the batch they come from.
static clmla_status enqueue_update(clmla_plan *plan, const clmla_lengths *lengths, const clmla_cache *cache,
                                   const clmla_batch *batch, cl_command_queue queue, cl_uint wait_count,
                                   const cl_event *wait, cl_event *event) {
    host_chain chain;
    plan->ready = false;
    STATUS_OR_RETURN(plan_chain_begin(&chain, plan, queue, wait_count, wait));
    uint32_t stage = plan->next_stage;
    STATUS_OR_RETURN(plan_chain_finish(&chain, plan, update(plan, lengths, cache, batch, &chain), event));
    if (plan->next_stage != stage) { // a stage was taken: the driver reads it until this event
        host_event_retain(&plan->context->host, plan->last);
        plan->stages[stage].uploaded = plan->last;
    }
    return CLMLA_OK;
}

clmla_status clmla_plan_update_lengths(clmla_plan *plan, const clmla_lengths *lengths, cl_command_queue queue,
                                       cl_uint wait_count, const cl_event *wait, cl_event *event) {
    if (!plan || !lengths || (lengths->sequence_count > 0 && !lengths->kv_tokens))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan update: plan, lengths or kv_tokens is NULL");
    return enqueue_update(plan, lengths, NULL, NULL, queue, wait_count, wait, event);
}

// Lengths of a reserved batch; refuses one that was not.
static clmla_status batch_lengths(uint32_t *kv_tokens, uint64_t *table_stride, const clmla_cache *cache,
                                  const clmla_batch *batch) {
    *table_stride = 1;
    for (uint32_t i = 0; i < batch->sequence_count; i++) {
        const cache_sequence *sequence = cache_pages_sequence(&cache->pages, batch->sequences[i]);
        if (!sequence) return CLMLA_E_SEQUENCE;
        if (new_tokens(batch, i) > sequence->tokens)
            return host_fail(&cache->context->host.log, CLMLA_E_ARGUMENT, 0,
                             "plan update: sequence %u has %u tokens, %u new ones were not reserved",
                             batch->sequences[i], sequence->tokens, new_tokens(batch, i));
        kv_tokens[i] = sequence->tokens;
        if (sequence->page_count > *table_stride) *table_stride = sequence->page_count;
    }
    return CLMLA_OK;
}

static clmla_status check_cache(const clmla_plan *plan, const clmla_cache *cache, const clmla_batch *batch) {
    const clmla_row_layout *a = &plan->params.layout, *b = &cache->layout;
    const clmla_log *log = &plan->context->host.log;
    if (batch->sequence_count == 0 || !batch->sequences)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan update: the batch has no sequences");
    if (cache->context != plan->context)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan update: the cache belongs to another context");
    if (a->format != b->format || a->latent_dim != b->latent_dim || a->rope_dim != b->rope_dim)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "plan update: the plan is for %s rows of %u + %u, the cache has %s rows of %u + %u",
                         clmla_row_format_name(a->format), a->latent_dim, a->rope_dim, clmla_row_format_name(b->format),
                         b->latent_dim, b->rope_dim);
    return CLMLA_OK;
}

clmla_status clmla_plan_update(clmla_plan *plan, const clmla_cache *cache, const clmla_batch *batch,
                               cl_command_queue queue, cl_uint wait_count, const cl_event *wait, cl_event *event) {
    if (!plan || !cache || !batch)
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan update: plan, cache or batch is NULL");
    STATUS_OR_RETURN(check_cache(plan, cache, batch));
    const clmla_allocator *allocator = &plan->context->host.allocator;
    uint32_t *kv_tokens = host_allocate(allocator, batch->sequence_count, sizeof *kv_tokens);
    if (!kv_tokens)
        return host_fail(&plan->context->host.log, CLMLA_E_MEMORY, 0, "plan update: no memory for %u lengths",
                         batch->sequence_count);
    clmla_lengths lengths = {batch->sequence_count, batch->query_tokens, kv_tokens};
    clmla_status status = batch_lengths(kv_tokens, &plan->table_stride, cache, batch);
    if (status == CLMLA_OK) status = enqueue_update(plan, &lengths, cache, batch, queue, wait_count, wait, event);
    host_release(allocator, kv_tokens);
    return status;
}
