// SPDX-License-Identifier: Apache-2.0
// attend over scaled rows whose positions were shifted: pages keep their codes, and every variant turns the rope part
// by the page's delta as it reads. And the calls that are refused.
#include "tests/kernel/attend_fixture.h"
#include "tests/support/variants.h"
#include <math.h>

#define THETA 10000.0
#define ENTRIES_MOST 64
#define INT8_COSINE 1.5e-4 // as check_attend_fast's

typedef struct shift_case {
    clmla_row_format format;
    clmla_rope_order order;
    uint32_t latent, rope, value;
    bool csr;
    uint32_t split;
} shift_case;

// Of check_attend's rows where that has a program for them, of widths that are no multiple of a vector, and of an odd
// value width.
static const shift_case cases[] = {
    {CLMLA_ROWS_FP8, CLMLA_ROPE_INTERLEAVED, 512, 64, 0, false, 0},
    {CLMLA_ROWS_FP8_FLAT, CLMLA_ROPE_HALVES, 64, 16, 70, true, 7},
    {CLMLA_ROWS_FP8_PAGED, CLMLA_ROPE_INTERLEAVED, 37, 6, 43, true, 0},
    {CLMLA_ROWS_Q8, CLMLA_ROPE_HALVES, 512, 64, 0, false, 5},
    {CLMLA_ROWS_Q6, CLMLA_ROPE_INTERLEAVED, 256, 64, 0, true, 0},
    {CLMLA_ROWS_Q5, CLMLA_ROPE_HALVES, 512, 64, 0, false, 0},
    {CLMLA_ROWS_Q5, CLMLA_ROPE_INTERLEAVED, 37, 6, 0, true, 7},
    {CLMLA_ROWS_Q4, CLMLA_ROPE_INTERLEAVED, 64, 16, 70, false, 0},
};

typedef struct fixture {
    attend_fixture attend;
    test_buffer deltas, turns;
} fixture;

static attend_shape shape_of(const shift_case *c) {
    return (attend_shape){.format = c->format,
                          .latent = c->latent,
                          .rope = c->rope,
                          .value = c->value,
                          .heads = 5,
                          .sequences = 3,
                          .query_tokens = {1, 3, 2},
                          .kv_tokens = {9, 30, 1},
                          .page_tokens = 4,
                          .csr = c->csr,
                          .split_tokens = c->split,
                          .lse = true,
                          .seed = 91};
}

static void make_turns(fixture *f, uint32_t rope) {
    clmla_config config;
    uint64_t turns[CLMLA_MAX_ROPE_DIM / 2];
    clmla_config_init(&config);
    config.hidden_size = 64;
    config.head_count = 4;
    config.layer_count = 1;
    config.kv_lora_rank = 16;
    config.qk_nope_head_dim = 8;
    config.v_head_dim = 8;
    config.qk_rope_head_dim = rope;
    config.context_tokens = 4096;
    TEST_OK(clmla_rope_turns(turns, &config));
    test_buffer_make(&f->turns, rope / 2 * sizeof *turns, turns);
}

// Zero, near and far, of both signs; entries that are not in use have what reading would show.
static void make_deltas(fixture *f, int32_t deltas[ENTRIES_MOST]) {
    static const int32_t some[] = {0, -1, 64, -4095, 131071, 0, 1000000, -2147483647, 7};
    size_t entries = f->attend.table.bytes / sizeof(int32_t);
    TEST_ASSERT(entries <= ENTRIES_MOST, "%zu entries", entries);
    for (size_t e = 0; e < entries; e++) deltas[e] = some[e * 5 % 9];
    test_buffer_make(&f->deltas, entries * sizeof *deltas, deltas);
}

// A key's rope part in double, turned as complex numbers: (a + bi)(cos + i sin).
static void turn(double *row, const shift_case *c, int32_t delta) {
    double *rope = row + c->latent;
    for (uint32_t pair = 0; pair < c->rope / 2; pair++) {
        bool halves = c->order == CLMLA_ROPE_HALVES;
        double *a = &rope[halves ? pair : 2 * pair], *b = &rope[halves ? pair + c->rope / 2 : 2 * pair + 1], x = *a;
        double angle = delta * pow(THETA, -2.0 * pair / c->rope);
        *a = x * cos(angle) - *b * sin(angle);
        *b = x * sin(angle) + *b * cos(angle);
    }
}

static size_t first_entry(const attend_fixture *f, uint32_t sequence) {
    if (f->shape.csr) return (size_t)((const int32_t *)(const void *)f->indptr.initial)[sequence];
    return (size_t)(sequence * f->params.page_table_stride);
}

static void make(fixture *f, const shift_case *c) {
    attend_shape shape = shape_of(c);
    int32_t deltas[ENTRIES_MOST];
    *f = (fixture){0};
    attend_make(&f->attend, &shape);
    f->attend.params.rows.layout.rope_order = c->order;
    make_turns(f, c->rope);
    make_deltas(f, deltas);
    f->attend.params.page_deltas = f->deltas.view;
    f->attend.params.rope_turns = f->turns.view;
    double *row = f->attend.stored[0]; // key after key
    for (uint32_t i = 0; i < shape.sequences; i++)
        for (uint32_t j = 0; j < shape.kv_tokens[i]; j++, row += c->latent + c->rope)
            turn(row, c, deltas[first_entry(&f->attend, i) + j / shape.page_tokens]);
}

static void finish(fixture *f) {
    attend_finish(&f->attend);
    test_buffer_free(&f->deltas);
    test_buffer_free(&f->turns);
}

START_TEST(turns_shifted_pages) {
    const shift_case *c = &cases[_i];
    fixture f;
    if (test_device_get()->short_form && (c->latent > 64 || _i % 2)) return;
    test_case_begin("attend shift", _i, "%s %u + %u, order %d, csr %d, split %u", clmla_row_format_name(c->format),
                    c->latent, c->rope, (int)c->order, c->csr, c->split);
    make(&f, c);
    attend_check_variants(&f.attend);
    finish(&f);
}
END_TEST

static void check_fast(const shift_case *c, int number, const char *variant) {
    fixture f;
    test_case_begin("attend shift", 100 + number, "fast compute, %s, %u + %u", variant, c->latent, c->rope);
    make(&f, c);
    f.attend.shape.compute = CLMLA_COMPUTE_FAST;
    attend_expect(&f.attend);
    attend_plan(&f.attend, variant);
    test_run_twice(&f.attend.run);
    attend_compare_fast(&f.attend, variant, INT8_COSINE);
    finish(&f);
}

// Variants of fast compute round turned rope parts to bytes, or to bf16, again. Widths of check_attend_fast, whose
// programs these are.
START_TEST(turns_shifted_pages_in_fast_compute) {
    static const shift_case fast[] = {{CLMLA_ROWS_Q8, CLMLA_ROPE_HALVES, 128, 64, 0, false, 0},
                                      {CLMLA_ROWS_Q8, CLMLA_ROPE_INTERLEAVED, 128, 6, 0, true, 7},
                                      {CLMLA_ROWS_Q5, CLMLA_ROPE_HALVES, 128, 6, 0, false, 0}};
    for (int c = 0; c < 3; c++) {
        if (test_device_get()->short_form && c != 1) continue;
        clmla_variant variants[TEST_VARIANTS_MAX];
        clmla_shape shape = {.format = fast[c].format, .latent_dim = fast[c].latent, .rope_dim = fast[c].rope,
                             .compute = CLMLA_COMPUTE_FAST};
        size_t count = 0;
        TEST_OK(clmla_variant_list_tried(variants, TEST_VARIANTS_MAX, &count, test_device_get()->context,
                                         CLMLA_OP_ATTEND, &shape));
        for (size_t i = 0; i < count; i++)
            if (test_variant_is_fast(&variants[i])) check_fast(&fast[c], c, variants[i].name);
    }
}
END_TEST

#define REFUSED(change, word)                                                                                          \
    TEST_REFUSED(&f.attend.run, clmla_attend_params, &f.attend.params, f.attend.params.change, word)

START_TEST(refuses_wrong_deltas) {
    fixture f;
    test_case_begin("attend shift", 0, "refused");
    make(&f, &cases[4]);
    attend_plan(&f.attend, NULL);
    REFUSED(page_deltas = test_buffer_tiny(), "attend: page_deltas");
    REFUSED(page_deltas.offset += 2, "attend: page_deltas");
    REFUSED(rope_turns = test_buffer_tiny(), "attend: rope_turns");
    REFUSED(rope_turns.memory = NULL, "attend: rope_turns");
    REFUSED(rope_turns.offset += 4, "attend: rope_turns");
    finish(&f);
}
END_TEST

// Rows that are rotated where they lie, and rows that have nothing to rotate.
START_TEST(refuses_rows_without_deltas) {
    static const shift_case plain[] = {{CLMLA_ROWS_F16, CLMLA_ROPE_HALVES, 37, 6, 0, false, 0},
                                       {CLMLA_ROWS_Q6, CLMLA_ROPE_HALVES, 64, 0, 0, false, 0},
                                       {CLMLA_ROWS_Q6, CLMLA_ROPE_HALVES, 64, 3, 0, false, 0}};
    static const char *const words[] = {"f16 rows are rotated where they lie", "rows of 0 rope values",
                                        "rows of 3 rope values"};
    for (int i = 0; i < 3; i++) {
        fixture f = {0};
        attend_shape shape = shape_of(&plain[i]);
        int32_t deltas[ENTRIES_MOST];
        test_case_begin("attend shift", i, "%s", words[i]);
        attend_make(&f.attend, &shape);
        make_turns(&f, 64);
        make_deltas(&f, deltas);
        f.attend.params.rope_turns = f.turns.view;
        attend_plan(&f.attend, NULL);
        REFUSED(page_deltas = f.deltas.view, words[i]);
        finish(&f);
    }
}
END_TEST

static void add(TCase *tcase) {
    if (test_device_is_portable()) {
        tcase_add_test(tcase, turns_shifted_pages_in_fast_compute);
        return;
    }
    tcase_add_loop_test(tcase, turns_shifted_pages, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tcase, turns_shifted_pages_in_fast_compute);
    tcase_add_test(tcase, refuses_wrong_deltas);
    tcase_add_test(tcase, refuses_rows_without_deltas);
}

int main(void) {
    return test_main("check_attend_shift", add);
}
