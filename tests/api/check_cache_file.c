// SPDX-License-Identifier: Apache-2.0
// Saved and loaded sequences are the same sequences: rows, positions, ids, attention, and what they share.
#include "tests/api/cache_scene.h"
#include "tests/api/expect.h"
#include "tests/host/folder.h"
#include "tests/support/buffer.h"
#include <stdio.h>
#include <stdlib.h>

#define ALL_SEQUENCES 6
#define ATTENDED (SCENE_HEADS * (SCENE_LATENT + 1))

typedef struct trip {
    clmla_row_format format;
    uint32_t from_page, to_page;
} trip;

// Each format with two pairs of page sizes, the same one among them.
enum { TRIPS = 2 * CLMLA_ROW_FORMAT_COUNT };

static trip trip_of(int number) {
    static const uint32_t pages[][2] = {{16, 7}, {7, 16}, {1, 64}, {64, 1}, {16, 16}, {8, 3}, {5, 16}};
    size_t pair = (size_t)number * 3 % (sizeof pages / sizeof *pages);
    return (trip){(clmla_row_format)(number % CLMLA_ROW_FORMAT_COUNT), pages[pair][0], pages[pair][1]};
}

// 37 tokens; a fork of them with 9 more; a fork cut to 20; 30 tokens with some taken out of the middle; 18 tokens, the
// first 10 shifted, and 3 more; none.
static void make_sequences(clmla_sequence *out, clmla_cache *cache) {
    test_random random = test_random_make(11);
    clmla_context *context = test_device_get()->context;
    out[0] = scene_create(cache);
    scene_append(context, cache, out[0], 37, &random);
    TEST_OK(clmla_cache_sequence_fork(&out[1], cache, out[0]));
    scene_append(context, cache, out[1], 9, &random);
    TEST_OK(clmla_cache_sequence_fork(&out[2], cache, out[0]));
    TEST_OK(clmla_cache_sequence_truncate(cache, out[2], 20));
    out[3] = scene_create(cache);
    scene_append(context, cache, out[3], 30, &random);
    TEST_OK(clmla_cache_sequence_remove(cache, out[3], 5, 12));
    out[4] = scene_create(cache);
    scene_append(context, cache, out[4], 18, &random);
    TEST_OK(clmla_cache_sequence_shift(cache, out[4], 0, 10, 100));
    scene_append(context, cache, out[4], 3, &random);
    out[5] = scene_create(cache);
}

static void expect_equal_sequences(clmla_cache *found, const clmla_sequence *ids, clmla_cache *expected,
                                   const clmla_sequence *expected_ids, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        scene_rows a, b;
        scene_read(&a, found, ids[i]);
        scene_read(&b, expected, expected_ids[i]);
        scene_expect_equal(&a, &b);
        scene_rows_free(&a);
        scene_rows_free(&b);
    }
}

// Rows were compared byte for byte: attention shows that pages and lengths are told of them, in two formats that
// check_attend.c has of these widths too. Each of the others would be a program to compile.
static void expect_equal_attention(clmla_cache *found, const clmla_sequence *ids, clmla_cache *expected,
                                   const clmla_sequence *expected_ids, clmla_row_format format) {
    if (format != CLMLA_ROWS_F16 && format != CLMLA_ROWS_Q5) return;
    for (uint32_t i = 0; i < 3; i++) { // those without short pages
        float a[ATTENDED], b[ATTENDED];
        scene_attend(a, test_device_get()->context, found, ids[i]);
        scene_attend(b, test_device_get()->context, expected, expected_ids[i]);
        TEST_ASSERT(memcmp(a, b, sizeof a) == 0, "attention over sequence %u differs", i);
    }
}

START_TEST(all_sequences_come_back) {
    const trip made = trip_of(_i), *t = &made;
    clmla_context *context = test_device_get()->context;
    clmla_sequence saved[ALL_SEQUENCES], loaded[ALL_SEQUENCES], again[ALL_SEQUENCES];
    size_t bytes, bytes_again, count = 0;
    test_case_begin("cache file", _i, "%s, pages of %u to %u", clmla_row_format_name(t->format), t->from_page,
                    t->to_page);
    clmla_cache *from = scene_cache(context, t->format, t->from_page, 400, false);
    clmla_cache *to = scene_cache(context, t->format, t->to_page, 500, false);
    clmla_cache *back = scene_cache(context, t->format, t->from_page, 400, false);
    make_sequences(saved, from);
    unsigned char *memory = scene_save(&bytes, from, NULL, 0);
    clmla_cache_usage usage = clmla_cache_usage_get(from);

    clmla_sequence other = scene_create(to); // ids need not be the same
    TEST_OK(
        clmla_cache_load_memory(loaded, ALL_SEQUENCES, &count, to, memory, bytes, test_device_get()->queue, 0, NULL));
    ck_assert_uint_eq(count, ALL_SEQUENCES);
    ck_assert_uint_ne(loaded[0], saved[0]);
    expect_equal_sequences(to, loaded, from, saved, ALL_SEQUENCES);
    expect_equal_attention(to, loaded, from, saved, t->format);
    ck_assert_uint_eq(clmla_cache_usage_get(to).tokens, usage.tokens);

    // And from there to a third: what is saved of a loaded cache is the same, but for what shares a page of another
    // size.
    unsigned char *memory_again = scene_save(&bytes_again, to, loaded, ALL_SEQUENCES);
    TEST_OK(clmla_cache_load_memory(again, ALL_SEQUENCES, &count, back, memory_again, bytes_again,
                                    test_device_get()->queue, 0, NULL));
    expect_equal_sequences(back, again, from, saved, ALL_SEQUENCES);
    if (t->from_page == t->to_page) {
        ck_assert_uint_eq(bytes, bytes_again);
        ck_assert_int_eq(memcmp(memory, memory_again, bytes), 0);
        ck_assert_uint_eq(clmla_cache_usage_get(to).pages_shared, usage.pages_shared);
    }
    TEST_OK(clmla_cache_sequence_drop(to, other));
    free(memory);
    free(memory_again);
    clmla_cache_destroy(&from);
    clmla_cache_destroy(&to);
    clmla_cache_destroy(&back);
}
END_TEST

// Loaded sequences can go on: they are lengthened, edited and shifted like any other.
START_TEST(loaded_sequences_live) {
    const trip made = trip_of(_i), *t = &made;
    clmla_context *context = test_device_get()->context;
    clmla_sequence saved[ALL_SEQUENCES], loaded[ALL_SEQUENCES];
    size_t bytes, count = 0;
    test_case_begin("cache file, living on", _i, "%s", clmla_row_format_name(t->format));
    clmla_cache *from = scene_cache(context, t->format, t->from_page, 400, false);
    clmla_cache *to = scene_cache(context, t->format, t->to_page, 400, false);
    make_sequences(saved, from);
    unsigned char *memory = scene_save(&bytes, from, NULL, 0);
    TEST_OK(
        clmla_cache_load_memory(loaded, ALL_SEQUENCES, &count, to, memory, bytes, test_device_get()->queue, 0, NULL));
    clmla_cache *caches[2] = {from, to};
    const clmla_sequence *ids[2] = {saved, loaded};
    for (int k = 0; k < 2; k++) {
        test_random random = test_random_make(12);
        for (int i = 0; i < ALL_SEQUENCES; i++) scene_append(context, caches[k], ids[k][i], 11, &random);
        TEST_OK(clmla_cache_sequence_remove(caches[k], ids[k][1], 3, 30));
        TEST_OK(clmla_cache_sequence_shift(caches[k], ids[k][0], 10, 40, 7));
        TEST_OK(clmla_cache_sequence_shift(caches[k], ids[k][4], 0, 10, -50));
    }
    expect_equal_sequences(to, loaded, from, saved, ALL_SEQUENCES);
    for (int i = 0; i < ALL_SEQUENCES; i++) TEST_OK(clmla_cache_sequence_drop(to, loaded[i]));
    ck_assert_uint_eq(clmla_cache_usage_get(to).pages_free, 400);
    free(memory);
    clmla_cache_destroy(&from);
    clmla_cache_destroy(&to);
}
END_TEST

// Rows of a scaled format keep their codes when positions are shifted: the delta is saved with them.
START_TEST(pending_deltas_are_saved) {
    clmla_context *context = test_device_get()->context;
    test_random random = test_random_make(13);
    size_t bytes, count = 0;
    uint32_t rows = 0;
    clmla_sequence loaded = 0;
    clmla_cache *from = scene_cache(context, CLMLA_ROWS_FP8, 16, 20, false);
    clmla_cache *to = scene_cache(context, CLMLA_ROWS_FP8, 16, 20, false);
    clmla_sequence saved = scene_create(from);
    scene_append(context, from, saved, 40, &random);
    TEST_OK(clmla_cache_sequence_shift(from, saved, 8, 24, 5));
    unsigned char *memory = scene_save(&bytes, from, NULL, 0);
    TEST_OK(clmla_cache_load_memory(&loaded, 1, &count, to, memory, bytes, test_device_get()->queue, 0, NULL));
    // Edited: 8 rows; 8 and 8 shifted; 8 and 8. Loaded they are packed: a page has one delta.
    int32_t pages[2][8];
    size_t page_counts[2];
    TEST_OK(clmla_cache_sequence_pages(pages[0], 8, &page_counts[0], from, saved));
    TEST_OK(clmla_cache_sequence_pages(pages[1], 8, &page_counts[1], to, loaded));
    ck_assert_uint_eq(page_counts[0], 5);
    ck_assert_uint_eq(page_counts[1], 3);
    TEST_OK(clmla_cache_sequence_length(&rows, to, loaded));
    ck_assert_uint_eq(rows, 40);
    size_t again;
    unsigned char *second = scene_save(&again, to, NULL, 0);
    ck_assert_uint_eq(again, bytes);
    ck_assert_int_eq(memcmp(memory, second, bytes), 0); // deltas included
    // Shifted back they are as if nothing had been.
    TEST_OK(clmla_cache_sequence_shift(to, loaded, 8, 24, -5));
    free(second);
    second = scene_save(&again, to, NULL, 0);
    ck_assert_uint_eq(again, bytes - 2 * 12); // one run, not three
    free(memory);
    free(second);
    clmla_cache_destroy(&from);
    clmla_cache_destroy(&to);
}
END_TEST

// Forks are saved once and share again what they shared.
START_TEST(shared_rows_are_saved_once) {
    clmla_context *context = test_device_get()->context;
    test_random random = test_random_make(14);
    clmla_sequence sequences[9], loaded[9];
    size_t alone, all, count = 0;
    clmla_cache *from = scene_cache(context, CLMLA_ROWS_F16, 8, 64, false);
    clmla_cache *to = scene_cache(context, CLMLA_ROWS_F16, 8, 16, false);
    sequences[0] = scene_create(from);
    scene_append(context, from, sequences[0], 60, &random);
    for (int i = 1; i < 9; i++) TEST_OK(clmla_cache_sequence_fork(&sequences[i], from, sequences[0]));
    scene_append(context, from, sequences[8], 1, &random);
    free(scene_save(&alone, from, sequences, 1));
    unsigned char *memory = scene_save(&all, from, NULL, 0);
    clmla_rows rows;
    TEST_OK(clmla_cache_rows(&rows, from, 0));
    // Eight records with one run each, their empty sections, and the rows that are not shared: one page's.
    size_t records = 8 * (24 + 12 + SCENE_LAYERS * 4);
    ck_assert_uint_le(all, alone + records + (size_t)8 * rows.layout.row_bytes * SCENE_LAYERS);
    TEST_OK(clmla_cache_load_memory(loaded, 9, &count, to, memory, all, test_device_get()->queue, 0, NULL));
    clmla_cache_usage usage = clmla_cache_usage_get(to);
    ck_assert_uint_eq(usage.pages_used, 9);
    ck_assert_uint_eq(usage.pages_shared, clmla_cache_usage_get(from).pages_shared);
    expect_equal_sequences(to, loaded, from, sequences, 9);
    free(memory);
    clmla_cache_destroy(&from);
    clmla_cache_destroy(&to);
}
END_TEST

// --- files and streams -----------------------------------------------------------------------------------------------

typedef struct collected {
    unsigned char *bytes;
    size_t count, limit;
} collected;

static bool collect(void *payload, const void *data, size_t bytes) {
    collected *to = payload;
    if (to->count + bytes > to->limit) return false;
    memcpy(to->bytes + to->count, data, bytes);
    to->count += bytes;
    return true;
}

START_TEST(one_sequence_to_a_file) {
    clmla_context *context = test_device_get()->context;
    cl_command_queue queue = test_device_get()->queue;
    clmla_sequence saved[ALL_SEQUENCES], loaded[2];
    clmla_cache_file_info info;
    char path[512], other[512];
    size_t bytes, count = 0;
    const char *folder = test_folder_make();
    snprintf(path, sizeof path, "%s/one.clmla", folder);
    snprintf(other, sizeof other, "%s/two.clmla", folder);
    clmla_cache *from = scene_cache(context, CLMLA_ROWS_BF16, 16, 64, false);
    clmla_cache *to = scene_cache(context, CLMLA_ROWS_BF16, 5, 64, false);
    make_sequences(saved, from);
    TEST_OK(clmla_cache_save(from, &saved[1], 1, path, queue, 0, NULL));
    TEST_OK(clmla_cache_save(from, saved, 2, other, queue, 0, NULL));
    TEST_OK(clmla_cache_save(from, &saved[1], 1, other, queue, 0, NULL)); // over a file that is there
    ck_assert_int_eq(test_folder_files(), 2);

    unsigned char *memory = scene_save(&bytes, from, &saved[1], 1);
    for (int i = 0; i < 2; i++) { // file, stream and memory are the same bytes
        size_t file_bytes;
        unsigned char *file = test_file_read(i ? other : path, &file_bytes);
        ck_assert_uint_eq(file_bytes, bytes);
        ck_assert_int_eq(memcmp(file, memory, bytes), 0);
        free(file);
    }
    collected streamed = {test_allocate(bytes, 1), 0, bytes};
    TEST_OK(clmla_cache_save_stream(collect, &streamed, from, &saved[1], 1, queue, 0, NULL));
    ck_assert_int_eq(memcmp(streamed.bytes, memory, bytes), 0);

    TEST_OK(clmla_cache_file_examine(&info, path));
    ck_assert_uint_eq(info.version, CLMLA_CACHE_FILE_VERSION);
    ck_assert_int_eq(info.format, CLMLA_ROWS_BF16);
    ck_assert_uint_eq(info.bytes, bytes);
    ck_assert_uint_eq(info.sequence_count, 1);
    ck_assert_uint_eq(info.longest_sequence, 46);
    ck_assert_uint_eq(info.tokens, 46);
    ck_assert_uint_eq(info.rows, 46);
    ck_assert_uint_eq(info.layer_count, SCENE_LAYERS);

    TEST_OK(clmla_cache_load(NULL, 0, &count, to, path, NULL, 0, NULL)); // how many
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(clmla_cache_usage_get(to).sequences, 0);
    TEST_OK(clmla_cache_load(loaded, 2, &count, to, path, queue, 0, NULL));
    expect_equal_sequences(to, loaded, from, &saved[1], 1);
    free(memory);
    free(streamed.bytes);
    clmla_cache_destroy(&from);
    clmla_cache_destroy(&to);
    test_folder_remove();
}
END_TEST

START_TEST(nothing_is_something_too) {
    clmla_context *context = test_device_get()->context;
    size_t bytes, count = 7;
    clmla_sequence none = 5;
    clmla_cache *cache = scene_cache(context, CLMLA_ROWS_F32, 16, 2, false);
    unsigned char *memory = scene_save(&bytes, cache, NULL, 0);
    TEST_OK(clmla_cache_load_memory(&none, 0, &count, cache, memory, bytes, test_device_get()->queue, 0, NULL));
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(none, 5);
    free(memory);
    clmla_cache_destroy(&cache);
}
END_TEST

// --- waits and queues ------------------------------------------------------------------------------------------------

// On an out-of-order queue, rows that are pending moves, and a load over pages that pending work still reads.
START_TEST(pending_work_comes_first) {
    clmla_context *context = test_device_get()->context;
    cl_command_queue queue = test_device_get()->unordered ? test_device_get()->unordered : test_device_get()->queue;
    test_random random = test_random_make(15);
    size_t bytes, count = 0;
    clmla_sequence loaded[2];
    scene_rows before, after;
    clmla_cache *cache = scene_cache(context, CLMLA_ROWS_F32, 4, 8, false);
    clmla_sequence first = scene_create(cache);
    scene_append(context, cache, first, 14, &random);
    unsigned char *memory = scene_save(&bytes, cache, &first, 1);
    scene_read(&before, cache, first);
    // A copy of the last page is pending, and its source is given back and taken by the load.
    clmla_sequence fork = 0;
    uint32_t one = 1;
    TEST_OK(clmla_cache_sequence_fork(&fork, cache, first));
    TEST_OK(clmla_cache_reserve(cache, &(clmla_batch){1, &fork, &one, NULL}));
    TEST_OK(clmla_cache_sequence_drop(cache, first));
    TEST_OK(clmla_cache_sequence_truncate(cache, fork, 14));
    TEST_OK(clmla_cache_load_memory(loaded, 2, &count, cache, memory, bytes, queue, 0, NULL));
    clmla_sequence both[2] = {fork, loaded[0]};
    for (int i = 0; i < 2; i++) {
        scene_read(&after, cache, both[i]);
        scene_expect_equal(&after, &before);
        scene_rows_free(&after);
    }
    scene_rows_free(&before);
    free(memory);
    clmla_cache_destroy(&cache);
}
END_TEST

// --- token ids -------------------------------------------------------------------------------------------------------

START_TEST(token_ids_find_loaded_pages) {
    clmla_context *context = test_device_get()->context;
    test_random random = test_random_make(16);
    int32_t ids[40];
    size_t bytes, count = 0;
    uint32_t shared = 0;
    clmla_sequence loaded[2], found = 0;
    scene_rows a, b;
    for (int i = 0; i < 40; i++) ids[i] = 1000 - 3 * i;
    clmla_cache *from = scene_cache(context, CLMLA_ROWS_F16, 8, 32, true);
    clmla_cache *to = scene_cache(context, CLMLA_ROWS_F16, 4, 32, true);
    clmla_cache *plain = scene_cache(context, CLMLA_ROWS_F16, 4, 32, false);
    clmla_sequence sequences[2] = {scene_create(from), 0};
    scene_append(context, from, sequences[0], 36, &random);
    TEST_OK(clmla_cache_commit_tokens(from, sequences[0], ids, 33));
    TEST_OK(clmla_cache_sequence_fork(&sequences[1], from, sequences[0]));
    TEST_OK(
        clmla_cache_sequence_shift(from, sequences[1], 16, 36, 9)); // rows from 16 on follow from no tokens any more
    unsigned char *memory = scene_save(&bytes, from, sequences, 2);
    TEST_OK(clmla_cache_load_memory(loaded, 2, &count, to, memory, bytes, test_device_get()->queue, 0, NULL));
    for (int i = 0; i < 2; i++) {
        scene_read(&a, from, sequences[i]);
        scene_read(&b, to, loaded[i]);
        scene_expect_equal(&a, &b);
        ck_assert_uint_eq(a.known, b.known);
        ck_assert_uint_eq(b.known, i == 0 ? 33 : 16);
        ck_assert_int_eq(memcmp(a.ids, b.ids, a.known * sizeof *a.ids), 0);
        ck_assert_int_eq(memcmp(b.ids, ids, b.known * sizeof *ids), 0);
        scene_rows_free(&a);
        scene_rows_free(&b);
    }
    TEST_OK(clmla_cache_sequence_create_with_tokens(&found, to, ids, 40, &shared));
    ck_assert_uint_eq(shared, 32);
    // A cache that shares no prefixes takes the rows alone.
    TEST_OK(clmla_cache_load_memory(loaded, 2, &count, plain, memory, bytes, test_device_get()->queue, 0, NULL));
    scene_read(&a, plain, loaded[0]);
    ck_assert_uint_eq(a.known, 0);
    scene_rows_free(&a);
    free(memory);
    clmla_cache_destroy(&from);
    clmla_cache_destroy(&to);
    clmla_cache_destroy(&plain);
}
END_TEST

// --- many edits -----------------------------------------------------------------------------------------------------

static void edit(clmla_cache *cache, clmla_sequence *ids, uint32_t count, test_random *random) {
    uint32_t i = test_random_below(random, count), tokens = 0;
    TEST_OK(clmla_cache_sequence_length(&tokens, cache, ids[i]));
    uint32_t from = test_random_below(random, tokens + 1), to = from + test_random_below(random, tokens - from + 1);
    switch (test_random_below(random, 5)) {
    case 0:
        TEST_OK(clmla_cache_sequence_remove(cache, ids[i], from, to));
        break;
    case 1:
        TEST_OK(clmla_cache_sequence_shift(cache, ids[i], from, to, (int32_t)test_random_below(random, 20)));
        break;
    case 2:
        TEST_OK(clmla_cache_sequence_drop(cache, ids[i]));
        TEST_OK(clmla_cache_sequence_fork(&ids[i], cache, ids[(i + 1) % count]));
        break;
    default:
        if (tokens < 100)
            scene_append(test_device_get()->context, cache, ids[i], test_random_below(random, 20), random);
    }
}

START_TEST(whatever_was_done_before) {
    clmla_context *context = test_device_get()->context;
    test_random random = test_random_make(500 + (uint64_t)_i);
    clmla_row_format format = trip_of(_i).format;
    clmla_sequence ids[4], loaded[4];
    clmla_cache *from = scene_cache(context, format, 1 + test_random_below(&random, 12), 2000, _i % 2);
    for (int i = 0; i < 4; i++) ids[i] = scene_create(from);
    for (int round = 0; round < 4; round++) {
        size_t bytes, count = 0;
        for (int i = 0; i < 12; i++) edit(from, ids, 4, &random);
        test_case_begin("cache file, edited", _i, "%s, round %d", clmla_row_format_name(format), round);
        clmla_cache *to = scene_cache(context, format, 1 + test_random_below(&random, 12), 2000, true);
        unsigned char *memory = scene_save(&bytes, from, ids, 4);
        TEST_OK(clmla_cache_load_memory(loaded, 4, &count, to, memory, bytes, test_device_get()->queue, 0, NULL));
        expect_equal_sequences(to, loaded, from, ids, 4);
        free(memory);
        clmla_cache_destroy(&to);
    }
    clmla_cache_destroy(&from);
}
END_TEST

static void add(TCase *tcase) {
    bool is_short = test_device_get()->short_form;
    tcase_add_loop_test(tcase, all_sequences_come_back, 0, is_short ? 2 : TRIPS);
    if (!is_short) tcase_add_loop_test(tcase, loaded_sequences_live, 0, TRIPS);
    tcase_add_test(tcase, pending_deltas_are_saved);
    tcase_add_test(tcase, shared_rows_are_saved_once);
    tcase_add_test(tcase, one_sequence_to_a_file);
    tcase_add_test(tcase, nothing_is_something_too);
    tcase_add_test(tcase, pending_work_comes_first);
    tcase_add_test(tcase, token_ids_find_loaded_pages);
    if (!is_short) tcase_add_loop_test(tcase, whatever_was_done_before, 0, TRIPS);
}

int main(void) {
    return test_main("check_cache_file", add);
}
