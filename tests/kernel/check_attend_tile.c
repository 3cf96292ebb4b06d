// SPDX-License-Identifier: Apache-2.0
// attend_tile built as for GPUs of all sizes: groups of 32 to 256 work-items, tiles of few and many rows and keys,
// little local memory, on whatever device is there. What its choice depends on is tests/unit/check_attend_tile.c.
#include "lib/plan.h"
#include "tests/kernel/attend_tiles.h"
#include <string.h>

static const attend_tile_size tiles[] = {{32, 8, 16, 0},   {64, 16, 8, 0}, {128, 16, 32, 0},
                                         {256, 32, 16, 0}, {64, 32, 4, 0}, {128, 32, 32, 16}};

static const attend_tile_rows shapes[] = {
    {CLMLA_ROWS_F16, 64, 16, 0, 12, 2, 0, 0.0f, false},  {CLMLA_ROWS_BF16, 37, 6, 43, 7, 3, 5, 0.0f, false},
    {CLMLA_ROWS_F32, 5, 2, 6, 20, 1, 0, 20.0f, false},   {CLMLA_ROWS_F16, 64, 16, 70, 1, 9, 0, 0.0f, true},
    {CLMLA_ROWS_BF16, 64, 16, 0, 40, 1, 0, 0.0f, false},
};

static void check(const attend_shape *s) {
    attend_fixture f;
    attend_make(&f, s);
    attend_expect(&f);
    attend_plan(&f, "tile");
    test_run_twice(&f.run);
    attend_compare(&f, "tile");
    attend_finish(&f);
}

// Each tile takes two of the shapes, each shape goes through two tiles or more: a pair of them is a program of its own.
#define SHAPES_OF_TILE 2
#define SHAPES_APART 2

START_TEST(every_tile_gives_the_same) {
    const test_device *device = test_device_get();
    size_t count = device->short_form ? 2 : sizeof shapes / sizeof *shapes, turns = SHAPES_OF_TILE;
    if (test_left_out(device->few_programs, "a second shape by each tile")) turns = 1;
    for (size_t tile = 0; tile < sizeof tiles / sizeof *tiles; tile++) {
        if (test_left_out(tiles[tile].group > device->facts->max_group_size, "tiles for groups of %u",
                          tiles[tile].group))
            continue;
        attend_set_tile(tiles[tile]);
        for (size_t turn = 0; turn < turns; turn++) {
            size_t shape = (tile + turn * SHAPES_APART) % count;
            attend_tile_case_begin("attend tile", tiles[tile], tile, shape);
            attend_shape s = attend_tiles_shape(&shapes[shape], tile);
            s.seed = 500 + shape;
            check(&s);
        }
    }
    attend_reset_tile();
}
END_TEST

// --- tiles by the tokens that are expected

static const attend_tile_size by_the_device = {128, 32, 32, 0}; // groups are named, so that a CPU's are a GPU's

static attend_shape few_heads(uint32_t expected_tokens) {
    return (attend_shape){.format = CLMLA_ROWS_F16,
                          .latent = 64,
                          .rope = 16,
                          .heads = 4,
                          .sequences = 3,
                          .query_tokens = {8, 8, 8},
                          .kv_tokens = {33, 90, 8},
                          .page_tokens = 7,
                          .expected_tokens = expected_tokens,
                          .lse = true,
                          .max_logit = true,
                          .seed = 520};
}

static attend_tile tile_of(const attend_shape *s) {
    attend_fixture f;
    attend_make(&f, s);
    attend_plan(&f, "tile");
    attend_tile tile = f.plan->tile;
    attend_finish(&f);
    return tile;
}

static bool same_tile(attend_tile a, attend_tile b) {
    return memcmp(&a, &b, sizeof a) == 0;
}

START_TEST(tiles_are_of_the_tokens_expected) {
    if (test_left_out(test_device_get()->facts->max_group_size < by_the_device.group, "tiles of expected tokens"))
        return;
    attend_set_tile(by_the_device);
    for (uint32_t tokens = 1; tokens <= 8; tokens++) {
        attend_shape s = few_heads(tokens);
        attend_fixture f;
        uint32_t rows = s.heads * tokens;
        for (uint32_t i = 0; i < s.sequences; i++) s.query_tokens[i] = tokens;
        test_case_begin("attend tile, expected tokens", (int)tokens, "4 heads, %u tokens", tokens);
        attend_make(&f, &s);
        attend_plan(&f, "tile");
        uint32_t row_tile = f.plan->tile.row_tile, count = (rows + row_tile - 1) / row_tile;
        TEST_ASSERT(count * row_tile * 100 <= rows * 115, "%u rows in %u tiles of %u", rows, count, row_tile);
        TEST_ASSERT(f.plan->schedule.tile_count == count * s.sequences, "%u tiles of %u rows for %u sequences of %u",
                    f.plan->schedule.tile_count, row_tile, s.sequences, rows);
        TEST_ASSERT(count <= (rows + 15) / 16, "%u rows in %u tiles of %u", rows, count, row_tile);
        attend_finish(&f);
    }
    attend_reset_tile();
}
END_TEST

// What is expected goes before what a capacity has room for; without either it is one token, and with fixed splits
// always.
START_TEST(what_is_expected_is_told_apart) {
    attend_set_tile(by_the_device);
    attend_shape none = few_heads(0), one = few_heads(1), eight = few_heads(8), room = few_heads(0);
    attend_shape both = few_heads(1), fixed = few_heads(8), fixed_room = few_heads(0);
    room.capacity = both.capacity = fixed_room.capacity = true; // for 24 tokens of 3 sequences
    fixed.split_tokens = fixed_room.split_tokens = 40;
    test_case_begin("attend tile, expected tokens", 10, "%s", "4 heads: by the plan, by its capacity, by neither");
    TEST_ASSERT(!same_tile(tile_of(&one), tile_of(&eight)), "1 and 8 tokens have tiles of %u rows",
                tile_of(&one).row_tile);
    TEST_ASSERT(same_tile(tile_of(&none), tile_of(&one)), "%s", "nothing is not 1 token");
    TEST_ASSERT(same_tile(tile_of(&room), tile_of(&eight)), "%s", "a capacity for 8 tokens is not 8 tokens");
    TEST_ASSERT(same_tile(tile_of(&both), tile_of(&one)), "%s", "a capacity goes before what is expected");
    TEST_ASSERT(same_tile(tile_of(&fixed), tile_of(&one)), "%s", "fixed splits go by what is expected");
    TEST_ASSERT(same_tile(tile_of(&fixed_room), tile_of(&one)), "%s", "fixed splits go by a capacity");
    attend_reset_tile();
}
END_TEST

// Steps that are not what was expected.
START_TEST(other_steps_are_right) {
    static const uint32_t expected[] = {0, 8, 1000}, steps[][3] = {{8, 8, 8}, {1, 0, 1}, {1, 70, 3}};
    bool few = test_device_get()->few_programs || test_device_get()->short_form;
    attend_set_tile(by_the_device);
    for (size_t e = 0; e < sizeof expected / sizeof *expected; e++) {
        if (test_left_out(few && expected[e] != 8, "%u tokens expected", expected[e])) continue;
        for (size_t step = 0; step < sizeof steps / sizeof *steps; step++) {
            attend_shape s = few_heads(expected[e]);
            for (uint32_t i = 0; i < s.sequences; i++) s.query_tokens[i] = steps[step][i];
            test_case_begin("attend tile, other steps", (int)(e * 10 + step), "%u tokens expected, %u %u %u there",
                            expected[e], steps[step][0], steps[step][1], steps[step][2]);
            check(&s);
        }
    }
    attend_reset_tile();
}
END_TEST

// A tile that no device could hold is refused when the plan is made, with both figures.
START_TEST(refuses_what_does_not_fit) {
    const test_device *device = test_device_get();
    clmla_plan *plan = NULL;
    clmla_plan_params params = {.head_count = 16, .attend_variant = "tile"};
    test_case_begin("attend tile", 90, "4 KiB of local memory");
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 512, 64));
    attend_set_tile((attend_tile_size){64, 32, 32, 4});
    TEST_ASSERT(clmla_plan_create(&plan, device->context, &params) == CLMLA_E_LIMIT && !plan, "a tile of 4 KiB");
    attend_reset_tile();
    TEST_OK(clmla_plan_create(&plan, device->context, &params));
    clmla_plan_destroy(&plan);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, every_tile_gives_the_same);
    tcase_add_test(tcase, tiles_are_of_the_tokens_expected);
    tcase_add_test(tcase, what_is_expected_is_told_apart);
    tcase_add_test(tcase, other_steps_are_right);
    tcase_add_test(tcase, refuses_what_does_not_fit);
}

int main(void) {
    return test_main("check_attend_tile", add);
}
