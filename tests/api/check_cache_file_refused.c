// SPDX-License-Identifier: Apache-2.0
// Bytes that cannot be loaded: each with the status that is its own, and a cache that is as it was.
#include "host/bytes.h"
#include "tests/api/cache_scene.h"
#include "tests/api/expect.h"
#include "tests/host/folder.h"
#include "tests/support/buffer.h"
#include "tests/support/cache_bytes.h"
#include <stdio.h>
#include <stdlib.h>

enum { HEADER = 48, RECORD = 24, CONFIG = 100 };
// Where the sequences' section begins in a file without LongRoPE factors, and the runs of three sequences behind it.
enum { SEQUENCES = HEADER + CONFIG + 4, RUNS = SEQUENCES + 3 * RECORD };

typedef struct scene {
    clmla_cache *from, *to;
    clmla_sequence held;     // in `to`, before anything is loaded
    scene_rows held_rows;    // what it holds
    clmla_cache_usage usage; // of `to`
    unsigned char *bytes;
    size_t count;
} scene;

// A sequence of 9 tokens, a fork of it that is 2 longer, an empty one; into a cache that has one already.
static void open_scene(scene *s, clmla_row_format format) {
    clmla_context *context = test_device_get()->context;
    test_random random = test_random_make(21);
    clmla_sequence ids[3];
    int32_t tokens[8] = {5, 6, 7, 8, 9, 10, 11, 12};
    s->from = scene_cache(context, format, 4, 32, true);
    ids[0] = scene_create(s->from);
    scene_append(context, s->from, ids[0], 9, &random);
    TEST_OK(clmla_cache_commit_tokens(s->from, ids[0], tokens, 8));
    TEST_OK(clmla_cache_sequence_fork(&ids[1], s->from, ids[0]));
    scene_append(context, s->from, ids[1], 2, &random);
    ids[2] = scene_create(s->from);
    s->bytes = scene_save(&s->count, s->from, ids, 3);
    s->to = scene_cache(context, format, 3, 20, true);
    s->held = scene_create(s->to);
    scene_append(context, s->to, s->held, 10, &random);
    scene_read(&s->held_rows, s->to, s->held);
    s->usage = clmla_cache_usage_get(s->to);
}

static void expect_untouched(scene *s) {
    scene_rows now;
    scene_expect_same_usage(s->to, &s->usage);
    scene_read(&now, s->to, s->held);
    scene_expect_equal(&now, &s->held_rows);
    scene_rows_free(&now);
}

static void close_scene(scene *s) {
    expect_untouched(s);
    scene_rows_free(&s->held_rows);
    free(s->bytes);
    clmla_cache_destroy(&s->from);
    clmla_cache_destroy(&s->to);
}

// Loads so many of these bytes, from memory of just that size: what reads past it is seen by address checks.
static clmla_status load(scene *s, const unsigned char *bytes, size_t count) {
    clmla_sequence loaded[3] = {0};
    size_t sequences = 99;
    unsigned char *copy = malloc(count > 0 ? count : 1);
    memcpy(copy, bytes, count);
    clmla_status status = clmla_cache_load_memory(loaded, 3, &sequences, s->to, count > 0 ? copy : NULL, count,
                                                  test_device_get()->queue, 0, NULL);
    TEST_ASSERT(status == CLMLA_OK || (sequences == 99 && loaded[0] == 0), "outputs of a refused load were set");
    free(copy);
    return status;
}

START_TEST(every_shorter_length_is_truncated) {
    scene s;
    open_scene(&s, CLMLA_ROWS_F16);
    for (size_t count = 0; count < s.count; count++) {
        clmla_status status = load(&s, s.bytes, count);
        TEST_ASSERT(status == CLMLA_E_TRUNCATED, "%zu of %zu bytes: %s", count, s.count, clmla_status_name(status));
        scene_expect_same_usage(s.to, &s.usage);
    }
    expect(load(&s, s.bytes, 20), CLMLA_E_TRUNCATED, "after 20 of 48 bytes");
    close_scene(&s);
}
END_TEST

static clmla_status expected_of(size_t at, unsigned char byte) {
    if (at < 8) return CLMLA_E_FOREIGN;
    if (at < 12) return at == 8 && byte == 0 ? CLMLA_E_CORRUPTED : CLMLA_E_NEWER;
    return CLMLA_E_CORRUPTED;
}

START_TEST(every_changed_byte_is_seen) {
    static const unsigned char changes[] = {0x01, 0x80, 0xff};
    scene s;
    open_scene(&s, CLMLA_ROWS_F16);
    for (size_t at = 0; at < s.count; at++)
        for (size_t i = 0; i < sizeof changes; i++) {
            s.bytes[at] ^= changes[i];
            clmla_status status = load(&s, s.bytes, s.count), wanted = expected_of(at, s.bytes[at]);
            TEST_ASSERT(status == wanted, "byte %zu of %zu ^ %02x: %s", at, s.count, changes[i],
                        clmla_status_name(status));
            scene_expect_same_usage(s.to, &s.usage);
            s.bytes[at] ^= changes[i];
        }
    close_scene(&s);
}
END_TEST

START_TEST(other_bytes_are_foreign) {
    scene s;
    open_scene(&s, CLMLA_ROWS_F16);
    expect(load(&s, (const unsigned char *)"{\"a\": 1}", 8), CLMLA_E_FOREIGN, "not a saved cache");
    expect(load(&s, (const unsigned char *)"x", 1), CLMLA_E_FOREIGN, "not a saved cache");
    host_put_u32(s.bytes + 8, CLMLA_CACHE_FILE_VERSION + 1);
    cache_bytes_repair(s.bytes, s.count);
    expect(load(&s, s.bytes, s.count), CLMLA_E_NEWER, "version 2, this library reads up to 1");
    host_put_u32(s.bytes + 8, CLMLA_CACHE_FILE_VERSION);
    cache_bytes_repair(s.bytes, s.count);
    unsigned char *longer = test_allocate(s.count + 1, 1);
    memcpy(longer, s.bytes, s.count);
    expect(load(&s, longer, s.count + 1), CLMLA_E_CORRUPTED, "it says it has");
    free(longer);
    close_scene(&s);
}
END_TEST

// --- right checksums over wrong numbers ----------------------------------------------------------------------------

typedef struct lie {
    size_t at;
    uint32_t value;
    const char *says;
} lie;

// Sequence 0: 9 tokens in 1 run, 8 ids; 1: 11 tokens, 8 rows shared with 0; 2: none.
static const lie lies[] = {
    {12, 52, "a header of 52 bytes"},
    {40, 1, "reserved 1"},
    {24, 1000000, "1000000 sequences do not fit"},
    {24, 4, "sequence"},
    {24, 2, "sequence"},
    {28, 0xfffffff0, "do not fit"},
    {32, 0xffffffff, "do not fit"},
    {36, 0xffffffff, "do not fit"},
    {HEADER + 16, 2, "rope_order 2"},
    {HEADER + 20, 0, "kv_lora_rank 0"},
    {HEADER + 28, 0, "0 layers"},
    {HEADER + 28, CLMLA_MAX_LAYERS + 1, "65537 layers"},
    {HEADER + 44, 4, "rope_type 4"},
    {HEADER + 96, 4, "a configuration of"},
    {SEQUENCES + 0, 0x80000000, "2147483648 tokens"},
    {SEQUENCES + 0, 0, "0 tokens in 1 runs"},
    {SEQUENCES + 0, 7, "the ids of 8"},
    {SEQUENCES + 0, 2000000000, "does not fit"},
    {SEQUENCES + 4, 0, "9 tokens in 0 runs"},
    {SEQUENCES + 4, 9, "sequence"},
    {SEQUENCES + 4, 10, "9 tokens in 10 runs"},
    {SEQUENCES + 8, 10, "the ids of 10"},
    {SEQUENCES + 8, 3, "sequence"},
    {SEQUENCES + 12, 9, "edits from 9"},
    {SEQUENCES + 16, 1, "with parent 1"},
    {SEQUENCES + 16, 0xffffffff, "with parent 4294967295"},
    {SEQUENCES + 20, 1, "shares 1 with parent 0"},
    {SEQUENCES + RECORD + 16, 2, "with parent 2"},
    {SEQUENCES + RECORD + 16, 0, "shares"},
    {SEQUENCES + RECORD + 20, 12, "shares 12"},
    {SEQUENCES + RECORD + 20, 10, "shares 10"},
    {SEQUENCES + RECORD + 20, 3, "does not fit"},
    {SEQUENCES + 2 * RECORD + 0, 1, "1 tokens in 0 runs"},
    {RUNS + 0, 1, "rows 1 to 9"},
    {RUNS + 4, 0xffffffff, "position -1"},
    {RUNS + 4, 0x7ffffff8, "position 2147483640"},
    {RUNS + 8, 1, "with delta 1"},
    {RUNS + 8, 0xffffffff, "have none"},
    {RUNS + 8, 0x80000000, "with delta -2147483648"},
};

START_TEST(numbers_that_lie_are_seen) {
    scene s;
    open_scene(&s, CLMLA_ROWS_F16);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        unsigned char *changed = test_allocate(s.count, 1);
        memcpy(changed, s.bytes, s.count);
        ck_assert_uint_lt(lies[i].at + 4, s.count);
        host_put_u32(changed + lies[i].at, lies[i].value);
        cache_bytes_repair(changed, s.count);
        clmla_status status = load(&s, changed, s.count);
        TEST_ASSERT(status == CLMLA_E_CORRUPTED, "byte %zu = %u: %s: %s", lies[i].at, lies[i].value,
                    clmla_status_name(status), clmla_last_error());
        TEST_ASSERT(strstr(clmla_last_error(), lies[i].says), "no \"%s\" in \"%s\"", lies[i].says, clmla_last_error());
        scene_expect_same_usage(s.to, &s.usage);
        free(changed);
    }
    close_scene(&s);
}
END_TEST

// Random numbers under right checksums: refused or loaded, never more than that.
START_TEST(random_numbers_do_no_harm) {
    scene s;
    test_random random = test_random_make(22);
    open_scene(&s, CLMLA_ROWS_FP8);
    int loaded = 0;
    for (int i = 0; i < 3000; i++) {
        unsigned char *changed = test_allocate(s.count, 1);
        memcpy(changed, s.bytes, s.count);
        for (uint32_t k = test_random_below(&random, 3) + 1; k > 0; k--) {
            size_t at = 4 * test_random_below(&random, (uint32_t)s.count / 4);
            host_put_u32(changed + at, test_random_below(&random, test_random_below(&random, 2) ? 16 : UINT32_MAX));
        }
        cache_bytes_repair(changed, s.count);
        clmla_sequence ids[64];
        size_t count = 0;
        clmla_status status =
            clmla_cache_load_memory(ids, 64, &count, s.to, changed, s.count, test_device_get()->queue, 0, NULL);
        for (size_t k = 0; status == CLMLA_OK && k < count; k++) TEST_OK(clmla_cache_sequence_drop(s.to, ids[k]));
        clmla_cache_forget_prefixes(s.to);
        loaded += status == CLMLA_OK;
        scene_expect_same_usage(s.to, &s.usage);
        free(changed);
    }
    ck_assert_int_gt(loaded, 100); // rows may hold any bytes
    close_scene(&s);
}
END_TEST

// --- other models ----------------------------------------------------------------------------------------------------

typedef struct model {
    clmla_config config;
    clmla_cache_params params;
} model;

static void eps(model *m) {
    m->config.latent_norm_eps = 1e-5f;
}
static void rank(model *m) {
    m->config.kv_lora_rank = 24;
}
static void rope(model *m) {
    m->config.qk_rope_head_dim = 8;
}
static void layers(model *m) {
    m->params.layer_count = 1;
}
static void order(model *m) {
    m->params.rope_order = CLMLA_ROPE_HALVES, m->params.rope_order_given = true;
}
static void theta(model *m) {
    m->config.rope_theta = 50000;
}
static void attention(model *m) {
    m->config.rope_attention_factor = 1.25;
}
static void format(model *m) {
    m->params.format = CLMLA_ROWS_BF16;
}
static void none(model *m) {
    m->config.rope_type = CLMLA_ROPE_NONE;
}
static void yarn(model *m) {
    m->config.rope_type = CLMLA_ROPE_YARN;
    m->config.rope_factor = 40;
    m->config.rope_original_context = 4096;
    m->config.context_tokens = 163840;
    m->config.rope_beta_fast = 32;
    m->config.rope_beta_slow = 1;
    m->config.rope_mscale = m->config.rope_mscale_all_dim = 1;
}
static void yarn_factor(model *m) {
    yarn(m), m->config.rope_factor = 20;
}
static void yarn_original(model *m) {
    yarn(m), m->config.rope_original_context = 8192;
}
static void yarn_fast(model *m) {
    yarn(m), m->config.rope_beta_fast = 16;
}
static void yarn_slow(model *m) {
    yarn(m), m->config.rope_beta_slow = 2;
}
static void yarn_rounding(model *m) {
    yarn(m), m->config.rope_yarn_no_truncate = true;
}
static void yarn_mscale(model *m) {
    yarn(m), m->config.rope_mscale = 0.5;
}
static void longrope(model *m) {
    m->config.rope_type = CLMLA_ROPE_LONGROPE;
    m->config.rope_original_context = 4096;
    m->config.rope_attention_factor = 1;
    for (int i = 0; i < SCENE_ROPE / 2; i++) {
        m->config.rope_short_factor[i] = 1.0f + (float)i;
        m->config.rope_long_factor[i] = 2.0f + (float)i;
    }
}
static void longrope_long(model *m) {
    longrope(m), m->config.context_tokens = 8192;
}
// What rows do not depend on.
static void heads(model *m) {
    m->config.head_count = 7, m->config.hidden_size = 32, m->config.v_head_dim = 12, m->config.q_lora_rank = 16;
    m->config.rms_norm_eps = 1e-5f, m->config.context_tokens = 1234;
    m->config.rope_factor = 3, m->config.rope_beta_fast = 9, m->config.rope_mscale = 2; // not YaRN: without meaning
}

typedef struct pair {
    void (*saved)(model *), (*loaded)(model *);
    const char *says; // NULL = they fit
} pair;

static const pair pairs[] = {
    {NULL, eps, "latent_norm_eps: the cache has 9.99"},
    {NULL, rank, "kv_lora_rank: the cache has 24, the saved rows have 37"},
    {NULL, rope, "qk_rope_head_dim: the cache has 8, the saved rows have 6"},
    {NULL, layers, "layer_count: the cache has 1, the saved rows have 2"},
    {NULL, order, "rope_order: the cache has 1, the saved rows have 0"},
    {NULL, theta, "rope_theta: the cache has 50000, the saved rows have 10000"},
    {NULL, attention, "rope_attention_factor: the cache has 1.25, the saved rows have 1"},
    {NULL, format, "row format: the cache has bf16, the saved rows have f16"},
    {NULL, none, "rope_type: the cache has 3, the saved rows have 0"},
    {NULL, yarn, "rope_type: the cache has 1"},
    {NULL, heads, NULL},
    {yarn, yarn, NULL},
    {yarn, yarn_factor, "rope_factor: the cache has 20, the saved rows have 40"},
    {yarn, yarn_original, "rope_original_context: the cache has 8192, the saved rows have 4096"},
    {yarn, yarn_fast, "rope_beta_fast: the cache has 16, the saved rows have 32"},
    {yarn, yarn_slow, "rope_beta_slow: the cache has 2, the saved rows have 1"},
    {yarn, yarn_rounding, "rope_yarn_no_truncate: the cache has 1, the saved rows have 0"},
    {yarn, yarn_mscale, "rope_attention_factor"},
    {longrope, longrope, NULL},
    {longrope, longrope_long, "rope factor 0: the cache has 2, the saved rows have 1"},
    {longrope, NULL, "rope_type: the cache has 0, the saved rows have 2"},
    {none, none, NULL},
};

static clmla_cache *cache_of(void (*change)(model *)) {
    model m = {.params = {.format = CLMLA_ROWS_F16, .page_tokens = 4, .page_count = 8}};
    scene_config(&m.config);
    if (change) change(&m);
    return scene_cache_of(test_device_get()->context, &m.config, &m.params);
}

START_TEST(other_models_are_named) {
    cl_command_queue queue = test_device_get()->queue;
    test_random random = test_random_make(23);
    clmla_sequence loaded;
    size_t bytes, count;
    clmla_cache *from = cache_of(pairs[_i].saved), *to = cache_of(pairs[_i].loaded);
    test_case_begin("another model", _i, "%s", pairs[_i].says ? pairs[_i].says : "the same");
    scene_append(test_device_get()->context, from, scene_create(from), 9, &random);
    unsigned char *memory = scene_save(&bytes, from, NULL, 0);
    clmla_cache_usage usage = clmla_cache_usage_get(to);
    clmla_status status = clmla_cache_load_memory(&loaded, 1, &count, to, memory, bytes, queue, 0, NULL);
    if (pairs[_i].says) {
        expect(status, CLMLA_E_MISMATCH, pairs[_i].says);
        scene_expect_same_usage(to, &usage);
    } else {
        TEST_OK(status);
    }
    free(memory);
    clmla_cache_destroy(&from);
    clmla_cache_destroy(&to);
}
END_TEST

// --- too few pages ---------------------------------------------------------------------------------------------------

typedef struct evicting {
    clmla_sequence drops;
    uint64_t missing;
    int asked;
} evicting;

static bool evict(void *payload, clmla_cache *cache, uint64_t pages_missing) {
    evicting *e = payload;
    e->asked++;
    e->missing = pages_missing;
    if (e->drops) TEST_OK(clmla_cache_sequence_drop(cache, e->drops));
    return e->drops != 0;
}

START_TEST(a_full_cache_says_how_many_pages) {
    clmla_context *context = test_device_get()->context;
    cl_command_queue queue = test_device_get()->queue;
    test_random random = test_random_make(24);
    clmla_config config;
    evicting evicting = {0};
    clmla_sequence loaded[2];
    size_t bytes, count;
    scene_config(&config);
    clmla_cache *from = scene_cache(context, CLMLA_ROWS_F16, 16, 8, false);
    scene_append(context, from, scene_create(from), 20, &random);
    unsigned char *memory = scene_save(&bytes, from, NULL, 0);

    clmla_cache *plain = scene_cache(context, CLMLA_ROWS_F16, 4, 4, false);
    clmla_cache_usage usage = clmla_cache_usage_get(plain);
    expect(clmla_cache_load_memory(loaded, 2, &count, plain, memory, bytes, queue, 0, NULL), CLMLA_E_CACHE_FULL,
           "5 more pages of 4 tokens, 4 are free: 1 are missing");
    scene_expect_same_usage(plain, &usage);

    clmla_cache *to = scene_cache_of(
        context, &config,
        &(clmla_cache_params){
            .format = CLMLA_ROWS_F16, .page_tokens = 4, .page_count = 6, .evict = evict, .evict_payload = &evicting});
    clmla_sequence held = scene_create(to);
    scene_append(context, to, held, 16, &random);
    usage = clmla_cache_usage_get(to);
    expect(clmla_cache_load_memory(loaded, 2, &count, to, memory, bytes, queue, 0, NULL), CLMLA_E_CACHE_FULL,
           "3 pages of 4 tokens are missing");
    ck_assert_int_eq(evicting.asked, 1);
    ck_assert_uint_eq(evicting.missing, 3);
    scene_expect_same_usage(to, &usage);
    evicting.drops = held;
    expect(clmla_cache_sequence_drop(to, 9), CLMLA_E_SEQUENCE, "no sequence 9");
    TEST_OK(clmla_cache_load_memory(loaded, 2, &count, to, memory, bytes, queue, 0, NULL));
    expect(CLMLA_E_SEQUENCE, CLMLA_E_SEQUENCE, "no sequence 9"); // that room was made is no failure to tell of
    ck_assert_uint_eq(clmla_cache_usage_get(to).pages_used, 5);
    free(memory);
    clmla_cache_destroy(&from);
    clmla_cache_destroy(&plain);
    clmla_cache_destroy(&to);
}
END_TEST

// --- arguments and files ---------------------------------------------------------------------------------------------

static bool refuse(void *payload, const void *data, size_t bytes) {
    (void)data, (void)bytes;
    return --*(int *)payload > 0;
}

START_TEST(wrong_arguments) {
    scene s;
    cl_command_queue queue = test_device_get()->queue;
    size_t count = 0;
    int pieces = 3;
    clmla_sequence ids[3] = {1, 2, 1}, none = 77;
    clmla_cache_file_info info;
    open_scene(&s, CLMLA_ROWS_F16);
    expect(clmla_cache_save(NULL, NULL, 0, "x", queue, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_save(s.from, NULL, 0, NULL, queue, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_save(s.from, ids, 0, "x", queue, 0, NULL), CLMLA_E_ARGUMENT, "0 sequences");
    expect(clmla_cache_save(s.from, NULL, 2, "x", queue, 0, NULL), CLMLA_E_ARGUMENT, "NULL list");
    expect(clmla_cache_save(s.from, ids, 3, "x", queue, 0, NULL), CLMLA_E_ARGUMENT, "sequence 1 is named twice");
    expect(clmla_cache_save(s.from, &none, 1, "x", queue, 0, NULL), CLMLA_E_SEQUENCE, "no sequence 77");
    expect(clmla_cache_save(s.from, NULL, 0, "x", NULL, 0, NULL), CLMLA_E_ARGUMENT, "queue is NULL");
    expect(clmla_cache_save_memory(s.bytes, s.count - 1, &count, s.from, NULL, 0, queue, 0, NULL), CLMLA_E_ARGUMENT,
           "bytes are needed, the memory has");
    expect(clmla_cache_save_memory(NULL, 0, NULL, s.from, NULL, 0, queue, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_save_stream(NULL, NULL, s.from, NULL, 0, queue, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_save_stream(refuse, &pieces, s.from, NULL, 0, queue, 0, NULL), CLMLA_E_FILE, "did not take");
    expect(clmla_cache_load_memory(ids, 2, &count, s.to, s.bytes, s.count, queue, 0, NULL), CLMLA_E_ARGUMENT,
           "3 sequences, there is room for 2");
    expect(clmla_cache_load_memory(ids, 3, NULL, s.to, s.bytes, s.count, queue, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_load_memory(ids, 3, &count, NULL, s.bytes, s.count, queue, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_load_memory(ids, 3, &count, s.to, NULL, 4, queue, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_load_memory(ids, 3, &count, s.to, s.bytes, s.count, NULL, 0, NULL), CLMLA_E_ARGUMENT,
           "queue is NULL");
    expect(clmla_cache_load(ids, 3, &count, s.to, NULL, queue, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_file_examine(NULL, "x"), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_cache_file_examine_memory(&info, s.bytes, 12), CLMLA_E_TRUNCATED, "12 of 48");
    memcpy(s.bytes + HEADER, "f17", 3);
    cache_bytes_repair(s.bytes, s.count);
    expect(clmla_cache_file_examine_memory(&info, s.bytes, s.count), CLMLA_E_MISMATCH, "'f17' is none");
    close_scene(&s);
}
END_TEST

START_TEST(files_that_cannot_be) {
    scene s;
    cl_command_queue queue = test_device_get()->queue;
    char path[600];
    size_t count = 0;
    clmla_sequence ids[3];
    clmla_cache_file_info info;
    open_scene(&s, CLMLA_ROWS_F16);
    const char *folder = test_folder_make();
    snprintf(path, sizeof path, "%s/nowhere/x.clmla", folder);
    expect(clmla_cache_save(s.from, NULL, 0, path, queue, 0, NULL), CLMLA_E_FILE, "nowhere/x.clmla: cannot be made");
    expect(clmla_cache_load(ids, 3, &count, s.to, path, queue, 0, NULL), CLMLA_E_FILE, path);
    expect(clmla_cache_file_examine(&info, path), CLMLA_E_FILE, path);
    expect(clmla_cache_save(s.from, NULL, 0, folder, queue, 0, NULL), CLMLA_E_FILE, "cannot be replaced");
    expect(clmla_cache_load(ids, 3, &count, s.to, folder, queue, 0, NULL), CLMLA_E_FILE, "not a regular file");
    // A save that fails half way leaves the old file and nothing beside it.
    snprintf(path, sizeof path, "%s/there.clmla", folder);
    test_file_write(path, "old", 3);
    expect(clmla_cache_save(s.from, NULL, 0, path, NULL, 0, NULL), CLMLA_E_ARGUMENT, "queue is NULL");
    ck_assert_int_eq(test_folder_files(), 1);
    unsigned char *old = test_file_read(path, &count);
    ck_assert_uint_eq(count, 3);
    free(old);
    expect(clmla_cache_load(ids, 3, &count, s.to, path, queue, 0, NULL), CLMLA_E_FOREIGN, "there.clmla");
    test_file_write(path, s.bytes, s.count - 1);
    expect(clmla_cache_load(ids, 3, &count, s.to, path, queue, 0, NULL), CLMLA_E_TRUNCATED, "there.clmla: it ends");
    test_file_write(path, "", 0);
    expect(clmla_cache_load(ids, 3, &count, s.to, path, queue, 0, NULL), CLMLA_E_TRUNCATED, "after 0 of 48");
    close_scene(&s);
    test_folder_remove();
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, every_shorter_length_is_truncated);
    tcase_add_test(tcase, every_changed_byte_is_seen);
    tcase_add_test(tcase, other_bytes_are_foreign);
    tcase_add_test(tcase, numbers_that_lie_are_seen);
    tcase_add_test(tcase, random_numbers_do_no_harm);
    tcase_add_loop_test(tcase, other_models_are_named, 0, sizeof pairs / sizeof *pairs);
    tcase_add_test(tcase, a_full_cache_says_how_many_pages);
    tcase_add_test(tcase, wrong_arguments);
    tcase_add_test(tcase, files_that_cannot_be);
}

int main(void) {
    return test_main("check_cache_file_refused", add);
}
