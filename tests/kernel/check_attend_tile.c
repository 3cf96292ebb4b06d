// SPDX-License-Identifier: Apache-2.0
// attend_tile built as for GPUs of all sizes: groups of 32 to 256 work-items, tiles of few and many rows and keys,
// little local memory, on whatever device is there. What its choice depends on is tests/unit/check_attend_tile.c.
#include "tests/kernel/attend_fixture.h"
#include "tests/support/variants.h"

static const struct {
    uint32_t group, rows, keys, local_kib;
} tiles[] = {{32, 8, 16, 0}, {64, 16, 8, 0}, {128, 16, 32, 0}, {256, 32, 16, 0}, {64, 32, 4, 0}, {128, 32, 32, 16}};

static const struct {
    clmla_row_format format;
    uint32_t latent, rope, value, heads, query_tokens, window;
    float softcap;
    bool full;
} shapes[] = {
    {CLMLA_ROWS_F16, 64, 16, 0, 12, 2, 0, 0.0f, false},  {CLMLA_ROWS_BF16, 37, 6, 43, 7, 3, 5, 0.0f, false},
    {CLMLA_ROWS_F32, 5, 2, 6, 20, 1, 0, 20.0f, false},   {CLMLA_ROWS_F16, 64, 16, 70, 1, 9, 0, 0.0f, true},
    {CLMLA_ROWS_BF16, 64, 16, 0, 40, 1, 0, 0.0f, false},
};

static void set(const char *name, uint32_t value) {
    TEST_OK(clmla_tuning_set(test_device_get()->context, name, value));
}

static void set_tile(uint32_t group, uint32_t rows, uint32_t keys, uint32_t local_kib) {
    set("attend.tile.group", group);
    set("attend.tile.rows", rows);
    set("attend.tile.keys", keys);
    set("attend.tile.local_kib", local_kib);
}

static void check(size_t shape, size_t tile) {
    attend_shape s = {.format = shapes[shape].format,
                      .latent = shapes[shape].latent,
                      .rope = shapes[shape].rope,
                      .value = shapes[shape].value,
                      .heads = shapes[shape].heads,
                      .sequences = 3,
                      .query_tokens = {1, shapes[shape].query_tokens, 2},
                      .kv_tokens = {33, 90, 0},
                      .page_tokens = 7,
                      .csr = tile % 2,
                      .window = shapes[shape].window,
                      .full = shapes[shape].full,
                      .softcap = shapes[shape].softcap,
                      .lse = true,
                      .max_logit = true,
                      .split_tokens = tile % 3 == 0 ? 40 : 0,
                      .sink = tile % 2 ? ATTEND_SINK_RANDOM : ATTEND_SINK_NONE,
                      .seed = 500 + shape};
    attend_fixture f;
    attend_make(&f, &s);
    attend_expect(&f);
    attend_plan(&f, "tile");
    test_run_twice(&f.run);
    attend_compare(&f, "tile");
    attend_finish(&f);
}

START_TEST(every_tile_gives_the_same) {
    const test_device *device = test_device_get();
    size_t count = device->short_form ? 2 : sizeof shapes / sizeof *shapes;
    for (size_t tile = 0; tile < sizeof tiles / sizeof *tiles; tile++) {
        if (tiles[tile].group > device->facts->max_group_size) continue;
        set_tile(tiles[tile].group, tiles[tile].rows, tiles[tile].keys, tiles[tile].local_kib);
        for (size_t shape = 0; shape < count; shape++) {
            test_case_begin("attend tile", (int)(tile * 10 + shape),
                            "groups of %u, %u rows, %u keys, %u KiB, shape %zu", tiles[tile].group, tiles[tile].rows,
                            tiles[tile].keys, tiles[tile].local_kib, shape);
            check(shape, tile);
        }
    }
    set_tile(0, 32, 32, 0);
}
END_TEST

// A tile that no device could hold is refused when the plan is made, with both figures.
START_TEST(refuses_what_does_not_fit) {
    const test_device *device = test_device_get();
    clmla_plan *plan = NULL;
    clmla_plan_params params = {.head_count = 16, .attend_variant = "tile"};
    test_case_begin("attend tile", 90, "4 KiB of local memory");
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 512, 64));
    set_tile(64, 32, 32, 4);
    TEST_ASSERT(clmla_plan_create(&plan, device->context, &params) == CLMLA_E_LIMIT && !plan, "a tile of 4 KiB");
    set_tile(0, 32, 32, 0);
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
