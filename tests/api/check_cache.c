// SPDX-License-Identifier: Apache-2.0
// The cache object: sizes and budgets, refusals, sequences, failures half way, readers on other threads.
#include "lib/cache.h"
#include "lib/rows.h"
#include "tests/api/expect.h"
#include "tests/api/faults.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static clmla_config small_config(void) {
    clmla_config config;
    clmla_config_init(&config);
    config.hidden_size = 64;
    config.head_count = 4;
    config.layer_count = 3;
    config.kv_lora_rank = 16;
    config.qk_nope_head_dim = 8;
    config.qk_rope_head_dim = 4;
    config.v_head_dim = 8;
    config.context_tokens = 4096;
    return config;
}

static clmla_cache *make_cache(const clmla_cache_params *params) {
    clmla_config config = small_config();
    clmla_cache *cache = NULL;
    TEST_OK(clmla_cache_create(&cache, test_device_get()->context, &config, params));
    return cache;
}

static size_t memory_bytes(cl_mem memory) {
    size_t bytes = 0;
    TEST_CL(clGetMemObjectInfo(memory, CL_MEM_SIZE, sizeof bytes, &bytes, NULL));
    return bytes;
}

START_TEST(sizes) {
    const clmla_cache_params params = {.format = CLMLA_ROWS_F16, .page_tokens = 5, .page_count = 7};
    const uint64_t row = 16 * 2 + 4 * 2;
    clmla_cache *cache = make_cache(&params);
    clmla_cache_usage usage = clmla_cache_usage_get(cache);
    ck_assert_uint_eq(usage.page_tokens, 5);
    ck_assert_uint_eq(usage.pages, 7);
    ck_assert_uint_eq(usage.pages_free, 7);
    ck_assert_uint_eq(usage.pages_used, 0);
    ck_assert_uint_eq(usage.bytes_per_token, 3 * row);
    ck_assert_uint_eq(usage.bytes, 3 * 7 * 5 * row);
    ck_assert_uint_eq(clmla_cache_config(cache)->kv_lora_rank, 16);
    clmla_rows rows[3];
    for (uint32_t i = 0; i < 3; i++) {
        TEST_OK(clmla_cache_rows(&rows[i], cache, i));
        ck_assert_uint_ge(memory_bytes(rows[i].latent.memory), rows[i].latent.offset + 7 * 5 * row);
        ck_assert_uint_lt(memory_bytes(rows[0].latent.memory), 3 * (7 * 5 * row + 256)); // for alignment
        ck_assert_uint_eq(rows[i].layout.row_bytes, row);
        ck_assert_uint_eq(rows[i].page_count, 7);
        TEST_OK(rows_check(test_device_get()->context, &rows[i], "test"));
        ck_assert_uint_eq(rows[i].latent.offset % 256, 0);
        if (i > 0) ck_assert_uint_ge(rows[i].latent.offset, rows[i - 1].latent.offset + 7 * 5 * row);
    }
    expect(clmla_cache_rows(&rows[0], cache, 3), CLMLA_E_ARGUMENT, "layer 3 of 3");
    clmla_cache_destroy(&cache);
    ck_assert_ptr_null(cache);
    clmla_cache_destroy(&cache);
    clmla_cache_destroy(NULL);
}
END_TEST

START_TEST(defaults_and_overrides) {
    clmla_rows rows;
    clmla_cache *cache = make_cache(&(clmla_cache_params){.format = CLMLA_ROWS_F32, .page_count = 1});
    ck_assert_uint_eq(clmla_cache_usage_get(cache).page_tokens, 64);
    TEST_OK(clmla_cache_rows(&rows, cache, 2));
    ck_assert_int_eq(rows.layout.rope_order, CLMLA_ROPE_INTERLEAVED);
    clmla_cache_destroy(&cache);
    cache = make_cache(&(clmla_cache_params){.rope_order = CLMLA_ROPE_HALVES, .page_count = 1}); // not given
    TEST_OK(clmla_cache_rows(&rows, cache, 0));
    ck_assert_int_eq(rows.layout.rope_order, CLMLA_ROPE_INTERLEAVED);
    clmla_cache_destroy(&cache);
    cache = make_cache(&(clmla_cache_params){
        .rope_order = CLMLA_ROPE_HALVES, .rope_order_given = true, .layer_count = 1, .page_count = 1});
    TEST_OK(clmla_cache_rows(&rows, cache, 0));
    ck_assert_int_eq(rows.layout.rope_order, CLMLA_ROPE_HALVES);
    expect(clmla_cache_rows(&rows, cache, 1), CLMLA_E_ARGUMENT, "layer 1 of 1");
    clmla_cache_destroy(&cache);
}
END_TEST

// A page of 4 tokens for 3 layers takes 4 · 80 · 3 = 960 bytes in f32.
START_TEST(budget) {
    const uint64_t budgets[][2] = {{960, 1}, {961, 1}, {1919, 1}, {1920, 2}, {100000, 104}};
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        clmla_cache *cache = make_cache(&(clmla_cache_params){.page_tokens = 4, .bytes = budgets[i][0]});
        clmla_cache_usage usage = clmla_cache_usage_get(cache);
        ck_assert_uint_eq(usage.pages, budgets[i][1]);
        ck_assert_uint_le(usage.bytes, budgets[i][0]);
        clmla_cache_destroy(&cache);
    }
}
END_TEST

static const struct {
    clmla_cache_params params;
    clmla_status status;
    const char *word;
} refused[] = {
    {{.format = CLMLA_ROW_FORMAT_COUNT, .page_count = 1}, CLMLA_E_ARGUMENT, "format"},
    {{.rope_order_given = true, .rope_order = (clmla_rope_order)5, .page_count = 1}, CLMLA_E_ARGUMENT, "rope order"},
    {{.page_tokens = 4}, CLMLA_E_ARGUMENT, "page_count and bytes"},
    {{.page_tokens = 4, .bytes = 959}, CLMLA_E_LIMIT, "959"},
    {{.page_tokens = 0x80000000u, .page_count = 1}, CLMLA_E_LIMIT, "2147483648"},
    {{.page_tokens = 4, .page_count = 0x80000000u}, CLMLA_E_LIMIT, "2147483648"},
    {{.page_tokens = 1, .page_count = 1, .layer_count = UINT32_MAX}, CLMLA_E_LIMIT, "4294967295 layers"},
    {{.page_tokens = 4, .page_count = UINT64_MAX}, CLMLA_E_LIMIT, "18446744073709551615"},
    {{.page_tokens = 0x7fffffffu, .page_count = 0x7fffffffu}, CLMLA_E_LIMIT, "cache"}, // 2^62 · 80 bytes: past 64 bits
};

START_TEST(create_refused) {
    clmla_config config = small_config();
    clmla_cache *cache = (clmla_cache *)&config;
    expect(clmla_cache_create(&cache, test_device_get()->context, &config, &refused[_i].params), refused[_i].status,
           refused[_i].word);
    ck_assert_ptr_null(cache);
}
END_TEST

START_TEST(create_refused_by_config_and_arguments) {
    clmla_context *context = test_device_get()->context;
    clmla_config config = small_config();
    clmla_cache_params params = {.page_count = 1};
    clmla_cache *cache = NULL;
    config.layer_count = 0;
    expect(clmla_cache_create(&cache, context, &config, &params), CLMLA_E_ARGUMENT, "layer_count");
    config.kv_lora_rank = 0;
    expect(clmla_cache_create(&cache, context, &config, &params), CLMLA_E_CONFIG, "kv_lora_rank");
    expect(clmla_cache_create(&cache, context, NULL, &params), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_create(&cache, context, &config, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_create(&cache, NULL, &config, &params), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_create(NULL, context, &config, &params), CLMLA_E_ARGUMENT, "NULL");
    ck_assert_ptr_null(cache);
}
END_TEST

START_TEST(largest_buffer) {
    uint64_t largest = test_device_get()->facts->max_buffer_bytes, page = 64 * 80;
    clmla_config config = small_config();
    clmla_cache *cache = NULL;
    clmla_cache_params params = {.page_tokens = 64, .layer_count = 1, .page_count = largest / page + 1};
    char wanted[32], offered[32];
    ck_assert_uint_gt(largest, 0);
    snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)(params.page_count * page));
    snprintf(offered, sizeof offered, "%llu", (unsigned long long)largest);
    expect(clmla_cache_create(&cache, test_device_get()->context, &config, &params), CLMLA_E_LIMIT, wanted);
    expect(CLMLA_E_LIMIT, CLMLA_E_LIMIT, offered);
    expect(CLMLA_E_LIMIT, CLMLA_E_LIMIT, "cache layer 0");
    ck_assert_ptr_null(cache);
}
END_TEST

// Layers that do not fit one buffer together lie in several, each as full as the device lets it be.
START_TEST(layer_groups) {
    clmla_context *context = test_device_context();
    clmla_config config = small_config();
    const uint64_t page = 4 * 80, layer = 16 * page; // a multiple of 256
    for (uint32_t fit = 1; fit <= 5; fit++) {
        clmla_cache *cache = NULL;
        clmla_cache_params params = {.page_tokens = 4, .page_count = 16, .layer_count = 4};
        context->host.facts.max_buffer_bytes = fit * layer + layer / 2;
        TEST_OK(clmla_cache_create(&cache, context, &config, &params));
        ck_assert_uint_eq(cache->group_count, fit >= 4 ? 1 : (4 + fit - 1) / fit);
        for (uint32_t i = 0; i < 4; i++) {
            clmla_rows rows, first;
            TEST_OK(clmla_cache_rows(&rows, cache, i));
            TEST_OK(clmla_cache_rows(&first, cache, i / fit * fit));
            TEST_OK(rows_check(context, &rows, "test"));
            ck_assert_ptr_eq(rows.latent.memory, first.latent.memory);
            ck_assert_uint_eq(rows.latent.offset, i % fit * layer);
            ck_assert_uint_le(memory_bytes(rows.latent.memory), fit * layer);
        }
        clmla_cache_destroy(&cache);
    }
    clmla_context_destroy(&context);
}
END_TEST

START_TEST(sequences) {
    clmla_cache *cache = make_cache(&(clmla_cache_params){.page_tokens = 4, .page_count = 4});
    clmla_sequence ids[2];
    uint32_t tokens = 77;
    int32_t pages[4] = {-7, -7, -7, -7};
    size_t count = 0;
    TEST_OK(clmla_cache_sequence_create(&ids[0], cache));
    TEST_OK(clmla_cache_sequence_create(&ids[1], cache));
    const uint32_t news[2] = {5, 1}, too_many[2] = {4, 5};
    TEST_OK(clmla_cache_reserve(cache, &(clmla_batch){2, ids, news, NULL}));
    TEST_OK(clmla_cache_reserve(cache, &(clmla_batch){2, ids, NULL, NULL}));
    expect(clmla_cache_reserve(cache, &(clmla_batch){2, ids, too_many, NULL}), CLMLA_E_CACHE_FULL, "1 are missing");
    TEST_OK(clmla_cache_sequence_length(&tokens, cache, ids[0]));
    ck_assert_uint_eq(tokens, 6);
    TEST_OK(clmla_cache_sequence_pages(pages, 1, &count, cache, ids[0]));
    ck_assert_uint_eq(count, 2);
    ck_assert(pages[0] >= 0 && pages[0] < 4 && pages[1] == -7);
    TEST_OK(clmla_cache_sequence_pages(NULL, 0, &count, cache, ids[1]));
    ck_assert_uint_eq(count, 1);

    clmla_cache_usage usage = clmla_cache_usage_get(cache);
    ck_assert_uint_eq(usage.pages_used, 3);
    ck_assert_uint_eq(usage.tokens, 8);
    ck_assert_uint_eq(usage.sequences, 2);
    ck_assert_uint_eq(usage.longest_sequence, 6);
    TEST_OK(clmla_cache_sequence_truncate(cache, ids[0], 2));
    expect(clmla_cache_sequence_truncate(cache, ids[0], 3), CLMLA_E_ARGUMENT, "truncated to 3");
    TEST_OK(clmla_cache_sequence_drop(cache, ids[1]));
    usage = clmla_cache_usage_get(cache);
    ck_assert_uint_eq(usage.pages_free, 3);
    ck_assert_uint_eq(usage.longest_sequence, 2);
    clmla_cache_destroy(&cache);
}
END_TEST

START_TEST(wrong_sequences) {
    clmla_cache *cache = make_cache(&(clmla_cache_params){.page_tokens = 4, .page_count = 4});
    uint32_t tokens = 77;
    size_t count = 88;
    const clmla_sequence unknown = 9;
    expect(clmla_cache_sequence_drop(cache, 0), CLMLA_E_SEQUENCE, "no sequence 0");
    expect(clmla_cache_sequence_truncate(cache, unknown, 0), CLMLA_E_SEQUENCE, "no sequence 9");
    expect(clmla_cache_sequence_length(&tokens, cache, unknown), CLMLA_E_SEQUENCE, "no sequence 9");
    expect(clmla_cache_sequence_pages(NULL, 0, &count, cache, unknown), CLMLA_E_SEQUENCE, "no sequence 9");
    expect(clmla_cache_reserve(cache, &(clmla_batch){1, &unknown, NULL, NULL}), CLMLA_E_SEQUENCE, "no sequence 9");
    expect(clmla_cache_reserve(cache, &(clmla_batch){0, &unknown, NULL, NULL}), CLMLA_E_ARGUMENT, "no sequences");
    expect(clmla_cache_reserve(cache, &(clmla_batch){1, NULL, NULL, NULL}), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_reserve(cache, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_reserve(NULL, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_create(NULL, cache), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_drop(NULL, 1), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_truncate(NULL, 1, 0), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_length(NULL, cache, 1), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_pages(NULL, 1, &count, cache, 1), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_rows(NULL, cache, 0), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_fork(NULL, cache, 1), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_remove(NULL, 1, 0, 0), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_shift(NULL, 1, 0, 0, 1), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_copy_prefix(NULL, 1, 2, 0), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_keep_only(cache, NULL, 1), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_commit_tokens(cache, 1, NULL, 1), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_create_with_tokens(NULL, cache, NULL, 0, &tokens), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_slots(NULL, cache, 1, 0, 1), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_sequence_positions(NULL, cache, 1, 0, 1), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_flush(NULL, test_device_get()->queue, 0, NULL, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_flush(cache, NULL, 0, NULL, NULL), CLMLA_E_ARGUMENT, "queue");
    clmla_cache_forget_prefixes(NULL);
    clmla_sequence made = 66;
    expect(clmla_cache_sequence_fork(&made, cache, unknown), CLMLA_E_SEQUENCE, "no sequence 9");
    ck_assert_uint_eq(made, 66);
    expect(clmla_cache_sequence_remove(cache, unknown, 0, 0), CLMLA_E_SEQUENCE, "no sequence 9");
    expect(clmla_cache_sequence_shift(cache, unknown, 0, 0, 1), CLMLA_E_SEQUENCE, "no sequence 9");
    expect(clmla_cache_keep_only(cache, &unknown, 1), CLMLA_E_SEQUENCE, "no sequence 9");
    expect(clmla_cache_commit_tokens(cache, unknown, NULL, 0), CLMLA_E_SEQUENCE, "no sequence 9");
    ck_assert_uint_eq(tokens, 77);
    ck_assert_uint_eq(count, 88);
    ck_assert_uint_eq(clmla_cache_usage_get(cache).pages_free, 4);
    clmla_cache_destroy(&cache);
}
END_TEST

START_TEST(edits_refused) {
    clmla_cache *cache = make_cache(&(clmla_cache_params){.page_tokens = 4, .page_count = 3});
    clmla_sequence a, b;
    const uint32_t ten = 10;
    const int32_t below[10] = {3, 2, 1, 0, -1}, id = 5;
    int32_t positions[3];
    int64_t slots[3];
    uint32_t shared;
    TEST_OK(clmla_cache_sequence_create(&a, cache));
    expect(clmla_cache_reserve(cache, &(clmla_batch){1, &a, &ten, below}), CLMLA_E_ARGUMENT, "position -1");
    TEST_OK(clmla_cache_reserve(cache, &(clmla_batch){1, &a, &ten, NULL}));
    expect(clmla_cache_sequence_remove(cache, a, 5, 4), CLMLA_E_ARGUMENT, "5 to 4");
    expect(clmla_cache_sequence_remove(cache, a, 5, 11), CLMLA_E_ARGUMENT, "has 10 tokens");
    expect(clmla_cache_sequence_shift(cache, a, 0, 11, 1), CLMLA_E_ARGUMENT, "has 10 tokens");
    expect(clmla_cache_sequence_shift(cache, a, 1, 10, -2), CLMLA_E_ARGUMENT, "below 0");
    expect(clmla_cache_sequence_shift(cache, a, 1, 10, INT32_MAX), CLMLA_E_ARGUMENT, "31 bits");
    expect(clmla_cache_sequence_slots(slots, cache, a, 8, 3), CLMLA_E_ARGUMENT, "has 10 tokens");
    expect(clmla_cache_sequence_positions(positions, cache, a, 11, 0), CLMLA_E_ARGUMENT, "has 10 tokens");
    expect(clmla_cache_commit_tokens(cache, a, &id, 1), CLMLA_E_ARGUMENT, "shares no prefixes");
    expect(clmla_cache_sequence_create_with_tokens(&b, cache, &id, 1, &shared), CLMLA_E_ARGUMENT, "shares no prefixes");

    TEST_OK(clmla_cache_sequence_fork(&b, cache, a));
    expect(clmla_cache_sequence_copy_prefix(cache, b, a, 3), CLMLA_E_ARGUMENT, "empty");
    expect(clmla_cache_reserve(cache, &(clmla_batch){1, &b, NULL, NULL}), CLMLA_E_CACHE_FULL, "1 are missing");
    expect(clmla_cache_sequence_remove(cache, b, 1, 2), CLMLA_E_CACHE_FULL, "1 are missing");
    expect(clmla_cache_sequence_shift(cache, b, 0, 10, 1), CLMLA_E_CACHE_FULL, "3 are missing");
    TEST_OK(clmla_cache_sequence_remove(cache, b, 4, 8)); // a whole page
    ck_assert_uint_eq(clmla_cache_usage_get(cache).pages_shared, 2);
    TEST_OK(clmla_cache_keep_only(cache, &b, 1));
    clmla_cache_usage usage = clmla_cache_usage_get(cache);
    ck_assert_uint_eq(usage.pages_shared, 0);
    ck_assert_uint_eq(usage.pages_free, 1);
    ck_assert_uint_eq(usage.tokens, 6);
    TEST_OK(clmla_cache_sequence_positions(positions, cache, b, 3, 3));
    ck_assert(positions[0] == 3 && positions[1] == 8 && positions[2] == 9);
    clmla_cache_destroy(&cache);
}
END_TEST

static clmla_status edit(clmla_cache *cache, const clmla_sequence *ids, uint32_t *made) {
    int32_t tokens[21] = {0};
    uint32_t shared;
    clmla_sequence more;
    clmla_status status = clmla_cache_commit_tokens(cache, ids[9], tokens, 19);
    if (status == CLMLA_OK) status = clmla_cache_sequence_fork(&more, cache, ids[9]);
    *made += status == CLMLA_OK;
    if (status == CLMLA_OK) status = clmla_cache_sequence_create_with_tokens(&more, cache, tokens, 21, &shared);
    *made += status == CLMLA_OK;
    if (status == CLMLA_OK) status = clmla_cache_sequence_shift(cache, ids[9], 3, 18, 7);
    if (status == CLMLA_OK) status = clmla_cache_sequence_remove(cache, ids[9], 4, 9);
    if (status == CLMLA_OK) status = clmla_cache_flush(cache, test_device_get()->queue, 0, NULL, NULL);
    TEST_CL(clFinish(test_device_get()->queue));
    return status;
}

// Creates a cache, reserves 40 sequences and edits them; each host allocation and each clCreateBuffer of it fails once.
static clmla_status use_cache(clmla_context *context) {
    clmla_config config = small_config();
    clmla_cache *cache = NULL;
    clmla_sequence ids[40];
    uint32_t news[40];
    clmla_cache_params params = {.page_tokens = 2, .page_count = 440, .share_prefixes = true};
    clmla_status status = clmla_cache_create(&cache, context, &config, &params);
    TEST_ASSERT((cache != NULL) == (status == CLMLA_OK), "%s", clmla_last_error());
    uint32_t made = 0;
    while (status == CLMLA_OK && made < 40) {
        news[made] = 1 + 2 * made % 19;
        status = clmla_cache_sequence_create(&ids[made], cache);
        if (status == CLMLA_OK) made++;
    }
    bool reserved = false;
    if (status == CLMLA_OK) status = clmla_cache_reserve(cache, &(clmla_batch){40, ids, news, NULL});
    reserved = status == CLMLA_OK;
    if (reserved) status = edit(cache, ids, &made);
    if (status != CLMLA_OK && cache) { // nothing but what had succeeded is there
        clmla_cache_usage usage = clmla_cache_usage_get(cache);
        TEST_ASSERT(reserved || (usage.pages_free == 440 && usage.tokens == 0), "%llu pages",
                    (unsigned long long)usage.pages_free);
        TEST_ASSERT(usage.sequences == made, "%u of %u sequences", usage.sequences, made);
        TEST_OK(clmla_cache_flush(cache, test_device_get()->queue, 0, NULL, NULL)); // what was left undone
        TEST_CL(clFinish(test_device_get()->queue));
        TEST_OK(clmla_cache_keep_only(cache, NULL, 0));
        ck_assert_uint_eq(clmla_cache_usage_get(cache).pages_free, 440);
    }
    clmla_cache_destroy(&cache);
    return status;
}

START_TEST(failures) {
    clmla_context *context = faults_context();
    faults_arm(-1, -1);
    TEST_OK(use_cache(context)); // programs, once built, stay with the context
    const faults_counts before = faults_live();
    for (int kind = 0; kind < 2; kind++) {
        clmla_status status = CLMLA_E_MEMORY;
        long n = 0;
        for (; status != CLMLA_OK; n++) {
            TEST_ASSERT(n < 1000, "no end at %ld", n);
            faults_arm(kind == 0 ? n : -1, kind == 0 ? -1 : n);
            status = use_cache(context);
            faults_counts after = faults_live();
            TEST_ASSERT(after.allocations == before.allocations && after.buffers == before.buffers,
                        "failure %ld: %ld allocations, %ld buffers left", n, after.allocations - before.allocations,
                        after.buffers - before.buffers);
            if (status == CLMLA_OK) continue;
            TEST_ASSERT(status == (kind == 0 ? CLMLA_E_MEMORY : CLMLA_E_OPENCL), "%s", clmla_last_error());
            if (kind == 1) ck_assert_int_eq(clmla_last_cl_error(), CL_MEM_OBJECT_ALLOCATION_FAILURE);
        }
        faults_arm(-1, -1);
        ck_assert_int_ge(n, 3); // at least the layers, the moves, and the success
    }
    clmla_context_destroy(&context);
}
END_TEST

typedef struct reader {
    const clmla_cache *cache;
    atomic_bool stop;
    unsigned long reads, torn;
} reader;

static void *read_usage(void *payload) {
    reader *r = payload;
    do {
        clmla_cache_usage usage = clmla_cache_usage_get(r->cache);
        uint32_t tokens = 0;
        clmla_status status = clmla_cache_sequence_length(&tokens, r->cache, 1);
        // Two share some pages.
        r->torn += usage.pages_free + usage.pages_used != usage.pages ||
                   usage.tokens > 2 * usage.pages_used * usage.page_tokens;
        r->torn += usage.longest_sequence > usage.tokens || (status == CLMLA_OK && tokens > 300);
        r->torn += usage.pages_shared > usage.pages_used || usage.pages_kept > usage.pages_free;
        r->reads++;
    } while (!atomic_load(&r->stop));
    return NULL;
}

START_TEST(readers_on_other_threads) {
    clmla_cache *cache = make_cache(&(clmla_cache_params){.page_tokens = 4, .page_count = 300});
    reader readers[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        readers[i] = (reader){.cache = cache};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_usage, &readers[i]), 0);
    }
    for (uint32_t round = 0; round < 10000; round++) {
        clmla_sequence ids[3];
        const uint32_t news[3] = {1 + round % 300, round % 7, 4};
        int failed = 0;
        for (int i = 0; i < 3; i++) failed += clmla_cache_sequence_create(&ids[i], cache) != CLMLA_OK;
        failed += clmla_cache_reserve(cache, &(clmla_batch){3, ids, news, NULL}) != CLMLA_OK;
        clmla_sequence fork;
        failed += clmla_cache_sequence_fork(&fork, cache, ids[2]) != CLMLA_OK;
        failed += clmla_cache_sequence_shift(cache, fork, 1, 3, 5) != CLMLA_OK;
        failed += clmla_cache_sequence_remove(cache, ids[0], 0, news[0] / 2) != CLMLA_OK;
        failed += clmla_cache_sequence_drop(cache, fork) != CLMLA_OK;
        for (int i = 0; i < 3; i++) failed += clmla_cache_sequence_drop(cache, ids[i]) != CLMLA_OK;
        if (failed) ck_abort_msg("round %u: %s", round, clmla_last_error());
    }
    for (int i = 0; i < 3; i++) {
        atomic_store(&readers[i].stop, true);
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_gt(readers[i].reads, 0);
        ck_assert_uint_eq(readers[i].torn, 0);
    }
    clmla_cache_destroy(&cache);
}
END_TEST

static void add_tests(TCase *cases) {
    tcase_add_test(cases, sizes);
    tcase_add_test(cases, defaults_and_overrides);
    tcase_add_test(cases, budget);
    tcase_add_loop_test(cases, create_refused, 0, sizeof refused / sizeof *refused);
    tcase_add_test(cases, create_refused_by_config_and_arguments);
    tcase_add_test(cases, largest_buffer);
    tcase_add_test(cases, layer_groups);
    tcase_add_test(cases, sequences);
    tcase_add_test(cases, edits_refused);
    tcase_add_test(cases, wrong_sequences);
    tcase_add_test(cases, failures);
    tcase_add_test(cases, readers_on_other_threads);
}

int main(void) {
    return test_main("cache", add_tests);
}
