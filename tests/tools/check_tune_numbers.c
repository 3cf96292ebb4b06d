// SPDX-License-Identifier: Apache-2.0
// The values clmla tune steps to stay in their ranges and end, and each number belongs to the variants that read it.
#include "tests/support/suite.h"
#include "tune.h"
#include <check.h>

// Walks from `value` to the end of the range; the last value reached.
static uint32_t walk(const clmla_tuning *tuning, uint32_t value, bool up) {
    for (int steps = 0;; steps++) {
        uint32_t next = tune_neighbour(tuning, value, up);
        if (next == value) return value;
        ck_assert_int_lt(steps, 40);
        ck_assert(up ? next > value : next < value);
        ck_assert(next >= tuning->minimum && next <= tuning->maximum && next % tuning->step == 0);
        value = next;
    }
}

START_TEST(neighbours) {
    static const clmla_tuning ranges[] = {
        {.minimum = 24, .maximum = 192, .step = 24, .value = 48},
        {.minimum = 32, .maximum = 512, .step = 32, .value = 128},
        {.minimum = 1, .maximum = 64, .step = 1, .value = 4},
        {.minimum = 16, .maximum = 65536, .step = 1, .value = 192},
        {.minimum = 0, .maximum = 4096, .step = 1, .value = 24},
        {.minimum = 0, .maximum = 1024, .step = 32, .value = 0},
        {.minimum = 4, .maximum = 128, .step = 4, .value = 32},
        {.minimum = 10, .maximum = 50, .step = 8, .value = 16},
    };
    static const uint32_t least[] = {24, 32, 1, 16, 0, 0, 4, 16}, most[] = {192, 512, 64, 65536, 4096, 1024, 128, 48};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        ck_assert_uint_eq(walk(&ranges[i], ranges[i].value, false), least[i]);
        ck_assert_uint_eq(walk(&ranges[i], ranges[i].value, true), most[i]);
    }
    ck_assert_uint_eq(tune_neighbour(&ranges[0], 48, true), 72);
    ck_assert_uint_eq(tune_neighbour(&ranges[1], 96, false), 32);
    ck_assert_uint_eq(tune_neighbour(&ranges[3], 192, true), 384);
    ck_assert_uint_eq(tune_neighbour(&ranges[5], 0, true), 128);
}
END_TEST

// Variants that read the same numbers, and what those are: lib/plan_choose.c gives them.
enum { VECTOR = 1, DOT = 2, AMX = 4, TILE = 8, MATRIX = 16, RING = 32, WGMMA = 64, CPU = VECTOR | DOT | AMX };

START_TEST(uses) {
    static const struct {
        const char *name;
        unsigned bit;
    } variants[] = {{"vector", VECTOR}, {"int16_dot", DOT}, {"int8_dot", DOT},     {"bf16_dot", DOT}, {"amx", AMX},
                    {"tile", TILE},     {"matrix", MATRIX}, {"matrix_ring", RING}, {"wgmma", WGMMA}};
    static const struct {
        const char *number;
        unsigned used;
        bool compiles;
    } rows[] = {
        {"attend.vector.block_tokens", VECTOR, true},
        {"attend.dot.block_tokens", DOT, true},
        {"attend.amx.block_tokens", AMX, true},
        {"attend.vector.row_tile", CPU, true},
        {"attend.amx.parts_per_unit", AMX, false},
        {"attend.parts_per_unit", VECTOR | DOT, false},
        {"attend.part_keys", CPU, false},
        {"attend.least_split", CPU, false},
        {"attend.piece_keys", CPU | TILE | MATRIX | RING | WGMMA, false},
        {"attend.tile.group", TILE | MATRIX, true},
        {"attend.tile.rows", TILE | MATRIX, true},
        {"attend.tile.keys", TILE | MATRIX, true},
        {"attend.tile.local_kib", TILE | MATRIX | RING, true},
        {"attend.tile.parts_per_unit", TILE | MATRIX, false},
        {"attend.tile.part_keys", TILE | MATRIX | RING | WGMMA, false},
        {"attend.tile.least_split", TILE | MATRIX | RING | WGMMA, false},
        {"prefill.least_tokens", 0, false},
        {"project.rows", 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert_msg(tune_compiles(rows[i].number) == rows[i].compiles, "%s", rows[i].number);
        for (size_t v = 0; v < sizeof variants / sizeof *variants; v++)
            ck_assert_msg(tune_uses(variants[v].name, rows[i].number) == ((rows[i].used & variants[v].bit) != 0),
                          "%s of %s", rows[i].number, variants[v].name);
    }
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, neighbours);
    tcase_add_test(tests, uses);
}

int main(void) {
    return test_run("check_tune_numbers", add_tests);
}
