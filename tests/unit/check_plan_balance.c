// SPDX-License-Identifier: Apache-2.0
// How evenly the schedule loads a device, by simulation: parts go in order to whichever of `units` workers is free
// first, a piece costs max(rows, row_floor) * (keys in whole blocks + piece_keys).
//
// Asserted:
//   - steps of at least 1500 keys a unit (of the tile with the most rows): the slowest worker is at most 10 % over the
//   mean;
//   - smaller steps: over the mean by at most 192 keys (two of the shortest piece), which is as fine as they can be
//     cut, plus 10 %. Steps with less than part_keys a unit leave units idle on purpose and are left out.
#include "lib/plan_schedule.h"
#include "tests/support/suite.h"
#include <check.h>
#include <stdlib.h>

#define UNITS_MOST 304
#define SEQUENCES_MOST 128
#define LARGE_STEP 1500.0

static const clmla_allocator allocator = {0};

typedef enum lengths_kind { UNIFORM, LOGARITHMIC, ONE_LONG, HALF_EMPTY, LENGTHS_KINDS } lengths_kind;

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static schedule_rules rules_make(bool vector, uint32_t heads, uint32_t units) {
    return (schedule_rules){.head_count = heads,
                            .kv_head_count = 1,
                            .row_tile = 128,
                            .pack_rows = vector ? 16 : 0,
                            .row_floor = vector ? 16 : 1,
                            .block_tokens = vector ? 48 : 1,
                            .piece_keys = 24,
                            .units = units,
                            .parts_per_unit = 4,
                            .part_keys = 192,
                            .least_split = 96,
                            .world = 1,
                            .interleave = 1,
                            .most_query_tokens = SCHEDULE_MOST,
                            .most_kv_tokens = SCHEDULE_MOST};
}

static uint32_t length_of(lengths_kind kind, uint32_t i, uint32_t count, uint64_t *seed) {
    uint32_t number = next_random(seed);
    if (kind == LOGARITHMIC) return 1u << number % 17;
    if (kind == ONE_LONG) return i == count / 3 ? 65536 : 1 + number % 512;
    if (kind == HALF_EMPTY && i % 2) return 0;
    return 1 + number % 65536;
}

static double part_cost(const plan_schedule *schedule, const schedule_rules *rules, uint32_t part) {
    double cost = 0;
    for (int w = schedule->parts[part]; w < schedule->parts[part + 1]; w++) {
        const int32_t *work = schedule->works + (size_t)w * WORK_INTS;
        int rows = work[5] < (int)rules->row_floor ? (int)rules->row_floor : work[5], block = (int)rules->block_tokens;
        cost += (double)rows * ((work[7] - work[6] + block - 1) / block * block + (int)rules->piece_keys);
    }
    return cost;
}

typedef struct finish {
    double slowest, mean;
} finish;

static finish simulate(const plan_schedule *schedule, const schedule_rules *rules) {
    double busy[UNITS_MOST] = {0};
    finish out = {0, 0};
    for (uint32_t p = 0; p < schedule->part_count; p++) {
        uint32_t first = 0;
        double cost = part_cost(schedule, rules, p);
        for (uint32_t u = 1; u < rules->units; u++)
            if (busy[u] < busy[first]) first = u;
        busy[first] += cost;
        out.mean += cost / rules->units;
        if (busy[first] > out.slowest) out.slowest = busy[first];
    }
    return out;
}

static void check_step(plan_schedule *schedule, const schedule_rules *rules, const clmla_lengths *lengths, int *large) {
    ck_assert_int_eq(plan_schedule_make(schedule, rules, lengths, NULL), CLMLA_OK);
    double rows = schedule->most_rows < rules->row_floor ? rules->row_floor : schedule->most_rows;
    finish f = simulate(schedule, rules);
    f.mean /= rows, f.slowest /= rows;
    if (f.mean < rules->part_keys + rules->piece_keys) return;
    bool is_large = f.mean >= LARGE_STEP;
    *large += is_large;
    ck_assert_msg(f.slowest <= 1.1 * f.mean + (is_large ? 0 : 2 * rules->least_split),
                  "%u units, %u heads, block %u, %u sequences: %.0f keys at the slowest, %.0f in the mean, %u parts",
                  rules->units, rules->head_count, rules->block_tokens, lengths->sequence_count, f.slowest, f.mean,
                  schedule->part_count);
}

static void check_kind(lengths_kind kind, bool vector, uint32_t heads, bool ragged) {
    static const uint32_t batches[] = {64, 128};
    uint64_t seed = 17 + (uint64_t)kind;
    plan_schedule schedule = {.allocator = &allocator};
    int large = 0;
    for (uint32_t units = 2; units <= UNITS_MOST; units += units < 32 ? 1 : 8)
        for (int round = 0; round < 8; round++) {
            uint32_t keys[SEQUENCES_MOST], query[SEQUENCES_MOST], count = batches[round % 2];
            schedule_rules rules = rules_make(vector, heads, units);
            clmla_lengths lengths = {count, ragged ? query : NULL, keys};
            for (uint32_t i = 0; i < count; i++) {
                keys[i] = length_of(kind, i, count, &seed);
                query[i] = next_random(&seed) % 5;
            }
            check_step(&schedule, &rules, &lengths, &large);
        }
    ck_assert_int_ge(large, kind == ONE_LONG ? 150 : 400);
    plan_schedule_finish(&schedule);
}

START_TEST(test_units_finish_together) {
    for (int vector = 0; vector < 2; vector++)
        for (int heads = 16; heads <= 128; heads *= 8)
            for (int ragged = 0; ragged < 2; ragged++) check_kind((lengths_kind)_i, vector, (uint32_t)heads, ragged);
}
END_TEST

// One long sequence alone: every unit gets a piece, and no more pieces than parts_per_unit each.
START_TEST(test_one_sequence_is_shared_out) {
    plan_schedule schedule = {.allocator = &allocator};
    const uint32_t lengths[] = {512, 2048, 16384, 131072};
    for (int i = 0; i < 4; i++) {
        schedule_rules rules = rules_make(true, 128, 2);
        ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &(clmla_lengths){1, NULL, lengths + i}, NULL), CLMLA_OK);
        finish f = simulate(&schedule, &rules);
        ck_assert_uint_ge(schedule.part_count, 2);
        ck_assert_uint_le(schedule.part_count, 8);
        ck_assert(f.slowest <= 1.1 * f.mean);
        // What the cuts add stays below a tenth.
        ck_assert(f.mean * 2 <= 1.1 * 128 * (lengths[i] + 24.0));
    }
    plan_schedule_finish(&schedule);
}
END_TEST

// Of a GPU's tile, few rows: as many units work as there are shares of part_keys keys and what a piece costs beside,
// and none gets more than parts_per_unit.
START_TEST(test_few_rows_fill_a_gpu) {
    plan_schedule schedule = {.allocator = &allocator};
    const uint32_t lengths[] = {512, 4096, 16384, 131072}, units[] = {1, 16, 132, UNITS_MOST};
    for (uint32_t rows = 1; rows <= 16; rows *= 4)
        for (int l = 0; l < 4; l++)
            for (int u = 0; u < 4; u++) {
                schedule_rules rules = rules_make(false, rows, units[u]);
                rules.row_tile = rules.pack_rows = rows;
                rules.row_floor = (rows + 1) / 2;
                rules.block_tokens = 32;
                rules.part_keys = 64;
                rules.least_split = 32;
                clmla_lengths one = {1, NULL, lengths + l};
                ck_assert_int_eq(plan_schedule_make(&schedule, &rules, &one, NULL), CLMLA_OK);
                uint32_t shares = lengths[l] / (rules.part_keys + rules.piece_keys),
                         least = shares < units[u] ? shares : units[u];
                ck_assert_msg(schedule.part_count >= least && schedule.part_count <= rules.parts_per_unit * units[u],
                              "%u rows, %u keys, %u units: %u parts", rows, lengths[l], units[u], schedule.part_count);
                finish f = simulate(&schedule, &rules);
                if (lengths[l] >= 1500 * units[u]) ck_assert(f.slowest <= 1.1 * f.mean);
            }
    plan_schedule_finish(&schedule);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, test_units_finish_together, 0, LENGTHS_KINDS);
    tcase_add_test(tests, test_one_sequence_is_shared_out);
    tcase_add_test(tests, test_few_rows_fill_a_gpu);
}

int main(void) {
    return test_run_apart("plan_balance", add_tests);
}
