// SPDX-License-Identifier: Apache-2.0
// Every call and allocation of a proof fails once: a plan or a status, nothing left behind, and the next time is as
// good as new.
#include "lib/context.h"
#include "lib/plan.h"
#include "tests/api/proof_spoilt.h"
#include "tests/host/faulty.h"
#include <string.h>

static clmla_context *faulty_context(void) {
    clmla_context *context = NULL;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .allocator = faulty_allocator(),
                                   .program_folder = "",
                                   .tuning_file = "",
                                   .proof = CLMLA_PROOF_ALWAYS};
    faulty_arm(FAULTY_NONE, 0, false);
    TEST_OK(context_create_with_calls(&context, &params, faulty_calls()));
    return context;
}

START_TEST(failures_lose_nothing) {
    faulty_kind kind = _i ? FAULTY_ALLOCATION : FAULTY_CALL;
    long faults = 0, refused = 0, unseen = 0;
    clmla_context *context = faulty_context();
    clmla_plan_params params = proof_small_params(1);
    params.attend_variant = proof_first_variant(); // no other is tried in its place
    proof_chosen(context, &params);                // builds the programs
    for (long at = 0;; at++) {
        clmla_plan *plan = NULL;
        params.head_count = 2 + (uint32_t)at; // a claim of its own
        faulty_arm(kind, at, false);
        clmla_status status = clmla_plan_create(&plan, context, &params);
        const char *hit = faulty_hit();
        faulty_arm(FAULTY_NONE, 0, false);
        test_case_begin("proof, failures", (int)at, "%s", hit ? hit : "none");
        ck_assert_int_eq(plan != NULL, status == CLMLA_OK);
        clmla_plan_destroy(&plan);
        if (!hit) break;
        faults++;
        if (status == CLMLA_E_ARGUMENT) { // the variant itself failed: as long as the context lives it is not used
            refused++;
            TEST_ASSERT(kind == FAULTY_CALL && strstr(clmla_last_error(), "failed on this device"), "%s",
                        clmla_last_error());
            continue;
        }
        TEST_ASSERT(status == CLMLA_OK || status == CLMLA_E_MEMORY || status == CLMLA_E_OPENCL, "%s",
                    clmla_last_error());
        // Some are got over: who cannot hold an event waits for it, and what cannot be kept is found out again.
        unseen += status == CLMLA_OK;
        TEST_OK(clmla_plan_create(&plan, context, &params));
        ck_assert_str_eq(clmla_plan_facts_get(plan).attend_variant, proof_first_variant());
        clmla_plan_destroy(&plan);
    }
    ck_assert_int_gt(faults, _i ? 5 : 50);
    ck_assert_int_eq(refused > 10, kind == FAULTY_CALL);
    ck_assert_int_lt(unseen, faults / 4);
    clmla_context_destroy(&context);
    ck_assert(faulty_nothing_lives());
}
END_TEST

// The same of a schedule's: naive takes the place of a variant that failed.
START_TEST(failures_of_schedules_lose_nothing) {
    faulty_kind kind = _i ? FAULTY_ALLOCATION : FAULTY_CALL;
    long faults = 0, naive = 0;
    clmla_context *context = faulty_context();
    context->host.facts.type = CL_DEVICE_TYPE_GPU;
    context->host.facts.is_interpreter = false;
    clmla_plan_params params = proof_small_params(3);
    params.attend_variant = "naive";
    params.capacity = (clmla_plan_capacity){3, 5, 1000};
    proof_chosen(context, &params); // builds the programs
    for (long at = 0;; at++) {
        clmla_plan *plan = NULL;
        params.window = 1 + (uint32_t)at; // a claim of its own
        faulty_arm(kind, at, false);
        clmla_status status = clmla_plan_create(&plan, context, &params);
        const char *hit = faulty_hit();
        faulty_arm(FAULTY_NONE, 0, false);
        test_case_begin("proof of schedules, failures", (int)at, "%s", hit ? hit : "none");
        ck_assert_int_eq(plan != NULL, status == CLMLA_OK);
        TEST_ASSERT(status == CLMLA_OK || status == CLMLA_E_MEMORY || status == CLMLA_E_OPENCL, "%s",
                    clmla_last_error());
        naive += plan && strcmp(plan->scheduler->name, "naive") == 0;
        clmla_plan_destroy(&plan);
        if (!hit) break;
        faults++;
    }
    ck_assert_int_gt(faults, _i ? 4 : 20);
    ck_assert_int_eq(naive > 3, kind == FAULTY_CALL);
    clmla_context_destroy(&context);
    ck_assert(faulty_nothing_lives());
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, failures_lose_nothing, 0, 2);
    tcase_add_loop_test(tcase, failures_of_schedules_lose_nothing, 0, 2);
}

int main(void) {
    return test_main("check_proof_faults", add_tests);
}
