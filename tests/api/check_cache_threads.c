// SPDX-License-Identifier: Apache-2.0
// What cache.h says of threads: usage and queries from any thread while one thread changes the cache, seeing each
// change whole or not at all; and different caches changed, saved and loaded by a thread each, with no lock around
// them.
#include "host/os.h"
#include "tests/api/cache_scene.h"
#include "tests/support/buffer.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { READERS = 3, CACHES = 4, PAGE = 4, PAGES = 64 };

// Check's assertions are not for other threads: they note what is wrong.
typedef struct shared {
    clmla_cache *cache;
    clmla_sequence sequence; // always there, always of 3 pages and 10 tokens at least
    atomic_bool stop;
    atomic_int wrong;
    atomic_long looks;
} shared;

static void note(shared *s, bool right) {
    if (!right) atomic_fetch_add(&s->wrong, 1);
}

static void look_at_usage(shared *s) {
    clmla_cache_usage usage = clmla_cache_usage_get(s->cache);
    note(s, usage.pages == PAGES && usage.pages_free + usage.pages_used == PAGES);
    note(s, usage.pages_shared <= usage.pages_used && usage.sequences >= 1);
    note(s, usage.tokens >= 10 && usage.longest_sequence >= 10 && usage.longest_sequence <= usage.tokens);
    note(s, usage.tokens <= (usage.pages_used + (uint64_t)usage.pages_shared * usage.sequences) * PAGE);
}

static void look_at_sequence(shared *s) {
    int32_t pages[PAGES], positions[10];
    int64_t slots[10];
    size_t count = 0;
    uint32_t tokens = 0;
    note(s, clmla_cache_sequence_length(&tokens, s->cache, s->sequence) == CLMLA_OK && tokens >= 10);
    note(s, clmla_cache_sequence_pages(pages, PAGES, &count, s->cache, s->sequence) == CLMLA_OK && count >= 3);
    note(s, clmla_cache_sequence_slots(slots, s->cache, s->sequence, 0, 10) == CLMLA_OK);
    note(s, clmla_cache_sequence_positions(positions, s->cache, s->sequence, 0, 10) == CLMLA_OK);
    for (int i = 0; i < 10; i++) note(s, slots[i] >= 0 && slots[i] < PAGES * PAGE);
    for (int i = 1; i < 10; i++) note(s, positions[i] == positions[0] + i); // shifted together
    note(s, clmla_cache_sequence_length(&tokens, s->cache, 99999) == CLMLA_E_SEQUENCE);
}

static void *read_always(void *payload) {
    shared *s = payload;
    while (!atomic_load(&s->stop)) {
        look_at_usage(s);
        look_at_sequence(s);
        atomic_fetch_add(&s->looks, 1);
    }
    return NULL;
}

// One round of everything that changes a cache. The first sequence keeps its ten tokens, one after the other.
static void change(shared *s, const unsigned char *saved, size_t bytes, int round) {
    cl_command_queue queue = test_device_get()->queue;
    clmla_sequence fork = 0, loaded[2];
    uint32_t more = 3;
    size_t count;
    TEST_OK(clmla_cache_sequence_fork(&fork, s->cache, s->sequence));
    TEST_OK(clmla_cache_reserve(s->cache, &(clmla_batch){1, &fork, &more, NULL}));
    TEST_OK(clmla_cache_sequence_remove(s->cache, fork, 2, 7));
    TEST_OK(clmla_cache_reserve(s->cache, &(clmla_batch){1, &s->sequence, &more, NULL}));
    TEST_OK(clmla_cache_sequence_shift(s->cache, s->sequence, 0, 10, round % 2 ? -5 : 5));
    TEST_OK(clmla_cache_sequence_truncate(s->cache, s->sequence, 10));
    TEST_OK(clmla_cache_load_memory(loaded, 2, &count, s->cache, saved, bytes, queue, 0, NULL));
    free(scene_save(&count, s->cache, NULL, 0));
    TEST_OK(clmla_cache_sequence_drop(s->cache, fork));
    clmla_sequence keep = s->sequence;
    TEST_OK(clmla_cache_keep_only(s->cache, &keep, 1));
}

START_TEST(readers_see_whole_changes) {
    pthread_t readers[READERS];
    test_random random = test_random_make(41);
    size_t bytes;
    int rounds = test_device_get()->short_form ? 20 : 400;
    shared s = {.cache = scene_cache(test_device_get()->context, CLMLA_ROWS_F16, PAGE, PAGES, true)};
    s.sequence = scene_create(s.cache);
    scene_append(test_device_get()->context, s.cache, s.sequence, 10, &random);
    unsigned char *saved = scene_save(&bytes, s.cache, NULL, 0);
    for (int i = 0; i < READERS; i++) ck_assert_int_eq(pthread_create(&readers[i], NULL, read_always, &s), 0);
    for (int i = 0; i < rounds; i++) change(&s, saved, bytes, i);
    while (atomic_load(&s.looks) < READERS) {
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < READERS; i++) pthread_join(readers[i], NULL);
    ck_assert_int_eq(atomic_load(&s.wrong), 0);
    ck_assert_int_ge(atomic_load(&s.looks), READERS);
    free(saved);
    clmla_cache_destroy(&s.cache);
}
END_TEST

// --- a cache a thread ------------------------------------------------------------------------------------------------

typedef struct worker {
    int number, rounds;
    unsigned char *saved; // what came out at the end
    size_t bytes;
} worker;

// On a queue of its own. test_fail ends the program's suite by longjmp, which another thread must not: statuses are
// looked at, and whoever fails leaves nothing behind.
static void *work(void *payload) {
    worker *w = payload;
    clmla_context *context = test_device_get()->context;
    clmla_config config;
    clmla_cache *cache = NULL;
    clmla_sequence kept = 0;
    cl_int code;
    cl_command_queue queue =
        clCreateCommandQueueWithProperties(test_device_get()->cl, test_device_get()->id, NULL, &code);
    scene_config(&config);
    clmla_cache_params params = {.format = CLMLA_ROWS_F32, .page_tokens = (uint32_t)w->number + 2, .page_count = 200};
    clmla_status status = clmla_cache_create(&cache, context, &config, &params);
    if (status == CLMLA_OK) status = clmla_cache_sequence_create(&kept, cache);
    for (int i = 0; status == CLMLA_OK && i < w->rounds; i++) {
        uint32_t tokens = 2;
        clmla_sequence fork = 0;
        status = clmla_cache_reserve(cache, &(clmla_batch){1, &kept, &tokens, NULL});
        if (status == CLMLA_OK) status = clmla_cache_sequence_fork(&fork, cache, kept);
        if (status == CLMLA_OK) status = clmla_cache_sequence_shift(cache, fork, 0, 1, w->number + 1);
        if (status == CLMLA_OK) status = clmla_cache_flush(cache, queue, 0, NULL, NULL);
        if (status == CLMLA_OK) status = clmla_cache_sequence_drop(cache, i % 2 ? fork : kept);
        if (i % 2 == 0) kept = fork;
        clmla_cache_usage usage = clmla_cache_usage_get(cache);
        if (status == CLMLA_OK && (usage.sequences != 1 || usage.tokens != 2u * (uint32_t)(i + 1)))
            status = CLMLA_E_LIMIT;
    }
    if (status == CLMLA_OK) status = clmla_cache_save_memory(NULL, 0, &w->bytes, cache, NULL, 0, NULL, 0, NULL);
    if (status == CLMLA_OK) w->saved = malloc(w->bytes);
    if (w->saved) status = clmla_cache_save_memory(w->saved, w->bytes, &w->bytes, cache, NULL, 0, queue, 0, NULL);
    if (status != CLMLA_OK) fprintf(stderr, "cache %d: %s\n", w->number, clmla_last_error());
    size_t count;
    clmla_sequence loaded;
    if (status == CLMLA_OK)
        status = clmla_cache_load_memory(&loaded, 1, &count, cache, w->saved, w->bytes, queue, 0, NULL);
    if (status != CLMLA_OK) w->bytes = 0;
    if (queue) clReleaseCommandQueue(queue);
    clmla_cache_destroy(&cache);
    return NULL;
}

START_TEST(caches_are_independent) {
    pthread_t threads[CACHES];
    worker workers[CACHES] = {{0}};
    int rounds = test_device_get()->short_form ? 10 : 100;
    for (int i = 0; i < CACHES; i++) {
        workers[i] = (worker){.number = i, .rounds = rounds};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < CACHES; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < CACHES; i++) {
        clmla_cache_file_info info;
        ck_assert_uint_gt(workers[i].bytes, 0);
        TEST_OK(clmla_cache_file_examine_memory(&info, workers[i].saved, workers[i].bytes));
        ck_assert_uint_eq(info.longest_sequence, 2 * (uint32_t)rounds);
        free(workers[i].saved);
    }
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, readers_see_whole_changes);
    tcase_add_test(tcase, caches_are_independent);
}

int main(void) {
    return test_main("check_cache_threads", add);
}
