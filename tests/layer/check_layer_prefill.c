// SPDX-License-Identifier: Apache-2.0
// The layer step by reconstructed keys: against the layer in double, as every other step; against absorbed attention
// where masks come in; what the plan chooses, and why not.
#include "tests/layer/layer_session.h"
#include "tests/support/compare.h"
#include <stdlib.h>
#include <string.h>

typedef struct prefill_case {
    const char *name;
    model_shape model;
    session_shape session;
    uint32_t workspace_kib;
} prefill_case;

// Chunks of 48 keys of all heads; some heads at a time of all keys; all at once.
static const prefill_case cases[] = {
    {"f32 weights, f32 rows, pages of 4, in chunks",
     {51, 3, 37, 0, 10, 6, 7, REF_F32, false, false, CLMLA_ROPE_INTERLEAVED, 31},
     {CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 4, 200, 0, 0},
     64},
    {"fp8 weights, q-LoRA, 12 heads, halves kept interleaved, f16 rows, some heads at a time",
     {64, 12, 64, 40, 33, 16, 20, REF_F8_E4M3, false, true, CLMLA_ROPE_HALVES, 32},
     {CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 16, 40, 0, 1017},
     256},
    {"bf16 weights, biases, no rotary part, bf16 rows, contiguous",
     {40, 5, 16, 23, 9, 0, 12, REF_BF16, true, false, CLMLA_ROPE_INTERLEAVED, 33},
     {CLMLA_ROWS_BF16, CLMLA_ROPE_INTERLEAVED, 256, 3, 0, 0},
     65536},
    {"f16 weights, interleaved kept in halves, q8 rows, in chunks of some heads",
     {64, 12, 64, 0, 16, 32, 16, REF_F16, false, false, CLMLA_ROPE_INTERLEAVED, 34},
     {CLMLA_ROWS_Q8, CLMLA_ROPE_HALVES, 53, 15, 0, 0},
     64},
};
#define CASES (sizeof cases / sizeof *cases)

// Prompts beside decoding, a sequence left out, a prompt behind a prompt's context, an empty step.
static const uint32_t steps[][SESSION_SEQUENCES] = {{70, 3, 0}, {1, 40, 1}, {0, 1, 110}, {0, 0, 0}, {50, 1, 30}};
#define STEPS (sizeof steps / sizeof *steps)
// In short form three steps of a few tokens are run: slow devices go through every kernel nevertheless.
static const uint32_t short_steps[][SESSION_SEQUENCES] = {{9, 3, 0}, {1, 7, 1}, {0, 1, 5}};

static size_t step_count(void) {
    return test_device_get()->short_form ? sizeof short_steps / sizeof *short_steps : STEPS;
}

static const uint32_t *step_of(size_t i) {
    return test_device_get()->short_form ? short_steps[i] : steps[i];
}

static void set_tuning(const char *name, uint32_t value) {
    TEST_OK(clmla_tuning_set(test_device_get()->context, name, value));
}

// Gives the session a plan of these parameters beyond heads and layout.
static void replace_plan(layer_session *s, clmla_plan_params params) {
    clmla_rows rows;
    clmla_plan_destroy(&s->plan);
    TEST_OK(clmla_cache_rows(&rows, s->cache, 0));
    params.head_count = s->model->shape.heads;
    params.layout = rows.layout;
    TEST_OK(clmla_plan_create(&s->plan, s->context, &params));
}

static void open_case(layer_model *model, layer_session *session, int number, clmla_plan_params params) {
    test_case_begin("layer prefill", number, "%s, prefill %s", cases[number].name, clmla_prefill_name(params.prefill));
    set_tuning("prefill.workspace_kib", cases[number].workspace_kib);
    layer_model_make(model, &cases[number].model);
    layer_session_open(session, model, test_device_get()->context, &cases[number].session);
    replace_plan(session, params);
}

static void close_case(layer_model *model, layer_session *session) {
    layer_session_close(session);
    layer_model_free(model);
    set_tuning("prefill.workspace_kib", 65536);
    set_tuning("prefill.least_tokens", 64);
}

START_TEST(matches_the_reference) {
    layer_model model;
    layer_session session;
    if (!test_case_wanted(_i)) return;
    open_case(&model, &session, _i, (clmla_plan_params){.prefill = CLMLA_PREFILL_RECONSTRUCTED});
    for (size_t i = 0; i < step_count(); i++) {
        layer_session_begin(&session, step_of(i), test_device_get()->queue);
        clmla_plan_facts facts = clmla_plan_facts_get(session.plan);
        TEST_ASSERT(facts.reconstructed_tokens == session.tokens, "%u of %u tokens", facts.reconstructed_tokens,
                    session.tokens);
        ck_assert_str_eq(facts.absorbed_reason, "");
        test_run_twice(&session.run);
        layer_session_check(&session);
        layer_session_end(&session);
    }
    close_case(&model, &session);
}
END_TEST

// What takes less, sequence by sequence: prompts of 20 tokens and more beside tokens that are absorbed. Nothing is
// waited for between steps, on an out-of-order queue.
START_TEST(mixes_both_in_a_step) {
    static const uint32_t expected[STEPS] = {70, 40, 110, 0, 80};
    const test_device *device = test_device_get();
    cl_command_queue queue = device->unordered ? device->unordered : device->queue;
    layer_model model;
    layer_session s;
    if (test_left_out(device->short_form, "both ways in a step, whose prompts are long")) return;
    open_case(&model, &s, 0, (clmla_plan_params){.prefill = CLMLA_PREFILL_AUTO});
    set_tuning("prefill.least_tokens", 20);
    for (size_t i = 0; i < STEPS; i++) {
        layer_session_begin(&s, steps[i], queue);
        clmla_plan_facts facts = clmla_plan_facts_get(s.plan);
        TEST_ASSERT(facts.reconstructed_tokens == expected[i], "step %zu: %u tokens", i, facts.reconstructed_tokens);
        ck_assert_str_eq(facts.absorbed_reason, s.tokens > expected[i] ? "it has few new tokens" : "");
        test_run_twice(&s.run);
        test_run_gated(&s.run);
        TEST_OK(clmla_layer_enqueue(s.layer, s.plan, s.cache, s.input.view, s.output.view, queue, 0, NULL, NULL));
        TEST_OK(clmla_layer_enqueue(s.layer, s.plan, s.cache, s.input.view, s.output.view, queue, 0, NULL, NULL));
        TEST_CL(clFinish(queue));
        test_buffer_fetch(&s.output);
        layer_session_check(&s);
        layer_session_end(&s);
    }
    close_case(&model, &s);
}
END_TEST

// Masks that the reference of a layer does not have: both ways give the same, within the bars of both.
START_TEST(agrees_with_absorbed_under_masks) {
    static const clmla_plan_params masks[] = {{.window = 1}, {.window = 30}, {.window = 500}, {.full = true}};
    layer_model model;
    layer_session s;
    clmla_plan_params params = masks[_i];
    params.prefill = CLMLA_PREFILL_ABSORBED;
    open_case(&model, &s, 0, params);
    for (size_t i = 0; i < 2; i++) {
        layer_session_begin(&s, step_of(i), test_device_get()->queue);
        size_t count = s.output.bytes / sizeof(float), hidden = model.shape.hidden;
        double *absorbed = test_allocate(count, sizeof *absorbed);
        clmla_batch batch = {SESSION_SEQUENCES, s.sequences, s.query_tokens, NULL};
        test_run_twice(&s.run);
        for (size_t j = 0; j < count; j++) absorbed[j] = (double)test_buffer_found(&s.output)[j];
        params.prefill = CLMLA_PREFILL_RECONSTRUCTED;
        replace_plan(&s, params);
        TEST_OK(clmla_plan_update(s.plan, s.cache, &batch, test_device_get()->queue, 0, NULL, NULL));
        test_run_twice(&s.run);
        test_compare_rows(test_buffer_found(&s.output), hidden, absorbed, s.tokens, hidden, 8e-6, "reconstructed");
        free(absorbed);
        layer_session_end(&s);
        params.prefill = CLMLA_PREFILL_ABSORBED;
        replace_plan(&s, params);
    }
    close_case(&model, &s);
}
END_TEST

// What automatic finds for one sequence of `keys` keys, `tokens` of them new: no layer is run.
static clmla_plan_facts choose(clmla_plan_params params, const model_shape *shape, uint32_t keys, uint32_t tokens) {
    clmla_context *context = test_device_get()->context;
    layer_model model = {.shape = *shape};
    layer_session s;
    layer_model_make(&model, shape);
    clmla_cache *cache;
    clmla_cache_params room = {.format = CLMLA_ROWS_F16, .layer_count = 1, .page_count = (keys + 63) / 64};
    TEST_OK(clmla_cache_create(&cache, context, &model.config, &room));
    s = (layer_session){.model = &model, .context = context, .cache = cache};
    replace_plan(&s, params);
    TEST_OK(clmla_cache_sequence_create(&s.sequences[0], cache));
    uint32_t before = keys - tokens;
    clmla_batch batch = {1, s.sequences, &before, NULL};
    TEST_OK(clmla_cache_reserve(cache, &batch));
    batch.query_tokens = &tokens;
    TEST_OK(clmla_cache_reserve(cache, &batch));
    TEST_OK(clmla_plan_update(s.plan, cache, &batch, test_device_get()->queue, 0, NULL, NULL));
    TEST_CL(clFinish(test_device_get()->queue));
    clmla_plan_facts facts = clmla_plan_facts_get(s.plan);
    clmla_plan_destroy(&s.plan);
    clmla_cache_destroy(&cache);
    layer_model_free(&model);
    return facts;
}

// At DeepSeek's 512, 64, 128, 128 a key costs 131072 multiply-adds to rebuild, as a token does to absorb; a pair then
// saves 768.
START_TEST(chooses_what_takes_less) {
    static const model_shape deepseek = {16, 2, 512, 0, 128, 64, 128, REF_F32, false, false, CLMLA_ROPE_INTERLEAVED,
                                         41};
    static const struct {
        uint32_t keys, tokens, window;
        bool reconstructed;
    } choices[] = {
        {4096, 4096, 0, true}, {4096, 1, 0, false},  {4096, 63, 0, false},    {64, 64, 0, true},
        {8192, 128, 0, false}, {8192, 256, 0, true}, {4096, 1024, 16, false}, {4096, 256, 3000, true},
        {200, 160, 0, true},   {200, 110, 0, false}, {4096, 100, 0, false},
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        test_case_begin("prefill choice", (int)i, "%u keys, %u tokens, window %u", choices[i].keys, choices[i].tokens,
                        choices[i].window);
        clmla_plan_facts facts =
            choose((clmla_plan_params){.window = choices[i].window}, &deepseek, choices[i].keys, choices[i].tokens);
        bool wanted = choices[i].reconstructed;
        TEST_ASSERT(facts.reconstructed_tokens == (wanted ? choices[i].tokens : 0), "%u tokens: %s",
                    facts.reconstructed_tokens, facts.absorbed_reason);
        TEST_ASSERT(wanted == (facts.absorbed_reason[0] == '\0'), "the reason is '%s'", facts.absorbed_reason);
    }
}
END_TEST

// Matrix products make pairs cheaper; to rebuild a key costs what it did.
START_TEST(counts_matrix_products) {
    static const model_shape deepseek = {16, 2, 512, 0, 128, 64, 128, REF_F32, false, false, CLMLA_ROPE_INTERLEAVED,
                                         41};
    clmla_plan_params params = {.attend_variant = "tile", .compute = CLMLA_COMPUTE_FAST};
    test_case_begin("prefill choice", 90, "8192 keys, 160 tokens, attend_heads by tile and by matrix");
    params.attend_heads_variant = "tile";
    ck_assert_uint_eq(choose(params, &deepseek, 8192, 160).reconstructed_tokens, 0);
    params.attend_heads_variant = "matrix";
    ck_assert_uint_eq(choose(params, &deepseek, 8192, 160).reconstructed_tokens, 160);
}
END_TEST

static void expect_reason(clmla_plan_params params, const char *reason) {
    static const model_shape small = {16, 2, 32, 0, 8, 4, 8, REF_F32, false, false, CLMLA_ROPE_INTERLEAVED, 42};
    clmla_plan *plan = NULL;
    test_case_begin("prefill refusal", 0, "%s", reason);
    clmla_plan_facts facts = choose(params, &small, 100, 90);
    TEST_ASSERT(facts.reconstructed_tokens == 0, "%u tokens", facts.reconstructed_tokens);
    TEST_ASSERT(strstr(facts.absorbed_reason, reason), "the reason is '%s'", facts.absorbed_reason);
    if (params.prefill == CLMLA_PREFILL_ABSORBED) return;
    params.prefill = CLMLA_PREFILL_RECONSTRUCTED;
    params.head_count = small.heads;
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, small.latent, small.rope));
    TEST_ASSERT(clmla_plan_create(&plan, test_device_get()->context, &params) == CLMLA_E_ARGUMENT,
                "it was not refused");
    TEST_ASSERT(strstr(clmla_last_error(), reason), "'%s' is not in: %s", reason, clmla_last_error());
}

START_TEST(says_why_not) {
    clmla_prefill prefill;
    clmla_plan *plan = NULL;
    clmla_plan_params wrong = {.head_count = 1, .prefill = (clmla_prefill)3},
                      nameless = {.head_count = 1, .attend_heads_variant = "no_such_variant"};
    expect_reason((clmla_plan_params){.prefill = CLMLA_PREFILL_ABSORBED}, "the plan asks for it");
    expect_reason((clmla_plan_params){.split_tokens = 16}, "fixed splits");
    expect_reason((clmla_plan_params){.capacity = {1, 100, 100}}, "a plan with a capacity");
    expect_reason((clmla_plan_params){.value_dim = 36}, "rope part");
    TEST_OK(clmla_row_layout_make(&wrong.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 32, 4));
    TEST_ASSERT(clmla_plan_create(&plan, test_device_get()->context, &wrong) == CLMLA_E_ARGUMENT, "prefill 3");
    TEST_ASSERT(strstr(clmla_last_error(), "prefill is 3"), "%s", clmla_last_error());
    nameless.layout = wrong.layout;
    TEST_ASSERT(clmla_plan_create(&plan, test_device_get()->context, &nameless) == CLMLA_E_ARGUMENT, "no such variant");
    TEST_ASSERT(strstr(clmla_last_error(), "no_such_variant"), "%s", clmla_last_error());
    for (int p = 0; p < 3; p++) {
        TEST_OK(clmla_prefill_parse(&prefill, clmla_prefill_name((clmla_prefill)p)));
        ck_assert_int_eq((int)prefill, p);
    }
    ck_assert_str_eq(clmla_prefill_name((clmla_prefill)3), "?");
    ck_assert_int_eq(clmla_prefill_parse(&prefill, "never"), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_prefill_parse(NULL, "auto"), CLMLA_E_ARGUMENT);
}
END_TEST

// clmla_attend over the cache runs all sequences of a plan with prompts.
START_TEST(attend_still_sees_all_sequences) {
    const uint32_t *step = step_of(0);
    layer_model model;
    layer_session s;
    open_case(&model, &s, 0, (clmla_plan_params){.prefill = CLMLA_PREFILL_RECONSTRUCTED});
    layer_session_begin(&s, step, test_device_get()->queue);
    test_run_twice(&s.run); // writes the rows
    const model_shape *m = &model.shape;
    clmla_batch batch = {SESSION_SEQUENCES, s.sequences, s.query_tokens, NULL};
    test_buffer query, found[2];
    test_buffer_make_rows(&query, &s.random, s.tokens * m->heads, m->latent + m->rope, m->latent + m->rope, 0.0, 1.0);
    for (int i = 0; i < 2; i++) {
        test_buffer_make(&found[i], (size_t)s.tokens * m->heads * m->latent * sizeof(float), NULL);
        clmla_attend_params params = {.query = query.view, .softmax_scale = 0.2f, .output = found[i].view};
        TEST_OK(clmla_cache_rows(&params.rows, s.cache, 0));
        TEST_OK(clmla_attend(s.plan, &params, test_device_get()->queue, 0, NULL, NULL));
        test_buffer_fetch(&found[i]);
        replace_plan(&s, (clmla_plan_params){.prefill = CLMLA_PREFILL_ABSORBED});
        TEST_OK(clmla_plan_update(s.plan, s.cache, &batch, test_device_get()->queue, 0, NULL, NULL));
    }
    ck_assert_int_eq(memcmp(found[0].found, found[1].found, found[0].bytes), 0);
    test_buffer_free(&query);
    for (int i = 0; i < 2; i++) test_buffer_free(&found[i]);
    close_case(&model, &s);
}
END_TEST

// The kernels for GPUs, on whatever device is there; by matrix units within the bars of fast compute.
START_TEST(other_variants_agree) {
    static const struct {
        const char *name;
        clmla_compute compute;
        double bar;
    } variants[] = {{"tile", CLMLA_COMPUTE_EXACT, 8e-6},
                    {"naive", CLMLA_COMPUTE_EXACT, 8e-6},
                    {"matrix", CLMLA_COMPUTE_FAST, 1e-2}};
    layer_model model;
    layer_session s;
    open_case(&model, &s, 3, (clmla_plan_params){.prefill = CLMLA_PREFILL_RECONSTRUCTED});
    layer_session_begin(&s, step_of(0), test_device_get()->queue);
    size_t count = s.output.bytes / sizeof(float), hidden = model.shape.hidden;
    double *chosen = test_allocate(count, sizeof *chosen);
    clmla_batch batch = {SESSION_SEQUENCES, s.sequences, s.query_tokens, NULL};
    test_run_twice(&s.run);
    for (size_t j = 0; j < count; j++) chosen[j] = (double)test_buffer_found(&s.output)[j];
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        replace_plan(&s, (clmla_plan_params){.prefill = CLMLA_PREFILL_RECONSTRUCTED,
                                             .compute = variants[i].compute,
                                             .attend_heads_variant = variants[i].name});
        TEST_OK(clmla_plan_update(s.plan, s.cache, &batch, test_device_get()->queue, 0, NULL, NULL));
        test_run_twice(&s.run);
        test_compare_rows(test_buffer_found(&s.output), hidden, chosen, s.tokens, hidden, variants[i].bar,
                          variants[i].name);
    }
    free(chosen);
    layer_session_end(&s);
    close_case(&model, &s);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, matches_the_reference, 0, CASES);
    tcase_add_test(tcase, mixes_both_in_a_step);
    tcase_add_loop_test(tcase, agrees_with_absorbed_under_masks, 0, 4);
    tcase_add_test(tcase, other_variants_agree);
    tcase_add_test(tcase, chooses_what_takes_less);
    tcase_add_test(tcase, counts_matrix_products);
    tcase_add_test(tcase, says_why_not);
    tcase_add_test(tcase, attend_still_sees_all_sequences);
}

int main(void) {
    return test_main("check_layer_prefill", add);
}
