// SPDX-License-Identifier: Apache-2.0
// What a plan does for recordings: one without a capacity is refused; memory that recorded kernels use stays where it
// is, or the update is refused that would move it; a caller's page table beside a cache's is refused.
#include "lib/plan.h"
#include "tests/api/expect.h"
#include "tests/support/buffer.h"
#include <clmla/clmla.h>

enum { HEADS = 3, LATENT = 20, ROPE = 4, WIDTH = LATENT + ROPE, PAGE = 4, PAGES = 6, TOKENS = 2 };

typedef struct scene {
    clmla_cache *cache;
    clmla_plan *plan;
    clmla_rows rows;
    test_buffer query, output, table, lengths;
    clmla_attend_params attend;
    clmla_sequence sequence;
} scene;

static clmla_config small_config(void) {
    return (clmla_config){.hidden_size = 16,
                          .head_count = HEADS,
                          .kv_lora_rank = LATENT,
                          .qk_nope_head_dim = 4,
                          .qk_rope_head_dim = ROPE,
                          .v_head_dim = 4,
                          .latent_norm_eps = 1e-6f,
                          .rope_theta = 10000.0,
                          .context_tokens = 64};
}

static void scene_open(scene *s, bool capacity) {
    static const int32_t zeros[PAGES * TOKENS];
    clmla_context *context = test_device_get()->context;
    clmla_config config = small_config();
    clmla_plan_params params = {.head_count = HEADS};
    if (capacity) params.capacity = (clmla_plan_capacity){TOKENS, TOKENS, PAGE * PAGES};
    TEST_OK(clmla_cache_create(&s->cache, context, &config,
                               &(clmla_cache_params){.layer_count = 1, .page_tokens = PAGE, .page_count = PAGES}));
    TEST_OK(clmla_cache_rows(&s->rows, s->cache, 0));
    params.layout = s->rows.layout;
    TEST_OK(clmla_plan_create(&s->plan, context, &params));
    TEST_OK(clmla_cache_sequence_create(&s->sequence, s->cache));
    test_buffer_make(&s->query, sizeof(float) * TOKENS * HEADS * WIDTH, NULL);
    test_buffer_make(&s->output, sizeof(float) * TOKENS * HEADS * LATENT, NULL);
    test_buffer_make(&s->table, sizeof zeros, zeros);
    test_buffer_make(&s->lengths, sizeof(int32_t) * TOKENS, zeros);
    s->attend =
        (clmla_attend_params){.query = s->query.view, .rows = s->rows, .softmax_scale = 1.0f, .output = s->output.view};
}

static void scene_close(scene *s) {
    test_buffer *all[] = {&s->query, &s->output, &s->table, &s->lengths};
    TEST_CL(clFinish(test_device_get()->queue));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_buffer_free(all[i]);
    clmla_plan_destroy(&s->plan);
    clmla_cache_destroy(&s->cache);
}

static clmla_status update(scene *s) {
    clmla_batch batch = {.sequence_count = 1, .sequences = &s->sequence};
    TEST_OK(clmla_cache_reserve(s->cache, &batch));
    return clmla_plan_update(s->plan, s->cache, &batch, test_device_get()->queue, 0, NULL, NULL);
}

static clmla_status attend(scene *s) {
    return clmla_attend(s->plan, &s->attend, test_device_get()->queue, 0, NULL, NULL);
}

static void begin(clmla_recording **recording) {
    TEST_OK(clmla_recording_begin(recording, test_device_get()->context, test_device_get()->queue));
}

START_TEST(without_capacity_it_is_not_recorded) {
    scene s;
    clmla_recording *recording;
    scene_open(&s, false);
    TEST_OK(update(&s));
    begin(&recording);
    expect(attend(&s), CLMLA_E_ARGUMENT, "the plan has no capacity");
    expect(clmla_recording_end(recording), CLMLA_E_ARGUMENT, "the plan has no capacity");
    clmla_recording_destroy(&recording);
    TEST_OK(attend(&s));
    scene_close(&s);
}
END_TEST

START_TEST(recorded_memory_does_not_move_for_a_cache) {
    scene s;
    clmla_recording *recording;
    scene_open(&s, true);
    clmla_device_lengths lengths = {.sequence_count = 1, .kv_tokens = s.lengths.view};
    s.attend.page_table = s.table.view;
    s.attend.page_table_stride = PAGES;
    begin(&recording);
    TEST_OK(clmla_plan_update_device(s.plan, &lengths, test_device_get()->queue, 0, NULL, NULL));
    TEST_OK(attend(&s));
    TEST_OK(clmla_recording_end(recording));
    cl_mem step = s.plan->step;
    expect(update(&s), CLMLA_E_ARGUMENT, "recorded before its first step over a cache");
    TEST_OK(clmla_recording_replay(recording, 0, NULL, NULL));
    TEST_OK(clmla_plan_update_device(s.plan, &lengths, test_device_get()->queue, 0, NULL, NULL));
    ck_assert_ptr_eq(s.plan->step, step);
    clmla_recording_destroy(&recording);
    scene_close(&s);
}
END_TEST

// An update that a recording refused is none: the plan may still meet its cache.
START_TEST(refused_updates_leave_the_plan_free) {
    scene s;
    clmla_recording *recording;
    scene_open(&s, true);
    begin(&recording);
    expect(update(&s), CLMLA_E_ARGUMENT, "between replays");
    expect(attend(&s), CLMLA_E_ARGUMENT, "no step");
    expect(clmla_recording_end(recording), CLMLA_E_ARGUMENT, "between replays");
    clmla_recording_destroy(&recording);
    TEST_OK(update(&s));
    cl_mem step = s.plan->step;
    begin(&recording);
    TEST_OK(attend(&s));
    TEST_OK(clmla_recording_end(recording));
    for (int i = 0; i < PAGE * 2; i++) {
        TEST_OK(update(&s));
        TEST_OK(clmla_recording_replay(recording, 0, NULL, NULL));
    }
    ck_assert_ptr_eq(s.plan->step, step);
    clmla_recording_destroy(&recording);
    scene_close(&s);
}
END_TEST

// A recorded update writes its step when it is replayed, whatever step the plan had before.
START_TEST(a_recorded_update_counts_from_its_replay) {
    scene s;
    clmla_recording *both, *later;
    scene_open(&s, true);
    clmla_device_lengths lengths = {.sequence_count = 1, .kv_tokens = s.lengths.view};
    TEST_OK(update(&s));
    TEST_OK(attend(&s));
    begin(&both);
    TEST_OK(clmla_plan_update_device(s.plan, &lengths, test_device_get()->queue, 0, NULL, NULL));
    s.attend.page_table = s.table.view;
    s.attend.page_table_stride = PAGES;
    TEST_OK(attend(&s));
    TEST_OK(clmla_recording_end(both));
    expect(attend(&s), CLMLA_E_ARGUMENT, "was not replayed");
    begin(&later);
    TEST_OK(attend(&s));
    TEST_OK(clmla_recording_end(later));
    expect(attend(&s), CLMLA_E_ARGUMENT, "was not replayed");
    for (int i = 0; i < 2; i++) {
        TEST_OK(clmla_recording_replay(both, 0, NULL, NULL));
        TEST_OK(attend(&s));
        TEST_OK(clmla_recording_replay(later, 0, NULL, NULL));
        TEST_OK(update(&s)); // a step of the cache takes its place, until the next replay
        expect(attend(&s), CLMLA_E_ARGUMENT, "has its pages from a cache");
    }
    clmla_recording_destroy(&both);
    clmla_recording_destroy(&later);
    scene_close(&s);
}
END_TEST

START_TEST(a_refused_update_fails_its_recording) {
    scene s;
    clmla_recording *recording;
    scene_open(&s, true);
    clmla_device_lengths many = {.sequence_count = TOKENS + 1, .kv_tokens = s.lengths.view};
    begin(&recording);
    expect(clmla_plan_update_device(s.plan, &many, test_device_get()->queue, 0, NULL, NULL), CLMLA_E_ARGUMENT,
           "the plan's capacity is 2");
    expect(clmla_recording_end(recording), CLMLA_E_ARGUMENT, "the plan's capacity is 2");
    clmla_recording_destroy(&recording);
    scene_close(&s);
}
END_TEST

// Recorded kernels hold no memory themselves: workspace that grows later must not take theirs away.
START_TEST(recorded_workspace_is_kept) {
    scene s;
    clmla_recording *recording;
    cl_mem small, same, large;
    cl_uint holds = 0;
    scene_open(&s, true);
    TEST_OK(update(&s));
    TEST_OK(plan_workspace_get(&small, s.plan, PLAN_WORKSPACE_LAYER, 64));
    begin(&recording);
    TEST_OK(attend(&s));
    TEST_OK(plan_workspace_get(&same, s.plan, PLAN_WORKSPACE_LAYER, 64));
    uint64_t before = clmla_plan_facts_get(s.plan).workspace_bytes;
    TEST_OK(plan_workspace_get(&large, s.plan, PLAN_WORKSPACE_LAYER, 128));
    TEST_OK(clmla_recording_end(recording));
    ck_assert_ptr_eq(small, same);
    ck_assert_ptr_ne(small, large);
    TEST_CL(clGetMemObjectInfo(small, CL_MEM_REFERENCE_COUNT, sizeof holds, &holds, NULL));
    ck_assert_uint_ge(holds, 1);
    ck_assert_uint_eq(clmla_plan_facts_get(s.plan).workspace_bytes, before + 128);
    clmla_recording_destroy(&recording);
    scene_close(&s);
}
END_TEST

START_TEST(two_page_tables_are_refused) {
    scene s;
    scene_open(&s, _i);
    TEST_OK(update(&s));
    s.attend.page_table = s.table.view;
    s.attend.page_table_stride = PAGES;
    expect(attend(&s), CLMLA_E_ARGUMENT, "has its pages from a cache");
    s.attend.page_table = (clmla_buffer){0};
    s.attend.page_rows = s.table.view;
    expect(attend(&s), CLMLA_E_ARGUMENT, "page_rows are given");
    s.attend.page_rows = (clmla_buffer){0};
    TEST_OK(attend(&s));
    scene_close(&s);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, without_capacity_it_is_not_recorded);
    tcase_add_test(tcase, recorded_memory_does_not_move_for_a_cache);
    tcase_add_test(tcase, refused_updates_leave_the_plan_free);
    tcase_add_test(tcase, a_recorded_update_counts_from_its_replay);
    tcase_add_test(tcase, a_refused_update_fails_its_recording);
    tcase_add_test(tcase, recorded_workspace_is_kept);
    tcase_add_loop_test(tcase, two_page_tables_are_refused, 0, 2);
}

int main(void) {
    return test_main("check_plan_recorded", add_tests);
}
