// SPDX-License-Identifier: Apache-2.0
// attend_wgmma on whatever device is there: by a Hopper's warpgroup products, or in OpenCL C. Blocks of 64 keys that are full, end
// early, have holes, hide keys from some rows; fewer rows than a tile has and more than one tile of them.
#include "tests/kernel/attend_tiles.h"
#include <string.h>

#define COSINE 1e-5

static const attend_tile_rows shapes[] = {
    {CLMLA_ROWS_BF16, 256, 64, 0, 16, 2, 0, 0.0f, false},  {CLMLA_ROWS_F16, 512, 64, 0, 20, 1, 0, 0.0f, false},
    {CLMLA_ROWS_F16, 256, 64, 0, 40, 3, 70, 20.0f, false}, {CLMLA_ROWS_BF16, 512, 64, 0, 4, 5, 0, 0.0f, true},
    {CLMLA_ROWS_F16, 256, 64, 0, 128, 1, 5, 0.0f, false},
};

static void check(size_t number) {
    attend_shape s = attend_tile_shape(&shapes[number], number);
    s.compute = CLMLA_COMPUTE_FAST;
    s.kv_tokens[1] = number % 2 ? 200 : 129;
    s.page_tokens = number % 2 ? 7 : 64;
    s.split_tokens = number % 3 == 1 ? 64 : 0;
    s.query_type = number % 2 ? CLMLA_TYPE_F16 : CLMLA_TYPE_F32;
    s.output_type = CLMLA_TYPE_F32;
    s.seed = 900 + number;
    attend_fixture f;
    attend_make(&f, &s);
    attend_expect(&f);
    attend_plan(&f, "wgmma");
    test_run_twice(&f.run);
    attend_compare_fast(&f, "wgmma", COSINE);
    attend_finish(&f);
}

START_TEST(every_shape_gives_the_same) {
    const test_device *device = test_device_get();
    size_t count = device->short_form ? 2 : sizeof shapes / sizeof *shapes;
    for (size_t i = 0; i < count; i++) {
        test_case_begin("attend wgmma", (int)i, "rows of %u + %u, %u heads", shapes[i].latent, shapes[i].rope, shapes[i].heads);
        check(i);
    }
}
END_TEST

// What it does not serve is refused by name, with the reason.
START_TEST(says_what_it_does_not_serve) {
    static const struct {
        clmla_row_format format;
        clmla_compute compute;
        uint32_t latent, rope;
        const char *says;
    } refused[] = {{CLMLA_ROWS_F16, CLMLA_COMPUTE_EXACT, 512, 64, "fast compute"},
                   {CLMLA_ROWS_F32, CLMLA_COMPUTE_FAST, 512, 64, "f16 or bf16"},
                   {CLMLA_ROWS_F16, CLMLA_COMPUTE_FAST, 384, 64, "256 nor 512"},
                   {CLMLA_ROWS_F16, CLMLA_COMPUTE_FAST, 256, 32, "not 64"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        clmla_plan *plan = NULL;
        clmla_plan_params params = {.head_count = 16, .attend_variant = "wgmma", .compute = refused[i].compute};
        test_case_begin("attend wgmma, refused", (int)i, "%s", refused[i].says);
        TEST_OK(clmla_row_layout_make(&params.layout, refused[i].format, CLMLA_ROPE_INTERLEAVED, refused[i].latent,
                                      refused[i].rope));
        TEST_ASSERT(clmla_plan_create(&plan, test_device_get()->context, &params) == CLMLA_E_ARGUMENT, "accepted");
        TEST_ASSERT(strstr(clmla_last_error(), refused[i].says) != NULL, "%s", clmla_last_error());
    }
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, every_shape_gives_the_same);
    tcase_add_test(tcase, says_what_it_does_not_serve);
}

int main(void) {
    return test_main("check_attend_wgmma", add);
}
