// SPDX-License-Identifier: Apache-2.0
// attend_matrix built with groups of 64 to 256 work-items, one and two tiles of rows and of keys, little local memory,
// on whatever device is there: by its matrix units, or in OpenCL C. Widths that are no multiples of a tile, ragged
// lengths; fast compute by its own bar, and exact compute by that of f32.
#include "tests/kernel/attend_tiles.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COSINE 1e-5
#define MANY_KEYS 2000 // of which it tells how good they came out

static const attend_tile_size tiles[] = {{64, 16, 32, 0}, {128, 32, 32, 0}, {256, 32, 16, 12}};

static const attend_tile_rows shapes[] = {
    {CLMLA_ROWS_F16, 64, 16, 0, 12, 2, 0, 0.0f, false},  {CLMLA_ROWS_BF16, 37, 6, 43, 9, 3, 5, 0.0f, false},
    {CLMLA_ROWS_F16, 24, 8, 32, 20, 1, 0, 20.0f, false}, {CLMLA_ROWS_BF16, 64, 16, 70, 8, 9, 0, 0.0f, true},
    {CLMLA_ROWS_F16, 64, 0, 0, 40, 1, 0, 0.0f, false},
};

static void check(const attend_shape *s) {
    attend_fixture f;
    attend_make(&f, s);
    attend_expect(&f);
    attend_plan(&f, "matrix");
    test_run_twice(&f.run);
    if (s->compute == CLMLA_COMPUTE_FAST)
        attend_compare_fast(&f, "matrix", COSINE);
    else
        attend_compare(&f, "matrix");
    if (s->kv_tokens[0] >= MANY_KEYS) attend_print_errors(&f, "attend matrix, exact, over many keys");
    attend_finish(&f);
}

// Oclgrind takes minutes for what others do in a second: it gets small cases of each compute and each way to stage keys,
// of hidden values, lists and a run of blocks, and none that differ from those in their numbers alone.
static bool is_interpreted(void) {
    return test_device_get()->facts->is_interpreter;
}

// Two sequences in pages of 7 keys, of one token and of two, whose last key the first of them does not see. Two groups
// share their keys: the second sequence's are cut and merged, and one group has several works in turn.
static void make_small(attend_shape *s) {
    bool runs = s->latent % 8 == 0 && s->rope % 8 == 0; // keys are staged 8 values at a time
    if (!is_interpreted()) return;
    s->latent = runs ? 32 : 21;
    s->rope = runs ? 8 : 6;
    s->value = runs ? 0 : 27;
    s->heads = runs ? 8 : 9; // in a tile of rows, in two
    s->window = 0;
    s->sequences = 2;
    s->query_tokens[0] = 1, s->query_tokens[1] = 2;
    s->kv_tokens[0] = 17, s->kv_tokens[1] = 90;
    s->split_tokens = 0;
    TEST_OK(clmla_tuning_set(test_device_get()->context, "attend.tile.parts_per_unit", 2));
}

static attend_shape shape_of(size_t shape, size_t tile, clmla_compute compute) {
    attend_shape s = attend_tiles_shape(&shapes[shape], tile);
    make_small(&s);
    s.compute = compute;
    s.query_type = tile % 2 ? CLMLA_TYPE_F16 : CLMLA_TYPE_F32;
    s.seed = 700 + shape;
    return s;
}

START_TEST(every_tile_gives_the_same) {
    const test_device *device = test_device_get();
    clmla_compute compute = _i ? CLMLA_COMPUTE_EXACT : CLMLA_COMPUTE_FAST;
    size_t count = device->short_form ? 2 : sizeof shapes / sizeof *shapes;
    for (size_t tile = 0; tile < sizeof tiles / sizeof *tiles; tile++) {
        if (test_left_out(tiles[tile].group > device->facts->max_group_size, "tiles for groups of %u",
                          tiles[tile].group))
            continue;
        if (device->short_form && tile > 1) break;
        // Of few programs the larger groups are in fast or in exact compute.
        if (test_left_out(device->few_programs && tile > 0 && (tile == 1) == (_i == 1), "groups of %u in %s compute",
                          tiles[tile].group, clmla_compute_name(compute)))
            continue;
        attend_set_tile(tiles[tile]);
        // One shape by each tile, another one in exact compute: in OpenCL C a program takes five seconds and more to
        // compile.
        size_t shape = device->few_programs && tile == 1 ? 1 : (tile * 2 + (size_t)_i) % count; // 1: bf16 rows
        attend_shape s = shape_of(shape, tile, compute);
        attend_tile_case_begin(_i ? "attend matrix, exact" : "attend matrix", tiles[tile], tile, shape);
        check(&s);
    }
    attend_reset_tile();
}
END_TEST

// Exact compute, over queries and keys so large or small that 16-bit values would overflow, or lose their last bits, if
// each row were not scaled; scores of all kinds.
START_TEST(is_exact_at_every_magnitude) {
    static const struct {
        float queries, keys;
        attend_scores scores;
    } kinds[] = {
        {0x1p-13f, 0x1p13f, ATTEND_RANDOM}, {0x1p20f, 0x1p-14f, ATTEND_RANDOM},    {0x1p-100f, 1.0f, ATTEND_RANDOM},
        {0x1p100f, 1.0f, ATTEND_RANDOM},    {0x1p30f, 0x1p-10f, ATTEND_SAME_KEYS}, {1.0f, 1.0f, ATTEND_HUGE},
        {1.0f, 1.0f, ATTEND_ZERO},          {1.0f, 1.0f, ATTEND_DOMINANT}};
    if (test_left_out(is_interpreted(), "magnitudes")) return;
    attend_set_tile(tiles[0]);
    for (size_t i = 0; i < 2 * sizeof kinds / sizeof *kinds; i++) {
        attend_shape s = shape_of(i % 2, 0, CLMLA_COMPUTE_EXACT); // f16 and bf16 rows
        s.queries_times = kinds[i / 2].queries;
        s.keys_times = kinds[i / 2].keys;
        s.scores = kinds[i / 2].scores;
        test_case_begin("attend matrix, magnitudes", (int)i, "%s, queries times %g, keys times %g, scores %d",
                        clmla_row_format_name(s.format), (double)s.queries_times, (double)s.keys_times, (int)s.scores);
        if (test_case_wanted((int)i)) check(&s);
    }
    attend_reset_tile();
}
END_TEST

// Many keys, whose sums must not fall behind: exact compute by the tile that the device gets, of DeepSeek's rows, where
// the device has matrix units; elsewhere, unless CLMLA_TEST_FULL=1, by programs that other tests compile.
START_TEST(is_exact_over_many_keys) {
    const char *full = getenv("CLMLA_TEST_FULL");
    bool small = test_device_get()->facts->type & CL_DEVICE_TYPE_CPU && !(full && strcmp(full, "1") == 0);
    bool odd = small && _i && test_device_get()->few_programs; // bf16 rows of the one program that other tests have
    attend_shape s = {.format = _i ? CLMLA_ROWS_BF16 : CLMLA_ROWS_F16,
                      .latent = odd     ? 37
                                : small ? 64
                                        : 512,
                      .rope = odd     ? 6
                              : small ? 16
                                      : 64,
                      .value = odd ? 43 : 0,
                      .heads = 8,
                      .sequences = 1,
                      .query_tokens = {1},
                      .kv_tokens = {3000},
                      .page_tokens = 64,
                      .lse = true,
                      .max_logit = true,
                      .seed = 720};
    if (is_interpreted()) { // in one piece of a few more than a run of blocks has
        s.latent = 16;
        s.rope = 0;
        s.value = 0;
        s.kv_tokens[0] = 1060;
        s.split_tokens = 2048;
    }
    if (test_left_out(test_device_get()->short_form && (!is_interpreted() || _i), "many keys")) return;
    test_case_begin("attend matrix, many keys", _i, "%s rows of %u + %u", clmla_row_format_name(s.format), s.latent,
                    s.rope);
    if (small) attend_set_tile(tiles[0]);
    check(&s);
    attend_reset_tile();
}
END_TEST

// Two scopes of slots.
START_TEST(lists_are_exact) {
    attend_shape s = shape_of(0, 0, CLMLA_COMPUTE_EXACT);
    if (test_left_out(test_device_get()->short_form && !is_interpreted(), "lists")) return;
    s.list_count = 2;
    s.lists[0] = (attend_list){.index_count = 50, .page_tokens = 53, .page_count = 3, .counted = 50};
    s.lists[1] = (attend_list){.index_count = 41, .page_tokens = 16, .page_count = 7};
    for (uint32_t i = 0; i < s.sequences; i++) s.query_tokens[i] = 1, s.kv_tokens[i] = 91;
    attend_set_tile(tiles[0]);
    test_case_begin("attend matrix, lists", 0, "of 50 and 41 slots");
    check(&s);
    attend_reset_tile();
}
END_TEST

// A value that is no number, of a key that one token does not see, in its latent or its rope part: it shows in the
// other token alone.
static void check_hidden_value(const attend_shape *s, uint32_t column) {
    attend_fixture f;
    uint32_t width = s->value ? s->value : s->latent;
    float values[64 + 16];
    double stored[64 + 16];
    test_case_begin("attend matrix, exact, NaN in the last key", (int)column, "%s rows",
                    clmla_row_format_name(s->format));
    attend_make(&f, s);
    for (uint32_t d = 0; d < s->latent + s->rope; d++) values[d] = d == column ? NAN : 0.1f;
    test_rows_store(stored, &f.rows, 0, s->kv_tokens[0] - 1, values);
    test_rows_upload(&f.rows);
    attend_plan(&f, "matrix");
    test_run_twice(&f.run);
    for (uint32_t pair = 0; pair < 2 * s->heads; pair++)
        for (uint32_t d = 0; d < width; d++)
            TEST_ASSERT((pair >= s->heads) == (isnan(test_buffer_found(&f.output)[pair * width + d]) != 0),
                        "pair %u value %u", pair, d);
    attend_finish(&f);
}

START_TEST(keeps_hidden_values_out) {
    bool odd = _i && test_device_get()->few_programs; // as above
    attend_shape s = {.format = _i ? CLMLA_ROWS_BF16 : CLMLA_ROWS_F16,
                      .latent = odd ? 37 : 64,
                      .rope = odd ? 6 : 16,
                      .value = odd ? 43 : 0,
                      .heads = 12,
                      .sequences = 1,
                      .query_tokens = {2},
                      .kv_tokens = {37},
                      .lse = true,
                      .seed = 730};
    if (is_interpreted()) s.latent = 32, s.rope = 8, s.heads = 8;
    if (test_left_out(test_device_get()->short_form && (!is_interpreted() || _i), "hidden values")) return;
    attend_set_tile(tiles[0]);
    check_hidden_value(&s, 5);
    check_hidden_value(&s, s.latent + 2);
    attend_reset_tile();
}
END_TEST

// A query that is infinite or no number shows in its row alone.
START_TEST(shows_what_is_no_number) {
    attend_shape s = shape_of(0, 0, CLMLA_COMPUTE_EXACT);
    attend_fixture f;
    if (test_left_out(is_interpreted(), "queries that are no numbers")) return;
    attend_set_tile(tiles[0]);
    test_case_begin("attend matrix, exact, queries", _i, "%s in token 0, head 3", _i ? "NaN" : "infinity");
    attend_make(&f, &s);
    ((float *)f.query.initial)[3 * 80 + 7] = _i ? NAN : INFINITY;
    f.queries[3 * 80 + 7] = (double)(_i ? NAN : INFINITY);
    test_buffer_reset(&f.query);
    attend_expect(&f);
    attend_plan(&f, "matrix");
    test_run_twice(&f.run);
    attend_compare(&f, "matrix");
    attend_finish(&f);
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
    } refused[] = {{CLMLA_ROWS_F32, CLMLA_COMPUTE_EXACT, 16, "f16 or bf16"},
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

// Heads and new tokens make the rows; fixed splits must not depend on the tokens that are expected.
START_TEST(counts_new_tokens_as_rows) {
    static const struct {
        uint32_t tokens, capacity, split_tokens;
        bool refused;
    } plans[] = {{0, 0, 0, true}, {1, 0, 0, true},  {2, 0, 0, false}, {0, 2, 0, false},
                 {1, 8, 0, true}, {8, 1, 0, false}, {8, 0, 64, true}, {0, 8, 64, true}};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        clmla_plan *plan = NULL;
        clmla_plan_params params = {.head_count = 4,
                                    .split_tokens = plans[i].split_tokens,
                                    .query_tokens = plans[i].tokens,
                                    .attend_variant = "matrix",
                                    .compute = CLMLA_COMPUTE_FAST};
        if (plans[i].capacity) params.capacity = (clmla_plan_capacity){1, plans[i].capacity, 100};
        test_case_begin("attend matrix, rows", (int)i, "4 heads, %u tokens expected, capacity for %u, splits of %u",
                        plans[i].tokens, plans[i].capacity, plans[i].split_tokens);
        TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 64, 16));
        clmla_status status = clmla_plan_create(&plan, test_device_get()->context, &params);
        TEST_ASSERT(status == (plans[i].refused ? CLMLA_E_ARGUMENT : CLMLA_OK), "%s", clmla_status_name(status));
        if (plans[i].refused) TEST_ASSERT(strstr(clmla_last_error(), "padding") != NULL, "%s", clmla_last_error());
        clmla_plan_destroy(&plan);
    }
}
END_TEST

// Nothing on a device without matrix units runs it unless it is named.
START_TEST(is_not_chosen_without_matrix_units) {
    clmla_plan *plan = NULL;
    clmla_plan_params params = {.head_count = 16, .compute = _i ? CLMLA_COMPUTE_EXACT : CLMLA_COMPUTE_FAST};
    bool cpu = test_device_get()->facts->type & CL_DEVICE_TYPE_CPU;
    if (test_left_out(!cpu, "what CPUs choose")) return;
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 512, 64));
    TEST_OK(clmla_plan_create(&plan, test_device_get()->context, &params));
    ck_assert_str_ne(clmla_plan_facts_get(plan).attend_variant, "matrix");
    clmla_plan_destroy(&plan);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, every_tile_gives_the_same, 0, 2);
    tcase_add_test(tcase, is_exact_at_every_magnitude);
    tcase_add_loop_test(tcase, is_exact_over_many_keys, 0, 2);
    tcase_add_test(tcase, lists_are_exact);
    tcase_add_loop_test(tcase, keeps_hidden_values_out, 0, 2);
    tcase_add_loop_test(tcase, shows_what_is_no_number, 0, 2);
    tcase_add_test(tcase, says_what_it_does_not_serve);
    tcase_add_test(tcase, counts_new_tokens_as_rows);
    tcase_add_loop_test(tcase, is_not_chosen_without_matrix_units, 0, 2);
}

int main(void) {
    return test_main("check_attend_matrix", add);
}
