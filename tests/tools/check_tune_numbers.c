// SPDX-License-Identifier: Apache-2.0
// The values clmla tune steps to stay in their ranges and end, each number belongs to the variants that read it, and
// rows for the library's defaults are C.
#include "lib/tuning.h"
#include "tests/support/suite.h"
#include "tune.h"
#include <check.h>
#include <stdio.h>
#include <string.h>

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

#define NUMBER(index)                                                                                                  \
    { index, #index }

// Rows of lib/tuning_defaults.c name the library's own constants.
START_TEST(rows_name_the_numbers) {
    static const struct {
        tuning_index index;
        const char *constant;
    } numbers[] = {
        NUMBER(TUNING_ATTEND_BLOCK_TOKENS),     NUMBER(TUNING_ATTEND_DOT_BLOCK_TOKENS),
        NUMBER(TUNING_ATTEND_AMX_BLOCK_TOKENS), NUMBER(TUNING_ATTEND_AMX_PARTS_PER_UNIT),
        NUMBER(TUNING_ATTEND_ROW_TILE),         NUMBER(TUNING_ATTEND_PARTS_PER_UNIT),
        NUMBER(TUNING_ATTEND_PART_KEYS),        NUMBER(TUNING_ATTEND_LEAST_SPLIT),
        NUMBER(TUNING_ATTEND_PIECE_KEYS),       NUMBER(TUNING_ATTEND_TILE_GROUP),
        NUMBER(TUNING_ATTEND_TILE_ROWS),        NUMBER(TUNING_ATTEND_TILE_KEYS),
        NUMBER(TUNING_ATTEND_TILE_LOCAL_KIB),   NUMBER(TUNING_ATTEND_TILE_PARTS_PER_UNIT),
        NUMBER(TUNING_ATTEND_TILE_PART_KEYS),   NUMBER(TUNING_ATTEND_TILE_LEAST_SPLIT),
        NUMBER(TUNING_PREFILL_LEAST_TOKENS),    NUMBER(TUNING_PREFILL_WORKSPACE_KIB),
    };
    const clmla_device_facts facts = {.type = CL_DEVICE_TYPE_GPU, .vendor = "V", .name = "D"};
    char row[TUNE_ROW_BYTES], expected[TUNE_ROW_BYTES];
    ck_assert_uint_eq(sizeof numbers / sizeof *numbers, TUNING_COUNT);
    for (int i = 0; i < TUNING_COUNT; i++) {
        ck_assert_int_eq(numbers[i].index, i);
        tune_row(row, &facts, tuning_name((tuning_index)i), 64);
        snprintf(expected, sizeof expected, "{CL_DEVICE_TYPE_GPU, \"V\", \"D\", %s, 64},", numbers[i].constant);
        ck_assert_str_eq(row, expected);
    }
}
END_TEST

START_TEST(rows_name_the_device) {
    static const struct {
        cl_device_type type;
        const char *vendor, *name, *begins;
    } devices[] = {
        {CL_DEVICE_TYPE_GPU, "NVIDIA Corporation", "NVIDIA H200",
         "{CL_DEVICE_TYPE_GPU, \"NVIDIA Corporation\", \"NVIDIA H200\", "},
        {CL_DEVICE_TYPE_CPU, "", "a \"b\\c\"", "{CL_DEVICE_TYPE_CPU, NULL, \"a \\042b\\134c\\042\", "},
        {CL_DEVICE_TYPE_ACCELERATOR, "V\xc2\xae 1", "two\nlines",
         "{CL_DEVICE_TYPE_ACCELERATOR, \"V\\302\\256 1\", \"two\\012lines\", "},
        {0, "V", "", "{TUNING_ANY, \"V\", NULL, "},
    };
    char row[TUNE_ROW_BYTES];
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        clmla_device_facts facts = {.type = devices[i].type};
        snprintf(facts.vendor, sizeof facts.vendor, "%s", devices[i].vendor);
        snprintf(facts.name, sizeof facts.name, "%s", devices[i].name);
        tune_row(row, &facts, "attend.piece_keys", 0);
        ck_assert_msg(strncmp(row, devices[i].begins, strlen(devices[i].begins)) == 0, "%s", row);
        ck_assert_str_eq(row + strlen(devices[i].begins), "TUNING_ATTEND_PIECE_KEYS, 0},");
    }
    clmla_device_facts longest = {.type = CL_DEVICE_TYPE_GPU};
    memset(longest.vendor, '\n', sizeof longest.vendor - 1);
    memset(longest.name, '\n', sizeof longest.name - 1);
    tune_row(row, &longest, "attend.tile.parts_per_unit", UINT32_MAX);
    ck_assert_ptr_nonnull(strstr(row, ", TUNING_ATTEND_TILE_PARTS_PER_UNIT, 4294967295},"));
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, neighbours);
    tcase_add_test(tests, uses);
    tcase_add_test(tests, rows_name_the_numbers);
    tcase_add_test(tests, rows_name_the_device);
}

int main(void) {
    return test_run("check_tune_numbers", add_tests);
}
