// SPDX-License-Identifier: Apache-2.0
// attend_tile built as for GPUs of all sizes: groups of 32 to 256 work-items, tiles of few and many rows and keys,
// little local memory, on whatever device is there. What its choice depends on is tests/unit/check_attend_tile.c.
#include "tests/kernel/attend_tiles.h"

static const attend_tile_size tiles[] = {{32, 8, 16, 0},   {64, 16, 8, 0}, {128, 16, 32, 0},
                                         {256, 32, 16, 0}, {64, 32, 4, 0}, {128, 32, 32, 16}};

static const attend_tile_rows shapes[] = {
    {CLMLA_ROWS_F16, 64, 16, 0, 12, 2, 0, 0.0f, false},  {CLMLA_ROWS_BF16, 37, 6, 43, 7, 3, 5, 0.0f, false},
    {CLMLA_ROWS_F32, 5, 2, 6, 20, 1, 0, 20.0f, false},   {CLMLA_ROWS_F16, 64, 16, 70, 1, 9, 0, 0.0f, true},
    {CLMLA_ROWS_BF16, 64, 16, 0, 40, 1, 0, 0.0f, false},
};

static void check(size_t shape, size_t tile) {
    attend_shape s = attend_tile_shape(&shapes[shape], tile);
    s.seed = 500 + shape;
    attend_fixture f;
    attend_make(&f, &s);
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
            check(shape, tile);
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
    tcase_add_test(tcase, refuses_what_does_not_fit);
}

int main(void) {
    return test_main("check_attend_tile", add);
}
