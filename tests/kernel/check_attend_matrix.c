// SPDX-License-Identifier: Apache-2.0
// attend_matrix built with groups of 64 to 256 work-items, one and two tiles of rows and of keys, little local memory, on
// whatever device is there: by its matrix units, or in OpenCL C. Widths that are no multiples of a tile, ragged lengths.
#include "tests/kernel/attend_tiles.h"
#include <string.h>

#define COSINE 1e-5

static const attend_tile_size tiles[] = {{64, 16, 32, 0}, {128, 32, 32, 0}, {256, 32, 16, 12}};

static const attend_tile_rows shapes[] = {
    {CLMLA_ROWS_F16, 64, 16, 0, 12, 2, 0, 0.0f, false},  {CLMLA_ROWS_BF16, 37, 6, 43, 9, 3, 5, 0.0f, false},
    {CLMLA_ROWS_F16, 24, 8, 32, 20, 1, 0, 20.0f, false}, {CLMLA_ROWS_BF16, 64, 16, 70, 8, 9, 0, 0.0f, true},
    {CLMLA_ROWS_F16, 64, 0, 0, 40, 1, 0, 0.0f, false},
};

static void check(size_t shape, size_t tile) {
    attend_shape s = attend_tile_shape(&shapes[shape], tile);
    s.compute = CLMLA_COMPUTE_FAST;
    s.query_type = tile % 2 ? CLMLA_TYPE_F16 : CLMLA_TYPE_F32;
    s.seed = 700 + shape;
    attend_fixture f;
    attend_make(&f, &s);
    attend_expect(&f);
    attend_plan(&f, "matrix");
    test_run_twice(&f.run);
    attend_compare_fast(&f, "matrix", COSINE);
    attend_finish(&f);
}

START_TEST(every_tile_gives_the_same) {
    const test_device *device = test_device_get();
    size_t count = device->short_form ? 2 : sizeof shapes / sizeof *shapes;
    for (size_t tile = 0; tile < sizeof tiles / sizeof *tiles; tile++) {
        if (tiles[tile].group > device->facts->max_group_size) continue;
        if (device->short_form && tile > 1) break;
        attend_set_tile(tiles[tile]);
        // Each shape by two tiles: in OpenCL C they are slow.
        for (size_t turn = 0; turn < 2; turn++) {
            size_t shape = (tile * 2 + turn) % count;
            attend_tile_case_begin("attend matrix", tiles[tile], tile, shape);
            check(shape, tile);
        }
    }
    attend_reset_tile();
}
END_TEST

// What it does not serve is refused by name, with the reason.
START_TEST(says_what_it_does_not_serve) {
    static const struct {
        clmla_row_format format;
        clmla_compute compute;
        uint32_t heads;
        const char *says;
    } refused[] = {{CLMLA_ROWS_F16, CLMLA_COMPUTE_EXACT, 16, "fast compute"},
                   {CLMLA_ROWS_F32, CLMLA_COMPUTE_FAST, 16, "f16 or bf16"},
                   {CLMLA_ROWS_Q8, CLMLA_COMPUTE_FAST, 16, "f16 or bf16"},
                   {CLMLA_ROWS_F16, CLMLA_COMPUTE_FAST, 4, "padding"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        clmla_plan *plan = NULL;
        clmla_plan_params params = {
            .head_count = refused[i].heads, .attend_variant = "matrix", .compute = refused[i].compute};
        test_case_begin("attend matrix, refused", (int)i, "%s", refused[i].says);
        TEST_OK(clmla_row_layout_make(&params.layout, refused[i].format, CLMLA_ROPE_INTERLEAVED, 512, 64));
        TEST_ASSERT(clmla_plan_create(&plan, test_device_get()->context, &params) == CLMLA_E_ARGUMENT, "accepted");
        TEST_ASSERT(strstr(clmla_last_error(), refused[i].says) != NULL, "%s", clmla_last_error());
    }
}
END_TEST

// Nothing on a device without matrix units runs it unless it is named.
START_TEST(is_not_chosen_without_matrix_units) {
    clmla_plan *plan = NULL;
    clmla_plan_params params = {.head_count = 16, .compute = CLMLA_COMPUTE_FAST};
    if (!(test_device_get()->facts->type & CL_DEVICE_TYPE_CPU)) return;
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 512, 64));
    TEST_OK(clmla_plan_create(&plan, test_device_get()->context, &params));
    ck_assert_str_ne(clmla_plan_facts_get(plan).attend_variant, "matrix");
    clmla_plan_destroy(&plan);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, every_tile_gives_the_same);
    tcase_add_test(tcase, says_what_it_does_not_serve);
    tcase_add_test(tcase, is_not_chosen_without_matrix_units);
}

int main(void) {
    return test_main("check_attend_matrix", add);
}
