// SPDX-License-Identifier: Apache-2.0
// attend over rows and page tables: every variant over shapes, formats, masks, types, ways to lie and worst cases,
// against tests/ref/ref_attend.c. A pairwise-covering set; with CLMLA_TEST_FULL=1 the product of what schedules depend
// on, of which CLMLA_TEST_SHARD=i/n takes the i-th (0 ..) of n shares.
#include "tests/kernel/attend_fixture.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS,
    HEADS,
    KV_HEADS,
    BATCH,
    LENGTHS,
    QUERIES,
    MASK,
    RANKS,
    PAGE,
    TABLE,
    QUERY_TYPE,
    QUERY_FORM,
    OUTPUT,
    LSE,
    SOFTCAP,
    SINK,
    SCORES,
    LAYOUT,
    SPLIT,
    FACTORS
};

static const struct {
    uint32_t latent, rope, value;
} widths[] = {{512, 64, 0}, {512, 0, 0}, {448, 64, 512}, {256, 64, 0}, {256, 32, 0},
              {64, 16, 70}, {37, 6, 0},  {37, 6, 43},    {5, 2, 6},    {1, 0, 0}};
#define WIDTHS ((int)(sizeof widths / sizeof *widths))

// Formats and widths of the pairwise sets: each pair of them is a program to compile, so not all meet. Of up to FEW
// heads for a key attend_vector is another program, which takes drivers twice as long: those have a set of their own,
// of every format too. The product's follow.
static const struct {
    clmla_row_format format;
    int width;
} rows[] = {{CLMLA_ROWS_F32, 0},       {CLMLA_ROWS_F16, 0},       {CLMLA_ROWS_F16, 1},  {CLMLA_ROWS_F16, 3},
            {CLMLA_ROWS_F16, 8},       {CLMLA_ROWS_BF16, 2},      {CLMLA_ROWS_FP8, 0},  {CLMLA_ROWS_FP8_FLAT, 5},
            {CLMLA_ROWS_FP8_PAGED, 2}, {CLMLA_ROWS_FP8_PAGED, 7}, {CLMLA_ROWS_Q8, 0},   {CLMLA_ROWS_Q6, 3},
            {CLMLA_ROWS_Q5, 0},        {CLMLA_ROWS_Q5, 6},        {CLMLA_ROWS_Q4, 5}, // and of few heads:
            {CLMLA_ROWS_F32, 9},       {CLMLA_ROWS_F16, 8},       {CLMLA_ROWS_BF16, 4}, {CLMLA_ROWS_FP8, 0},
            {CLMLA_ROWS_FP8_FLAT, 5},  {CLMLA_ROWS_FP8_PAGED, 7}, {CLMLA_ROWS_Q8, 0},   {CLMLA_ROWS_Q6, 3},
            {CLMLA_ROWS_Q5, 6},        {CLMLA_ROWS_Q4, 5}};
#define ROWS_PAIRWISE ((int)(sizeof rows / sizeof *rows))
#define ROWS_FEW 10
#define ROWS_MANY (ROWS_PAIRWISE - ROWS_FEW)

// Of few programs: every format with many heads or with few, beside f16 and q8 with few in serves_few_rows, and in each
// set a row narrow enough for every batch. The short form has no wide rows, and f16 in the single cases.
static const int kept_many[] = {0, 1, 4, 5, 6, 9, 10, 13}, kept_few[] = {15, 19, 22, 24},
                 kept_short_many[] = {7, 9, 13, 14}, kept_short_few[] = {15};
#define KEPT(list) (int)(sizeof(list) / sizeof *(list))

#define FEW 4u
static const uint32_t many_heads[] = {5, 9, 12, 16, 20, 40, 63, 64, 96}, few_heads[] = {1, 2, 3, 4, 8, 12, 16, 24};
static const uint32_t head_counts[] = {1, 2, 3, 4, 5, 9, 12, 16, 20, 40, 63, 64, 96, 126, 128},
                      kv_head_counts[] = {1, 2, 3, 8};
static const uint32_t batches[] = {1, 2, 6, 64, 128};
static const uint32_t pages[] = {0, 1, 2, 16, 53, 64, 69, 576}; // 0 = contiguous
static const uint32_t splits[] = {0, 7, 50};
static const clmla_context_parallel ranks[] = {{0, 1, 1}, {1, 2, 1}, {0, 3, 16}, {2, 3, 5}};

// Of each sequence: all alike, spread about a mean with half of them empty, and around the ends of pages and blocks.
enum { LENGTHS_0, LENGTHS_1, LENGTHS_20, LENGTHS_140, LENGTHS_2000, LENGTHS_HALF, LENGTHS_EDGES, LENGTHS_KINDS };
enum { QUERIES_1, QUERIES_2, QUERIES_4, QUERIES_17, QUERIES_RAGGED, QUERIES_KINDS };
enum { MASK_CAUSAL, MASK_FULL, MASK_WINDOW_1, MASK_WINDOW_5, MASK_WINDOW_60, MASK_FULL_WINDOW, MASK_KINDS };
enum { OUTPUT_F32, OUTPUT_F32_PADDED, OUTPUT_F16, OUTPUT_BF16_HEADS_FIRST, OUTPUT_NONE, OUTPUT_KINDS };
enum { LSE_NONE, LSE_NATURAL, LSE_BASE2, LSE_MAX, LSE_KINDS };

static uint32_t length_of(int kind, uint32_t i, const attend_shape *s) {
    static const uint32_t equal[] = {0, 1, 20, 140, 2000};
    uint32_t page = s->page_tokens ? s->page_tokens : 32;
    const uint32_t edges[] = {page - 1, page, page + 1, 2 * page + 1, 47, 48, 49, 97, 200, 24, 7};
    if (kind == LENGTHS_2000 && i % 32) return 20; // of large batches a few
    if (kind < LENGTHS_HALF) return equal[kind];
    if (kind == LENGTHS_EDGES) return edges[i % (sizeof edges / sizeof *edges)];
    test_random random = test_random_make(s->seed + i);
    double length = 60.0 + 30.0 * test_random_normal(&random);
    return test_random_below(&random, 2) || length < 1.0 ? 0 : (uint32_t)length;
}

// Also more tokens than keys: the first of them see nothing.
static uint32_t queries_of(int kind, uint32_t i) {
    static const uint32_t equal[] = {1, 2, 4, 17}, ragged[] = {1, 0, 3, 2, 9};
    return kind == QUERIES_RAGGED ? ragged[i % 5] : equal[kind];
}

static void choose_mask(attend_shape *s, int kind) {
    static const uint32_t windows[MASK_KINDS] = {0, 0, 1, 5, 60, 30};
    s->full = kind == MASK_FULL || kind == MASK_FULL_WINDOW;
    s->window = windows[kind];
}

static void choose_results(attend_shape *s, int output, int lse) {
    s->output_type = output == OUTPUT_F16                ? CLMLA_TYPE_F16
                     : output == OUTPUT_BF16_HEADS_FIRST ? CLMLA_TYPE_BF16
                                                         : CLMLA_TYPE_NONE;
    s->output_form = output == OUTPUT_F32_PADDED         ? ATTEND_PADDED
                     : output == OUTPUT_BF16_HEADS_FIRST ? ATTEND_HEADS_FIRST
                                                         : ATTEND_DENSE;
    s->no_output = output == OUTPUT_NONE;
    s->lse = lse == LSE_NATURAL || lse == LSE_BASE2;
    s->base2 = lse == LSE_BASE2;
    s->max_logit = lse == LSE_BASE2 || lse == LSE_MAX;
}

// From the chosen kv heads on, the first that divide the heads and leave few for each, or many.
static uint32_t kv_heads_of(int chosen, uint32_t heads, bool few) {
    for (int i = 0; i < 4; i++) {
        uint32_t count = kv_head_counts[(chosen + i) % 4];
        if (heads % count == 0 && (heads / count <= FEW) == few) return count;
    }
    return 1;
}

static void choose_heads(attend_shape *s, const int *chosen) {
    bool few = chosen[ROWS] >= ROWS_MANY;
    if (chosen[ROWS] < ROWS_PAIRWISE) {
        s->heads = few ? few_heads[chosen[HEADS]] : many_heads[chosen[HEADS]];
        s->kv_heads = kv_heads_of(chosen[KV_HEADS], s->heads, few);
    } else {
        uint32_t kv_heads = kv_head_counts[chosen[KV_HEADS]];
        s->heads = head_counts[chosen[HEADS]];
        s->kv_heads = s->heads % kv_heads == 0 ? kv_heads : 1;
    }
}

static attend_shape shape_of(const int *chosen, uint64_t seed) {
    bool listed = chosen[ROWS] < ROWS_PAIRWISE;
    int other = chosen[ROWS] - ROWS_PAIRWISE, width = listed ? rows[chosen[ROWS]].width : other % WIDTHS;
    attend_shape s = {
        .format = listed ? rows[chosen[ROWS]].format : (clmla_row_format)(other / WIDTHS),
        .latent = widths[width].latent,
        .rope = widths[width].rope,
        .value = widths[width].value,
        .sequences = batches[chosen[BATCH]],
        .page_tokens = pages[chosen[PAGE]],
        .csr = chosen[TABLE],
        .layout = (test_rows_layout)chosen[LAYOUT],
        .scores = (attend_scores)chosen[SCORES],
        .split_tokens = splits[chosen[SPLIT]],
        .parallel = ranks[chosen[RANKS]],
        .query_type = (clmla_type)(CLMLA_TYPE_F32 + chosen[QUERY_TYPE]),
        .query_form = (attend_form)chosen[QUERY_FORM],
        .softcap = chosen[SOFTCAP] ? 20.0f : 0.0f,
        .sink = (attend_sink)chosen[SINK],
        .seed = seed,
    };
    choose_heads(&s, chosen);
    choose_mask(&s, chosen[MASK]);
    choose_results(&s, chosen[OUTPUT], chosen[LSE]);
    for (uint32_t i = 0; i < s.sequences; i++) {
        s.kv_tokens[i] = length_of(chosen[LENGTHS], i, &s);
        s.query_tokens[i] = queries_of(chosen[QUERIES], i);
    }
    return s;
}

// Rows of doubles the reference keeps, and rows on the device.
static uint64_t values_of(const attend_shape *s) {
    uint64_t keys = 0, queries = 0;
    for (uint32_t i = 0; i < s->sequences; i++) {
        keys += s->kv_tokens[i] + s->page_tokens;
        queries += s->query_tokens[i];
    }
    return (keys * s->kv_heads + 2 * queries * s->heads) * (s->latent + s->rope);
}

static bool affordable(const attend_shape *s, uint64_t cost, uint64_t values) {
    return attend_cost(s) <= cost && values_of(s) <= values;
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    attend_shape s = shape_of(chosen, 0);
    if (test_device_get()->short_form) return affordable(&s, 60000, 40000) && s.latent + s.rope < 128;
    return affordable(&s, 12000000, 4000000);
}

// Each set counts its rows from 0 on: those of few heads follow the others in the list.
static void choose_rows(int out[FACTORS], const int *chosen, bool few) {
    const test_device *device = test_device_get();
    memcpy(out, chosen, FACTORS * sizeof *out);
    if (device->short_form)
        out[ROWS] = few ? kept_short_few[chosen[ROWS]] : kept_short_many[chosen[ROWS]];
    else if (device->few_programs)
        out[ROWS] = few ? kept_few[chosen[ROWS]] : kept_many[chosen[ROWS]];
    else if (few)
        out[ROWS] += ROWS_MANY;
}

static bool accept_many(const int *chosen, const void *payload) {
    int many[FACTORS];
    choose_rows(many, chosen, false);
    return accept(many, payload);
}

static bool accept_few(const int *chosen, const void *payload) {
    int few[FACTORS];
    choose_rows(few, chosen, true);
    return accept(few, payload);
}

static void run_shape(const char *family, int number, const int *chosen, uint64_t seed) {
    attend_shape s = shape_of(chosen, seed);
    test_case_begin(
        family, number,
        "%s %u + %u (%u), heads %u of %u kv, batch %u, lengths %d, queries %d, mask %d, rank %u of %u by %u, page %u "
        "csr %d, query type %d form %d, output %d, lse %d, softcap %g, sink %d, scores %d, layout %d, split %u",
        clmla_row_format_name(s.format), s.latent, s.rope, s.value, s.heads, s.kv_heads, s.sequences, chosen[LENGTHS],
        chosen[QUERIES], chosen[MASK], s.parallel.rank, s.parallel.world, s.parallel.interleave, s.page_tokens, s.csr,
        (int)s.query_type, (int)s.query_form, chosen[OUTPUT], chosen[LSE], (double)s.softcap, (int)s.sink,
        (int)s.scores, (int)s.layout, s.split_tokens);
    attend_fixture f;
    attend_make(&f, &s);
    attend_check_variants(&f);
    attend_finish(&f);
}

static void run_many(int number, const int *chosen) {
    int many[FACTORS];
    choose_rows(many, chosen, false);
    run_shape("attend", number, many, (uint64_t)number + 8000);
}

static void run_few(int number, const int *chosen) {
    int few[FACTORS];
    choose_rows(few, chosen, true);
    run_shape("attend, few heads", number, few, (uint64_t)number + 8500);
}

// ROWS and HEADS are the set's.
#define PAIRWISE(rows, heads)                                                                                          \
    {                                                                                                                  \
        rows, heads, 4, 5, LENGTHS_KINDS, QUERIES_KINDS, MASK_KINDS, 4, 8, 2, 3, ATTEND_FORMS, OUTPUT_KINDS,           \
            LSE_KINDS, 2, ATTEND_SINKS, ATTEND_SCORES, TEST_ROWS_LAYOUTS, 3                                            \
    }
static const pairwise of_many = {
    .factor_count = FACTORS, .levels = PAIRWISE(ROWS_MANY, 9), .accept = accept_many, .short_cases = 6, .seed = 18};
static const pairwise of_few = {
    .factor_count = FACTORS, .levels = PAIRWISE(ROWS_FEW, 8), .accept = accept_few, .short_cases = 4, .seed = 19};

// --- the product

// Formats and what the schedule depends on go through all its levels; the rest is drawn for each case.
static const int levels[FACTORS] = PAIRWISE(CLMLA_ROW_FORMAT_COUNT, 15);
static const int product[] = {BATCH, LENGTHS, QUERIES, HEADS, MASK};
#define PRODUCT (sizeof product / sizeof *product)

static void choose_product(int chosen[FACTORS], uint64_t number) {
    test_random random = test_random_make(number + 90000);
    uint64_t format = number % CLMLA_ROW_FORMAT_COUNT;
    number /= CLMLA_ROW_FORMAT_COUNT;
    for (int f = 0; f < FACTORS; f++) chosen[f] = (int)test_random_below(&random, (uint32_t)levels[f]);
    for (size_t i = 0; i < PRODUCT; i++) {
        chosen[product[i]] = (int)(number % (uint64_t)levels[product[i]]);
        number /= (uint64_t)levels[product[i]];
    }
    chosen[ROWS] = ROWS_PAIRWISE + (int)format * WIDTHS + (int)test_random_below(&random, (uint32_t)WIDTHS);
}

static void run_product(void) {
    const char *shard = getenv("CLMLA_TEST_SHARD");
    unsigned first = 0, step = 1;
    uint64_t count = CLMLA_ROW_FORMAT_COUNT, ran = 0, costly = 0;
    TEST_ASSERT(!shard || (sscanf(shard, "%u/%u", &first, &step) == 2 && step > 0),
                "CLMLA_TEST_SHARD must be i/n, not %s", shard);
    for (size_t i = 0; i < PRODUCT; i++) count *= (uint64_t)levels[product[i]];
    for (uint64_t number = 0; number < count; number++) {
        int chosen[FACTORS];
        test_random random = test_random_make(number + 70000);
        if (test_random_bits(&random) % step != first) continue; // so that a shard has something of every factor
        choose_product(chosen, number);
        attend_shape s = shape_of(chosen, 0);
        if (!affordable(&s, 1000000000, 300000000)) {
            costly++;
            continue;
        }
        if (!test_case_wanted((int)number)) continue;
        run_shape("attend", (int)number, chosen, number + 8000);
        ran++;
    }
    printf("attend: %llu of the product's %llu cases, %llu too costly\n", (unsigned long long)ran,
           (unsigned long long)count, (unsigned long long)costly);
}

static void run_set(const pairwise *of, const char *family, void (*run)(int number, const int *chosen), int kept,
                    int kept_short) {
    const test_device *device = test_device_get();
    pairwise set = *of;
    if (test_left_out(device->few_programs, "%s: %d of %d pairs of a format and widths", family,
                      of->levels[ROWS] - (device->short_form ? kept_short : kept), of->levels[ROWS]))
        set.levels[ROWS] = device->short_form ? kept_short : kept;
    pairwise_run(&set, family, run);
}

START_TEST(matches_the_reference) {
    const char *full = getenv("CLMLA_TEST_FULL");
    if (full && strcmp(full, "1") == 0) {
        run_product();
    } else {
        run_set(&of_many, "attend", run_many, KEPT(kept_many), KEPT(kept_short_many));
        run_set(&of_few, "attend, few heads", run_few, KEPT(kept_few), KEPT(kept_short_few));
    }
}
END_TEST

// --- single cases

static attend_shape small(void) {
    return (attend_shape){.format = CLMLA_ROWS_F16,
                          .latent = 37,
                          .rope = 6,
                          .heads = 5,
                          .sequences = 3,
                          .query_tokens = {1, 3, 2},
                          .kv_tokens = {9, 30, 1},
                          .page_tokens = 4,
                          .lse = true,
                          .seed = 77};
}

// Keys of a page number that is none count as not there, in the middle of a sequence too.
START_TEST(leaves_missing_pages_out) {
    attend_shape s = small();
    s.missing_page = true;
    for (uint32_t split = 0; split < 20; split += 3) {
        attend_fixture f;
        s.split_tokens = split;
        s.csr = split % 2;
        s.heads = split % 4 ? 5 : 1;
        test_case_begin("attend missing page", 0, "split %u, heads %u", split, s.heads);
        attend_make(&f, &s);
        attend_check_variants(&f);
        attend_finish(&f);
    }
}
END_TEST

// Index pointers that lead out of the table, or backwards: what is not in it is not there.
START_TEST(reads_no_table_entry_outside) {
    static const int32_t wrong[][2] = {{-5, 2}, {100, 2000000000}, {4, 3}, {INT32_MIN, INT32_MAX}};
    attend_shape s = small();
    s.csr = true;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        attend_fixture f;
        test_case_begin("attend index pointers", (int)i, "[%d, %d) of a table of 14", wrong[i][0], wrong[i][1]);
        s.sequences = 2;
        s.kv_tokens[1] = 0;
        attend_make(&f, &s);
        // All of the table is in use: 3 entries of garbage, then the pages of sequence 0. Sequence 1 has no keys.
        memcpy(f.indptr.initial, wrong[i], sizeof wrong[i]);
        test_buffer_reset(&f.indptr);
        int64_t first = wrong[i][0] > 0 ? wrong[i][0] : 0, end = wrong[i][1];
        if (end > (int64_t)f.params.page_table_count) end = (int64_t)f.params.page_table_count;
        const int32_t *table = (const int32_t *)(const void *)f.table.initial;
        for (int64_t j = 0; j < 9; j++) { // where page table[first + p] is one of the sequence's own, its keys are seen
            attend_keys(&f, 0, 0)[j] = NULL;
            for (int64_t p = 0; first + j / 4 < end && p < 3; p++)
                if (table[first + j / 4] == table[3 + p] && p * 4 + j % 4 < 9)
                    attend_keys(&f, 0, 0)[j] = f.stored[0] + (p * 4 + j % 4) * 43;
        }
        attend_check_variants(&f);
        attend_finish(&f);
    }
}
END_TEST

// What a query may not see does not touch it, and what it sees does: a NaN in the newest key shows in the newest token,
// and one that a window has left behind does not.
static void check_nan(const attend_shape *s, size_t key, int part) {
    attend_fixture f;
    attend_make(&f, s);
    double *row = f.stored[0] + (9 + key) * 43;
    float values[43];
    for (int i = 0; i < 43; i++) values[i] = (float)row[i];
    values[part ? 40 : 3] = NAN;
    int32_t page = ((const int32_t *)(const void *)f.table.initial)[f.params.page_table_stride + key / 4];
    test_rows_store(row, &f.rows, (uint64_t)page, key % 4, values);
    test_rows_upload(&f.rows);
    attend_check_variants(&f);
    attend_finish(&f);
}

static void check_nans(uint32_t heads) {
    attend_shape s = small();
    s.heads = heads;
    for (int part = 0; part < 2; part++) {
        test_case_begin("attend NaN", part, "heads %u, in the %s part of the newest key", heads,
                        part ? "rope" : "latent");
        check_nan(&s, 29, part);
    }
    s.window = 4;
    for (int part = 0; part < 4; part++) {
        test_case_begin("attend NaN", 2 + part, "heads %u, window 4, in the %s part of key %d", heads,
                        part % 2 ? "rope" : "latent", 24 + part / 2);
        check_nan(&s, 24 + (size_t)part / 2, part % 2);
    }
}

// Of 1 head the 3 tokens are few rows, which go through their keys another way.
START_TEST(shows_a_nan_to_those_who_see_it) {
    check_nans(5);
    check_nans(1);
}
END_TEST

// 1 to 4 rows, which see the same keys or not, of rows that are read where they lie and of rows that are converted
// first; enough keys for many blocks, and parts that end amid one.
static void check_few(clmla_row_format format, uint32_t heads, uint32_t tokens, uint32_t window) {
    attend_shape s = {.format = format,
                      .latent = 64,
                      .rope = 16,
                      .value = 70,
                      .heads = heads,
                      .sequences = 4,
                      .query_tokens = {tokens, tokens, tokens, tokens},
                      .kv_tokens = {1, 24, 301, test_device_get()->short_form ? 49 : 1000},
                      .page_tokens = 16,
                      .window = window,
                      .softcap = heads == 2 ? 20.0f : 0.0f,
                      .lse = true,
                      .max_logit = true,
                      .seed = heads * 10 + tokens};
    attend_fixture f;
    test_case_begin("attend few rows", (int)(heads * 10 + tokens), "%s, heads %u, tokens %u, window %u",
                    clmla_row_format_name(format), heads, tokens, window);
    attend_make(&f, &s);
    attend_check_variants(&f);
    attend_finish(&f);
}

START_TEST(serves_few_rows) {
    static const clmla_row_format formats[] = {CLMLA_ROWS_F16, CLMLA_ROWS_Q8};
    static const uint32_t rows[][2] = {{1, 1}, {1, 2}, {1, 3}, {1, 4}, {2, 1}, {2, 2}, {3, 1}, {4, 1}}; // heads, tokens
    bool is_short = test_device_get()->short_form;
    size_t step = is_short ? 3 : 1; // 1, 4 and 2 rows
    // Few rows of f16 are in the single cases too.
    for (size_t f = test_left_out(is_short, "few rows of f16 of 64 + 16"); f < sizeof formats / sizeof *formats; f++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r += step)
            for (uint32_t window = 0; window < 200; window += 110)
                check_few(formats[f], rows[r][0], rows[r][1], window);
}
END_TEST

// A page that two sequences share, and a table with a sequence twice: reading is all attend does.
START_TEST(reads_shared_pages) {
    attend_shape s = small();
    attend_fixture f;
    test_case_begin("attend shared pages", 0, "sequence 0 reads the first pages of sequence 1");
    s.kv_tokens[0] = 12;
    attend_make(&f, &s);
    int32_t *table = (int32_t *)(void *)f.table.initial;
    for (int p = 0; p < 3; p++) table[p] = table[f.params.page_table_stride + (uint64_t)p];
    memcpy(attend_keys(&f, 0, 0), attend_keys(&f, 1, 0), 12 * sizeof(double *));
    test_buffer_reset(&f.table);
    attend_check_variants(&f);
    attend_finish(&f);
}
END_TEST

// Rows so wide that a variant may refuse them, and every variant that accepts must serve them.
START_TEST(serves_the_widest_rows) {
    attend_shape s = {.format = CLMLA_ROWS_BF16,
                      .latent = 2040,
                      .rope = 10,
                      .heads = 5,
                      .sequences = 1,
                      .query_tokens = {2},
                      .kv_tokens = {5},
                      .page_tokens = 2,
                      .lse = true,
                      .seed = 3};
    attend_fixture f;
    test_case_begin("attend wide", 0, "2040 + 10");
    if (test_left_out(test_device_get()->short_form, "the widest rows")) return;
    attend_make(&f, &s);
    attend_check_variants(&f);
    attend_finish(&f);
}
END_TEST

// A plan with a capacity launches its largest grids; the kernels go by the counts on the device.
static void check_capacity(attend_fixture *f, const char *variant, bool on_device) {
    const test_device *device = test_device_get();
    const attend_shape *s = &f->shape;
    clmla_plan_params params = {.head_count = s->heads,
                                .layout = f->rows.view.layout,
                                .capacity = {s->sequences, f->tokens, 100},
                                .attend_variant = variant};
    clmla_lengths lengths = attend_lengths(f);
    test_buffer query, kv;
    test_buffer_make(&query, s->sequences * sizeof(uint32_t), s->query_tokens);
    test_buffer_make(&kv, s->sequences * sizeof(uint32_t), s->kv_tokens);
    clmla_device_lengths on = {s->sequences, query.view, kv.view};
    clmla_plan_destroy(&f->plan);
    TEST_OK(clmla_plan_create(&f->plan, device->context, &params));
    if (on_device)
        TEST_OK(clmla_plan_update_device(f->plan, &on, device->queue, 0, NULL, NULL));
    else
        TEST_OK(clmla_plan_update_lengths(f->plan, &lengths, device->queue, 0, NULL, NULL));
    test_run_twice(&f->run);
    attend_compare(f, variant);
    test_buffer_free(&query);
    test_buffer_free(&kv);
}

START_TEST(serves_plans_with_a_capacity) {
    attend_shape s = small();
    attend_fixture f;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = attend_variant_shape(&s);
    s.kv_tokens[1] = 90; // so that something is split
    attend_make(&f, &s);
    attend_expect(&f);
    size_t count = test_variants(variants, CLMLA_OP_ATTEND, &shape);
    for (size_t i = 0; i < count; i++)
        for (int on_device = 0; variants[i].accepted && on_device < 2; on_device++) {
            test_case_begin("attend capacity", 0, "%s, lengths on the %s", variants[i].name,
                            on_device ? "device" : "host");
            check_capacity(&f, variants[i].name, on_device);
        }
    attend_finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, leaves_missing_pages_out);
    tcase_add_test(tcase, reads_no_table_entry_outside);
    tcase_add_test(tcase, shows_a_nan_to_those_who_see_it);
    tcase_add_test(tcase, serves_few_rows);
    tcase_add_test(tcase, reads_shared_pages);
    tcase_add_test(tcase, serves_the_widest_rows);
    tcase_add_test(tcase, serves_plans_with_a_capacity);
}

int main(void) {
    return test_main("check_attend", add);
}
