// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/cache.h"
#include "lib/plan.h"

static uint32_t new_tokens(const clmla_batch *batch, uint32_t i) {
    return batch->query_tokens ? batch->query_tokens[i] : 1;
}

static void copy_table(int32_t *entries, const clmla_plan *plan, const cache_sequence *sequence) {
    for (uint64_t p = 0; p < plan->table_stride; p++) entries[p] = p < sequence->page_count ? sequence->pages[p] : -1;
}

clmla_status plan_copy_cache(unsigned char *stage, const clmla_plan *plan, const clmla_cache *cache,
                             const clmla_batch *batch) {
    const plan_offsets *at = &plan->offsets;
    int32_t *table = (int32_t *)(void *)(stage + at->table), *positions = (int32_t *)(void *)(stage + at->positions);
    int64_t *slots = (int64_t *)(void *)(stage + at->slots);
    uint32_t token = 0;
    for (uint32_t i = 0; i < batch->sequence_count; i++) {
        const cache_sequence *sequence = cache_pages_sequence(&cache->pages, batch->sequences[i]);
        copy_table(table + i * plan->table_stride, plan, sequence);
        uint32_t count = new_tokens(batch, i);
        for (uint32_t t = 0; t < count; t++, token++) {
            uint32_t index = sequence->tokens - count + t;
            positions[token] = batch->positions ? batch->positions[token] : (int32_t)index;
            slots[token] =
                (int64_t)sequence->pages[index / cache->page_tokens] * cache->page_tokens + index % cache->page_tokens;
        }
    }
    // Rows of a capacity that the step does not use: computed with, and kept nowhere.
    for (; token < plan->extent.query_tokens; token++) {
        positions[token] = 0;
        slots[token] = -1;
    }
    return clmla_rope_table((float *)(void *)(stage + at->angles), &cache->config, positions, token,
                            CLMLA_ANGLE_DOUBLE);
}

static clmla_status reserve_lengths(clmla_plan *plan, uint32_t count) {
    const clmla_allocator *allocator = &plan->context->host.allocator;
    if (count <= plan->kv_tokens_room) return CLMLA_OK;
    uint32_t *larger = host_allocate(allocator, count, sizeof *larger);
    if (!larger)
        return host_fail(&plan->context->host.log, CLMLA_E_MEMORY, 0, "plan update: no memory for %u lengths", count);
    host_release(allocator, plan->kv_tokens);
    plan->kv_tokens = larger;
    plan->kv_tokens_room = count;
    return CLMLA_OK;
}

// Lengths of a reserved batch, and the most pages one has; refuses one that was not reserved.
static clmla_status batch_lengths(clmla_plan *plan, uint64_t *most_pages, const clmla_cache *cache,
                                  const clmla_batch *batch) {
    *most_pages = 1;
    STATUS_OR_RETURN(reserve_lengths(plan, batch->sequence_count));
    for (uint32_t i = 0; i < batch->sequence_count; i++) {
        const cache_sequence *sequence = cache_pages_sequence(&cache->pages, batch->sequences[i]);
        if (!sequence) return CLMLA_E_SEQUENCE;
        if (new_tokens(batch, i) > sequence->tokens)
            return host_fail(&cache->context->host.log, CLMLA_E_ARGUMENT, 0,
                             "plan update: sequence %u has %u tokens, %u new ones were not reserved",
                             batch->sequences[i], sequence->tokens, new_tokens(batch, i));
        plan->kv_tokens[i] = sequence->tokens;
        if (sequence->page_count > *most_pages) *most_pages = sequence->page_count;
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
    if (plan->rules.kv_head_count > 1 || plan->rules.world > 1)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "plan update: a cache has one kv head and all keys of its sequences; a plan of %u kv heads "
                         "and %u ranks is updated from lengths",
                         plan->rules.kv_head_count, plan->rules.world);
    if (plan_has_capacity(plan) && plan->page_tokens && plan->page_tokens != cache->page_tokens)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "plan update: the plan's capacity is laid out for pages of %u tokens, the cache's have %u",
                         plan->page_tokens, cache->page_tokens);
    return CLMLA_OK;
}

clmla_status clmla_plan_update(clmla_plan *plan, const clmla_cache *cache, const clmla_batch *batch,
                               cl_command_queue queue, cl_uint wait_count, const cl_event *wait, cl_event *event) {
    uint64_t most_pages;
    if (!plan || !cache || !batch)
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan update: plan, cache or batch is NULL");
    STATUS_OR_RETURN(check_cache(plan, cache, batch));
    STATUS_OR_RETURN(batch_lengths(plan, &most_pages, cache, batch));
    if (plan_has_capacity(plan))
        most_pages = (plan->params.capacity.kv_tokens + (uint64_t)cache->page_tokens - 1) / cache->page_tokens;
    plan->table_stride = most_pages;
    plan->page_tokens = cache->page_tokens;
    clmla_lengths lengths = {batch->sequence_count, batch->query_tokens, plan->kv_tokens};
    return plan_update_enqueue(plan, &lengths, cache, batch, queue, wait_count, wait, event);
}
