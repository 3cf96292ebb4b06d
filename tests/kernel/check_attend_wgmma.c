// SPDX-License-Identifier: Apache-2.0
// attend_wgmma on whatever device is there: by a Hopper's warpgroup products, or in OpenCL C. Blocks of 64 keys that
// are full, end early, have holes, hide keys from some rows; fewer rows than a tile has and more than one tile of them.
// Fast compute by its own bar, and exact compute by that of f32.
#include "host/instruction_wgmma.h"
#include "tests/kernel/attend_tiles.h"
#include "tests/support/variants.h"
#include <stdio.h>
#include <string.h>

#define COSINE 1e-5
#define MANY_KEYS 2000 // of which it tells how good they came out

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
    if (s->compute == CLMLA_COMPUTE_FAST)
        attend_compare_fast(&f, "wgmma", COSINE);
    else
        attend_compare(&f, "wgmma");
    if (s->kv_tokens[0] >= MANY_KEYS) attend_print_errors(&f, "attend wgmma, exact, over many keys");
    attend_finish(&f);
}

static attend_shape shape_of(size_t number, clmla_compute compute) {
    attend_shape s = attend_tiles_shape(&shapes[number], number);
    s.compute = compute;
    if (compute == CLMLA_COMPUTE_EXACT) s.format = CLMLA_ROWS_F16;
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
    clmla_compute compute = _i ? CLMLA_COMPUTE_EXACT : CLMLA_COMPUTE_FAST;
    size_t count = has_units() ? sizeof shapes / sizeof *shapes : PORTABLE_SHAPES;
    for (size_t i = 0; i < count; i++) {
        attend_shape s = shape_of(i, compute);
        test_case_begin("attend wgmma", (int)i, "%s, %s rows of %u + %u, %u heads", clmla_compute_name(compute),
                        clmla_row_format_name(s.format), s.latent, s.rope, s.heads);
        if (test_case_wanted((int)i) && is_served(&s)) check(&s);
    }
}
END_TEST

// Exact compute of so many keys that sums are kept and begun anew, more than once; and of queries so large or small
// that 16-bit values would overflow, or lose their last bits, if each row were not scaled.
START_TEST(is_exact_at_every_magnitude) {
    static const struct {
        float queries, keys;
        attend_scores scores;
        uint32_t tokens;
    } kinds[] = {{1.0f, 1.0f, ATTEND_RANDOM, 2600},      {0x1p-13f, 0x1p13f, ATTEND_RANDOM, 600},
                 {0x1p20f, 0x1p-14f, ATTEND_RANDOM, 70}, {0x1p-100f, 1.0f, ATTEND_RANDOM, 70},
                 {0x1p100f, 1.0f, ATTEND_RANDOM, 70},    {1.0f, 1.0f, ATTEND_HUGE, 700},
                 {1.0f, 1.0f, ATTEND_ZERO, 70},          {1.0f, 1.0f, ATTEND_DOMINANT, 600}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        attend_shape s = {.format = CLMLA_ROWS_F16,
                          .latent = 256,
                          .rope = 64,
                          .heads = 9,
                          .sequences = 1,
                          .query_tokens = {1},
                          .kv_tokens = {kinds[i].tokens},
                          .page_tokens = 64,
                          .split_tokens = 2048,
                          .lse = true,
                          .max_logit = true,
                          .seed = 930 + i};
        s.queries_times = kinds[i].queries;
        s.keys_times = kinds[i].keys;
        s.scores = kinds[i].scores;
        if (test_device_get()->short_form && i > 2) break;
        test_case_begin("attend wgmma, magnitudes", (int)i, "%u keys, queries times %g, keys times %g, scores %d",
                        s.kv_tokens[0], (double)s.queries_times, (double)s.keys_times, (int)s.scores);
        if (test_case_wanted((int)i) && is_served(&s)) check(&s);
    }
}
END_TEST

// Two scopes of slots, counted and not: blocks that end where a list does, and keys that are not there.
START_TEST(lists_give_the_same) {
    if (test_left_out(test_device_get()->short_form, "lists")) return;
    if (test_left_out(_i && test_device_get()->few_programs && !has_units(), "lists in exact compute")) return;
    attend_shape s = shape_of(LISTS_SHAPE, _i ? CLMLA_COMPUTE_EXACT : CLMLA_COMPUTE_FAST);
    test_case_begin("attend wgmma", 10 + _i, "%s, lists of %s rows of %u + %u", clmla_compute_name(s.compute),
                    clmla_row_format_name(s.format), s.latent, s.rope);
    s.list_count = 2;
    s.lists[0] = (attend_list){.index_count = 150, .page_tokens = 53, .page_count = 9, .counted = 150};
    s.lists[1] = (attend_list){.index_count = 70, .page_tokens = 64, .page_count = 7};
    for (uint32_t i = 0; i < s.sequences; i++) s.query_tokens[i] = 1, s.kv_tokens[i] = 220;
    if (test_case_wanted(10 + _i) && is_served(&s)) check(&s);
}
END_TEST

// What it does not serve is refused by name, with the reason.
START_TEST(says_what_it_does_not_serve) {
    static const struct {
        clmla_row_format format;
        clmla_compute compute;
        uint32_t latent, rope;
        const char *says;
    } refused[] = {{CLMLA_ROWS_BF16, CLMLA_COMPUTE_EXACT, 512, 64, "exact compute"},
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
    tcase_add_loop_test(tcase, every_shape_gives_the_same, 0, 2);
    tcase_add_test(tcase, is_exact_at_every_magnitude);
    tcase_add_loop_test(tcase, lists_give_the_same, 0, 2);
    tcase_add_test(tcase, says_what_it_does_not_serve);
}

int main(void) {
    return test_main("check_attend_wgmma", add);
}
