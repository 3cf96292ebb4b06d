// SPDX-License-Identifier: Apache-2.0
#include "cl/common/sum_run.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/context.h"
#include "lib/plan.h"
#include "lib/rows.h"

#define SECTION_ALIGN 64u // bytes; a cache line, so that no vector straddles two

// Appends a section and answers where it begins.
static uint64_t place(uint64_t *end, uint64_t count, uint64_t bytes) {
    uint64_t begin = (*end + SECTION_ALIGN - 1) / SECTION_ALIGN * SECTION_ALIGN;
    *end = begin + count * bytes;
    return begin;
}

static schedule_bounds counts_of(const clmla_plan *plan) {
    const plan_schedule *s = &plan->schedule;
    if (plan_has_capacity(plan)) return plan->bounds;
    return (schedule_bounds){s->part_count, s->work_count, s->item_count, s->tile_count, s->state_rows, s->most_rows};
}

static plan_extent extent_of(const clmla_plan *plan) {
    const plan_schedule *s = &plan->schedule;
    const clmla_plan_capacity *capacity = &plan->params.capacity;
    if (!plan_has_capacity(plan)) return (plan_extent){s->query_tokens, s->sequence_count, s->longest_kv};
    return (plan_extent){capacity->query_tokens, capacity->sequences,
                         (uint32_t)schedule_share(&plan->rules, capacity->kv_tokens)};
}

static void place_step(clmla_plan *plan, const schedule_bounds *counts, bool cached) {
    plan_offsets at = {0};
    at.header = place(&at.total, HEADER_INTS, sizeof(int32_t));
    at.parts = place(&at.total, counts->parts + 1, sizeof(int32_t));
    at.works = place(&at.total, counts->works, WORK_INTS * sizeof(int32_t));
    at.items = place(&at.total, counts->items, ITEM_INTS * sizeof(int32_t));
    at.tiles = place(&at.total, counts->tiles, TILE_INTS * sizeof(int32_t));
    if (cached) {
        uint64_t tokens = plan->extent.query_tokens;
        uint64_t entries = plan_has_capacity(plan) ? plan->extent.sequence_count * plan->table_stride : 0;
        at.table = place(&at.total, entries, sizeof(int32_t));
        at.page_rows = place(&at.total, entries, sizeof(int32_t));
        at.positions = place(&at.total, tokens, sizeof(int32_t));
        at.slots = place(&at.total, tokens, sizeof(int64_t));
        if (rows_keep_codes(plan->params.layout.format)) {
            at.page_deltas = place(&at.total, entries, sizeof(int32_t));
            at.turns = place(&at.total, plan->params.layout.rope_dim / 2, sizeof(uint64_t));
        }
        at.key_slots = place(&at.total, plan->prompt_keys, sizeof(int64_t));
        at.key_deltas = place(&at.total, plan->shifted_pages ? plan->prompt_keys : 0, sizeof(int32_t));
        at.angles = place(&at.total, tokens, plan->params.layout.rope_dim * sizeof(float));
    }
    plan->offsets = at;
}

// Keys of the longest piece any step of the layout has.
static uint64_t longest_piece(const clmla_plan *plan) {
    uint64_t longest = plan->extent.longest_kv, split = plan->rules.split_tokens;
    return split && split < longest ? split : longest;
}

// Exact compute sums long pieces in runs (sum_run.h).
uint32_t plan_sum_rows(const clmla_plan *plan) {
    const variant *attend = plan->attend;
    bool exact = plan->params.compute == CLMLA_COMPUTE_EXACT || !variant_has_matrix_units(attend);
    bool runs = exact && longest_piece(plan) > SUM_RUN_KEYS;
    // Tiles keep sums in registers, and runs' alone in memory, of whole tiles; attend_wgmma has shorter runs.
    if (variant_has_tiles(attend)) return runs || (exact && attend->method == VARIANT_WGMMA) ? plan->rules.row_tile : 0;
    bool kept_apart = attend->method == VARIANT_VECTOR || attend->method == VARIANT_NAIVE;
    return plan->grid_rows * (runs && kept_apart ? 2 : 1);
}

static void place_space(clmla_plan *plan, const schedule_bounds *counts) {
    plan_space at = {0};
    uint64_t value = plan->value_dim, columns = variant_has_tiles(plan->attend) ? SUM_RUN_COLUMNS(value) : value;
    at.packed = place(&at.total, counts->tiles * plan->rules.pack_rows, plan->packed_width * sizeof(float));
    at.sums = place(&at.total, counts->parts * plan_sum_rows(plan), columns * sizeof(float));
    at.states = place(&at.total, counts->state_rows, value * sizeof(float));
    at.state_lse = place(&at.total, counts->state_rows, sizeof(float));
    at.state_max = place(&at.total, counts->state_rows, sizeof(float));
    plan->space = at;
}

void plan_lay_out(clmla_plan *plan, bool cached) {
    schedule_bounds counts = counts_of(plan);
    plan->extent = extent_of(plan);
    plan->grid_parts = (uint32_t)counts.parts;
    plan->grid_items = (uint32_t)counts.items;
    plan->grid_tiles = (uint32_t)counts.tiles;
    plan->grid_rows = counts.most_rows;
    place_step(plan, &counts, cached);
    place_space(plan, &counts);
}

clmla_status plan_reserve(clmla_plan *plan) {
    host_context *host = &plan->context->host;
    cl_mem space;
    if (plan->offsets.total > plan->step_bytes) {
        cl_mem larger = NULL;
        STATUS_OR_RETURN(host_buffer_create(&larger, host, plan->offsets.total, NULL, "a step's schedule"));
        host_buffer_release(host, &plan->step);
        plan->step = larger;
        plan->step_bytes = plan->offsets.total;
    }
    // The layer step attends prompts otherwise: who calls attend nevertheless gets it then.
    return plan->prompt_count > 0 ? CLMLA_OK : plan_attend_space(&space, plan);
}

clmla_status plan_attend_space(cl_mem *out, clmla_plan *plan) {
    *out = plan->workspace[PLAN_WORKSPACE_ATTEND];
    return plan->space.total ? plan_workspace_get(out, plan, PLAN_WORKSPACE_ATTEND, plan->space.total) : CLMLA_OK;
}

// Lets go of workspace, now or with the plan.
static clmla_status retire(clmla_plan *plan, plan_workspace which) {
    host_context *host = &plan->context->host;
    if (plan->recorded && plan->workspace[which]) {
        plan_kept *kept = host_allocate(&host->allocator, 1, sizeof *kept);
        if (!kept) return host_fail(&host->log, CLMLA_E_MEMORY, 0, "plan: no memory for %zu bytes", sizeof *kept);
        *kept = (plan_kept){plan->workspace[which], plan->workspace_bytes[which], plan->kept};
        plan->kept = kept;
        plan->workspace[which] = NULL;
    }
    host_buffer_release(host, &plan->workspace[which]);
    return CLMLA_OK;
}

clmla_status plan_workspace_get(cl_mem *out, clmla_plan *plan, plan_workspace which, uint64_t bytes) {
    host_context *host = &plan->context->host;
    if (bytes > plan->workspace_bytes[which] || !plan->workspace[which]) {
        cl_mem larger = NULL;
        STATUS_OR_RETURN(host_buffer_create(&larger, host, bytes, NULL, "a step's workspace"));
        clmla_status status = retire(plan, which);
        if (status != CLMLA_OK) {
            host_buffer_release(host, &larger);
            return status;
        }
        plan->workspace[which] = larger;
        plan->workspace_bytes[which] = bytes;
    }
    *out = plan->workspace[which];
    return CLMLA_OK;
}
