// SPDX-License-Identifier: Apache-2.0
// Every driver call and every host allocation of a save and of a load fails once: the cache is as it was, nothing
// leaks, no file is left, and the next try succeeds.
#include "lib/context.h"
#include "tests/api/cache_scene.h"
#include "tests/api/expect.h"
#include "tests/host/faulty.h"
#include "tests/host/folder.h"
#include "tests/support/buffer.h"
#include <stdio.h>
#include <stdlib.h>
#ifndef _WIN32
#include <signal.h>
#include <sys/resource.h>
#endif

typedef struct scene {
    clmla_context *context;
    clmla_cache *from, *to;
    clmla_sequence ids[3];
    unsigned char *bytes; // what is saved
    size_t count;
    clmla_cache_usage from_usage, to_usage;
    cl_command_queue queue;
} scene;

static clmla_context *faulty_context(void) {
    clmla_context *context = NULL;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .allocator = faulty_allocator(),
                                   .program_folder = "", .tuning_file = ""};
    TEST_OK(context_create_with_calls(&context, &params, faulty_calls()));
    return context;
}

// Sequences whose pages are shared, with moves and rotations pending. `odd`: on an out-of-order queue.
static void open_scene(scene *s, bool odd) {
    test_random random = test_random_make(31);
    *s =
        (scene){.queue = odd && test_device_get()->unordered ? test_device_get()->unordered : test_device_get()->queue};
    faulty_arm(FAULTY_NONE, 0, false);
    s->context = faulty_context();
    s->from = scene_cache(s->context, CLMLA_ROWS_F16, 4, 64, true);
    s->to = scene_cache(s->context, CLMLA_ROWS_F16, 3, 64, true);
    s->ids[0] = scene_create(s->from);
    scene_append(s->context, s->from, s->ids[0], 30, &random);
    TEST_OK(clmla_cache_sequence_fork(&s->ids[1], s->from, s->ids[0]));
    s->ids[2] = scene_create(s->from);
    s->bytes = scene_save(&s->count, s->from, s->ids, 3);
    clmla_sequence held = scene_create(s->to);
    scene_append(s->context, s->to, held, 10, &random);
    s->from_usage = clmla_cache_usage_get(s->from);
    s->to_usage = clmla_cache_usage_get(s->to);
}

static void close_scene(scene *s) {
    faulty_arm(FAULTY_NONE, 0, false);
    TEST_CL(clFinish(s->queue));
    free(s->bytes);
    clmla_cache_destroy(&s->from);
    clmla_cache_destroy(&s->to);
    clmla_context_destroy(&s->context);
    ck_assert(faulty_nothing_lives());
}

static void expect_failure(clmla_status status, faulty_kind kind, long at) {
    TEST_ASSERT(status == (kind == FAULTY_CALL ? CLMLA_E_OPENCL : CLMLA_E_MEMORY) || status == CLMLA_E_BUILD,
                "failure %ld, in %s: %s: %s", at, faulty_hit(), clmla_status_name(status), clmla_last_error());
}

static clmla_status load(scene *s, clmla_sequence *loaded) {
    size_t count = 0;
    // Pending moves in the cache that is loaded into: a save or load enqueues them first.
    clmla_sequence fork = 0;
    uint32_t one = 1;
    clmla_status status = clmla_cache_sequence_fork(&fork, s->to, 1);
    if (status == CLMLA_OK) status = clmla_cache_reserve(s->to, &(clmla_batch){1, &fork, &one, NULL});
    if (status == CLMLA_OK)
        status = clmla_cache_load_memory(loaded, 3, &count, s->to, s->bytes, s->count, s->queue, 0, NULL);
    if (fork) TEST_OK(clmla_cache_sequence_drop(s->to, fork));
    return status;
}

START_TEST(loads_that_fail) {
    scene s;
    faulty_kind kind = _i % 2 ? FAULTY_ALLOCATION : FAULTY_CALL;
    long failures = 0;
    open_scene(&s, _i >= 2);
    for (long at = 0;; at++) {
        clmla_sequence loaded[3] = {0};
        faulty_arm(kind, at, false);
        clmla_status status = load(&s, loaded);
        const char *hit = faulty_hit();
        faulty_arm(FAULTY_NONE, 0, false);
        for (int i = 0; status == CLMLA_OK && i < 3; i++) TEST_OK(clmla_cache_sequence_drop(s.to, loaded[i]));
        scene_expect_same_usage(s.to, &s.to_usage);
        if (!hit) break; // fewer calls than that
        failures++;
        if (status != CLMLA_OK) expect_failure(status, kind, at); // a flush of another queue may fail without harm
    }
    ck_assert_int_gt(failures, 3);
    clmla_sequence loaded[3];
    scene_rows a, b;
    TEST_OK(load(&s, loaded));
    for (int i = 0; i < 3; i++) {
        scene_read(&a, s.to, loaded[i]);
        scene_read(&b, s.from, s.ids[i]);
        scene_expect_equal(&a, &b);
        scene_rows_free(&a);
        scene_rows_free(&b);
    }
    close_scene(&s);
}
END_TEST

START_TEST(saves_that_fail) {
    scene s;
    faulty_kind kind = _i % 2 ? FAULTY_ALLOCATION : FAULTY_CALL;
    long failures = 0;
    char path[512];
    open_scene(&s, _i >= 2);
    snprintf(path, sizeof path, "%s/saved", test_folder_make());
    for (long at = 0;; at++) {
        clmla_sequence ids[3] = {s.ids[0], s.ids[1], s.ids[2]};
        faulty_arm(kind, at, false);
        clmla_status status = clmla_cache_save(s.from, ids, 3, path, s.queue, 0, NULL);
        const char *hit = faulty_hit();
        faulty_arm(FAULTY_NONE, 0, false);
        scene_expect_same_usage(s.from, &s.from_usage);
        ck_assert_int_eq(test_folder_files(), status == CLMLA_OK);
        if (!hit) break;
        failures++;
        if (status != CLMLA_OK) expect_failure(status, kind, at);
        if (status == CLMLA_OK) ck_assert_int_eq(remove(path), 0);
    }
    ck_assert_int_gt(failures, 3);
    size_t count;
    unsigned char *file = test_file_read(path, &count);
    ck_assert_uint_eq(count, s.count);
    ck_assert_int_eq(memcmp(file, s.bytes, count), 0);
    free(file);
    close_scene(&s);
    test_folder_remove();
}
END_TEST

#ifndef _WIN32
// A disk that is full after so many bytes.
START_TEST(a_full_disk) {
    scene s;
    struct rlimit before, less;
    char path[512];
    open_scene(&s, false);
    snprintf(path, sizeof path, "%s/saved", test_folder_make());
    test_file_write(path, "old", 3);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    less = (struct rlimit){s.count / 2, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &less), 0);
    clmla_status status = clmla_cache_save(s.from, s.ids, 3, path, s.queue, 0, NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    expect(status, CLMLA_E_FILE, "saved: cannot be written: ");
    ck_assert_int_eq(test_folder_files(), 1);
    size_t count;
    unsigned char *file = test_file_read(path, &count);
    ck_assert_uint_eq(count, 3);
    free(file);
    close_scene(&s);
    test_folder_remove();
}
END_TEST
#endif

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, loads_that_fail, 0, 4);
    tcase_add_loop_test(tcase, saves_that_fail, 0, 4);
#ifndef _WIN32
    tcase_add_test(tcase, a_full_disk);
#endif
}

int main(void) {
    return test_main("check_cache_file_faults", add);
}
