// SPDX-License-Identifier: Apache-2.0
#include "lib/plan_schedule.h"
#include "host/error.h"
#include "host/memory.h"
#include <string.h>

typedef struct sequence_split {
    uint32_t rows, row_tiles, split_length, splits;
} sequence_split;

static uint32_t divide_up(uint64_t a, uint64_t b) {
    return (uint32_t)((a + b - 1) / b);
}

static uint32_t query_tokens_of(const clmla_lengths *lengths, uint32_t sequence) {
    return lengths->query_tokens ? lengths->query_tokens[sequence] : 1;
}

// Row-key pairs of the whole step: what is shared out.
static uint64_t total_cost(const schedule_rules *rules, const clmla_lengths *lengths) {
    uint64_t cost = 0;
    for (uint32_t i = 0; i < lengths->sequence_count; i++)
        cost += (uint64_t)query_tokens_of(lengths, i) * rules->head_count * lengths->kv_tokens[i];
    return cost;
}

// All row tiles of a sequence share one split, so that its states form a regular grid.
static sequence_split split_sequence(const schedule_rules *rules, uint32_t query_tokens, uint32_t kv_tokens,
                                     uint64_t cost) {
    sequence_split out = {.rows = query_tokens * rules->head_count};
    out.row_tiles = divide_up(out.rows, rules->row_tile);
    uint64_t length = rules->split_tokens;
    if (length == 0) {
        uint64_t share = cost / rules->works_wanted + 1;
        uint64_t tile_rows = out.rows < rules->row_tile ? out.rows : rules->row_tile;
        uint64_t splits = divide_up(tile_rows * kv_tokens, share);
        uint64_t most = divide_up(kv_tokens, rules->least_split);
        if (splits > most) splits = most;
        length = splits > 1 ? divide_up(kv_tokens, splits) : kv_tokens;
    }
    length = (length + rules->block_tokens - 1) / rules->block_tokens * rules->block_tokens;
    out.splits = kv_tokens == 0 ? 1 : divide_up(kv_tokens, length);
    out.split_length = (uint32_t)(out.splits == 1 ? kv_tokens : length);
    return out;
}

typedef struct schedule_counts {
    uint64_t works, items, tiles, states, tokens;
} schedule_counts;

static schedule_counts count(const schedule_rules *rules, const clmla_lengths *lengths, uint64_t cost) {
    schedule_counts counts = {0};
    for (uint32_t i = 0; i < lengths->sequence_count; i++) {
        uint32_t query_tokens = query_tokens_of(lengths, i);
        if (query_tokens == 0) continue;
        sequence_split split = split_sequence(rules, query_tokens, lengths->kv_tokens[i], cost);
        counts.works += (uint64_t)split.row_tiles * split.splits;
        if (rules->pack_rows) counts.tiles += divide_up(split.rows, rules->pack_rows);
        counts.tokens += query_tokens;
        if (split.splits == 1) continue;
        counts.items += query_tokens;
        counts.states += (uint64_t)query_tokens * split.splits;
    }
    return counts;
}

static clmla_status grow(int32_t **array, uint32_t *capacity, uint64_t wanted, uint32_t ints,
                         const clmla_allocator *allocator, const clmla_log *log) {
    if (wanted <= *capacity) return CLMLA_OK;
    uint64_t room = wanted + wanted / 2;
    int32_t *larger = host_allocate(allocator, (size_t)room, ints * sizeof(int32_t));
    if (!larger)
        return host_fail(log, CLMLA_E_MEMORY, 0, "plan: no memory for a list of %llu entries",
                         (unsigned long long)room);
    host_release(allocator, *array);
    *array = larger;
    *capacity = (uint32_t)room;
    return CLMLA_OK;
}

static clmla_status check_limits(const schedule_rules *rules, const clmla_lengths *lengths, const clmla_log *log) {
    for (uint32_t i = 0; i < lengths->sequence_count; i++) {
        uint64_t rows = (uint64_t)query_tokens_of(lengths, i) * rules->head_count;
        if (lengths->kv_tokens[i] > CLMLA_MAX_CONTEXT - 4096 || rows > INT32_MAX - 4096)
            return host_fail(
                log, CLMLA_E_LIMIT, 0,
                "plan: sequence %u: %u keys and %u query tokens of %u heads: keys, and tokens times heads, must "
                "stay below 2147479551",
                i, lengths->kv_tokens[i], query_tokens_of(lengths, i), rules->head_count);
    }
    return CLMLA_OK;
}

static void write_work(int32_t *work, uint32_t sequence, uint32_t token_first, uint32_t query_tokens,
                       uint32_t kv_tokens) {
    memset(work, 0, WORK_INTS * sizeof *work);
    work[0] = (int32_t)sequence;
    work[1] = (int32_t)token_first;
    work[2] = (int32_t)query_tokens;
    work[3] = (int32_t)kv_tokens;
    work[8] = -1;
}

static void add_works(plan_schedule *schedule, const schedule_rules *rules, const sequence_split *split,
                      const int32_t *base) {
    for (uint32_t s = 0; s < split->splits; s++)
        for (uint32_t t = 0; t < split->row_tiles; t++) {
            int32_t *work = schedule->works + (size_t)schedule->work_count++ * WORK_INTS;
            memcpy(work, base, WORK_INTS * sizeof *work);
            uint32_t row = t * rules->row_tile,
                     rows = split->rows - row < rules->row_tile ? split->rows - row : rules->row_tile;
            uint64_t begin = (uint64_t)s * split->split_length, end = begin + split->split_length;
            work[4] = (int32_t)row;
            work[5] = (int32_t)rows;
            work[6] = (int32_t)begin;
            work[7] = end < (uint32_t)base[3] ? (int32_t)end : base[3];
            if (split->splits > 1) {
                work[8] = (int32_t)(schedule->state_count + s);
                work[9] = (int32_t)split->splits;
            }
            if (rules->pack_rows) work[10] = (int32_t)(schedule->tile_count + row / rules->pack_rows);
            if (rows > schedule->most_rows) schedule->most_rows = rows;
        }
}

static void add_tiles(plan_schedule *schedule, const schedule_rules *rules, const sequence_split *split,
                      uint32_t token_first) {
    if (!rules->pack_rows) return;
    for (uint32_t row = 0; row < split->rows; row += rules->pack_rows) {
        int32_t *tile = schedule->tiles + (size_t)schedule->tile_count++ * TILE_INTS;
        tile[0] = (int32_t)token_first;
        tile[1] = (int32_t)row;
        tile[2] = (int32_t)split->rows;
        tile[3] = 0;
    }
}

static void add_items(plan_schedule *schedule, const sequence_split *split, uint32_t token_first,
                      uint32_t query_tokens) {
    if (split->splits == 1) return;
    for (uint32_t t = 0; t < query_tokens; t++) {
        int32_t *item = schedule->items + (size_t)schedule->item_count++ * ITEM_INTS;
        item[0] = (int32_t)(token_first + t);
        item[1] = (int32_t)(schedule->state_count + t * split->splits);
        item[2] = (int32_t)split->splits;
        item[3] = 0;
    }
    schedule->state_count += query_tokens * split->splits;
}

clmla_status plan_schedule_make(plan_schedule *schedule, const schedule_rules *rules, const clmla_lengths *lengths,
                                const clmla_log *log) {
    clmla_status status = CLMLA_OK;
    schedule->work_count = schedule->item_count = schedule->tile_count = schedule->state_count = 0;
    schedule->query_tokens = schedule->most_rows = schedule->longest_kv = schedule->sequence_count = 0;
    STATUS_OR_RETURN(check_limits(rules, lengths, log));
    uint64_t cost = total_cost(rules, lengths);
    schedule_counts counts = count(rules, lengths, cost);
    if (counts.works > INT32_MAX || counts.tiles > INT32_MAX || counts.tokens > INT32_MAX ||
        counts.states > INT32_MAX / rules->head_count)
        return host_fail(log, CLMLA_E_LIMIT, 0, "plan: the step is too large: %llu work items, %llu partial states",
                         (unsigned long long)counts.works, (unsigned long long)counts.states);
    status = grow(&schedule->works, &schedule->work_capacity, counts.works, WORK_INTS, schedule->allocator, log);
    if (status == CLMLA_OK)
        status = grow(&schedule->items, &schedule->item_capacity, counts.items, ITEM_INTS, schedule->allocator, log);
    if (status == CLMLA_OK)
        status = grow(&schedule->tiles, &schedule->tile_capacity, counts.tiles, TILE_INTS, schedule->allocator, log);
    if (status != CLMLA_OK) return status;

    for (uint32_t i = 0; i < lengths->sequence_count; i++) {
        uint32_t query_tokens = query_tokens_of(lengths, i), kv_tokens = lengths->kv_tokens[i];
        if (kv_tokens > schedule->longest_kv) schedule->longest_kv = kv_tokens;
        if (query_tokens == 0) continue;
        int32_t base[WORK_INTS];
        sequence_split split = split_sequence(rules, query_tokens, kv_tokens, cost);
        write_work(base, i, schedule->query_tokens, query_tokens, kv_tokens);
        add_works(schedule, rules, &split, base);
        add_tiles(schedule, rules, &split, schedule->query_tokens);
        add_items(schedule, &split, schedule->query_tokens, query_tokens);
        schedule->query_tokens += query_tokens;
    }
    schedule->sequence_count = lengths->sequence_count;
    return CLMLA_OK;
}

void plan_schedule_finish(plan_schedule *schedule) {
    host_release(schedule->allocator, schedule->works);
    host_release(schedule->allocator, schedule->items);
    host_release(schedule->allocator, schedule->tiles);
    memset(schedule, 0, sizeof *schedule);
}
