// SPDX-License-Identifier: Apache-2.0
// The schedule covers every (row, key) pair of a step once, merges what it splits, and is the same for the same lengths.
#include "lib/plan_schedule.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static const clmla_allocator allocator = {0};

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

// Marks what each work item covers and counts: every pair once, states where there is a split and only there.
static void check_cover(const plan_schedule *schedule, const schedule_rules *rules, const clmla_lengths *lengths) {
    uint32_t token = 0, item = 0;
    for (uint32_t s = 0; s < lengths->sequence_count; s++) {
        uint32_t query = lengths->query_tokens[s], keys = lengths->kv_tokens[s], rows = query * rules->head_count;
        unsigned char *seen = calloc((size_t)rows * (keys + 1) + 1, 1);
        ck_assert_ptr_nonnull(seen);
        uint32_t splits = 1;
        for (uint32_t w = 0; w < schedule->work_count; w++) {
            const int32_t *work = schedule->works + (size_t)w * WORK_INTS;
            if (work[0] != (int32_t)s) continue;
            ck_assert_int_eq(work[1], (int)token);
            ck_assert_int_eq(work[2], (int)query);
            ck_assert_int_eq(work[3], (int)keys);
            ck_assert_int_gt(work[5], 0);
            ck_assert_int_le(work[5], (int)rules->row_tile);
            ck_assert_int_eq(work[6] % (int)rules->block_tokens, 0);
            ck_assert_int_le(work[7], (int)keys);
            if (work[8] >= 0) splits = (uint32_t)work[9];
            for (int r = work[4]; r < work[4] + work[5]; r++) {
                for (int k = work[6]; k < work[7]; k++) seen[(size_t)r * (keys + 1) + k]++;
                if (work[7] == (int)keys) seen[(size_t)r * (keys + 1) + keys]++; // ends the row
            }
        }
        for (size_t i = 0; i < (size_t)rows * (keys + 1); i++) ck_assert_int_eq(seen[i], 1);
        free(seen);
        for (uint32_t t = 0; splits > 1 && t < query; t++, item++) {
            const int32_t *of = schedule->items + (size_t)item * ITEM_INTS;
            ck_assert_int_eq(of[0], (int)(token + t));
            ck_assert_int_eq(of[2], (int)splits);
            ck_assert_uint_le((uint32_t)of[1] + splits, schedule->state_count);
        }
        token += query;
    }
    ck_assert_uint_eq(item, schedule->item_count);
    ck_assert_uint_eq(token, schedule->query_tokens);
}

START_TEST(test_random_steps_are_covered) {
    uint64_t seed = 7;
    plan_schedule schedule = {.allocator = &allocator};
    for (int round = 0; round < 120; round++) {
        uint32_t query[6], keys[6], count = next_random(&seed) % 7;
        for (uint32_t i = 0; i < count; i++) {
            query[i] = next_random(&seed) % 6;
            keys[i] = next_random(&seed) % 4 == 0 ? 0 : next_random(&seed) % 700;
        }
        schedule_rules rules = {.head_count = 1 + next_random(&seed) % 40,
                                .row_tile = 32u << next_random(&seed) % 3,
                                .pack_rows = round % 3 ? 16 : 0,
                                .block_tokens = round % 3 ? 48 : 1,
                                .works_wanted = 1 + next_random(&seed) % 64,
                                .least_split = 16 + next_random(&seed) % 300,
                                .split_tokens = round % 2 ? 0 : 1 + next_random(&seed) % 200};
        clmla_lengths lengths = {count, query, keys};
        ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_OK);
        check_cover(&schedule, &rules, &lengths);
    }
    plan_schedule_finish(&schedule);
}
END_TEST

START_TEST(test_packed_tiles_hold_each_row) {
    plan_schedule schedule = {.allocator = &allocator};
    uint32_t query[] = {3, 0, 1}, keys[] = {10, 5, 0};
    schedule_rules rules = {.head_count = 5, .row_tile = 32, .pack_rows = 8, .block_tokens = 48, .works_wanted = 8, .least_split = 16};
    clmla_lengths lengths = {3, query, keys};
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_OK);
    ck_assert_uint_eq(schedule.tile_count, 2 + 1); // 15 rows and 5 rows in tiles of 8
    ck_assert_int_eq(schedule.tiles[4 + 1], 8);
    ck_assert_int_eq(schedule.tiles[8 + 0], 3); // the third sequence's first token
    ck_assert_int_eq(schedule.works[WORK_INTS + 10], 2);
    plan_schedule_finish(&schedule);
}
END_TEST

START_TEST(test_fixed_split_ignores_the_rest_of_the_batch) {
    plan_schedule alone = {.allocator = &allocator}, among = {.allocator = &allocator};
    uint32_t one[] = {1}, one_keys[] = {1000}, many[] = {1, 1, 1}, many_keys[] = {1000, 5, 60000};
    schedule_rules rules = {.head_count = 16, .row_tile = 128, .block_tokens = 48, .works_wanted = 8, .least_split = 192, .split_tokens = 256};
    clmla_lengths a = {1, one, one_keys}, b = {3, many, many_keys};
    ck_assert_int_eq(plan_schedule_make(&alone, &rules, &a, NULL), CLMLA_OK);
    ck_assert_int_eq(plan_schedule_make(&among, &rules, &b, NULL), CLMLA_OK);
    ck_assert_uint_eq(alone.work_count, 4);
    ck_assert_mem_eq(alone.works, among.works, alone.work_count * WORK_INTS * sizeof(int32_t));
    plan_schedule_finish(&alone);
    plan_schedule_finish(&among);
}
END_TEST

START_TEST(test_limits_are_refused) {
    plan_schedule schedule = {.allocator = &allocator};
    uint32_t query[] = {20000000}, keys[] = {100};
    schedule_rules rules = {.head_count = 128, .row_tile = 128, .block_tokens = 48, .works_wanted = 8, .least_split = 192};
    clmla_lengths lengths = {1, query, keys};
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "20000000 query tokens"));
    ck_assert_uint_eq(schedule.work_count, 0);
    query[0] = 1, keys[0] = CLMLA_MAX_CONTEXT;
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_E_LIMIT);
    plan_schedule_finish(&schedule);
}
END_TEST

static void *refuse(void *payload, size_t bytes) {
    (void)payload, (void)bytes;
    return NULL;
}
static void release(void *payload, void *memory) {
    (void)payload;
    free(memory);
}

START_TEST(test_no_memory_leaves_an_empty_schedule) {
    clmla_allocator none = {refuse, release, NULL};
    plan_schedule schedule = {.allocator = &none};
    uint32_t query[] = {1}, keys[] = {100};
    schedule_rules rules = {.head_count = 1, .row_tile = 32, .block_tokens = 1, .works_wanted = 8, .least_split = 16};
    clmla_lengths lengths = {1, query, keys};
    ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &lengths, NULL), CLMLA_E_MEMORY);
    ck_assert_uint_eq(schedule.work_count, 0);
    plan_schedule_finish(&schedule);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan_schedule");
    TCase *tests = tcase_create("schedule");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_random_steps_are_covered);
    tcase_add_test(tests, test_packed_tiles_hold_each_row);
    tcase_add_test(tests, test_fixed_split_ignores_the_rest_of_the_batch);
    tcase_add_test(tests, test_limits_are_refused);
    tcase_add_test(tests, test_no_memory_leaves_an_empty_schedule);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
