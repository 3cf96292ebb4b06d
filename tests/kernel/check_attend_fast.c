// SPDX-License-Identifier: Apache-2.0
// attend of fast compute: variants that round queries and weights, against tests/ref/ref_attend.c over the same stored
// rows. They are measured over whole outputs, at scores of spread 2 or less. A device without the instructions must
// fall back to what exact plans run. With CLMLA_TEST_PORTABLE=1 the variants for AVX-512 and AMX alone, on a CPU of any
// kind.
#include "tests/kernel/attend_fixture.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INT8_COSINE 1e-4
#define INT16_COSINE 1e-6
#define BF16_COSINE 1e-5
#define MATRIX_COSINE 1e-5
#define AMX_COSINE 1e-5       // of rows that are rounded to bf16
#define AMX_BF16_COSINE 2e-6  // of bf16 rows: weights alone are rounded
#define PORTABLE_MOST 5000000 // multiply-adds of a case that matrix products in OpenCL C are given: they are slow

enum { PROGRAM, HEADS, LENGTHS, QUERIES, MASK, PAGE, SCORES, SOFTCAP, SINK, LAYOUT, SPLIT, QUERY_TYPE, FACTORS };
static const struct { uint32_t latent, rope; } widths[] = {{512, 64}, {512, 0}, {128, 6}, {64, 40}, {128, 64}};
static const uint32_t head_counts[] = {1, 5, 16, 20, 40, 128}, pages[] = {0, 1, 16, 53}, splits[] = {0, 50};
static const uint32_t lengths[][3] = {{1, 140, 20}, {96, 97, 0}, {4, 95, 193}, {700, 3, 1}};
static const uint32_t queries[][3] = {{1, 1, 1}, {2, 1, 3}, {4, 8, 2}};
static const attend_scores scores[] = {ATTEND_RANDOM, ATTEND_ZERO, ATTEND_SAME_KEYS};
// Of those that no variant but amx has for its own: one of each way that rows are decoded.
static const clmla_row_format formats[] = {CLMLA_ROWS_Q8, CLMLA_ROWS_BF16, CLMLA_ROWS_F16, CLMLA_ROWS_FP8,
                                           CLMLA_ROWS_Q5};
enum { MASK_CAUSAL, MASK_FULL, MASK_WINDOW, MASK_KINDS };

// A program takes seconds to compile, so not all of these meet: every format, rope parts that fill a step of 32 columns
// and that do not, none, and lists.
enum { WIDTH_512_64, WIDTH_512, WIDTH_128_6, WIDTH_64_40, WIDTH_128_64 };
static const struct {
    clmla_row_format format;
    int width, list;
} programs[] = {{CLMLA_ROWS_Q8, WIDTH_128_6, 0},  {CLMLA_ROWS_BF16, WIDTH_128_6, 0},  {CLMLA_ROWS_Q8, WIDTH_128_64, 0},
                {CLMLA_ROWS_Q8, WIDTH_64_40, 1},  {CLMLA_ROWS_BF16, WIDTH_512_64, 0}, {CLMLA_ROWS_BF16, WIDTH_512, 1},
                {CLMLA_ROWS_F16, WIDTH_128_6, 0}, {CLMLA_ROWS_FP8, WIDTH_128_6, 0},   {CLMLA_ROWS_Q5, WIDTH_128_6, 0},
                {CLMLA_ROWS_Q6, WIDTH_128_64, 0}, {CLMLA_ROWS_Q4, WIDTH_128_64, 0},   {CLMLA_ROWS_Q5, WIDTH_512_64, 0}};
#define PROGRAMS (int)(sizeof programs / sizeof *programs)
// Of few programs: every format still, lists, and each way that rope parts end.
static const int kept[] = {0, 1, 3, 5, 6, 7, 8, 9, 10};
#define KEPT (int)(sizeof kept / sizeof *kept)

static attend_shape shape_of(const int *chosen, uint64_t seed) {
    int program = test_device_get()->few_programs ? kept[chosen[PROGRAM]] : chosen[PROGRAM],
        width = programs[program].width;
    attend_shape s = {
        .format = programs[program].format,
        .compute = CLMLA_COMPUTE_FAST,
        .latent = widths[width].latent,
        .rope = widths[width].rope,
        .heads = head_counts[chosen[HEADS]],
        .sequences = 3,
        .page_tokens = pages[chosen[PAGE]],
        .scores = scores[chosen[SCORES]],
        .softcap = chosen[SOFTCAP] ? 20.0f : 0.0f,
        .sink = chosen[SINK] ? ATTEND_SINK_RANDOM : ATTEND_SINK_NONE,
        .layout = (test_rows_layout)chosen[LAYOUT],
        .split_tokens = splits[chosen[SPLIT]],
        .query_type = (clmla_type)(CLMLA_TYPE_F32 + chosen[QUERY_TYPE]),
        .full = chosen[MASK] == MASK_FULL,
        .window = chosen[MASK] == MASK_WINDOW ? 30 : 0,
        .lse = true,
        .max_logit = true,
        .seed = seed,
    };
    for (uint32_t i = 0; i < s.sequences; i++) {
        s.kv_tokens[i] = lengths[chosen[LENGTHS]][i];
        s.query_tokens[i] = queries[chosen[QUERIES]][i];
    }
    if (programs[program].list) {
        s.window = 0;
        s.list_count = 1;
        s.lists[0] = (attend_list){.index_count = 150, .page_tokens = 53, .page_count = 9, .counted = 150};
        for (uint32_t i = 0; i < s.sequences; i++) s.query_tokens[i] = 1, s.kv_tokens[i] = 150;
    }
    return s;
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    attend_shape s = shape_of(chosen, 0);
    // The bars are of whole outputs: a few values may differ by more.
    if (test_device_get()->short_form) return attend_cost(&s) <= 1000000 && s.latent < 512 && s.heads >= 5;
    return attend_cost(&s) <= 60000000;
}

static bool is_run(const clmla_variant *variant, const attend_shape *s) {
    // Exact variants that are chosen where no fast one serves are check_attend.c's: here one program shows that such
    // plans run.
    if (strcmp(variant->name, "vector") == 0 || strcmp(variant->name, "naive") == 0)
        return variant->chosen && !test_device_is_portable() && s->format == CLMLA_ROWS_Q8 && s->latent == 128 &&
               s->rope == 6;
    if (variant->chosen || test_device_is_portable()) return test_variant_is_fast(variant);
    // check_attend_wgmma.c's and check_attend_matrix_ring.c's, in OpenCL C
    if (strcmp(variant->name, "wgmma") == 0 || strcmp(variant->name, "matrix_ring") == 0) return false;
    if (strcmp(variant->name, "matrix") != 0) return test_variant_is_slow(variant);
    // Seconds of compilation for each program on PoCL: one width, the others are check_attend_matrix.c's.
    return test_variant_is_slow(variant) && s->latent == 512 && s->rope == 64 && attend_cost(s) <= PORTABLE_MOST;
}

// What a plan of fast compute runs on this device, and what it could.
static void run_shape(const char *family, int number, const attend_shape *s) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = attend_variant_shape(s);
    shape.value_dim = s->latent;
    size_t count = 0;
    test_case_begin(family, number,
                    "%s %u + %u, heads %u, keys %u %u, tokens %u %u, mask %d %u, page %u, list %u, scores %d, "
                    "softcap %g, sink %d, layout %d, split %u, query type %d",
                    clmla_row_format_name(s->format), s->latent, s->rope, s->heads, s->kv_tokens[0], s->kv_tokens[1],
                    s->query_tokens[0], s->query_tokens[1], s->full, s->window, s->page_tokens, s->list_count,
                    (int)s->scores, (double)s->softcap, (int)s->sink, (int)s->layout, s->split_tokens,
                    (int)s->query_type);
    TEST_OK(clmla_variant_list_tried(variants, TEST_VARIANTS_MAX, &count, test_device_get()->context, CLMLA_OP_ATTEND,
                                     &shape));
    attend_fixture f;
    attend_make(&f, s);
    attend_expect(&f);
    attend_plan(&f, NULL);
    const char *planned = clmla_plan_facts_get(f.plan).attend_variant;
    for (size_t i = 0; i < count; i++) {
        TEST_ASSERT(!variants[i].chosen || strcmp(variants[i].name, planned) == 0, "%s is chosen, the plan has %s",
                    variants[i].name, planned);
        if (!is_run(&variants[i], s)) continue;
        attend_plan(&f, variants[i].name);
        test_run_twice(&f.run);
        if (strcmp(variants[i].name, "int16_dot") == 0)
            attend_compare_fast(&f, variants[i].name, INT16_COSINE);
        else if (strcmp(variants[i].name, "int8_dot") == 0)
            attend_compare_fast(&f, variants[i].name, INT8_COSINE);
        else if (strcmp(variants[i].name, "bf16_dot") == 0)
            attend_compare_fast(&f, variants[i].name, BF16_COSINE);
        else if (strcmp(variants[i].name, "amx") == 0)
            attend_compare_fast(&f, variants[i].name, s->format == CLMLA_ROWS_BF16 ? AMX_BF16_COSINE : AMX_COSINE);
        else if (strcmp(variants[i].name, "matrix") == 0 || strcmp(variants[i].name, "matrix_ring") == 0 ||
                 strcmp(variants[i].name, "wgmma") == 0)
            attend_compare_fast(&f, variants[i].name, MATRIX_COSINE);
        else
            attend_compare(&f, variants[i].name);
    }
    attend_finish(&f);
}

static void run_case(int number, const int *chosen) {
    attend_shape s = shape_of(chosen, (uint64_t)number + 21000);
    run_shape("attend fast", number, &s);
}

static const pairwise factors = {.factor_count = FACTORS,
                                 .levels = {PROGRAMS, 6, 4, 3, MASK_KINDS, 4, 3, 2, 2, TEST_ROWS_LAYOUTS, 2, 3},
                                 .accept = accept,
                                 .seed = 31};

#define PORTABLE_KERNELS 7 // amx over every format, int8_dot over q8 and bf16_dot over bf16 rows

START_TEST(matches_the_reference) {
    int fast = 0;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        clmla_variant variants[TEST_VARIANTS_MAX];
        clmla_shape shape = {.format = formats[f], .latent_dim = 512, .rope_dim = 64, .compute = CLMLA_COMPUTE_FAST};
        size_t count = 0;
        TEST_OK(clmla_variant_list_tried(variants, TEST_VARIANTS_MAX, &count, test_device_get()->context,
                                         CLMLA_OP_ATTEND, &shape));
        for (size_t i = 0; i < count; i++, fast += test_variant_is_fast(&variants[i - 1]))
            printf("attend fast: %s by %s: %s%s\n", clmla_row_format_name(formats[f]), variants[i].name,
                   variants[i].chosen ? "chosen" : "not chosen: ", variants[i].chosen ? "" : variants[i].reason);
    }
    TEST_ASSERT(!test_device_is_portable() || fast == PORTABLE_KERNELS, "OpenCL C makes %d kernels, not %d", fast,
                PORTABLE_KERNELS);
    pairwise set = factors;
    if (test_left_out(test_device_get()->few_programs, "%d of %d pairs of a format and widths, matrix among others",
                      PROGRAMS - KEPT, PROGRAMS))
        set.levels[PROGRAM] = KEPT;
    pairwise_run(&set, "attend fast", run_case);
}
END_TEST

// Parts of a step are fewer than a plan's capacity launches.
START_TEST(serves_plans_with_a_capacity) {
    int levels[FACTORS] = {[PROGRAM] = _i % 2, [HEADS] = 3, [LENGTHS] = _i / 2, [QUERIES] = 1, [PAGE] = 2};
    attend_shape s = shape_of(levels, (uint64_t)_i + 22000);
    s.capacity = true;
    run_shape("attend fast, capacity", _i, &s);
}
END_TEST

// A NaN in a query shows in its row alone.
static void check_query_value(const attend_shape *s, const char *variant) {
    attend_fixture f;
    test_case_begin("attend fast, NaN in a query", 0, "%s, token 0, head 3", variant);
    attend_make(&f, s);
    ((float *)f.query.initial)[3 * (128 + 6) + 7] = NAN;
    f.queries[3 * (128 + 6) + 7] = (double)NAN;
    test_buffer_reset(&f.query);
    attend_expect(&f);
    attend_plan(&f, variant);
    test_run_twice(&f.run);
    for (uint32_t pair = 0; pair < 40; pair++)
        TEST_ASSERT((pair == 3) == (isnan(test_buffer_found(&f.output)[(size_t)pair * 128]) != 0), "pair %u", pair);
    attend_finish(&f);
}

START_TEST(shows_what_is_no_number) {
    attend_shape s = {.format = CLMLA_ROWS_Q8,
                      .compute = CLMLA_COMPUTE_FAST,
                      .latent = 128,
                      .rope = 6,
                      .heads = 20,
                      .sequences = 1,
                      .query_tokens = {2},
                      .kv_tokens = {30},
                      .lse = true,
                      .seed = 5};
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = attend_variant_shape(&s);
    size_t count = 0;
    TEST_OK(clmla_variant_list_tried(variants, TEST_VARIANTS_MAX, &count, test_device_get()->context, CLMLA_OP_ATTEND,
                                     &shape));
    for (size_t i = 0; i < count; i++)
        if (test_variant_is_fast(&variants[i])) check_query_value(&s, variants[i].name);
}
END_TEST

// A value that is no number, of a key that one token does not see, in its latent or its rope part: it shows in the
// other token alone.
static void check_hidden_value(const attend_shape *s, const char *variant, int column) {
    attend_fixture f;
    float values[128 + 6];
    double stored[128 + 6];
    test_case_begin("attend fast, NaN in the last key", column, "%s rows, %s", clmla_row_format_name(s->format),
                    variant);
    attend_make(&f, s);
    for (int d = 0; d < 128 + 6; d++) values[d] = d == column ? NAN : 0.1f;
    test_rows_store(stored, &f.rows, 0, 29, values);
    test_rows_upload(&f.rows);
    attend_plan(&f, variant);
    test_run_twice(&f.run);
    attend_expect(&f); // with the key as it was: right for the token that does not see it
    double both = 0, product = 0;
    for (uint32_t pair = 0; pair < 40; pair++)
        for (uint32_t d = 0; d < 128; d++) {
            double x = (double)test_buffer_found(&f.output)[(size_t)pair * 128 + d],
                   y = f.expected[(size_t)pair * 128 + d];
            TEST_ASSERT((pair >= 20) == (isnan(x) != 0), "pair %u value %u", pair, d);
            if (pair < 20) product += x * y, both += x * x + y * y;
        }
    TEST_ASSERT(1 - 2 * product / both < INT8_COSINE, "cosine difference %.2e", 1 - 2 * product / both);
    attend_finish(&f);
}

START_TEST(keeps_hidden_values_out) {
    attend_shape s = {.format = formats[_i],
                      .compute = CLMLA_COMPUTE_FAST,
                      .latent = 128,
                      .rope = 6,
                      .heads = 20,
                      .sequences = 1,
                      .query_tokens = {2},
                      .kv_tokens = {30},
                      .lse = true,
                      .seed = 6};
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = attend_variant_shape(&s);
    size_t count = 0;
    TEST_OK(clmla_variant_list_tried(variants, TEST_VARIANTS_MAX, &count, test_device_get()->context, CLMLA_OP_ATTEND,
                                     &shape));
    for (size_t i = 0; i < count; i++) {
        if (!test_variant_is_fast(&variants[i])) continue; // exact ones are check_attend.c's
        if (test_variant_is_slow(&variants[i]) && test_device_get()->short_form) continue;
        bool apart = strcmp(variants[i].name, "matrix") == 0 || strcmp(variants[i].name, "vector") == 0;
        if (test_left_out(apart && test_device_get()->few_programs, "hidden values by %s, which other tests have",
                          variants[i].name))
            continue;
        if (strcmp(variants[i].name, "matrix") == 0 && !variants[i].chosen && s.format != CLMLA_ROWS_F16)
            continue; // slow twice
        check_hidden_value(&s, variants[i].name, 5);
        check_hidden_value(&s, variants[i].name, 128 + 2);
    }
}
END_TEST

// Queries and keys that point the same way, over all columns or along one, and weights that are all the same:
// int16_dot's sums are then as large as they can be. And values whose squares are no floats.
static const struct {
    int column; // -1: all
    float queries, keys;
} largest_sums[] = {{-1, 1.0f, 1.0f}, {5, 1.0f, 1.0f}, {-1, 1e-25f, 1e25f}, {5, 1e22f, 1e-22f}};

static void fill_one_way(float *out, int column, float size) {
    for (int d = 0; d < 128 + 6; d++) out[d] = column < 0 || d == column || d == 128 + 2 ? size : 0.0f;
}

START_TEST(keeps_the_largest_sums) {
    attend_shape s = {.format = CLMLA_ROWS_F32,
                      .compute = CLMLA_COMPUTE_FAST,
                      .latent = 128,
                      .rope = 6,
                      .heads = 12,
                      .sequences = 1,
                      .query_tokens = {1},
                      .kv_tokens = {200},
                      .lse = true,
                      .seed = 7};
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = attend_variant_shape(&s);
    size_t count = 0;
    attend_fixture f;
    float values[128 + 6];
    test_case_begin("attend fast, the largest sums", _i, "column %d, queries of %g, keys of %g",
                    largest_sums[_i].column, (double)largest_sums[_i].queries, (double)largest_sums[_i].keys);
    TEST_OK(clmla_variant_list_tried(variants, TEST_VARIANTS_MAX, &count, test_device_get()->context, CLMLA_OP_ATTEND,
                                     &shape));
    attend_make(&f, &s);
    for (size_t pair = 0; pair < s.heads; pair++) {
        float *query = (float *)f.query.initial + pair * (128 + 6);
        fill_one_way(query, largest_sums[_i].column, largest_sums[_i].queries * (pair % 2 ? 1.0f : -1.0f));
        for (int d = 0; d < 128 + 6; d++) f.queries[pair * (128 + 6) + (size_t)d] = (double)query[d];
    }
    test_buffer_reset(&f.query);
    fill_one_way(values, largest_sums[_i].column, largest_sums[_i].keys);
    for (uint32_t i = 0; i < s.kv_tokens[0]; i++) test_rows_store((double *)f.keys[i], &f.rows, 0, i, values);
    test_rows_upload(&f.rows);
    attend_expect(&f);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(variants[i].name, "int16_dot") != 0) continue;
        bool runs = variants[i].accepted || test_variant_is_slow(&variants[i]);
        if (test_left_out(!runs, "the largest sums of int16_dot: %s", variants[i].reason)) break;
        attend_plan(&f, variants[i].name);
        test_run_twice(&f.run);
        attend_compare_fast(&f, variants[i].name, INT16_COSINE);
    }
    attend_finish(&f);
}
END_TEST

START_TEST(needs_fast_compute) {
    clmla_plan *plan = NULL;
    clmla_plan_params params = {.head_count = 16, .attend_variant = "int8_dot"};
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_Q8, CLMLA_ROPE_INTERLEAVED, 512, 64));
    clmla_context *context = test_device_get()->context;
    TEST_ASSERT(clmla_plan_create(&plan, context, &params) == CLMLA_E_ARGUMENT, "exact");
    TEST_ASSERT(strstr(clmla_last_error(), "fast compute") != NULL, "%s", clmla_last_error());
    params.compute = (clmla_compute)2;
    TEST_ASSERT(clmla_plan_create(&plan, context, &params) == CLMLA_E_ARGUMENT, "compute 2");
    TEST_ASSERT(strstr(clmla_last_error(), "compute is 2") != NULL, "%s", clmla_last_error());
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, matches_the_reference);
    tcase_add_loop_test(tests, serves_plans_with_a_capacity, 0, 8);
    tcase_add_test(tests, shows_what_is_no_number);
    tcase_add_loop_test(tests, keeps_hidden_values_out, 0, sizeof formats / sizeof *formats);
    tcase_add_loop_test(tests, keeps_the_largest_sums, 0, sizeof largest_sums / sizeof *largest_sums);
    tcase_add_test(tests, needs_fast_compute);
}

int main(void) {
    return test_main("attend_fast", add_tests);
}
