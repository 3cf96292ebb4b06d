// SPDX-License-Identifier: Apache-2.0
#include "lib/plan_schedule.h"
#include "host/error.h"
#include "host/memory.h"
#include <string.h>

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

// Every number the arrays hold, and every sum on the way to one, stays below 31 bits.
static clmla_status check_lengths(const schedule_rules *rules, const clmla_lengths *lengths, const clmla_log *log) {
    uint64_t tokens = 0;
    if (lengths->sequence_count > SCHEDULE_MOST)
        return host_fail(log, CLMLA_E_LIMIT, 0, "plan: %u sequences, the limit is %d", lengths->sequence_count,
                         SCHEDULE_MOST);
    for (uint32_t i = 0; i < lengths->sequence_count; i++) {
        uint32_t query_tokens = lengths->query_tokens ? lengths->query_tokens[i] : 1;
        tokens += query_tokens;
        if (lengths->kv_tokens[i] > SCHEDULE_MOST)
            return host_fail(log, CLMLA_E_LIMIT, 0, "plan: sequence %u has %u keys, the limit is %d", i,
                             lengths->kv_tokens[i], SCHEDULE_MOST);
        if (tokens * rules->head_count > SCHEDULE_MOST)
            return host_fail(
                log, CLMLA_E_LIMIT, 0,
                "plan: sequence %u with %u query tokens brings the step to %llu tokens of %u heads: tokens "
                "times heads must not pass %d",
                i, query_tokens, (unsigned long long)tokens, rules->head_count, SCHEDULE_MOST);
    }
    return CLMLA_OK;
}

static clmla_status check_counts(uint64_t works, uint64_t state_rows, const clmla_log *log) {
    if (works <= SCHEDULE_MOST && state_rows <= SCHEDULE_MOST) return CLMLA_OK;
    return host_fail(log, CLMLA_E_LIMIT, 0,
                     "plan: up to %llu pieces of work and %llu rows of partial results, the limit is %d each; longer "
                     "splits make fewer",
                     (unsigned long long)works, (unsigned long long)state_rows, SCHEDULE_MOST);
}

// Points the arrays into memory that has room for these counts.
static clmla_status reserve(plan_schedule *schedule, uint64_t parts, uint64_t works, uint64_t items, uint64_t tiles,
                            const clmla_log *log) {
    uint64_t ints = HEADER_INTS + parts + 1 + works * WORK_INTS + items * ITEM_INTS + tiles * TILE_INTS;
    if (ints > schedule->memory_ints) {
        uint64_t room = ints + ints / 2;
        int32_t *larger = host_allocate(schedule->allocator, (size_t)room, sizeof *larger);
        if (!larger)
            return host_fail(log, CLMLA_E_MEMORY, 0, "plan: no memory for %llu bytes of schedule",
                             (unsigned long long)room * sizeof *larger);
        host_release(schedule->allocator, schedule->memory);
        schedule->memory = larger;
        schedule->memory_ints = room;
    }
    schedule->header = schedule->memory;
    schedule->parts = schedule->header + HEADER_INTS;
    schedule->works = schedule->parts + parts + 1;
    schedule->items = schedule->works + works * WORK_INTS;
    schedule->tiles = schedule->items + items * ITEM_INTS;
    return CLMLA_OK;
}

static void empty(plan_schedule *schedule) {
    *schedule = (plan_schedule){
        .allocator = schedule->allocator, .memory = schedule->memory, .memory_ints = schedule->memory_ints};
}

static void take_counts(plan_schedule *schedule, const schedule_rules *rules, const clmla_lengths *lengths) {
    const int32_t *header = schedule->header;
    schedule->part_count = (uint32_t)header[0];
    schedule->work_count = (uint32_t)header[1];
    schedule->item_count = (uint32_t)header[2];
    schedule->tile_count = (uint32_t)header[3];
    schedule->query_tokens = (uint32_t)header[4];
    schedule->state_rows = (uint32_t)header[5];
    schedule->most_rows = (uint32_t)header[6];
    schedule->sequence_count = lengths->sequence_count;
    for (uint32_t i = 0; i < lengths->sequence_count; i++) {
        uint32_t keys = (uint32_t)schedule_share(rules, lengths->kv_tokens[i]);
        if (keys > schedule->longest_kv) schedule->longest_kv = keys;
    }
}

clmla_status plan_schedule_make(plan_schedule *schedule, const schedule_rules *rules, const clmla_lengths *lengths,
                                const clmla_log *log) {
    // The limits are checked, so the lengths are the same numbers as int.
    schedule_lengths in = {(int)lengths->sequence_count, (const int32_t *)lengths->query_tokens,
                           (const int32_t *)lengths->kv_tokens};
    empty(schedule);
    STATUS_OR_RETURN(check_lengths(rules, lengths, log));
    schedule_totals totals = schedule_measure(rules, &in);
    uint64_t parts = (uint64_t)schedule_parts_wanted(rules, &totals), tiles = (uint64_t)totals.tiles;
    uint64_t works = rules->split_tokens ? parts : tiles + parts;
    // A tile cut c times has c + 1 pieces: no more state rows than cuts and tiles can have.
    STATUS_OR_RETURN(
        check_counts(works, works * least(rules->row_tile, (uint64_t)totals.query_tokens * rules->head_count), log));
    STATUS_OR_RETURN(reserve(schedule, parts, works, tiles, (uint64_t)totals.packed, log));
    schedule_arrays arrays = {schedule->header, schedule->parts, schedule->works, schedule->items, schedule->tiles};
    schedule_write(rules, &in, &totals, &arrays);
    take_counts(schedule, rules, lengths);
    return CLMLA_OK;
}

clmla_status plan_schedule_bounds(schedule_bounds *out, const schedule_rules *rules,
                                  const clmla_plan_capacity *capacity, const clmla_log *log) {
    uint64_t tokens = capacity->query_tokens, rows = tokens * rules->head_count, kv_heads = rules->kv_head_count;
    uint64_t group_rows = rows / kv_heads, busy = least(capacity->sequences, tokens);
    uint64_t keys = (uint64_t)schedule_share(rules, capacity->kv_tokens), shortest = (uint64_t)schedule_least(rules);
    *out = (schedule_bounds){.most_rows = (uint32_t)least(rules->row_tile, group_rows)};
    // Each sequence's last tile may have a single row.
    uint64_t row_tiles = kv_heads * (busy + group_rows / rules->row_tile);
    if (rules->pack_rows) out->tiles = kv_heads * (busy + group_rows / rules->pack_rows);
    if (rules->split_tokens) {
        uint64_t pieces = keys == 0 ? 1 : (keys + rules->split_tokens - 1) / rules->split_tokens;
        out->parts = out->works = row_tiles * pieces;
        out->items = pieces > 1 ? row_tiles : 0;
        out->state_rows = pieces > 1 ? rows * pieces : 0;
    } else {
        schedule_totals most = {.tiles = (schedule_wide)row_tiles,
                                .keys = (schedule_wide)row_tiles * schedule_cost(rules, 1, (schedule_wide)keys)};
        out->parts = (uint64_t)schedule_parts_wanted(rules, &most);
        uint64_t cuts = keys < 2 * shortest ? 0 : out->parts - 1;
        out->works = row_tiles + cuts;
        out->items = least(row_tiles, cuts);
        out->state_rows = cuts * out->most_rows + least(cuts * out->most_rows, rows);
    }
    return check_counts(out->works, out->state_rows, log);
}

void plan_schedule_finish(plan_schedule *schedule) {
    host_release(schedule->allocator, schedule->memory);
    memset(schedule, 0, sizeof *schedule);
}
