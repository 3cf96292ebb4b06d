// SPDX-License-Identifier: Apache-2.0
// attend_wgmma on whatever device is there: by a Hopper's warpgroup products, or in OpenCL C. Blocks of 64 keys that are full, end
// early, have holes, hide keys from some rows; fewer rows than a tile has and more than one tile of them.
#include "host/instruction_wgmma.h"
#include "tests/kernel/attend_tiles.h"
#include "tests/support/variants.h"
#include <stdio.h>
#include <string.h>

#define COSINE 1e-5

static const attend_tile_rows shapes[] = {
    {CLMLA_ROWS_F16, 256, 64, 0, 40, 3, 70, 20.0f, false}, {CLMLA_ROWS_F16, 256, 64, 0, 128, 1, 5, 0.0f, false},
    {CLMLA_ROWS_BF16, 256, 64, 0, 16, 2, 0, 0.0f, false},  {CLMLA_ROWS_BF16, 512, 64, 0, 4, 5, 0, 0.0f, true},
    {CLMLA_ROWS_F16, 512, 64, 0, 20, 1, 0, 0.0f, false},
};
// In OpenCL C each program takes ten seconds to compile: those of one, and the other width and format by way of lists.
#define PORTABLE_SHAPES 2
#define LISTS_SHAPE 3

static void check(const attend_shape *s) {
    attend_fixture f;
    attend_make(&f, s);
    attend_expect(&f);
    attend_plan(&f, "wgmma");
    test_run_twice(&f.run);
    attend_compare_fast(&f, "wgmma", COSINE);
    attend_finish(&f);
}

static attend_shape shape_of(size_t number) {
    attend_shape s = attend_tile_shape(&shapes[number], number);
    s.compute = CLMLA_COMPUTE_FAST;
    s.kv_tokens[1] = number % 2 ? 200 : 129;
    s.page_tokens = number % 2 ? 7 : 64;
    s.split_tokens = number % 3 == 1 ? 64 : 0;
    s.query_type = number % 2 ? CLMLA_TYPE_F16 : CLMLA_TYPE_F32;
    s.output_type = CLMLA_TYPE_F32;
    s.seed = 900 + number;
    return s;
}

// A device of less local memory than tiles of these rows take leaves them out, and says so.
static bool is_served(const attend_shape *s) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = attend_variant_shape(s);
    size_t count = test_variants(variants, CLMLA_OP_ATTEND, &shape);
    for (size_t i = 0; i < count; i++)
        if (strcmp(variants[i].name, "wgmma") == 0 && strstr(variants[i].reason, "local memory")) {
            printf("attend wgmma: left out: rows of %u + %u: %s\n", s->latent, s->rope, variants[i].reason);
            return false;
        }
    return true;
}

static bool has_units(void) {
    return host_wgmma_find(test_device_get()->facts) == HOST_INSTRUCTION_WGMMA;
}

START_TEST(every_shape_gives_the_same) {
    size_t count = has_units() ? sizeof shapes / sizeof *shapes : PORTABLE_SHAPES;
    for (size_t i = 0; i < count; i++) {
        attend_shape s = shape_of(i);
        test_case_begin("attend wgmma", (int)i, "%s rows of %u + %u, %u heads", clmla_row_format_name(s.format),
                        s.latent, s.rope, s.heads);
        if (test_case_wanted((int)i) && is_served(&s)) check(&s);
    }
}
END_TEST

// Two scopes of slots, counted and not: blocks that end where a list does, and keys that are not there.
START_TEST(lists_give_the_same) {
    if (test_device_get()->short_form) return;
    attend_shape s = shape_of(LISTS_SHAPE);
    test_case_begin("attend wgmma", 10, "lists of %s rows of %u + %u", clmla_row_format_name(s.format), s.latent,
                    s.rope);
    s.list_count = 2;
    s.lists[0] = (attend_list){.index_count = 150, .page_tokens = 53, .page_count = 9, .counted = 150};
    s.lists[1] = (attend_list){.index_count = 70, .page_tokens = 64, .page_count = 7};
    for (uint32_t i = 0; i < s.sequences; i++) s.query_tokens[i] = 1, s.kv_tokens[i] = 220;
    if (test_case_wanted(10) && is_served(&s)) check(&s);
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
    tcase_add_test(tcase, lists_give_the_same);
    tcase_add_test(tcase, says_what_it_does_not_serve);
}

int main(void) {
    return test_main("check_attend_wgmma", add);
}
