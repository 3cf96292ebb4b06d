// SPDX-License-Identifier: Apache-2.0
// No variant is used that gives wrong results on a device: variants whose programs were spoilt on the way to the driver
// are refused with a reason, the next one is taken, and what was found is kept by the context and on disk.
#include "lib/context.h"
#include "lib/proof.h"
#include "tests/api/proof_spoilt.h"
#include "tests/host/folder.h"
#include <stdio.h>
#include <string.h>

START_TEST(right_variants_are_proven_once) {
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(5);
    proof_spoil_nothing();
    test_case_begin("proof", 0, "%s", proof_first_variant());
    for (int i = 0; i < 2; i++) ck_assert_str_eq(proof_chosen(context, &params), proof_first_variant());
    ck_assert_int_eq(t.proven, 1);
    ck_assert_int_eq(t.refused, 0);
    params.head_count = 6; // another proof, of the same programs
    uint32_t built = clmla_context_programs(context).built;
    ck_assert_str_eq(proof_chosen(context, &params), proof_first_variant());
    ck_assert_int_eq(t.proven, 2);
    ck_assert_uint_eq(clmla_context_programs(context).built, built);
    clmla_context_destroy(&context);
}
END_TEST

START_TEST(wrong_variants_are_refused) {
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(5);
    clmla_variant variants[16];
    clmla_shape shape = {.format = CLMLA_ROWS_F16, .latent_dim = 32, .rope_dim = 8, .head_count = 5};
    size_t count = 0, at = 0;
    test_case_begin("proof", 1, "wrong attend_vector");
    proof_spoil(proof_first_word(), PROOF_WRONG);
    const char *next = proof_chosen(context, &params);
    ck_assert_str_ne(next, proof_first_variant());
    ck_assert_int_eq(t.refused, 1);
    ck_assert_msg(strstr(t.last, "differed from naive on this device by") != NULL, "%s", t.last);
    ck_assert_msg(strstr(t.last, proof_first_variant()) != NULL, "%s", t.last);
    TEST_OK(clmla_variant_list_tried(variants, 16, &count, context, CLMLA_OP_ATTEND, &shape));
    while (at < count && strcmp(variants[at].name, proof_first_variant()) != 0) at++;
    ck_assert(at < count && !variants[at].accepted && !variants[at].proven && !variants[at].chosen);
    ck_assert_msg(strstr(variants[at].reason, "differed from naive") != NULL, "%s", variants[at].reason);
    for (at = 0; at < count; at++)
        if (variants[at].chosen) ck_assert_str_eq(variants[at].name, next);
    // By its name it is refused, too.
    clmla_plan *plan = NULL;
    params.attend_variant = proof_first_variant();
    ck_assert_int_eq(clmla_plan_create(&plan, context, &params), CLMLA_E_ARGUMENT);
    ck_assert_msg(strstr(clmla_last_error(), "differed from naive") != NULL, "%s", clmla_last_error());
    ck_assert_int_eq(t.refused, 1);
    clmla_context_destroy(&context);
}
END_TEST

START_TEST(naive_is_the_last_resort) {
    proof_told t = proof_told_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = proof_small_params(5);
    test_case_begin("proof", 2, "attend_vector and attend_tile");
    proof_spoil_all(PROOF_WRONG);
    ck_assert_str_eq(proof_chosen(context, &params), "naive");
    ck_assert_int_ge(t.refused, 1);
    ck_assert_int_eq(t.proven, 0);
    clmla_context_destroy(&context);
}
END_TEST

// What cannot be built is refused for as long as the context lives; the sentence of the thread is left alone.
START_TEST(failures_are_refusals) {
    proof_told t = proof_told_nothing();
    const char *folder = test_folder_make();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, folder);
    clmla_plan_params params = proof_small_params(5);
    test_case_begin("proof", 3, "a program that does not compile");
    proof_spoil_all(PROOF_NO_PROGRAM);
    ck_assert_int_eq(clmla_plan_create(&(clmla_plan *){NULL}, NULL, &params), CLMLA_E_ARGUMENT);
    char before[256];
    snprintf(before, sizeof before, "%s", clmla_last_error());
    ck_assert_str_eq(proof_chosen(context, &params), "naive");
    ck_assert_str_eq(clmla_last_error(), before);
    ck_assert_msg(strstr(t.last, "failed on this device: its program does not compile: CL_BUILD_PROGRAM_FAILURE") !=
                      NULL,
                  "%s", t.last);
    clmla_context_destroy(&context);
    // Another start tries again.
    proof_spoil_nothing();
    context = proof_context(&t, CLMLA_PROOF_ALWAYS, folder);
    ck_assert_str_eq(proof_chosen(context, &params), proof_first_variant());
    clmla_context_destroy(&context);
    test_folder_remove();
}
END_TEST

// A naive kernel that gives no numbers says nothing of a variant: it is not used, and another start compares again.
START_TEST(what_naive_cannot_judge_does_not_last) {
    proof_told t = proof_told_nothing();
    const char *folder = test_folder_make();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, folder);
    clmla_plan_params params = proof_small_params(5);
    test_case_begin("proof", 8, "attend_naive gives NaN");
    params.attend_variant = proof_first_variant();
    proof_spoil("attend_naive(", PROOF_NO_NUMBERS);
    clmla_plan *plan = NULL;
    ck_assert_int_eq(clmla_plan_create(&plan, context, &params), CLMLA_E_ARGUMENT);
    ck_assert_msg(strstr(t.last, "naive gave no finite numbers") != NULL, "%s", t.last);
    clmla_context_destroy(&context);
    proof_spoil_nothing();
    context = proof_context(&t, CLMLA_PROOF_ALWAYS, folder);
    ck_assert_str_eq(proof_chosen(context, &params), proof_first_variant());
    ck_assert_int_eq(t.earlier, 0);
    clmla_context_destroy(&context);
    test_folder_remove();
}
END_TEST

// Without proofs nothing is found out; by themselves they are for devices that the tests do not cover.
START_TEST(proofs_are_for_devices_without_tests) {
    proof_told t = proof_told_nothing();
    clmla_plan_params params = proof_small_params(5);
    clmla_context *never = proof_context(&t, CLMLA_PROOF_NEVER, ""),
                  *by_itself = proof_context(&t, CLMLA_PROOF_AUTO, "");
    test_case_begin("proof", 4, "never and auto");
    proof_spoil_all(PROOF_NO_PROGRAM);
    ck_assert_str_eq(proof_chosen(never, &params), proof_first_variant());
    if (proof_is_covered(test_device_get()->facts))
        ck_assert_str_eq(proof_chosen(by_itself, &params), proof_first_variant());
    ck_assert_int_eq(t.proven + t.refused, 0);
    // The same device, as a GPU: its first variant is a wrong one.
    by_itself->host.facts.type = CL_DEVICE_TYPE_GPU;
    by_itself->host.facts.is_interpreter = false;
    ck_assert_str_eq(proof_chosen(by_itself, &params), "naive");
    ck_assert_int_eq(t.refused, 1);
    proof_spoil_nothing();
    clmla_context_destroy(&by_itself);
    by_itself = proof_context(&t, CLMLA_PROOF_AUTO, "");
    by_itself->host.facts.type = CL_DEVICE_TYPE_GPU;
    by_itself->host.facts.is_interpreter = false;
    ck_assert_str_eq(proof_chosen(by_itself, &params), "tile");
    ck_assert_int_eq(t.proven, 1);
    clmla_context_destroy(&by_itself);
    clmla_context_destroy(&never);
}
END_TEST

START_TEST(the_rule_of_devices) {
    static const struct {
        cl_device_type type;
        const char *platform;
        bool interpreter, covered;
    } devices[] = {{CL_DEVICE_TYPE_CPU, "Portable Computing Language", false, true},
                   {CL_DEVICE_TYPE_CPU, "Intel(R) OpenCL", false, true},
                   {CL_DEVICE_TYPE_CPU, "rusticl", false, false},
                   {CL_DEVICE_TYPE_GPU, "Portable Computing Language", false, false},
                   {CL_DEVICE_TYPE_GPU, "Intel(R) OpenCL Graphics", false, false},
                   {CL_DEVICE_TYPE_ACCELERATOR, "Portable Computing Language", false, false},
                   {CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_CPU, "Oclgrind", true, true}};
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        clmla_device_facts facts = {.type = devices[i].type, .is_interpreter = devices[i].interpreter};
        snprintf(facts.platform_name, sizeof facts.platform_name, "%s", devices[i].platform);
        ck_assert_msg(proof_is_covered(&facts) == devices[i].covered, "device %zu", i);
    }
    clmla_context *context = NULL;
    ck_assert_int_eq(clmla_context_create(&context, &(clmla_context_params){.proof = (clmla_proof)3}),
                     CLMLA_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "proof is 3"));
}
END_TEST

// A second start finds the verdict, right or wrong.
START_TEST(verdicts_last) {
    proof_told told[2] = {proof_told_nothing(), proof_told_nothing()};
    const char *folder = test_folder_make();
    clmla_plan_params params = proof_small_params(5);
    params.attend_variant = proof_first_variant();
    test_case_begin("proof", 5, "on disk, %s", _i ? "wrong" : "right");
    proof_spoil_nothing();
    if (_i) proof_spoil(proof_first_word(), PROOF_WRONG);
    for (int start = 0; start < 2; start++) {
        clmla_context *context = proof_context(&told[start], CLMLA_PROOF_ALWAYS, folder);
        clmla_plan *plan = NULL;
        ck_assert_int_eq(clmla_plan_create(&plan, context, &params), _i ? CLMLA_E_ARGUMENT : CLMLA_OK);
        clmla_plan_destroy(&plan);
        ck_assert_int_eq(told[start].proven, !_i);
        ck_assert_int_eq(told[start].refused, _i);
        ck_assert_int_eq(told[start].earlier, start);
        clmla_program_counts counts = clmla_context_programs(context);
        ck_assert_int_eq(counts.built + counts.loaded > 0, start == 0); // nor was anything run
        clmla_context_destroy(&context);
        proof_spoil_nothing();
    }
    test_folder_remove();
}
END_TEST

// One slip of a device does not condemn a variant for good: what differs once and not again is not kept on disk.
START_TEST(a_slip_does_not_last) {
    proof_told told[2] = {proof_told_nothing(), proof_told_nothing()};
    const char *folder = test_folder_make();
    clmla_plan_params params = proof_small_params(5);
    params.attend_variant = proof_first_variant();
    test_case_begin("proof", 5, "a launch lost, %d times", _i + 1);
    proof_spoil_nothing();
    proof_dropped = strcmp(proof_first_variant(), "vector") == 0 ? "attend_vector" : "attend_tile";
    proof_drops = _i + 1;
    for (int start = 0; start < 2; start++) {
        clmla_context *context = proof_context(&told[start], CLMLA_PROOF_ALWAYS, folder);
        clmla_plan *plan = NULL;
        bool wrong = start == 0 || _i == 1;
        for (int ask = 0; ask < 2; ask++) { // the context keeps it either way
            ck_assert_int_eq(clmla_plan_create(&plan, context, &params), wrong ? CLMLA_E_ARGUMENT : CLMLA_OK);
            clmla_plan_destroy(&plan);
        }
        ck_assert_int_eq(told[start].proven, !wrong);
        ck_assert_int_eq(told[start].refused, wrong);
        ck_assert_int_eq(told[start].earlier, start == 1 && _i == 1);
        clmla_context_destroy(&context);
    }
    proof_spoil_nothing();
    test_folder_remove();
}
END_TEST

#define THREADS 4

typedef struct worker {
    clmla_context *context;
    const clmla_plan_params *params;
    clmla_status status;
    const char *name;
} worker;

static void *work(void *payload) {
    worker *w = payload;
    clmla_plan *plan = NULL;
    w->status = clmla_plan_create(&plan, w->context, w->params);
    w->name = clmla_plan_facts_get(plan).attend_variant;
    clmla_plan_destroy(&plan);
    return NULL;
}

START_TEST(threads_prove_once) {
    proof_told t = proof_told_nothing();
    clmla_plan_params params = proof_small_params(5);
    pthread_t threads[THREADS];
    worker workers[THREADS];
    test_case_begin("proof", 6, "%d threads", THREADS);
    proof_spoil_nothing();
    clmla_context *context = proof_context(&t, CLMLA_PROOF_ALWAYS, "");
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.context = context, .params = &params};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(workers[i].status, CLMLA_OK);
        ck_assert_str_eq(workers[i].name, proof_first_variant());
    }
    ck_assert_int_eq(t.proven, 1);
    clmla_context_destroy(&context);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, right_variants_are_proven_once);
    tcase_add_test(tcase, wrong_variants_are_refused);
    tcase_add_test(tcase, naive_is_the_last_resort);
    tcase_add_test(tcase, failures_are_refusals);
    tcase_add_test(tcase, what_naive_cannot_judge_does_not_last);
    tcase_add_test(tcase, proofs_are_for_devices_without_tests);
    tcase_add_test(tcase, the_rule_of_devices);
    tcase_add_loop_test(tcase, verdicts_last, 0, 2);
    tcase_add_loop_test(tcase, a_slip_does_not_last, 0, 2);
    tcase_add_test(tcase, threads_prove_once);
}

int main(void) {
    return test_main("check_proof", add_tests);
}
