// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/cache.h"
#include "lib/plan.h"
#include "lib/rows.h"

static uint32_t new_tokens(const clmla_batch *batch, uint32_t i) {
    return batch->query_tokens ? batch->query_tokens[i] : 1;
}

// For a plan with a capacity: pages and their rows, where the plan keeps them.
static void copy_tables(unsigned char *stage, const clmla_plan *plan, const clmla_cache *cache, uint32_t index,
                        const cache_sequence *sequence) {
    int32_t *table = (int32_t *)(void *)(stage + plan->offsets.table) + index * plan->table_stride;
    int32_t *rows = (int32_t *)(void *)(stage + plan->offsets.page_rows) + index * plan->table_stride;
    for (uint64_t p = 0; p < plan->table_stride; p++) {
        const cache_entry *entry = p < sequence->entry_count ? &sequence->entries[p] : NULL;
        table[p] = entry ? entry->page : -1;
        rows[p] = (int32_t)(entry && p + 1 < sequence->entry_count ? entry->rows : cache->page_tokens);
    }
    if (!rows_keep_codes(cache->layout.format)) return;
    int32_t *deltas = (int32_t *)(void *)(stage + plan->offsets.page_deltas) + index * plan->table_stride;
    for (uint64_t p = 0; p < plan->table_stride; p++)
        deltas[p] = p < sequence->entry_count ? sequence->entries[p].delta : 0;
}

// For others: works name rows of the cache's tables.
static void name_rows(unsigned char *stage, const clmla_plan *plan, const clmla_batch *batch) {
    int32_t *works = (int32_t *)(void *)(stage + plan->offsets.works);
    for (uint32_t i = 0; i < plan->schedule.work_count; i++, works += WORK_INTS)
        works[0] = cache_table_row(batch->sequences[works[0]]);
}

clmla_status plan_update_cache(clmla_plan *plan, clmla_cache *cache, const clmla_batch *batch, host_chain *chain) {
    cache_tables tables;
    if (plan_has_capacity(plan)) return cache_flush_enqueue(cache, chain);
    STATUS_OR_RETURN(cache_tables_update(&tables, cache, batch->sequence_count, batch->sequences, chain));
    plan->table_stride = tables.stride;
    return CLMLA_OK;
}

clmla_status plan_copy_cache(unsigned char *stage, const clmla_plan *plan, const clmla_cache *cache,
                             const clmla_batch *batch) {
    const plan_offsets *at = &plan->offsets;
    int32_t *positions = (int32_t *)(void *)(stage + at->positions);
    int64_t *slots = (int64_t *)(void *)(stage + at->slots);
    uint32_t token = 0;
    if (!plan_has_capacity(plan)) name_rows(stage, plan, batch);
    for (uint32_t i = 0; i < batch->sequence_count; i++) {
        const cache_sequence *sequence = cache_pages_sequence(&cache->pages, batch->sequences[i]);
        uint32_t count = new_tokens(batch, i), first = sequence->tokens - count;
        if (plan_has_capacity(plan)) copy_tables(stage, plan, cache, i, sequence);
        cache_pages_slots(slots + token, &cache->pages, sequence, first, count);
        for (uint32_t t = 0; batch->positions && t < count; t++) positions[token + t] = batch->positions[token + t];
        if (!batch->positions && count > 0) cache_runs_list(positions + token, &sequence->runs, first, count);
        token += count;
    }
    int64_t *key_slots = (int64_t *)(void *)(stage + at->key_slots);
    int32_t *key_deltas = (int32_t *)(void *)(stage + at->key_deltas);
    for (uint32_t i = 0; i < plan->prompt_count; i++) {
        const plan_prompt *prompt = &plan->prompts[i];
        const cache_sequence *sequence = cache_pages_sequence(&cache->pages, batch->sequences[prompt->index]);
        cache_pages_slots(key_slots + prompt->keys_before, &cache->pages, sequence, prompt->key_first,
                          prompt->key_count);
        if (plan->shifted_pages)
            cache_pages_deltas(key_deltas + prompt->keys_before, sequence, prompt->key_first, prompt->key_count);
    }
    // Rows of a capacity that the step does not use: computed with, and kept nowhere.
    for (; token < plan->extent.query_tokens; token++) {
        positions[token] = 0;
        slots[token] = -1;
    }
    if (rows_keep_codes(cache->layout.format))
        STATUS_OR_RETURN(clmla_rope_turns((uint64_t *)(void *)(stage + at->turns), &cache->config));
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

// What the kernels cannot follow. The new tokens must be the last keys of the span that pages make up, and a window
// would count the rows that are missing in it.
static clmla_status check_sequence(const clmla_plan *plan, const clmla_cache *cache, uint32_t id,
                                   const cache_sequence *sequence, uint32_t count) {
    const clmla_log *log = &plan->context->host.log;
    if (count > sequence->tokens)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "plan update: sequence %u has %u tokens, %u new ones were not reserved", id, sequence->tokens,
                         count);
    if (sequence->short_count == 0) return CLMLA_OK;
    if (plan->params.window > 0)
        return host_fail(log, CLMLA_E_UNSUPPORTED, 0,
                         "plan update: sequence %u: rows were removed from its middle, which a window cannot count",
                         id);
    uint32_t first = count > 0 ? cache_pages_entry_of(sequence, sequence->tokens - count) : 0;
    for (uint32_t i = first; count > 0 && i + 1 < sequence->entry_count; i++)
        if (sequence->entries[i].rows < cache->page_tokens)
            return host_fail(log, CLMLA_E_ARGUMENT, 0,
                             "plan update: sequence %u: rows were removed from between its %u new tokens", id, count);
    return CLMLA_OK;
}

// Lengths of a reserved batch: rows missing in the middle count, the kernels leave them out.
static clmla_status batch_lengths(clmla_plan *plan, clmla_cache *cache, const clmla_batch *batch) {
    STATUS_OR_RETURN(reserve_lengths(plan, batch->sequence_count));
    plan->short_pages = plan->shifted_pages = false;
    uint64_t number = ++cache->pages.batch_count;
    for (uint32_t i = 0; i < batch->sequence_count; i++) {
        cache_sequence *sequence = cache_pages_find(&cache->pages, batch->sequences[i]);
        if (!sequence) return host_log_failure(&plan->context->host.log, CLMLA_E_SEQUENCE);
        if (sequence->batch == number)
            return host_fail(&plan->context->host.log, CLMLA_E_ARGUMENT, 0,
                             "plan update: the batch names sequence %u twice", batch->sequences[i]);
        sequence->batch = number;
        STATUS_OR_RETURN(check_sequence(plan, cache, batch->sequences[i], sequence, new_tokens(batch, i)));
        uint64_t span = cache_pages_span(&cache->pages, sequence);
        if (span > CLMLA_MAX_CONTEXT)
            return host_fail(&plan->context->host.log, CLMLA_E_LIMIT, 0,
                             "plan update: sequence %u spans %llu rows, the limit is %d", batch->sequences[i],
                             (unsigned long long)span, CLMLA_MAX_CONTEXT);
        plan->kv_tokens[i] = (uint32_t)span;
        plan->short_pages |= sequence->short_count > 0;
        plan->shifted_pages |= sequence->delta_count > 0;
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
    if (plan->recorded && !plan->page_tokens)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "plan update: the plan was recorded before its first step over a cache, for which its memory "
                         "would have to move");
    if (plan_has_capacity(plan) && plan->page_tokens && plan->page_tokens != cache->page_tokens)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "plan update: the plan's capacity is laid out for pages of %u tokens, the cache's have %u",
                         plan->page_tokens, cache->page_tokens);
    return CLMLA_OK;
}

// Pages a sequence of a capacity may have. What a first update that fails has set is taken back: no room was made.
static clmla_status update(clmla_plan *plan, clmla_cache *cache, const clmla_batch *batch, cl_command_queue queue,
                           cl_uint wait_count, const cl_event *wait, cl_event *event) {
    clmla_lengths lengths = {batch->sequence_count, batch->query_tokens, plan->kv_tokens};
    bool first = plan->page_tokens == 0;
    plan->page_tokens = cache->page_tokens;
    plan->table_stride = 1;
    if (plan_has_capacity(plan))
        plan->table_stride = (plan->params.capacity.kv_tokens + (uint64_t)cache->page_tokens - 1) / cache->page_tokens;
    clmla_status status = plan_update_enqueue(plan, &lengths, cache, batch, queue, wait_count, wait, event);
    if (status == CLMLA_OK || !first) return status;
    plan->page_tokens = 0;
    plan->table_stride = 0;
    return status;
}

clmla_status clmla_plan_update(clmla_plan *plan, clmla_cache *cache, const clmla_batch *batch, cl_command_queue queue,
                               cl_uint wait_count, const cl_event *wait, cl_event *event) {
    if (!plan || !cache || !batch)
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan update: plan, cache or batch is NULL");
    STATUS_OR_RETURN(check_cache(plan, cache, batch));
    plan->ready = false;
    STATUS_OR_RETURN(batch_lengths(plan, cache, batch));
    STATUS_OR_RETURN(plan_prefill_choose(plan, cache, batch));
    if (!plan_prefill_is_mixed(plan)) return update(plan, cache, batch, queue, wait_count, wait, event);
    STATUS_OR_RETURN(update(plan, cache, batch, queue, wait_count, wait, NULL));
    return plan_prefill_update_rest(plan, cache, batch, queue, event);
}
