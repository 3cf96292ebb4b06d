// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/attend.h"
#include "lib/cache.h"
#include "lib/rows.h"

static clmla_status check_rows(const clmla_plan *plan, const clmla_rows *rows) {
    const clmla_row_layout *a = &plan->params.layout, *b = &rows->layout;
    const clmla_log *log = &plan->context->host.log;
    uint32_t plan_heads = plan->params.head_count / plan->group_heads, heads = rows_kv_heads(rows);
    if (a->format != b->format || a->latent_dim != b->latent_dim || a->rope_dim != b->rope_dim)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: the plan is for %s rows of %u + %u, rows are %s of %u + %u",
                         clmla_row_format_name(a->format), a->latent_dim, a->rope_dim, clmla_row_format_name(b->format),
                         b->latent_dim, b->rope_dim);
    if (heads != plan_heads)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: the plan is for %u kv heads, rows have %u", plan_heads,
                         heads);
    return rows_check(plan->context, rows, "attend");
}

// --- rows and a page table

// A plan with a capacity has all of it in its own memory, which recorded steps go on reading; others read the cache's.
static attend_table table_of_cache(const clmla_plan *plan) {
    const plan_offsets *at = &plan->offsets;
    const clmla_cache *cache = plan->cache;
    bool turned = rows_keep_codes(plan->params.layout.format) && plan->params.layout.rope_dim > 0;
    attend_table out = {.stride = plan_has_capacity(plan) ? plan->table_stride : cache->table_stride};
    if (plan_has_capacity(plan)) {
        out.table = (clmla_buffer){plan->step, at->table};
        out.page_rows = (clmla_buffer){plan->step, at->page_rows};
        if (turned) out.page_deltas = (clmla_buffer){plan->step, at->page_deltas};
    } else {
        out.table.memory = cache->tables[CACHE_TABLE_PAGES];
        if (plan->short_pages) out.page_rows.memory = cache->tables[CACHE_TABLE_ROWS];
        if (plan->shifted_pages) out.page_deltas.memory = cache->tables[CACHE_TABLE_DELTAS];
    }
    if (out.page_deltas.memory) out.turns = (clmla_buffer){plan->step, at->turns};
    return out;
}

attend_table attend_find_table(const clmla_plan *plan, const clmla_attend_params *params) {
    if (!params->page_table.memory && !params->page_indptr.memory && plan->cache) return table_of_cache(plan);
    return (attend_table){params->page_table, params->page_indptr,       params->page_rows,       params->page_deltas,
                          params->rope_turns, params->page_table_stride, params->page_table_count};
}

// What lies beside the entries of the table.
static clmla_status check_beside(const clmla_plan *plan, const attend_table *table, uint64_t entries) {
    if (table->page_rows.memory)
        STATUS_OR_RETURN(host_buffer_check(&plan->context->host, table->page_rows, entries * sizeof(int32_t),
                                           sizeof(int32_t), "attend", "page_rows"));
    return rows_check_deltas(plan->context, &plan->params.layout, table->page_deltas, table->turns, entries, "attend",
                             "page_deltas");
}

// `pages`: of the longest sequence, as far as the host knows.
static clmla_status check_csr(const clmla_plan *plan, const attend_table *table, uint64_t pages) {
    host_context *host = &plan->context->host;
    uint64_t entries;
    if (!table->table.memory)
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0, "attend: page_indptr is given, page_table is missing");
    if (!host_multiply(&entries, table->count, sizeof(int32_t)) || table->count > INT64_MAX / 8)
        return host_fail(&host->log, CLMLA_E_LIMIT, 0, "attend: page_table_count %llu is too large",
                         (unsigned long long)table->count);
    if (table->count < pages)
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                         "attend: page_table_count %llu: the longest sequence alone has %llu pages",
                         (unsigned long long)table->count, (unsigned long long)pages);
    STATUS_OR_RETURN(host_buffer_check(host, table->table, entries, sizeof(int32_t), "attend", "page_table"));
    STATUS_OR_RETURN(check_beside(plan, table, table->count));
    return host_buffer_check(host, table->indptr, ((uint64_t)plan->extent.sequence_count + 1) * sizeof(int32_t),
                             sizeof(int32_t), "attend", "page_indptr");
}

// What of a page table the caller gave, and its verb; NULL = nothing.
static const char *table_given(const clmla_attend_params *params) {
    if (params->page_table.memory) return "page_table is";
    if (params->page_indptr.memory) return "page_indptr is";
    if (params->page_rows.memory) return "page_rows are";
    return params->page_deltas.memory ? "page_deltas are" : NULL;
}

// A plan with a capacity has its lengths on the device: there the kernels read a key past the table as not there.
static clmla_status check_table(const clmla_plan *plan, const clmla_attend_params *params) {
    host_context *host = &plan->context->host;
    attend_table table = attend_find_table(plan, params);
    uint64_t page_tokens = params->rows.page_tokens, entries,
             longest = plan_has_capacity(plan) ? 0 : plan->extent.longest_kv,
             pages = (longest + page_tokens - 1) / page_tokens;
    // Such a plan's works name rows of the cache's own table.
    if (plan->cache && table_given(params))
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                         "attend: %s given, but the plan has its pages from a cache (clmla_plan_update)",
                         table_given(params));
    if (table.indptr.memory) return check_csr(plan, &table, pages);
    if (!table.table.memory && (table.page_rows.memory || table.page_deltas.memory))
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0, "attend: %s is given, page_table is missing",
                         table.page_rows.memory ? "page_rows" : "page_deltas");
    if (!table.table.memory) {
        if (longest > page_tokens)
            return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                             "attend: without a page table a sequence is one page of %llu keys, the longest has %llu",
                             (unsigned long long)page_tokens, (unsigned long long)longest);
        return CLMLA_OK;
    }
    if (table.stride < pages)
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                         "attend: page_table_stride %llu: the longest sequence has %llu keys, %llu a page",
                         (unsigned long long)table.stride, (unsigned long long)longest,
                         (unsigned long long)page_tokens);
    if (!host_multiply(&entries, table.stride, plan->extent.sequence_count) || entries > INT64_MAX / 8)
        return host_fail(&host->log, CLMLA_E_LIMIT, 0, "attend: page_table_stride %llu is too large",
                         (unsigned long long)table.stride);
    STATUS_OR_RETURN(
        host_buffer_check(host, table.table, entries * sizeof(int32_t), sizeof(int32_t), "attend", "page_table"));
    return check_beside(plan, &table, entries);
}

// --- scopes

static clmla_status check_scope(const clmla_plan *plan, const clmla_attend_scope *scope) {
    host_context *host = &plan->context->host;
    uint64_t tokens = plan->extent.query_tokens, bytes;
    STATUS_OR_RETURN(check_rows(plan, &scope->rows));
    if (scope->index_count == 0 || tokens == 0) return CLMLA_OK;
    if (scope->index_stride < scope->index_count)
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                         "attend: scopes: an index_stride of %llu is less than the index_count of %u",
                         (unsigned long long)scope->index_stride, scope->index_count);
    if (!host_multiply(&bytes, tokens - 1, scope->index_stride) || !host_add(&bytes, bytes, scope->index_count) ||
        bytes > INT64_MAX / 8)
        return host_fail(&host->log, CLMLA_E_LIMIT, 0, "attend: scopes: an index_stride of %llu passes 63 bits",
                         (unsigned long long)scope->index_stride);
    STATUS_OR_RETURN(
        host_buffer_check(host, scope->indices, bytes * sizeof(int32_t), sizeof(int32_t), "attend", "scopes.indices"));
    if (!scope->counts.memory) return CLMLA_OK;
    return host_buffer_check(host, scope->counts, tokens * sizeof(int32_t), sizeof(int32_t), "attend", "scopes.counts");
}

// A sequence for each token, whose keys are the lists together. What was scheduled on the device is not seen here.
static clmla_status check_scheduled(const clmla_plan *plan, uint64_t keys) {
    const plan_schedule *schedule = &plan->schedule;
    const clmla_log *log = &plan->context->host.log;
    if (plan->params.window != 0 || plan->params.parallel.world > 1)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: scopes: lists of keys have neither a window nor ranks");
    if (plan->on_device) return CLMLA_OK;
    for (uint32_t i = 0; i < schedule->work_count; i++) {
        const int32_t *work = schedule->works + (size_t)i * WORK_INTS;
        if (work[2] != 1 || work[3] != (int32_t)keys)
            return host_fail(log, CLMLA_E_ARGUMENT, 0,
                             "attend: scopes: the plan's sequence %d has %d query tokens and %d keys, 1 and the "
                             "scopes' %llu are needed",
                             work[0], work[2], work[3], (unsigned long long)keys);
    }
    return CLMLA_OK;
}

static clmla_status check_scopes(const clmla_plan *plan, const clmla_attend_params *params) {
    const clmla_log *log = &plan->context->host.log;
    uint64_t keys = 0;
    if (!params->scopes || params->scope_count > ATTEND_SCOPES_MAX)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: scope_count must be at most %d, with scopes given, not %u",
                         ATTEND_SCOPES_MAX, params->scope_count);
    if (plan->refuses_lists)
        return host_fail(
            log, CLMLA_E_ARGUMENT, 0,
            "attend: scopes: variant '%s' is not proven over lists on this device: clmla_plan_params.lists "
            "has it proven",
            plan->attend->name);
    if (table_given(params))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: %s given, but the keys of scopes are slots",
                         table_given(params));
    for (uint32_t i = 0; i < params->scope_count; i++) keys += params->scopes[i].index_count;
    if (keys > SCHEDULE_MOST)
        return host_fail(log, CLMLA_E_LIMIT, 0, "attend: scopes: index_count %llu in all is over %d",
                         (unsigned long long)keys, SCHEDULE_MOST);
    for (uint32_t i = 0; i < params->scope_count; i++) STATUS_OR_RETURN(check_scope(plan, &params->scopes[i]));
    return check_scheduled(plan, keys);
}

clmla_status attend_keys_check(const clmla_plan *plan, const clmla_attend_params *params) {
    if (params->scope_count > 0 || params->scopes) return check_scopes(plan, params);
    STATUS_OR_RETURN(check_rows(plan, &params->rows));
    return check_table(plan, params);
}

static void scopes_arguments(host_launch *launch, const clmla_attend_params *params) {
    const clmla_attend_scope *first = params->scopes, *second = params->scope_count > 1 ? params->scopes + 1 : NULL;
    attend_lists lists = {.stride = {(int64_t)first->index_stride, second ? (int64_t)second->index_stride : 0},
                          .index_count = {(int32_t)first->index_count, second ? (int32_t)second->index_count : 0}};
    for (uint32_t i = 0; i < params->scope_count; i++) {
        lists.indices[i] = (int64_t)(params->scopes[i].indices.offset / sizeof(int32_t));
        lists.counts[i] = (int64_t)(params->scopes[i].counts.offset / sizeof(int32_t));
    }
    rows_set(launch, &first->rows);
    rows_set(launch, second ? &second->rows : &first->rows);
    host_arg_buffer(launch, first->indices.memory);
    host_arg_buffer(launch, first->counts.memory);
    host_arg_buffer(launch, second ? second->indices.memory : NULL);
    host_arg_buffer(launch, second ? second->counts.memory : NULL);
    host_arg_bytes(launch, sizeof lists, &lists);
}

void attend_keys_arguments(host_launch *launch, const attend_job *job) {
    if (job->params->scope_count > 0) {
        scopes_arguments(launch, job->params);
        return;
    }
    rows_set(launch, &job->params->rows);
    host_arg_buffer(launch, job->table.table.memory);
    host_arg_buffer(launch, job->table.indptr.memory);
    host_arg_buffer(launch, job->table.page_rows.memory);
    host_arg_buffer(launch, job->table.page_deltas.memory);
    host_arg_buffer(launch, job->table.turns.memory);
}
