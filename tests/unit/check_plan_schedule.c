// SPDX-License-Identifier: Apache-2.0
// The schedule: every key that a row sees is in exactly one piece, parts and items fit the pieces, and what one
// sequence gets under fixed splits does not depend on the others. Checked key by key against the masks' definition.
#include "lib/plan_schedule.h"
#include "tests/support/suite.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static const clmla_allocator allocator = {0};

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static schedule_rules rules_make(void) {
    return (schedule_rules){.head_count = 16,
                            .kv_head_count = 1,
                            .row_tile = 128,
                            .pack_rows = 16,
                            .row_floor = 16,
                            .block_tokens = 48,
                            .piece_keys = 24,
                            .units = 2,
                            .parts_per_unit = 4,
                            .part_keys = 192,
                            .least_split = 96,
                            .world = 1,
                            .interleave = 1,
                            .most_query_tokens = SCHEDULE_MOST,
                            .most_kv_tokens = SCHEDULE_MOST};
}

static uint32_t query_tokens_of(const clmla_lengths *lengths, uint32_t i) {
    return lengths->query_tokens ? lengths->query_tokens[i] : 1;
}

// The keys of this rank in order: their numbers in the sequence. By enumeration.
static uint32_t own_keys(uint32_t *global, const schedule_rules *rules, uint32_t total) {
    uint32_t count = 0;
    for (uint32_t g = 0; g < total; g++)
        if (g / rules->interleave % rules->world == rules->rank) global[count++] = g;
    return count;
}

static bool sees(const schedule_rules *rules, int64_t query, int64_t total, int64_t token, int64_t g) {
    bool causal = rules->full || g <= total - query + token;
    return causal && (rules->window == 0 || g > total - query + token - (int64_t)rules->window);
}

// One sequence's works, as found in the list.
typedef struct sequence_check {
    const plan_schedule *schedule;
    const schedule_rules *rules;
    uint32_t index, token, query, total, keys, group;
    const uint32_t *global; // [keys]
} sequence_check;

static void check_work(const sequence_check *c, const int32_t *work) {
    int rows = (int)(c->query * c->group);
    ck_assert_int_eq(work[1], (int)c->token);
    ck_assert_int_eq(work[2], (int)c->query);
    ck_assert_int_eq(work[3], (int)c->keys);
    ck_assert_int_eq(work[11], (int)c->total);
    ck_assert_int_eq(work[4] % (int)c->rules->row_tile, 0);
    int expected = rows - work[4] < (int)c->rules->row_tile ? rows - work[4] : (int)c->rules->row_tile;
    ck_assert_int_eq(work[5], expected);
    ck_assert(0 <= work[6] && work[6] <= work[7] && work[7] <= (int)c->keys);
    ck_assert(0 <= work[10] && work[10] < (int)c->rules->kv_head_count);
    for (int i = 12; i < WORK_INTS; i++) ck_assert_int_eq(work[i], 0);
    if (!c->rules->pack_rows) ck_assert_int_eq(work[9], 0);
    if (!c->rules->pack_rows) return;
    const int32_t *tile = c->schedule->tiles + (size_t)work[9] * TILE_INTS;
    ck_assert_int_eq(tile[0], (int)c->token);
    ck_assert_int_eq(tile[1], work[4]);
    ck_assert_int_eq(tile[2], rows);
    ck_assert_int_eq(tile[3], work[10]);
}

// Of one tile: each key some row sees in one piece, no other key in any; cuts where they may be; states in a row.
static void check_tile(const sequence_check *c, uint32_t kv_head, uint32_t row) {
    const schedule_rules *rules = c->rules;
    uint32_t rows = c->query * c->group - row, pieces = 0, first = c->keys, end = 0;
    if (rows > rules->row_tile) rows = rules->row_tile;
    for (uint32_t j = 0; j < c->keys; j++)
        for (uint32_t r = row; r < row + rows; r++)
            if (sees(rules, c->query, c->total, r / c->group, c->global[j])) {
                first = j < first ? j : first;
                end = j + 1;
            }
    if (end == 0) first = 0;
    int state = -1, next = -1;
    for (uint32_t w = 0; w < c->schedule->work_count; w++) {
        const int32_t *work = c->schedule->works + (size_t)w * WORK_INTS;
        if (work[0] != (int)c->index || work[10] != (int)kv_head || work[4] != (int)row) continue;
        if (pieces == 0) state = work[8];
        if (pieces == 0 && end > 0) ck_assert_int_eq(work[6], (int)first);
        if (pieces > 0) ck_assert_int_eq(work[6], next);
        if (pieces > 0) ck_assert_int_eq(work[8], state + (int)(pieces * rows));
        if (pieces > 0 && rules->split_tokens) ck_assert_int_eq(work[6] % (int)rules->split_tokens, 0);
        if (pieces > 0 && !rules->split_tokens) {
            ck_assert_int_eq((work[6] - (int)first) % (int)rules->block_tokens, 0);
            ck_assert_int_ge(work[7] - work[6], (int)rules->least_split);
        }
        if (rules->split_tokens) ck_assert_int_le(work[7] - work[6], (int)rules->split_tokens);
        next = work[7];
        pieces++;
    }
    ck_assert_uint_ge(pieces, 1);
    if (end > 0) ck_assert_int_eq(next, (int)end);
    ck_assert_int_eq(state >= 0, pieces > 1);
    for (uint32_t i = 0; i < c->schedule->item_count; i++) {
        const int32_t *item = c->schedule->items + (size_t)i * ITEM_INTS;
        if (item[0] != (int)c->token || item[3] != (int)kv_head || item[1] != (int)row) continue;
        ck_assert_int_eq(item[2], (int)rows);
        ck_assert_int_eq(item[4], state);
        ck_assert_int_eq(item[5], (int)pieces);
        ck_assert_uint_le((uint32_t)item[4] + pieces * rows, c->schedule->state_rows);
        return;
    }
    ck_assert_uint_eq(pieces, 1);
}

static uint32_t check_sequences(const plan_schedule *schedule, const schedule_rules *rules,
                                const clmla_lengths *lengths) {
    uint32_t token = 0, tiles = 0;
    for (uint32_t i = 0; i < lengths->sequence_count; i++) {
        uint32_t total = lengths->kv_tokens[i], *global = malloc((total + 1) * sizeof *global);
        ck_assert_ptr_nonnull(global);
        sequence_check c = {schedule,
                            rules,
                            i,
                            token,
                            query_tokens_of(lengths, i),
                            total,
                            own_keys(global, rules, total),
                            rules->head_count / rules->kv_head_count,
                            global};
        for (uint32_t w = 0; w < schedule->work_count; w++)
            if (schedule->works[(size_t)w * WORK_INTS] == (int)i)
                check_work(&c, schedule->works + (size_t)w * WORK_INTS);
        for (uint32_t kv_head = 0; kv_head < rules->kv_head_count; kv_head++)
            for (uint32_t row = 0; row < c.query * c.group; row += rules->row_tile, tiles++)
                check_tile(&c, kv_head, row);
        token += c.query;
        free(global);
    }
    ck_assert_uint_eq(token, schedule->query_tokens);
    return tiles;
}

// Parts take all works in order, items own the state rows one after the other.
static void check_lists(const plan_schedule *schedule, const schedule_rules *rules, uint32_t tiles) {
    int state = 0;
    ck_assert_int_eq(schedule->parts[0], 0);
    ck_assert_int_eq(schedule->parts[schedule->part_count], (int)schedule->work_count);
    for (uint32_t p = 0; p < schedule->part_count; p++) ck_assert_int_lt(schedule->parts[p], schedule->parts[p + 1]);
    for (uint32_t i = 0; i < schedule->item_count; i++) {
        const int32_t *item = schedule->items + (size_t)i * ITEM_INTS;
        ck_assert_int_eq(item[4], state);
        state += item[2] * item[5];
    }
    ck_assert_int_eq(state, (int)schedule->state_rows);
    if (rules->split_tokens)
        ck_assert_uint_eq(schedule->part_count, schedule->work_count);
    else
        ck_assert_uint_le(schedule->work_count, tiles + schedule->part_count);
    if (!rules->split_tokens) ck_assert_uint_le(schedule->part_count, rules->units * rules->parts_per_unit);
    const int32_t *h = schedule->header;
    const uint32_t counts[] = {schedule->part_count,   schedule->work_count, schedule->item_count, schedule->tile_count,
                               schedule->query_tokens, schedule->state_rows, schedule->most_rows};
    for (int i = 0; i < HEADER_INTS; i++) ck_assert_int_eq(h[i], i < 7 ? (int)counts[i] : 0);
}

// No step within a capacity needs more than its bounds.
static void check_bounds(const plan_schedule *schedule, const schedule_rules *rules, const clmla_lengths *lengths) {
    schedule_bounds bounds;
    clmla_plan_capacity capacity = {lengths->sequence_count, schedule->query_tokens, 1};
    for (uint32_t i = 0; i < lengths->sequence_count; i++)
        if (lengths->kv_tokens[i] > capacity.kv_tokens) capacity.kv_tokens = lengths->kv_tokens[i];
    ck_assert_int_eq(plan_schedule_bounds(&bounds, rules, &capacity, NULL), CLMLA_OK);
    ck_assert_uint_le(schedule->part_count, bounds.parts);
    ck_assert_uint_le(schedule->work_count, bounds.works);
    ck_assert_uint_le(schedule->item_count, bounds.items);
    ck_assert_uint_le(schedule->tile_count, bounds.tiles);
    ck_assert_uint_le(schedule->state_rows, bounds.state_rows);
    ck_assert_uint_le(schedule->most_rows, bounds.most_rows);
}

static void check_schedule(const plan_schedule *schedule, const schedule_rules *rules, const clmla_lengths *lengths) {
    check_lists(schedule, rules, check_sequences(schedule, rules, lengths));
    if (schedule->query_tokens) check_bounds(schedule, rules, lengths);
}

static void random_rules(schedule_rules *rules, uint64_t *seed, int round) {
    rules->kv_head_count = 1 + next_random(seed) % 3;
    rules->head_count = rules->kv_head_count * (1 + next_random(seed) % 20);
    rules->row_tile = 16u << next_random(seed) % 3;
    rules->pack_rows = rules->row_floor = round % 3 ? 16 : 0;
    rules->block_tokens = round % 3 ? 24 : 1;
    rules->units = 1 + next_random(seed) % 16;
    rules->part_keys = 16 + next_random(seed) % 100;
    rules->least_split = 16 + next_random(seed) % 60;
    rules->piece_keys = next_random(seed) % 30;
    rules->split_tokens = round % 2 ? 0 : (1 + next_random(seed) % 5) * rules->block_tokens * (round % 3 ? 1 : 20);
    rules->full = round % 5 == 0;
    rules->window = round % 4 == 1 ? 1 + next_random(seed) % 300 : 0;
    rules->world = round % 7 < 3 ? 1 + next_random(seed) % 4 : 1;
    rules->interleave = 1 + next_random(seed) % 9;
    rules->rank = next_random(seed) % rules->world;
}

START_TEST(test_random_steps_are_covered) {
    uint64_t seed = 7;
    plan_schedule schedule = {.allocator = &allocator};
    uint32_t split = 0;
    for (int round = 0; round < 840; round++) {
        uint32_t query[6], keys[6], count = next_random(&seed) % 7;
        schedule_rules rules = rules_make();
        random_rules(&rules, &seed, round);
        for (uint32_t i = 0; i < count; i++) {
            query[i] = next_random(&seed) % 6;
            keys[i] = next_random(&seed) % 4 == 0 ? next_random(&seed) % 3 : next_random(&seed) % 700;
        }
        clmla_lengths lengths = {count, round % 6 ? query : NULL, keys};
        ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_OK);
        check_schedule(&schedule, &rules, &lengths);
        split += schedule.item_count;
    }
    ck_assert_uint_gt(split, 1000); // tiles that were cut, over all rounds
    plan_schedule_finish(&schedule);
}
END_TEST

START_TEST(test_packed_tiles_hold_each_row) {
    plan_schedule schedule = {.allocator = &allocator};
    uint32_t query[] = {3, 0, 1}, keys[] = {10, 5, 0};
    schedule_rules rules = rules_make();
    rules.head_count = 10, rules.kv_head_count = 2, rules.row_tile = 32, rules.pack_rows = 8;
    clmla_lengths lengths = {3, query, keys};
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_OK);
    ck_assert_uint_eq(schedule.tile_count, 2 * (2 + 1)); // for each kv head 15 rows and 5 rows in tiles of 8
    const int32_t expected[6][TILE_INTS] = {{0, 0, 15, 0}, {0, 8, 15, 0}, {0, 0, 15, 1},
                                            {0, 8, 15, 1}, {3, 0, 5, 0},  {3, 0, 5, 1}};
    ck_assert_mem_eq(schedule.tiles, expected, sizeof expected);
    plan_schedule_finish(&schedule);
}
END_TEST

// The shares of all ranks are a sequence's keys, whatever its length.
START_TEST(test_shares_are_what_enumeration_gives) {
    uint32_t global[400];
    for (uint32_t world = 1; world < 6; world++)
        for (uint32_t interleave = 1; interleave < 20; interleave += 3)
            for (uint32_t tokens = 0; tokens < 400; tokens += 1 + tokens / 17)
                for (uint32_t rank = 0; rank < world; rank++) {
                    clmla_context_parallel parallel = {rank, world, interleave};
                    schedule_rules rules = {.rank = rank, .world = world, .interleave = interleave};
                    uint32_t expected = own_keys(global, &rules, tokens);
                    ck_assert_uint_eq(clmla_context_parallel_share(&parallel, tokens), expected);
                    ck_assert_int_eq(schedule_share(&rules, tokens), expected);
                }
    ck_assert_uint_eq(clmla_context_parallel_share(&(clmla_context_parallel){0}, 12345678901u), 12345678901u);
    ck_assert_uint_eq(clmla_context_parallel_share(&(clmla_context_parallel){1, 2, 0}, 7), 3);
}
END_TEST

// The pieces of sequence `i` of a step without what names its place: sequence, first token, states, packed tiles.
static uint32_t pieces_of(int32_t *out, uint32_t capacity, const plan_schedule *schedule, uint32_t i) {
    uint32_t count = 0;
    for (uint32_t w = 0; w < schedule->work_count; w++) {
        const int32_t *work = schedule->works + (size_t)w * WORK_INTS;
        if (work[0] != (int)i) continue;
        ck_assert_uint_lt(count, capacity);
        int32_t *piece = out + (size_t)count++ * WORK_INTS;
        memcpy(piece, work, WORK_INTS * sizeof *piece);
        piece[0] = piece[1] = piece[9] = 0;
        piece[8] = work[8] >= 0;
    }
    return count;
}

START_TEST(test_fixed_split_ignores_the_rest_of_the_batch) {
    enum { MOST = 512 };
    static int32_t alone[MOST * WORK_INTS], among[MOST * WORK_INTS];
    uint64_t seed = 3;
    plan_schedule one = {.allocator = &allocator}, all = {.allocator = &allocator};
    for (int round = 0; round < 100; round++) {
        uint32_t query[5], keys[5];
        schedule_rules rules = rules_make();
        random_rules(&rules, &seed, round * 2);
        rules.world = 1, rules.rank = 0;
        for (int i = 0; i < 5; i++) query[i] = 1 + next_random(&seed) % 4, keys[i] = next_random(&seed) % 900;
        ck_assert_int_eq(plan_schedule_make(&all, &rules, &(clmla_lengths){5, query, keys}, NULL), CLMLA_OK);
        for (uint32_t i = 0; i < 5; i++) {
            clmla_lengths lengths = {1, query + i, keys + i};
            rules.units = 1 + next_random(&seed) % 300; // nor on the device's width
            ck_assert_int_eq(plan_schedule_make(&one, &rules, &lengths, NULL), CLMLA_OK);
            uint32_t count = pieces_of(alone, MOST, &one, 0);
            ck_assert_uint_eq(pieces_of(among, MOST, &all, i), count);
            ck_assert_mem_eq(alone, among, count * WORK_INTS * sizeof(int32_t));
        }
    }
    plan_schedule_finish(&one);
    plan_schedule_finish(&all);
}
END_TEST

START_TEST(test_limits_are_refused) {
    plan_schedule schedule = {.allocator = &allocator};
    uint32_t query[] = {1, 20000000}, keys[] = {5, 100};
    schedule_rules rules = rules_make();
    schedule_bounds bounds;
    rules.head_count = 128;
    clmla_lengths lengths = {2, query, keys};
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "20000000 query tokens"));
    ck_assert_uint_eq(schedule.work_count, 0);
    query[1] = 1, keys[1] = CLMLA_MAX_CONTEXT;
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "2147483647 keys"));
    keys[1] = 2000000000, rules.split_tokens = 48; // partial results of 41 million pieces
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "longer splits"));
    clmla_plan_capacity capacity = {2, 2, 2000000000};
    ck_assert_int_eq(plan_schedule_bounds(&bounds, &rules, &capacity, NULL), CLMLA_E_LIMIT);
    plan_schedule_finish(&schedule);
}
END_TEST

START_TEST(test_longest_lengths_do_not_wrap) {
    plan_schedule schedule = {.allocator = &allocator};
    uint32_t query[] = {3}, keys[] = {SCHEDULE_MOST};
    schedule_rules rules = rules_make();
    rules.window = CLMLA_MAX_CONTEXT;
    clmla_lengths lengths = {1, query, keys};
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_OK);
    const int32_t *last = schedule.works + (size_t)(schedule.work_count - 1) * WORK_INTS;
    ck_assert_uint_eq(schedule.part_count, 8);
    ck_assert_int_eq(last[7], SCHEDULE_MOST);
    ck_assert_uint_eq(schedule.longest_kv, SCHEDULE_MOST);
    plan_schedule_finish(&schedule);
}
END_TEST

static int allocations;
static void *count_allocation(void *payload, size_t bytes) {
    allocations++;
    return payload ? NULL : malloc(bytes);
}
static void release(void *payload, void *memory) {
    (void)payload;
    free(memory);
}

START_TEST(test_no_memory_leaves_an_empty_schedule) {
    int payload = 0;
    clmla_allocator none = {count_allocation, release, &payload};
    plan_schedule schedule = {.allocator = &none};
    uint32_t query[] = {1}, keys[] = {100};
    schedule_rules rules = rules_make();
    clmla_lengths lengths = {1, query, keys};
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_E_MEMORY);
    ck_assert_uint_eq(schedule.work_count, 0);
    plan_schedule_finish(&schedule);
}
END_TEST

START_TEST(test_made_again_in_place) {
    clmla_allocator counting = {count_allocation, release, NULL};
    plan_schedule schedule = {.allocator = &counting};
    uint64_t seed = 5;
    uint32_t keys[64];
    schedule_rules rules = rules_make();
    clmla_lengths lengths = {64, NULL, keys};
    allocations = 0;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 64; i++) keys[i] = round ? next_random(&seed) % 65536 : 65536;
        lengths.sequence_count = round ? 1 + next_random(&seed) % 64 : 64;
        ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_OK);
        ck_assert_int_eq(allocations, 1);
    }
    plan_schedule_finish(&schedule);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, test_random_steps_are_covered);
    tcase_add_test(tests, test_packed_tiles_hold_each_row);
    tcase_add_test(tests, test_shares_are_what_enumeration_gives);
    tcase_add_test(tests, test_fixed_split_ignores_the_rest_of_the_batch);
    tcase_add_test(tests, test_limits_are_refused);
    tcase_add_test(tests, test_longest_lengths_do_not_wrap);
    tcase_add_test(tests, test_no_memory_leaves_an_empty_schedule);
    tcase_add_test(tests, test_made_again_in_place);
}

int main(void) {
    return test_run_apart("plan_schedule", add_tests);
}
