// SPDX-License-Identifier: Apache-2.0
// What a proof covers: every variant on every path that plans take, lists of slots, schedules made on the device, and
// prompts by reconstructed keys.
#include "lib/attend.h"
#include "lib/context.h"
#include "lib/proof.h"
#include "tests/api/proof_spoilt.h"
#include "tests/support/buffer.h"
#include <stdio.h>
#include <string.h>

// Plain and scaled rows, widths that are no multiples of anything, more heads than a tile has rows, values with rope
// parts, and every path of a plan: by every variant that serves them.
static const clmla_plan_params every_plan[] = {
    {.head_count = 5, .layout = {.format = CLMLA_ROWS_F16, .latent_dim = 32, .rope_dim = 8}},
    {.head_count = 390,
     .kv_head_count = 3,
     .layout = {.format = CLMLA_ROWS_F16, .latent_dim = 37, .rope_dim = 6},
     .value_dim = 43,
     .window = 1000},
    {.head_count = 16,
     .layout = {.format = CLMLA_ROWS_Q8, .latent_dim = 64, .rope_dim = 16},
     .parallel = {2, 3, 64},
     .capacity = {100, 100, 9999}},
    {.head_count = 12,
     .layout = {.format = CLMLA_ROWS_F16, .latent_dim = 32, .rope_dim = 8},
     .kv_head_count = 2,
     .full = true,
     .lists = true},
};

// "tile" takes seconds to compile here: plain rows are enough.
static bool is_slow(const char *variant, size_t plan) {
    return (plan > 0 || test_device_get()->short_form) && strcmp(variant, "tile") == 0;
}

static void prove_every_variant(clmla_context *context, clmla_plan_params params) {
    clmla_variant variants[16];
    size_t listed = 0, plan = 0;
    const clmla_row_layout *layout = &params.layout;
    clmla_shape shape = {.format = layout->format,
                         .latent_dim = layout->latent_dim,
                         .rope_dim = layout->rope_dim,
                         .value_dim = params.value_dim,
                         .compute = params.compute};
    while (every_plan[plan].head_count != params.head_count) plan++;
    TEST_OK(
        clmla_row_layout_make(&params.layout, shape.format, CLMLA_ROPE_INTERLEAVED, shape.latent_dim, shape.rope_dim));
    TEST_OK(clmla_variant_list(variants, 16, &listed, clmla_context_facts(context), CLMLA_OP_ATTEND, &shape));
    for (size_t v = 0; v < listed; v++) {
        if (!variants[v].accepted || is_slow(variants[v].name, plan)) continue;
        params.attend_variant = variants[v].name;
        ck_assert_str_eq(proof_chosen(context, &params), variants[v].name);
    }
}

START_TEST(every_variant_is_right) {
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    int count = test_device_get()->short_form ? 1 : (int)(sizeof every_plan / sizeof *every_plan);
    proof_spoil_nothing();
    for (int i = 0; i < 2 * count; i++) {
        clmla_plan_params params = every_plan[i / 2];
        params.compute = i % 2 ? CLMLA_COMPUTE_FAST : CLMLA_COMPUTE_EXACT;
        test_case_begin("proof of every variant", i, "plan %d, %s", i / 2, clmla_compute_name(params.compute));
        if (test_case_wanted(i)) prove_every_variant(context, params);
    }
    ck_assert_int_ge(t.proven, count);
    ck_assert_msg(t.refused == 0, "%s", t.last);
    clmla_context_destroy(&context);
}
END_TEST

// A kernel that goes wrong on some paths alone is used by plans that do not take them, and refused by those that do.
START_TEST(every_path_is_tried) {
    static const struct {
        const char *from, *to, *said;
        uint32_t window, kv_heads;
        bool lists;
    } paths[] = {
        {"call->window ?", "call->rank   ?", ", a window", 100, 0, false},
        {"item->kv_head * call->group_heads", "item->kv_head * 0                ", ", kv heads", 0, 2, false},
        {"(scope ? keys->indices[1]", "(scope ? keys->indices[0]", ", lists", 0, 0, true},
    };
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(6);
    params.attend_variant = proof_first_variant();
    proof_spoil_nothing();
    for (int i = 0; i < 3; i++)
        proof_spoils[i] = (proof_spoilt){.word = proof_first_word(), .from = paths[i].from, .to = paths[i].to};
    ck_assert_str_eq(proof_chosen(context, &params), proof_first_variant());
    for (int i = 0; i < 3; i++) {
        clmla_plan *plan = NULL;
        test_case_begin("proof of paths", i, "%s", paths[i].said);
        params.window = paths[i].window;
        params.kv_head_count = paths[i].kv_heads;
        params.lists = paths[i].lists;
        ck_assert_int_eq(clmla_plan_create(&plan, context, &params), CLMLA_E_ARGUMENT);
        ck_assert_msg(strstr(t.last, paths[i].said) && strstr(t.last, "differed from naive"), "%s", t.last);
        ck_assert_int_eq(t.refused, i + 1);
    }
    ck_assert_int_eq(t.proven, 1);
    clmla_context_destroy(&context);
}
END_TEST

// Where variants must be proven, a plan that does not say so has no lists.
START_TEST(lists_are_asked_for) {
    proof_told t = proof_told_nothing();
    clmla_context *never = proof_context(&t, CLMLA_PROOF_NEVER, ""),
                  *always = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(5);
    clmla_attend_scope scope = {.index_count = 0};
    clmla_attend_params attend = {.scopes = &scope, .scope_count = 1};
    clmla_plan *plan = NULL;
    test_case_begin("proof", 9, "lists of a plan that did not ask for them");
    proof_spoil_nothing();
    TEST_OK(clmla_rows_from_tensor(&scope.rows, &params.layout, test_buffer_tiny(), 16, 0));
    TEST_OK(clmla_plan_create(&plan, always, &params));
    ck_assert_int_eq(attend_keys_check(plan, &attend), CLMLA_E_ARGUMENT);
    ck_assert_msg(strstr(clmla_last_error(), "clmla_plan_params.lists"), "%s", clmla_last_error());
    clmla_plan_destroy(&plan);
    params.attend_variant = "naive"; // needs no proof
    TEST_OK(clmla_plan_create(&plan, always, &params));
    TEST_OK(attend_keys_check(plan, &attend));
    clmla_plan_destroy(&plan);
    params.attend_variant = NULL;
    TEST_OK(clmla_plan_create(&plan, never, &params));
    TEST_OK(attend_keys_check(plan, &attend));
    clmla_plan_destroy(&plan);
    params.lists = true, params.window = 5;
    ck_assert_int_eq(clmla_plan_create(&plan, never, &params), CLMLA_E_ARGUMENT);
    ck_assert_msg(strstr(clmla_last_error(), "neither a window (5)"), "%s", clmla_last_error());
    clmla_context_destroy(&always);
    clmla_context_destroy(&never);
}
END_TEST

// What naive left behind is no result of a kernel that never ran.
START_TEST(what_is_not_written_shows) {
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(5);
    clmla_plan *plan = NULL;
    char name[32];
    test_case_begin("proof", 10, "a kernel that does not run");
    proof_spoil_nothing();
    snprintf(name, sizeof name, "attend_%s", proof_first_variant());
    proof_dropped = name;
    params.attend_variant = proof_first_variant();
    ck_assert_int_eq(clmla_plan_create(&plan, context, &params), CLMLA_E_ARGUMENT);
    ck_assert_msg(strstr(t.last, "differed from naive"), "%s", t.last);
    clmla_context_destroy(&context);
    proof_spoil_nothing();
}
END_TEST

// A schedule on the device by a group's work-items, of plans with a capacity: as a GPU, which alone is given it.
START_TEST(schedules_are_proven) {
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(5);
    clmla_plan *plan = NULL;
    test_case_begin("proof", 11, "plan_group, %s", _i ? "wrong" : "right");
    proof_spoil_nothing();
    // A piece takes all keys that are left.
    if (_i)
        proof_spoils[0] =
            (proof_spoilt){.word = "plan_group(", .from = "c->kv_begin + (int)take", .to = "c->kv_begin + (int)keys"};
    params.attend_variant = "naive"; // needs no proof
    proof_chosen(context, &params);
    ck_assert_int_eq(t.proven + t.refused, 0);
    params.capacity = (clmla_plan_capacity){3, 5, 1000};
    context->host.facts.type = CL_DEVICE_TYPE_GPU;
    context->host.facts.is_interpreter = false;
    for (int i = 0; i < 2; i++) {
        TEST_OK(clmla_plan_create(&plan, context, &params));
        ck_assert_str_eq(plan->scheduler->name, _i ? "naive" : "group");
        clmla_plan_destroy(&plan);
    }
    ck_assert_int_eq(t.proven, !_i);
    ck_assert_int_eq(t.refused, _i);
    if (_i) ck_assert_msg(strstr(t.last, "plan 'group' is not used: differed from naive"), "%s", t.last);
    clmla_context_destroy(&context);
}
END_TEST

static const char *heads_chosen(const char **reason, clmla_context *context, const clmla_plan_params *params,
                                const clmla_config *config) {
    *reason = plan_prefill_step_refusal(context, params, config);
    const variant *found = plan_prefill_variant(NULL, context, params, config);
    return found ? found->name : "none";
}

// Of the model that proof_small_params(5) is for.
static clmla_config small_config(void) {
    return (clmla_config){
        .qk_nope_head_dim = 32, .qk_rope_head_dim = 8, .v_head_dim = 24, .kv_lora_rank = 32, .head_count = 5};
}

// Prompts by reconstructed keys: proven with a plan that knows the model, absorbed before, and called by others
// afterwards.
START_TEST(prompts_are_proven) {
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(5);
    clmla_config config = small_config();
    const char *reason;
    test_case_begin("proof", 7, "attend_heads, %s", _i ? "wrong" : "right");
    proof_spoil_nothing();
    if (_i)
        proof_spoil("attend_heads_vector(", PROOF_WRONG),
            proof_spoils[1] = (proof_spoilt){"attend_heads_tile(", PROOF_NO_PROGRAM, NULL, NULL};
    proof_chosen(context, &params);
    ck_assert_str_eq(heads_chosen(&reason, context, &params, &config), proof_first_variant());
    ck_assert_ptr_nonnull(reason);
    ck_assert_ptr_nonnull(strstr(reason, "not proven on this device"));
    int proven = t.proven;
    params.config = &config;
    proof_chosen(context, &params);
    ck_assert_str_eq(heads_chosen(&reason, context, &params, &config), _i ? "naive" : proof_first_variant());
    if (_i)
        ck_assert_ptr_nonnull(strstr(reason, "naive kernel alone"));
    else
        ck_assert_ptr_null(reason);
    ck_assert_int_eq(t.proven, proven + (_i ? 0 : 1));
    params.compute = CLMLA_COMPUTE_FAST;
    proof_chosen(context, &params);
    clmla_context_destroy(&context);
}
END_TEST

// What clmla_layer_prepare does for plans that name a variant of attend_heads and do not know the model: of each that
// may be named.
START_TEST(named_variants_of_prompts_are_proven) {
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(5), named = params;
    clmla_config config = small_config();
    const char *reason;
    test_case_begin("proof", 12, "attend_heads, named");
    proof_spoil("attend_heads_tile(", PROOF_NO_PROGRAM);
    if (strcmp(proof_first_variant(), "tile") == 0) proof_spoil_nothing();
    params.config = &config;
    named.attend_heads_variant = proof_first_variant();
    heads_chosen(&reason, context, &named, &config);
    ck_assert_ptr_nonnull(strstr(reason, "not proven on this device"));
    TEST_OK(plan_prefill_prove_all(context, &params));
    ck_assert_str_eq(heads_chosen(&reason, context, &named, &config), proof_first_variant());
    ck_assert_ptr_null(reason);
    // The other one was tried, too, and is known to be wrong.
    named.attend_heads_variant = "tile";
    if (strcmp(proof_first_variant(), "tile") != 0) {
        ck_assert_str_eq(heads_chosen(&reason, context, &named, &config), "none");
        ck_assert_ptr_nonnull(strstr(reason, "the variant of attend_heads that the plan names is refused"));
        ck_assert_int_eq(t.refused, 1);
    }
    clmla_context_destroy(&context);
}
END_TEST

// What a tuning leaves no room for is tried without it, as it runs; of a variant that is named it would not run.
START_TEST(tight_tunings_are_left_aside) {
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(5);
    clmla_config config = small_config();
    const char *reason;
    test_case_begin("proof", 13, "attend_heads, a tight tuning");
    proof_spoil("attend_heads_tile(", PROOF_NO_PROGRAM);
    TEST_OK(clmla_tuning_set(context, "attend.tile.local_kib", 1));
    params.config = &config;
    params.attend_heads_variant = "tile";
    TEST_OK(plan_prefill_prove(context, &params));
    ck_assert_str_eq(heads_chosen(&reason, context, &params, &config), "tile");
    ck_assert_ptr_nonnull(strstr(reason, "not proven on this device"));
    ck_assert_int_eq(t.refused, 0);
    params.attend_heads_variant = NULL;
    TEST_OK(plan_prefill_prove_all(context, &params));
    ck_assert_int_eq(t.refused, 1);
    ck_assert_msg(strstr(t.last, "attend_heads 'tile' is not used: failed on this device: its program") != NULL, "%s",
                  t.last);
    clmla_context_destroy(&context);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, every_variant_is_right);
    tcase_add_test(tcase, every_path_is_tried);
    tcase_add_test(tcase, lists_are_asked_for);
    tcase_add_test(tcase, what_is_not_written_shows);
    tcase_add_loop_test(tcase, schedules_are_proven, 0, 2);
    tcase_add_loop_test(tcase, prompts_are_proven, 0, 2);
    tcase_add_test(tcase, named_variants_of_prompts_are_proven);
    tcase_add_test(tcase, tight_tunings_are_left_aside);
}

int main(void) {
    return test_main("check_proof_paths", add_tests);
}
