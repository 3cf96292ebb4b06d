// SPDX-License-Identifier: Apache-2.0
// What clmla_plan_update refuses: plans and caches that do not go together, batches that were not reserved, and rows
// that the kernels could not follow. A refused update leaves the plan without a step.
#include "tests/api/expect.h"
#include <clmla/clmla.h>

enum { HEADS = 4, LATENT = 20, ROPE = 4, PAGE = 4, PAGES = 16 };

typedef struct scene {
    clmla_cache *cache;
    clmla_plan_params params; // of a plan that goes with the cache
    clmla_sequence a, b;      // of 6 tokens and of 3
} scene;

static void reserve(scene *s, clmla_sequence sequence, uint32_t tokens) {
    TEST_OK(clmla_cache_reserve(s->cache, &(clmla_batch){1, &sequence, &tokens, NULL}));
}

static void scene_open(scene *s) {
    clmla_rows rows;
    clmla_config config;
    clmla_config_init(&config);
    config.hidden_size = 16;
    config.head_count = HEADS;
    config.kv_lora_rank = LATENT;
    config.qk_nope_head_dim = 4;
    config.qk_rope_head_dim = ROPE;
    config.v_head_dim = 4;
    TEST_OK(clmla_cache_create(&s->cache, test_device_get()->context, &config,
                               &(clmla_cache_params){.layer_count = 1, .page_tokens = PAGE, .page_count = PAGES}));
    TEST_OK(clmla_cache_rows(&rows, s->cache, 0));
    s->params = (clmla_plan_params){.head_count = HEADS, .layout = rows.layout};
    TEST_OK(clmla_cache_sequence_create(&s->a, s->cache));
    TEST_OK(clmla_cache_sequence_create(&s->b, s->cache));
    reserve(s, s->a, 6);
    reserve(s, s->b, 3);
}

static void scene_close(scene *s) {
    TEST_CL(clFinish(test_device_get()->queue));
    clmla_cache_destroy(&s->cache);
}

static clmla_status update(clmla_plan *plan, scene *s, uint32_t count, const clmla_sequence *sequences,
                           const uint32_t *query_tokens) {
    clmla_batch batch = {count, sequences, query_tokens, NULL};
    return clmla_plan_update(plan, s->cache, &batch, test_device_get()->queue, 0, NULL, NULL);
}

// An update of a plan of such parameters with both sequences' last token.
static void refused(scene *s, const clmla_plan_params *params, clmla_status status, const char *word) {
    clmla_plan *plan;
    TEST_OK(clmla_plan_create(&plan, test_device_get()->context, params));
    expect(update(plan, s, 2, (clmla_sequence[]){s->a, s->b}, NULL), status, word);
    clmla_plan_destroy(&plan);
}

START_TEST(plans_of_something_else) {
    scene s;
    test_case_begin("plan refused", 0, "plans");
    scene_open(&s);
    clmla_plan_params p = s.params;
    p.layout.format = CLMLA_ROWS_F16;
    refused(&s, &p, CLMLA_E_ARGUMENT, "plan is for f16 rows of 20 + 4, the cache has f32 rows");
    p = s.params, p.kv_head_count = 2;
    refused(&s, &p, CLMLA_E_ARGUMENT, "2 kv heads and 1 ranks is updated from lengths");
    p = s.params, p.parallel = (clmla_context_parallel){1, 2, 1};
    refused(&s, &p, CLMLA_E_ARGUMENT, "1 kv heads and 2 ranks");
    p = s.params, p.capacity = (clmla_plan_capacity){1, 2, 64};
    refused(&s, &p, CLMLA_E_LIMIT, "2 sequences, the plan's capacity is 1");
    p.capacity = (clmla_plan_capacity){2, 1, 64};
    refused(&s, &p, CLMLA_E_LIMIT, "2 query tokens, the plan's capacity is 1");
    p.capacity = (clmla_plan_capacity){2, 2, 5};
    refused(&s, &p, CLMLA_E_LIMIT, "sequence 0 has 6 keys, the plan's capacity is 5");
    scene_close(&s);
}
END_TEST

START_TEST(batches_that_were_not_reserved) {
    scene s;
    clmla_plan *plan;
    test_case_begin("plan refused", 0, "batches");
    scene_open(&s);
    const clmla_sequence both[] = {s.a, s.b}, unknown[] = {s.a, 9}, twice[] = {s.b, s.a, s.b};
    TEST_OK(clmla_plan_create(&plan, test_device_get()->context, &s.params));
    expect(update(plan, &s, 0, both, NULL), CLMLA_E_ARGUMENT, "the batch has no sequences");
    expect(update(plan, &s, 2, NULL, NULL), CLMLA_E_ARGUMENT, "the batch has no sequences");
    expect(update(plan, &s, 2, unknown, NULL), CLMLA_E_SEQUENCE, "no sequence 9");
    expect(update(plan, &s, 2, both, (uint32_t[]){6, 4}), CLMLA_E_ARGUMENT,
           "has 3 tokens, 4 new ones were not reserved");
    TEST_OK(update(plan, &s, 2, both, (uint32_t[]){6, 3}));
    ck_assert_uint_eq(clmla_plan_facts_get(plan).query_tokens, 9);
    expect(update(plan, &s, 3, twice, (uint32_t[]){1, 1, 0}), CLMLA_E_ARGUMENT, "names sequence 2 twice");
    TEST_OK(update(plan, &s, 2, both, NULL)); // as does no other: each update looks anew
    TEST_OK(update(plan, &s, 2, both, NULL));
    clmla_plan_destroy(&plan);
    scene_close(&s);
}
END_TEST

START_TEST(rows_removed_from_the_middle) {
    scene s;
    clmla_plan *plan, *windowed;
    test_case_begin("plan refused", 0, "removed rows");
    scene_open(&s);
    clmla_plan_params window = s.params;
    window.window = 3;
    TEST_OK(clmla_plan_create(&plan, test_device_get()->context, &s.params));
    TEST_OK(clmla_plan_create(&windowed, test_device_get()->context, &window));
    TEST_OK(update(windowed, &s, 1, &s.a, NULL));
    TEST_OK(clmla_cache_sequence_remove(s.cache, s.a, 1, 2)); // its first page has 3 rows, the second 2
    expect(update(windowed, &s, 1, &s.a, NULL), CLMLA_E_UNSUPPORTED, "which a window cannot count");
    TEST_OK(update(windowed, &s, 1, &s.b, NULL));
    TEST_OK(update(plan, &s, 1, &s.a, (uint32_t[]){2}));
    expect(update(plan, &s, 1, &s.a, (uint32_t[]){3}), CLMLA_E_ARGUMENT, "removed from between its 3 new tokens");
    clmla_plan_destroy(&plan);
    clmla_plan_destroy(&windowed);
    scene_close(&s);
}
END_TEST

START_TEST(nothing) {
    scene s;
    clmla_plan *plan;
    cl_command_queue queue = test_device_get()->queue;
    test_case_begin("plan refused", 0, "NULL");
    scene_open(&s);
    clmla_batch batch = {1, &s.a, NULL, NULL};
    TEST_OK(clmla_plan_create(&plan, test_device_get()->context, &s.params));
    expect(clmla_plan_update(NULL, s.cache, &batch, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_plan_update(plan, NULL, &batch, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_plan_update(plan, s.cache, NULL, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_plan_update(plan, s.cache, &batch, NULL, 0, NULL, NULL), CLMLA_E_ARGUMENT, "queue");
    TEST_OK(update(plan, &s, 1, &s.a, NULL));
    expect(update(plan, &s, 1, &(clmla_sequence){9}, NULL), CLMLA_E_SEQUENCE, "no sequence 9");
    clmla_attend_params attend = {.softmax_scale = 1.0f};
    expect(clmla_attend(plan, &attend, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT, "the plan has no step");
    clmla_plan_destroy(&plan);
    expect(clmla_plan_create_for_cache(&plan, NULL, s.cache), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_plan_create_for_cache(&plan, test_device_get()->context, NULL), CLMLA_E_ARGUMENT, "NULL");
    scene_close(&s);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, plans_of_something_else);
    tcase_add_test(tcase, batches_that_were_not_reserved);
    tcase_add_test(tcase, rows_removed_from_the_middle);
    tcase_add_test(tcase, nothing);
}

int main(void) {
    return test_main("check_plan_refused", add);
}
