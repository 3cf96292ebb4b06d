// SPDX-License-Identifier: Apache-2.0
// attend_matrix_ring on whatever device is there: by mma.sync and cp.async of an NVIDIA GPU, or in OpenCL C. Rings of
// 16 and 32 keys, two and three blocks long; blocks that are full, end early, have holes, hide keys from some rows;
// fewer rows than a tile has and more than one tile of them. Fast compute by its own bar, and exact compute by that of
// f32.
#include "host/instruction_ring.h"
#include "tests/kernel/attend_tiles.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COSINE 1e-5
#define MANY_KEYS 2000 // of which it tells how good they came out

// By keys and KiB for rows of 128 + 64: two blocks of 16 keys, three, two of 32, three.
static const attend_tile_size rings[] = {{0, 32, 16, 24}, {0, 32, 16, 0}, {0, 32, 32, 44}, {0, 32, 32, 0}};

static const attend_tile_rows shapes[] = {
    {CLMLA_ROWS_F16, 128, 64, 0, 40, 3, 70, 20.0f, false}, {CLMLA_ROWS_BF16, 128, 64, 0, 16, 2, 0, 0.0f, false},
    {CLMLA_ROWS_F16, 128, 64, 0, 128, 1, 5, 0.0f, false},  {CLMLA_ROWS_BF16, 128, 64, 0, 9, 5, 0, 0.3f, true},
    {CLMLA_ROWS_F16, 256, 64, 0, 20, 1, 0, 0.0f, false},   {CLMLA_ROWS_F16, 384, 0, 0, 12, 2, 0, 0.0f, false},
    {CLMLA_ROWS_BF16, 512, 64, 0, 20, 2, 0, 0.0f, false},
};
#define NARROW 4 // the first so many, whose programs are shared by many cases

static void check(const attend_shape *s) {
    attend_fixture f;
    attend_make(&f, s);
    attend_expect(&f);
    attend_plan(&f, "matrix_ring");
    test_run_twice(&f.run);
    if (s->compute == CLMLA_COMPUTE_FAST)
        attend_compare_fast(&f, "matrix_ring", COSINE);
    else
        attend_compare(&f, "matrix_ring");
    if (s->kv_tokens[0] >= MANY_KEYS) attend_print_errors(&f, "attend matrix_ring, exact, over many keys");
    attend_finish(&f);
}

// Oclgrind takes minutes for many rows: it gets one small case of each compute and one of a call's forms, and none that
// differ from those in their numbers alone.
static bool is_interpreted(void) {
    return test_device_get()->facts->is_interpreter;
}

static void make_small(attend_shape *s) {
    if (!is_interpreted()) return;
    s->sequences = 2;
    s->query_tokens[0] = 1, s->query_tokens[1] = 2;
    s->kv_tokens[0] = 17, s->kv_tokens[1] = 40;
}

static attend_shape shape_of(size_t number, size_t ring, clmla_compute compute) {
    attend_shape s = attend_tiles_shape(&shapes[number], ring + number);
    s.compute = compute;
    if (compute == CLMLA_COMPUTE_EXACT) s.format = CLMLA_ROWS_F16;
    s.kv_tokens[1] = ring % 2 ? 200 : 129;
    s.page_tokens = (number + ring) % 3 == 0 ? 7 : (number + ring) % 3 == 1 ? 16 : 64;
    s.missing_page = (number + ring) % 4 == 1;
    s.split_tokens = (number + ring) % 3 == 1 ? 64 : 0;
    s.query_type = number % 2 ? CLMLA_TYPE_F16 : CLMLA_TYPE_F32;
    s.seed = 1900 + number * 10 + ring;
    make_small(&s);
    return s;
}

static void check_case(size_t number, size_t ring, clmla_compute compute) {
    attend_shape s = shape_of(number, ring, compute);
    test_case_begin("attend matrix_ring", (int)(number * 10 + ring),
                    "%s, %s rows of %u + %u, %u heads, %u keys, %u KiB", clmla_compute_name(compute),
                    clmla_row_format_name(s.format), s.latent, s.rope, s.heads, rings[ring].keys,
                    rings[ring].local_kib);
    if (test_case_wanted((int)(number * 10 + ring))) check(&s);
}

static bool has_units(void) {
    return host_ring_find(test_device_get()->facts) == HOST_INSTRUCTION_RING;
}

// Whether the device has local memory for the widest ring of rows of 128 + 64, or of wide ones: Oclgrind's has not.
static bool has_room(uint64_t kib) {
    return test_device_get()->facts->local_bytes >= kib * 1024;
}

START_TEST(every_ring_gives_the_same) {
    clmla_compute compute = _i ? CLMLA_COMPUTE_EXACT : CLMLA_COMPUTE_FAST;
    bool is_short = test_device_get()->short_form;
    for (size_t ring = 0; ring < sizeof rings / sizeof *rings; ring++) {
        if (test_left_out(ring > 0 && (is_short || !has_room(64)), "rings from %zu on", ring)) break;
        attend_set_tile(rings[ring]);
        for (size_t number = 0; number < NARROW; number++)
            if ((!is_interpreted() || number == 3) && (has_units() || is_short || (number + ring) % 2 == 0))
                check_case(number, ring, compute);
    }
    attend_reset_tile();
}
END_TEST

// PoCL 3.1's code for rows wider than 128 + 64 passes over what stands between two barriers of a group's later works,
// and crashes. Intel's runtime, whose full form has these rows, gives the right results.
static bool is_lost_by_pocl(void) {
    bool lost = strstr(test_device_get()->facts->platform_name, "Portable Computing");
    if (lost) printf("attend matrix_ring: rows wider than 128 + 64 are left out on PoCL\n");
    return lost;
}

// By the ring that the device gets.
START_TEST(every_width_gives_the_same) {
    clmla_compute compute = _i ? CLMLA_COMPUTE_EXACT : CLMLA_COMPUTE_FAST;
    if (test_left_out(test_device_get()->short_form || !has_room(48), "wide rows") || is_lost_by_pocl()) return;
    for (size_t number = NARROW; number < sizeof shapes / sizeof *shapes; number++) check_case(number, 3, compute);
}
END_TEST

// All masks, sinks, types and layouts that attend has, over rows of one width.
START_TEST(every_call_gives_the_same) {
    attend_shape s = shape_of(1, 0, _i % 2 ? CLMLA_COMPUTE_EXACT : CLMLA_COMPUTE_FAST);
    s.split_tokens = is_interpreted() ? 32 : 0; // cut and merged; other small cases' works are one group's in turn
    s.layout = (test_rows_layout)(_i % TEST_ROWS_LAYOUTS);
    s.query_form = (attend_form)(_i % ATTEND_FORMS);
    s.sink = (attend_sink)(_i % ATTEND_SINKS);
    if (s.compute == CLMLA_COMPUTE_EXACT) { // fast compute is compared as dense f32
        s.output_form = (attend_form)(_i / 2 % ATTEND_APART);
        s.output_type = _i % 3 == 0 ? CLMLA_TYPE_F16 : _i % 3 == 1 ? CLMLA_TYPE_BF16 : CLMLA_TYPE_F32;
        s.base2 = _i / 2 % 2;
        s.no_output = _i == 7;
    }
    s.heads = is_interpreted() ? 9 : 18; // in one tile, in two
    s.kv_heads = _i % 3 == 2 ? 2 : 1;
    s.page_tokens = _i % 4 == 3 ? 0 : 1 + (uint32_t)_i * 3;
    s.missing_page = false;
    if (_i == 4) s.parallel = (clmla_context_parallel){.rank = 1, .world = 2, .interleave = 5};
    if (_i == 5) s.scores = ATTEND_HUGE;
    if (_i == 6) s.scores = ATTEND_DOMINANT;
    if (test_left_out(test_device_get()->short_form && (is_interpreted() ? _i != 1 : _i > 2), "call %d", _i)) return;
    attend_set_tile(rings[0]);
    test_case_begin("attend matrix_ring, calls", _i, "%s, layout %d, form %d, sink %d", clmla_compute_name(s.compute),
                    (int)s.layout, (int)s.query_form, (int)s.sink);
    if (test_case_wanted(_i)) check(&s);
    attend_reset_tile();
}
END_TEST

// Exact compute of many keys; and of queries so large or small that 16-bit values would overflow, or lose their last
// bits, if each row were not scaled.
START_TEST(is_exact_at_every_magnitude) {
    static const struct {
        float queries, keys;
        attend_scores scores;
        uint32_t tokens;
    } kinds[] = {{1.0f, 1.0f, ATTEND_RANDOM, 3000},      {0x1p-13f, 0x1p13f, ATTEND_RANDOM, 300},
                 {0x1p20f, 0x1p-14f, ATTEND_RANDOM, 70}, {0x1p-100f, 1.0f, ATTEND_RANDOM, 70},
                 {0x1p100f, 1.0f, ATTEND_RANDOM, 70},    {1.0f, 1.0f, ATTEND_HUGE, 300},
                 {1.0f, 1.0f, ATTEND_ZERO, 70},          {1.0f, 1.0f, ATTEND_DOMINANT, 300}};
    attend_set_tile(rings[0]);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        attend_shape s = {.format = CLMLA_ROWS_F16,
                          .latent = 128,
                          .rope = 64,
                          .heads = 9,
                          .sequences = 1,
                          .query_tokens = {1},
                          .kv_tokens = {kinds[i].tokens},
                          .page_tokens = 64,
                          .split_tokens = 2048,
                          .lse = true,
                          .max_logit = true,
                          .seed = 1930 + i};
        s.queries_times = kinds[i].queries;
        s.keys_times = kinds[i].keys;
        s.scores = kinds[i].scores;
        if (test_device_get()->short_form && (i == 0 || i > 3 || is_interpreted())) continue;
        test_case_begin("attend matrix_ring, magnitudes", (int)i, "%u keys, queries times %g, keys times %g, scores %d",
                        s.kv_tokens[0], (double)s.queries_times, (double)s.keys_times, (int)s.scores);
        if (test_case_wanted((int)i)) check(&s);
    }
    attend_reset_tile();
}
END_TEST

// Two scopes of slots, counted and not: blocks that end where a list does, and keys that are not there.
START_TEST(lists_give_the_same) {
    attend_shape s = shape_of(1, 0, _i ? CLMLA_COMPUTE_EXACT : CLMLA_COMPUTE_FAST);
    if (test_left_out(test_device_get()->short_form, "lists")) return;
    s.missing_page = false;
    s.list_count = 2;
    s.lists[0] = (attend_list){.index_count = 150, .page_tokens = 53, .page_count = 9, .counted = 150};
    s.lists[1] = (attend_list){.index_count = 70, .page_tokens = 64, .page_count = 7};
    for (uint32_t i = 0; i < s.sequences; i++) s.query_tokens[i] = 1, s.kv_tokens[i] = 220;
    attend_set_tile(rings[_i ? 0 : 2]);
    test_case_begin("attend matrix_ring, lists", _i, "%s, of 150 and 70 slots", clmla_compute_name(s.compute));
    if (test_case_wanted(_i)) check(&s);
    attend_reset_tile();
}
END_TEST

// A value that is no number, of a key that one token does not see, in its latent or its rope part: it shows in the
// other token alone.
START_TEST(keeps_hidden_values_out) {
    attend_shape s = shape_of(1, 0, _i / 2 ? CLMLA_COMPUTE_EXACT : CLMLA_COMPUTE_FAST);
    attend_fixture f;
    float values[128 + 64];
    double stored[128 + 64];
    uint32_t column = _i % 2 ? s.latent + 2 : 5;
    if (test_left_out(test_device_get()->short_form, "hidden values")) return;
    s.sequences = 1;
    s.query_tokens[0] = 2;
    s.kv_tokens[0] = 37;
    s.missing_page = false;
    s.page_tokens = 0; // one page, whose last row is the key
    s.split_tokens = 0;
    s.sink = ATTEND_SINK_NONE;
    attend_set_tile(rings[0]);
    test_case_begin("attend matrix_ring, NaN in the last key", _i, "%s, value %u", clmla_compute_name(s.compute),
                    column);
    attend_make(&f, &s);
    for (uint32_t d = 0; d < s.latent + s.rope; d++) values[d] = d == column ? NAN : 0.1f;
    test_rows_store(stored, &f.rows, 0, s.kv_tokens[0] - 1, values);
    test_rows_upload(&f.rows);
    attend_plan(&f, "matrix_ring");
    test_run_twice(&f.run);
    for (uint32_t pair = 0; pair < 2 * s.heads; pair++)
        for (uint32_t d = 0; d < s.latent; d++)
            TEST_ASSERT((pair >= s.heads) == (isnan(test_buffer_found(&f.output)[pair * s.latent + d]) != 0),
                        "pair %u value %u", pair, d);
    attend_finish(&f);
    attend_reset_tile();
}
END_TEST

// What it does not serve is refused by name, with the reason.
START_TEST(says_what_it_does_not_serve) {
    static const struct {
        clmla_row_format format;
        clmla_compute compute;
        uint32_t latent, rope, heads;
        const char *says;
    } refused[] = {{CLMLA_ROWS_BF16, CLMLA_COMPUTE_EXACT, 512, 64, 16, "exact compute"},
                   {CLMLA_ROWS_F32, CLMLA_COMPUTE_FAST, 512, 64, 16, "f16 or bf16"},
                   {CLMLA_ROWS_F16, CLMLA_COMPUTE_FAST, 320, 64, 16, "none of 128, 256, 384 and 512"},
                   {CLMLA_ROWS_F16, CLMLA_COMPUTE_FAST, 256, 32, 16, "multiple of 64"},
                   {CLMLA_ROWS_F16, CLMLA_COMPUTE_FAST, 512, 64, 4, "padding"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        clmla_plan *plan = NULL;
        clmla_plan_params params = {
            .head_count = refused[i].heads, .attend_variant = "matrix_ring", .compute = refused[i].compute};
        test_case_begin("attend matrix_ring, refused", (int)i, "%s", refused[i].says);
        TEST_OK(clmla_row_layout_make(&params.layout, refused[i].format, CLMLA_ROPE_INTERLEAVED, refused[i].latent,
                                      refused[i].rope));
        TEST_ASSERT(clmla_plan_create(&plan, test_device_get()->context, &params) == CLMLA_E_ARGUMENT, "accepted");
        TEST_ASSERT(strstr(clmla_last_error(), refused[i].says) != NULL, "%s", clmla_last_error());
    }
}
END_TEST

// Local memory that holds no ring is said with both figures.
START_TEST(says_what_it_lacks) {
    clmla_plan *plan = NULL;
    clmla_plan_params params = {.head_count = 16, .attend_variant = "matrix_ring", .compute = CLMLA_COMPUTE_FAST};
    if (test_left_out(!has_room(48), "a ring that lacks local memory: the device has too little for any")) return;
    attend_set_tile((attend_tile_size){0, 32, 32, 16});
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 512, 64));
    ck_assert_int_eq(clmla_plan_create(&plan, test_device_get()->context, &params), CLMLA_E_LIMIT);
    ck_assert_msg(strstr(clmla_last_error(), "a ring of rows of 576 values, the device has 16384") != NULL, "%s",
                  clmla_last_error());
    attend_reset_tile();
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, every_ring_gives_the_same, 0, 2);
    tcase_add_loop_test(tcase, every_width_gives_the_same, 0, 2);
    tcase_add_loop_test(tcase, every_call_gives_the_same, 0, 12);
    tcase_add_test(tcase, is_exact_at_every_magnitude);
    tcase_add_loop_test(tcase, lists_give_the_same, 0, 2);
    tcase_add_loop_test(tcase, keeps_hidden_values_out, 0, 4);
    tcase_add_test(tcase, says_what_it_does_not_serve);
    tcase_add_test(tcase, says_what_it_lacks);
}

int main(void) {
    return test_main("check_attend_matrix_ring", add);
}
