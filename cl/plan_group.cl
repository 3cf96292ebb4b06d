// SPDX-License-Identifier: Apache-2.0
// plan_group: the schedule of a step from lengths on the device, by one group: the arrays of plan_naive.cl, word by
// word. Where a part ends hangs on all before it, so one work-item decides that (common/schedule.clh: schedule_next);
// what it needs for it, and what follows from it, is made by all of them: first tokens and tiles by prefix sums over
// sequences, tiles' keys and costs, and the arrays. On GPUs plan_naive takes some 3 us for each tile, most of it
// divisions and memory that it waits for. Arrays, and what the header counts: lib/plan_schedule.h.
// checked against the host: tests/kernel/check_plan.c
//   arguments: plan_naive.cl
// grid: one group of GROUP.   local memory: 80 bytes a work-item.   options: GROUP, SUB_GROUP (common/group.clh)
#include "common/group.clh"
#include "common/schedule.clh"

// PoCL 3.1 crashes over functions with barriers in them, and what these call, that it is to inline by itself.
#define ALWAYS_INLINE static inline __attribute__((always_inline))

// GROUP sequences at a time, and of their tiles GROUP at a time. Tiles lie in the order of schedule_write: sequence, kv
// head, rows.
typedef struct plan_space {
    int token_first[GROUP], query_tokens[GROUP], kv_tokens[GROUP], total_tokens[GROUP];
    int tile_first[GROUP], packed_first[GROUP]; // tiles of the sequences before, among these
    union {
        long sums[GROUP];
        long costs[GROUP]; // of tiles, uncut
    } u;
    int rows[GROUP], kv_begin[GROUP], kv_end[GROUP]; // of tiles
    // What was decided, to be written: pieces, and of tiles that were cut the number of pieces.
    int piece_tile[GROUP], piece_begin[GROUP], piece_end[GROUP], piece_state[GROUP];
    int cut_tile[GROUP], cut_state[GROUP], cut_pieces[GROUP];
    int piece_count, cut_count, work_first, item_first, more;
} plan_space;

// Sums of the values of all work-items up to this one, itself included. All come here; u is free again after the next
// barrier.
ALWAYS_INLINE long plan_scan(long value, __local plan_space *space) {
    int item = get_local_id(0);
    space->u.sums[item] = value;
    for (int reach = 1; reach < GROUP; reach *= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        long before = item >= reach ? space->u.sums[item - reach] : 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        space->u.sums[item] += before;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return space->u.sums[item];
}

ALWAYS_INLINE long plan_total(__local plan_space *space) {
    long total = space->u.sums[GROUP - 1];
    barrier(CLK_LOCAL_MEM_FENCE); // u is free
    return total;
}

ALWAYS_INLINE int plan_row_tiles(const schedule_rules *rules, int rows) {
    return rows / (int)rules->row_tile + (rows % (int)rules->row_tile > 0);
}

ALWAYS_INLINE int plan_packed_tiles(const schedule_rules *rules, int rows) {
    return rules->pack_rows ? rows / (int)rules->pack_rows + (rows % (int)rules->pack_rows > 0) : 0;
}

// How far all work-items have come, each with the same numbers.
typedef struct plan_chunk {
    int sequence_first, count, tile_count, packed_count;
    long tokens; // of queries, up to the end of the chunk, before they are cut to the most
} plan_chunk;

// The sequences from `first` on. Ends with a barrier.
ALWAYS_INLINE plan_chunk plan_load(const schedule_rules *rules, const schedule_lengths *lengths, int first, long tokens,
                                   __local plan_space *space) {
    int item = get_local_id(0), there = item < lengths->sequence_count - first;
    schedule_sequence s = {first + item, 0, 0, 0, 0, 0};
    if (there) s = schedule_sequence_at(rules, lengths, first + item, 0);
    // Cut to the most one by one, tokens add up to the same.
    long before = tokens + plan_scan(s.query_tokens, space) - s.query_tokens;
    plan_chunk chunk = {first, min(GROUP, lengths->sequence_count - first), 0, 0, tokens + plan_total(space)};
    s.token_first = (int)schedule_clamp(before, 0, rules->most_query_tokens);
    s.query_tokens = (int)schedule_clamp(s.query_tokens, 0, (long)rules->most_query_tokens - s.token_first);
    s.rows = s.query_tokens * (int)(rules->head_count / rules->kv_head_count);
    // Both stay below 31 bits.
    long tiles = (long)rules->kv_head_count * plan_row_tiles(rules, s.rows);
    long packed = (long)rules->kv_head_count * plan_packed_tiles(rules, s.rows), own = tiles << 32 | packed;
    long both = plan_scan(own, space) - own, all = plan_total(space);
    space->token_first[item] = s.token_first;
    space->query_tokens[item] = s.query_tokens;
    space->kv_tokens[item] = s.kv_tokens;
    space->total_tokens[item] = s.total_tokens;
    space->tile_first[item] = (int)(both >> 32);
    space->packed_first[item] = (int)(both & 0x7fffffff);
    chunk.tile_count = (int)(all >> 32);
    chunk.packed_count = (int)(all & 0x7fffffff);
    barrier(CLK_LOCAL_MEM_FENCE);
    return chunk;
}

// Which of the chunk's sequences has number `number` of what `first` counts.
ALWAYS_INLINE int plan_find(const __local int *first, int count, int number) {
    int low = 0;
    for (int high = count; high - low > 1;) {
        int middle = (low + high) / 2;
        if (first[middle] <= number)
            low = middle;
        else
            high = middle;
    }
    return low;
}

ALWAYS_INLINE schedule_sequence plan_sequence(const schedule_rules *rules, const plan_chunk *chunk, int at,
                                              const __local plan_space *space) {
    schedule_sequence s = {chunk->sequence_first + at, space->token_first[at],  space->query_tokens[at],
                           space->kv_tokens[at],       space->total_tokens[at], 0};
    s.rows = s.query_tokens * (int)(rules->head_count / rules->kv_head_count);
    return s;
}

// Tile `number` of the chunk, whose it is, and its first packed tile among the chunk's.
typedef struct plan_tile {
    schedule_sequence s;
    schedule_tile t;
    int kv_head, packed;
} plan_tile;

ALWAYS_INLINE plan_tile plan_tile_at(const schedule_rules *rules, const plan_chunk *chunk, int number,
                                     const __local plan_space *space) {
    plan_tile out;
    int at = plan_find(space->tile_first, chunk->count, number), of_sequence = number - space->tile_first[at];
    out.s = plan_sequence(rules, chunk, at, space);
    int row_tiles = plan_row_tiles(rules, out.s.rows), row = of_sequence % row_tiles * (int)rules->row_tile;
    out.kv_head = of_sequence / row_tiles;
    out.t = schedule_tile_at(rules, &out.s, row);
    out.packed = space->packed_first[at] + out.kv_head * plan_packed_tiles(rules, out.s.rows);
    if (rules->pack_rows) out.packed += row / (int)rules->pack_rows;
    return out;
}

ALWAYS_INLINE schedule_totals plan_measure(const schedule_rules *rules, const schedule_lengths *lengths,
                                           __local plan_space *space) {
    schedule_totals own = {0, 0, 0, 0, 0, 0};
    long tokens = 0;
    for (int first = 0; first < lengths->sequence_count; first += GROUP) {
        plan_chunk chunk = plan_load(rules, lengths, first, tokens, space);
        tokens = chunk.tokens;
        own.tiles += chunk.tile_count;
        own.packed += chunk.packed_count;
        for (int number = get_local_id(0); number < chunk.tile_count; number += GROUP) {
            schedule_tile t = plan_tile_at(rules, &chunk, number, space).t;
            own.pieces += schedule_pieces_of(rules, &t);
            own.keys += schedule_cost(rules, 1, t.kv_end - t.kv_begin);
            own.cost += schedule_cost(rules, t.weight, t.kv_end - t.kv_begin);
        }
        barrier(CLK_LOCAL_MEM_FENCE); // before the next sequences
    }
    plan_scan(own.pieces, space);
    own.pieces = plan_total(space);
    plan_scan(own.keys, space);
    own.keys = plan_total(space);
    plan_scan(own.cost, space);
    own.cost = plan_total(space);
    own.query_tokens = schedule_clamp(tokens, 0, rules->most_query_tokens);
    return own;
}

ALWAYS_INLINE void plan_write_packed(const schedule_rules *rules, const plan_chunk *chunk, int packed_before,
                                     const schedule_arrays *arrays, const __local plan_space *space) {
    for (int number = get_local_id(0); number < chunk->packed_count; number += GROUP) {
        int at = plan_find(space->packed_first, chunk->count, number), of_sequence = number - space->packed_first[at];
        schedule_sequence s = plan_sequence(rules, chunk, at, space);
        int tiles = plan_packed_tiles(rules, s.rows);
        schedule_write_packed(packed_before + number, arrays, &s, of_sequence % tiles * (int)rules->pack_rows,
                              of_sequence / tiles);
    }
}

// Where the one work-item that decides is among GROUP tiles.
typedef struct plan_cursor {
    int tile, kv_begin, pieces;
    long cost; // of the tile's keys from kv_begin on
} plan_cursor;

ALWAYS_INLINE void plan_open_tile(plan_cursor *c, int tile, int count, const __local plan_space *space) {
    c->tile = tile;
    c->pieces = 0;
    if (tile >= count) return;
    c->kv_begin = space->kv_begin[tile];
    c->cost = space->u.costs[tile];
}

ALWAYS_INLINE void plan_finish_tile(plan_cursor *c, schedule_progress *p, __local plan_space *space) {
    int rows = space->rows[c->tile];
    if (c->pieces > 1) {
        int cut = space->cut_count++;
        space->cut_tile[cut] = c->tile;
        space->cut_state[cut] = p->state_row;
        space->cut_pieces[cut] = c->pieces;
        p->item++;
        p->state_row += c->pieces * rows;
    }
    if (rows > p->most_rows) p->most_rows = rows;
}

// As schedule_place_tile, of tile after tile, until there are `count` of them or GROUP pieces.
ALWAYS_INLINE void plan_decide(plan_cursor *c, schedule_progress *p, const schedule_rules *rules, int count,
                               const schedule_arrays *arrays, __local plan_space *space) {
    int piece = 0;
    space->cut_count = 0;
    space->work_first = p->work;
    space->item_first = p->item;
    while (c->tile < count && piece < GROUP) {
        int rows = space->rows[c->tile], end = space->kv_end[c->tile];
        int weight = rows < (int)rules->row_floor ? (int)rules->row_floor : rows;
        long keys = end - c->kv_begin, take = schedule_next(p, rules, weight, c->kv_begin, keys, &c->cost);
        if (take >= 0) {
            space->piece_tile[piece] = c->tile;
            space->piece_begin[piece] = c->kv_begin;
            space->piece_end[piece] = c->kv_begin + (int)take;
            space->piece_state[piece] = c->pieces || take < keys ? p->state_row + c->pieces * rows : -1;
            c->kv_begin += (int)take;
            c->pieces++;
            piece++;
            p->work++;
            p->empty = 0;
        }
        if (take < 0 || c->kv_begin < end || rules->split_tokens) schedule_close_part(p, arrays);
        if (take < 0 || c->kv_begin < end) continue;
        plan_finish_tile(c, p, space);
        plan_open_tile(c, c->tile + 1, count, space);
    }
    space->piece_count = piece;
    space->more = c->tile < count;
}

// What plan_decide left, of tiles from `first` on.
ALWAYS_INLINE void plan_write(const schedule_rules *rules, const plan_chunk *chunk, int first, int packed_before,
                              const schedule_arrays *arrays, const __local plan_space *space) {
    int item = get_local_id(0);
    if (item < space->piece_count) {
        plan_tile tile = plan_tile_at(rules, chunk, first + space->piece_tile[item], space);
        tile.t.kv_begin = space->piece_begin[item];
        tile.t.kv_end = space->piece_end[item];
        schedule_write_work(space->work_first + item, arrays, &tile.s, &tile.t, tile.kv_head,
                            rules->pack_rows ? packed_before + tile.packed : 0, space->piece_state[item]);
    }
    if (item < space->cut_count) {
        plan_tile tile = plan_tile_at(rules, chunk, first + space->cut_tile[item], space);
        schedule_write_item(space->item_first + item, arrays, &tile.s, &tile.t, tile.kv_head, space->cut_state[item],
                            space->cut_pieces[item]);
    }
}

// GROUP tiles of the chunk from `first` on. All come here; p is work-item 0's.
ALWAYS_INLINE void plan_place(schedule_progress *p, const schedule_rules *rules, const plan_chunk *chunk, int first,
                              int packed_before, const schedule_arrays *arrays, __local plan_space *space) {
    int item = get_local_id(0), count = min(GROUP, chunk->tile_count - first), more;
    plan_cursor cursor = {0, 0, 0, 0};
    if (item < count) {
        schedule_tile t = plan_tile_at(rules, chunk, first + item, space).t;
        space->rows[item] = t.row_count;
        space->kv_begin[item] = t.kv_begin;
        space->kv_end[item] = t.kv_end;
        space->u.costs[item] = schedule_cost(rules, t.weight, t.kv_end - t.kv_begin);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0) plan_open_tile(&cursor, 0, count, space);
    do {
        if (item == 0) plan_decide(&cursor, p, rules, count, arrays, space);
        barrier(CLK_LOCAL_MEM_FENCE);
        plan_write(rules, chunk, first, packed_before, arrays, space);
        more = space->more;
        barrier(CLK_LOCAL_MEM_FENCE);
    } while (more);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void plan_group(
    const __global int *query_tokens, long query_offset, const __global int *kv_tokens, long kv_offset,
    int sequence_count, __global int *step, long header, long parts, long works, long items, long tiles, int head_count,
    int kv_head_count, int row_tile, int pack_rows, int row_floor, int block_tokens, int piece_keys, int units,
    int parts_per_unit, int part_keys, int least_split, int split_tokens, int full, int window, int rank, int world,
    int interleave, int most_query_tokens, int most_kv_tokens) {
    __local plan_space space;
    schedule_rules rules = {head_count,    kv_head_count, row_tile,       pack_rows, row_floor,   block_tokens,
                            piece_keys,    units,         parts_per_unit, part_keys, least_split, split_tokens,
                            full,          window,        rank,           world,     interleave,  most_query_tokens,
                            most_kv_tokens};
    schedule_lengths lengths;
    schedule_arrays arrays = {step + header, step + parts, step + works, step + items, step + tiles};
    lengths.sequence_count = sequence_count;
    lengths.query_tokens = query_tokens ? query_tokens + query_offset : query_tokens;
    lengths.kv_tokens = kv_tokens + kv_offset;
    schedule_totals totals = plan_measure(&rules, &lengths, &space);
    schedule_progress p = {0, 0, 0, 0, 0, 0, 1, schedule_parts_wanted(&rules, &totals), totals.cost, 0};
    long tokens = 0;
    int packed = 0;
    if (get_local_id(0) == 0) arrays.parts[0] = 0;
    for (int first = 0; first < sequence_count; first += GROUP) {
        plan_chunk chunk = plan_load(&rules, &lengths, first, tokens, &space);
        tokens = chunk.tokens;
        plan_write_packed(&rules, &chunk, packed, &arrays, &space);
        for (int tile = 0; tile < chunk.tile_count; tile += GROUP)
            plan_place(&p, &rules, &chunk, tile, packed, &arrays, &space);
        packed += chunk.packed_count;
        barrier(CLK_LOCAL_MEM_FENCE); // before the next sequences
    }
    if (get_local_id(0) != 0) return;
    p.tile = packed;
    schedule_close_part(&p, &arrays);
    schedule_write_header(&p, &arrays, (int)totals.query_tokens);
}
