// SPDX-License-Identifier: Apache-2.0
// A tuning that leaves no room for a tile, as a file written on another device may: a plan that chooses its variant is
// made without it, and the log names the number; one that names the variant is refused. So are calls of attend_heads.
#include "lib/operation.h"
#include "tests/support/device.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct warnings {
    int count;
    char last[1024];
} warnings;

static void keep_warning(void *payload, clmla_log_level level, const char *message) {
    warnings *w = payload;
    if (level != CLMLA_LOG_WARNING) return;
    w->count++;
    snprintf(w->last, sizeof w->last, "%s", message);
}

// Plays a GPU: its variants have the tiles.
static clmla_context *open_context(warnings *w) {
    clmla_context *context = NULL;
    clmla_context_params params = {.device = getenv("CLMLA_TEST_DEVICE"),
                                   .log = {keep_warning, w, CLMLA_LOG_WARNING},
                                   .program_folder = "",
                                   .tuning_file = "",
                                   .proof = CLMLA_PROOF_NEVER};
    TEST_OK(clmla_context_create(&context, &params));
    context->host.facts.type = CL_DEVICE_TYPE_GPU;
    return context;
}

static clmla_status make_plan(clmla_context *context, const char *variant, char chosen[48]) {
    clmla_plan_params params = {.head_count = 16, .attend_variant = variant};
    clmla_plan *plan = NULL;
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 512, 64));
    clmla_status status = clmla_plan_create(&plan, context, &params);
    snprintf(chosen, 48, "%s", clmla_plan_facts_get(plan).attend_variant);
    clmla_plan_destroy(&plan);
    return status;
}

START_TEST(is_worked_around) {
    warnings w = {0};
    char chosen[48];
    clmla_context *context = open_context(&w);
    TEST_OK(make_plan(context, NULL, chosen));
    ck_assert_str_eq(chosen, "tile");
    ck_assert_int_eq(w.count, 0);
    TEST_OK(clmla_tuning_set(context, "attend.tile.rows", 24));
    TEST_OK(clmla_tuning_set(context, "attend.tile.local_kib", 4));
    TEST_OK(make_plan(context, NULL, chosen));
    ck_assert_str_eq(chosen, "tile");
    ck_assert_int_eq(w.count, 1);
    ck_assert_msg(strstr(w.last, "attend.tile.local_kib of the tuning leaves no room") != NULL, "%s", w.last);
    ck_assert_msg(strstr(w.last, "'tile' needs ") != NULL, "%s", w.last);
    clmla_context_destroy(&context);
}
END_TEST

START_TEST(is_refused_by_name) {
    warnings w = {0};
    char chosen[48];
    clmla_context *context = open_context(&w);
    TEST_OK(clmla_tuning_set(context, "attend.tile.local_kib", 4));
    ck_assert_int_eq(make_plan(context, "tile", chosen), CLMLA_E_LIMIT);
    ck_assert_msg(strstr(clmla_last_error(), "see attend.tile.* of the tuning") != NULL, "%s", clmla_last_error());
    ck_assert_int_eq(w.count, 0);
    clmla_context_destroy(&context);
}
END_TEST

// --- attend_heads

// By a variant that is chosen, or named.
static clmla_status ask_heads(clmla_context *context, const char *variant, bool named, char options[OPTIONS_MAX]) {
    const clmla_attend_heads_params call = {.token_count = 1,
                                            .head_count = 1,
                                            .nope_dim = 32,
                                            .rope_dim = 8,
                                            .value_dim = 24,
                                            .variant = named ? variant : NULL,
                                            .compute = CLMLA_COMPUTE_FAST};
    const clmla_shape shape = {
        .latent_dim = 32, .rope_dim = 8, .value_dim = 24, .head_count = 1, .compute = CLMLA_COMPUTE_FAST};
    const struct variant *found;
    TEST_OK(variant_choose(&found, context, CLMLA_OP_ATTEND_HEADS, &shape, variant));
    return attend_heads_options(options, context, &call, found);
}

static const char *const heads_variants[] = {"tile", "matrix"};

// The warning comes once, as calls are many, until a number is set.
START_TEST(is_worked_around_in_calls) {
    warnings w = {0};
    char untuned[OPTIONS_MAX], options[OPTIONS_MAX], says[64];
    clmla_context *context = open_context(&w);
    snprintf(says, sizeof says, "variant '%s' needs ", heads_variants[_i]);
    TEST_OK(ask_heads(context, heads_variants[_i], false, untuned));
    for (uint32_t kib = 1; kib <= 2; kib++) {
        TEST_OK(clmla_tuning_set(context, "attend.tile.local_kib", kib));
        for (int call = 0; call < 3; call++) {
            TEST_OK(ask_heads(context, heads_variants[_i], false, options));
            ck_assert_str_eq(options, untuned);
            ck_assert_int_eq(w.count, (int)kib);
        }
        ck_assert_msg(strstr(w.last, "attend_heads: attend.tile.local_kib of the tuning leaves no room") != NULL, "%s",
                      w.last);
        ck_assert_msg(strstr(w.last, says) != NULL, "%s", w.last);
    }
    clmla_context_destroy(&context);
}
END_TEST

START_TEST(is_refused_by_name_in_calls) {
    warnings w = {0};
    char options[OPTIONS_MAX];
    clmla_context *context = open_context(&w);
    TEST_OK(clmla_tuning_set(context, "attend.tile.local_kib", 1));
    ck_assert_int_eq(ask_heads(context, heads_variants[_i], true, options), CLMLA_E_LIMIT);
    ck_assert_msg(strstr(clmla_last_error(), "see attend.tile.* of the tuning") != NULL, "%s", clmla_last_error());
    ck_assert_msg(strstr(clmla_last_error(), "has 1024") != NULL, "%s", clmla_last_error());
    ck_assert_int_eq(w.count, 0);
    clmla_context_destroy(&context);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, is_worked_around);
    tcase_add_test(tcase, is_refused_by_name);
    tcase_add_loop_test(tcase, is_worked_around_in_calls, 0, 2);
    tcase_add_loop_test(tcase, is_refused_by_name_in_calls, 0, 2);
}

int main(void) {
    return test_main("check_tune_room", add);
}
