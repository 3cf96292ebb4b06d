// SPDX-License-Identifier: Apache-2.0
// No variant is used that gives wrong results on a device: variants whose programs were spoilt on the way to the driver
// are refused with a reason, the next one is taken, and what was found is kept by the context and on disk.
#include "lib/context.h"
#include "lib/plan.h"
#include "lib/proof.h"
#include "tests/api/expect.h"
#include "tests/host/faulty.h"
#include "tests/host/folder.h"
#include "tests/support/device.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPOILT 2
#define WRONG "#define fma(a, b, c) ((a) * (b) * 0.99f + (c))\n"
#define NO_PROGRAM "#error a spoilt program\n"

// Programs with these words become wrong ones: `before` is put before their text.
static struct { const char *words[SPOILT], *before; } spoilt;

static cl_program CL_API_CALL spoil_source(cl_context context, cl_uint count, const char **text, const size_t *length,
                                           cl_int *code) {
    for (int i = 0; count == 1 && i < SPOILT; i++)
        if (spoilt.words[i] && strstr(text[0], spoilt.words[i])) {
            const char *texts[2] = {spoilt.before, text[0]};
            const size_t lengths[2] = {strlen(spoilt.before), length[0]};
            return clCreateProgramWithSource(context, 2, texts, lengths, code);
        }
    return clCreateProgramWithSource(context, count, text, length, code);
}

typedef struct told {
    pthread_mutex_t lock;
    int proven, refused, earlier; // earlier: from disk
    char last[512];               // of refusals
} told;

static void listen(void *payload, clmla_log_level level, const char *message) {
    told *t = payload;
    pthread_mutex_lock(&t->lock);
    t->earlier += strstr(message, "; found earlier") != NULL;
    t->proven += level == CLMLA_LOG_INFO && strstr(message, "is proven") != NULL;
    t->refused += level == CLMLA_LOG_WARNING && strstr(message, "is not used") != NULL;
    if (strstr(message, "is not used")) snprintf(t->last, sizeof t->last, "%s", message);
    pthread_mutex_unlock(&t->lock);
}

static told told_nothing(void) {
    return (told){.lock = PTHREAD_MUTEX_INITIALIZER};
}

static clmla_context *make_context(told *t, clmla_proof proof, const char *folder) {
    static host_calls table;
    clmla_context *context;
    table = *host_calls_default();
    table.CreateProgramWithSource = spoil_source;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .log = {listen, t, CLMLA_LOG_INFO},
                                   .program_folder = folder,
                                   .tuning_file = "",
                                   .proof = proof};
    TEST_OK(context_create_with_calls(&context, &params, &table));
    return context;
}

static clmla_plan_params small_params(uint32_t heads) {
    clmla_plan_params params = {.head_count = heads};
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 32, 8));
    return params;
}

static const char *chosen(clmla_context *context, const clmla_plan_params *params) {
    clmla_plan *plan = NULL;
    TEST_OK(clmla_plan_create(&plan, context, params));
    const char *name = clmla_plan_facts_get(plan).attend_variant;
    clmla_plan_destroy(&plan);
    return name;
}

static const char *first_variant(void) {
    return test_device_get()->facts->type & CL_DEVICE_TYPE_CPU ? "vector" : "tile";
}

static void spoil(const char *a, const char *b, const char *before) {
    spoilt.words[0] = a, spoilt.words[1] = b, spoilt.before = before;
}

START_TEST(right_variants_are_proven_once) {
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5);
    spoil(NULL, NULL, NULL);
    test_case_begin("proof", 0, "%s", first_variant());
    for (int i = 0; i < 2; i++) ck_assert_str_eq(chosen(context, &params), first_variant());
    ck_assert_int_eq(t.proven, 1);
    ck_assert_int_eq(t.refused, 0);
    params.head_count = 6; // another proof, of the same programs
    uint32_t built = clmla_context_programs(context).built;
    ck_assert_str_eq(chosen(context, &params), first_variant());
    ck_assert_int_eq(t.proven, 2);
    ck_assert_uint_eq(clmla_context_programs(context).built, built);
    clmla_context_destroy(&context);
}
END_TEST

// Plain and scaled rows, widths that are no multiples of anything, heads of several kv heads, values with rope parts:
// by every variant that serves them.
START_TEST(every_variant_is_right) {
    static const struct {
        clmla_row_format format;
        uint32_t latent, rope, heads, kv_heads, value;
    } shapes[] = {{CLMLA_ROWS_F16, 32, 8, 8, 1, 0},
                  {CLMLA_ROWS_BF16, 37, 6, 12, 3, 43},
                  {CLMLA_ROWS_Q8, 64, 16, 5, 1, 0},
                  {CLMLA_ROWS_F32, 32, 0, 130, 1, 0}};
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    size_t count = test_device_get()->short_form ? 1 : sizeof shapes / sizeof *shapes;
    spoil(NULL, NULL, NULL);
    for (size_t i = 0; i < 2 * count; i++) {
        clmla_variant variants[16];
        size_t listed = 0;
        clmla_plan_params params = {.head_count = shapes[i / 2].heads,
                                    .kv_head_count = shapes[i / 2].kv_heads,
                                    .value_dim = shapes[i / 2].value,
                                    .compute = i % 2 ? CLMLA_COMPUTE_FAST : CLMLA_COMPUTE_EXACT};
        clmla_shape shape = {.format = shapes[i / 2].format,
                             .latent_dim = shapes[i / 2].latent,
                             .rope_dim = shapes[i / 2].rope,
                             .value_dim = params.value_dim,
                             .compute = params.compute};
        test_case_begin("proof of every variant", (int)i, "%s rows of %u + %u, %s", clmla_row_format_name(shape.format),
                        shape.latent_dim, shape.rope_dim, clmla_compute_name(params.compute));
        if (!test_case_wanted((int)i)) continue;
        TEST_OK(clmla_row_layout_make(&params.layout, shape.format, CLMLA_ROPE_INTERLEAVED, shape.latent_dim,
                                      shape.rope_dim));
        TEST_OK(clmla_variant_list(variants, 16, &listed, clmla_context_facts(context), CLMLA_OP_ATTEND, &shape));
        for (size_t v = 0; v < listed; v++) {
            // "tile" takes seconds to compile here, and "matrix" in OpenCL C: f16 rows are enough.
            bool slow = (i > 1 || test_device_get()->short_form) &&
                        (strcmp(variants[v].name, "tile") == 0 || strcmp(variants[v].name, "matrix") == 0);
            if (!variants[v].accepted || slow) continue;
            params.attend_variant = variants[v].name;
            ck_assert_str_eq(chosen(context, &params), variants[v].name);
        }
    }
    ck_assert_int_ge(t.proven, (int)count);
    ck_assert_msg(t.refused == 0, "%s", t.last);
    clmla_context_destroy(&context);
}
END_TEST

START_TEST(wrong_variants_are_refused) {
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5);
    clmla_variant variants[16];
    clmla_shape shape = {.format = CLMLA_ROWS_F16, .latent_dim = 32, .rope_dim = 8, .head_count = 5};
    size_t count = 0, at = 0;
    test_case_begin("proof", 1, "wrong attend_vector");
    spoil("attend_vector(", NULL, WRONG);
    if (!(test_device_get()->facts->type & CL_DEVICE_TYPE_CPU)) spoil("attend_tile(", NULL, WRONG);
    const char *next = chosen(context, &params);
    ck_assert_str_ne(next, first_variant());
    ck_assert_int_eq(t.refused, 1);
    ck_assert_msg(strstr(t.last, "differed from naive on this device by") != NULL, "%s", t.last);
    ck_assert_msg(strstr(t.last, first_variant()) != NULL, "%s", t.last);
    TEST_OK(clmla_variant_list_tried(variants, 16, &count, context, CLMLA_OP_ATTEND, &shape));
    while (at < count && strcmp(variants[at].name, first_variant()) != 0) at++;
    ck_assert(at < count && !variants[at].accepted && !variants[at].proven && !variants[at].chosen);
    ck_assert_msg(strstr(variants[at].reason, "differed from naive") != NULL, "%s", variants[at].reason);
    for (at = 0; at < count; at++)
        if (variants[at].chosen) ck_assert_str_eq(variants[at].name, next);
    // By its name it is refused, too.
    clmla_plan *plan = NULL;
    params.attend_variant = first_variant();
    ck_assert_int_eq(clmla_plan_create(&plan, context, &params), CLMLA_E_ARGUMENT);
    ck_assert_msg(strstr(clmla_last_error(), "differed from naive") != NULL, "%s", clmla_last_error());
    ck_assert_int_eq(t.refused, 1);
    clmla_context_destroy(&context);
}
END_TEST

START_TEST(naive_is_the_last_resort) {
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5);
    test_case_begin("proof", 2, "wrong attend_vector and attend_tile");
    spoil("attend_vector(", "attend_tile(", WRONG);
    ck_assert_str_eq(chosen(context, &params), "naive");
    ck_assert_int_ge(t.refused, 1);
    ck_assert_int_eq(t.proven, 0);
    clmla_context_destroy(&context);
}
END_TEST

// What cannot be built is refused for as long as the context lives; the sentence of the thread is left alone.
START_TEST(failures_are_refusals) {
    told t = told_nothing();
    const char *folder = test_folder_make();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, folder);
    clmla_plan_params params = small_params(5);
    test_case_begin("proof", 3, "a program that does not compile");
    spoil("attend_vector(", "attend_tile(", NO_PROGRAM);
    ck_assert_int_eq(clmla_plan_create(&(clmla_plan *){NULL}, NULL, &params), CLMLA_E_ARGUMENT);
    char before[256];
    snprintf(before, sizeof before, "%s", clmla_last_error());
    ck_assert_str_eq(chosen(context, &params), "naive");
    ck_assert_str_eq(clmla_last_error(), before);
    ck_assert_msg(strstr(t.last, "failed on this device: its program does not compile: CL_BUILD_PROGRAM_FAILURE") !=
                      NULL,
                  "%s", t.last);
    clmla_context_destroy(&context);
    // Another start tries again.
    spoil(NULL, NULL, NULL);
    context = make_context(&t, CLMLA_PROOF_ALWAYS, folder);
    ck_assert_str_eq(chosen(context, &params), first_variant());
    clmla_context_destroy(&context);
    test_folder_remove();
}
END_TEST

// Without proofs nothing is found out; by themselves they are for devices that the tests do not cover.
START_TEST(proofs_are_for_devices_without_tests) {
    told t = told_nothing();
    clmla_plan_params params = small_params(5);
    clmla_context *never = make_context(&t, CLMLA_PROOF_NEVER, ""), *by_itself = make_context(&t, CLMLA_PROOF_AUTO, "");
    test_case_begin("proof", 4, "never and auto");
    spoil("attend_vector(", "attend_tile(", WRONG);
    ck_assert_str_eq(chosen(never, &params), first_variant());
    if (proof_is_covered(test_device_get()->facts)) ck_assert_str_eq(chosen(by_itself, &params), first_variant());
    ck_assert_int_eq(t.proven + t.refused, 0);
    // The same device, as a GPU: its first variant is a wrong one.
    by_itself->host.facts.type = CL_DEVICE_TYPE_GPU;
    by_itself->host.facts.is_interpreter = false;
    ck_assert_str_eq(chosen(by_itself, &params), "naive");
    ck_assert_int_eq(t.refused, 1);
    spoil(NULL, NULL, NULL);
    clmla_context_destroy(&by_itself);
    by_itself = make_context(&t, CLMLA_PROOF_AUTO, "");
    by_itself->host.facts.type = CL_DEVICE_TYPE_GPU;
    by_itself->host.facts.is_interpreter = false;
    ck_assert_str_eq(chosen(by_itself, &params), "tile");
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
    told first = told_nothing(), second = told_nothing();
    const char *folder = test_folder_make();
    clmla_plan_params params = small_params(5);
    test_case_begin("proof", 5, "on disk, %s", _i ? "wrong" : "right");
    spoil(_i ? "attend_vector(" : NULL, _i ? "attend_tile(" : NULL, WRONG);
    const char *name = _i ? "naive" : first_variant();
    clmla_context *context = make_context(&first, CLMLA_PROOF_ALWAYS, folder);
    ck_assert_str_eq(chosen(context, &params), name);
    ck_assert_int_ge(_i ? first.refused : first.proven, 1);
    clmla_context_destroy(&context);

    spoil(NULL, NULL, NULL);
    context = make_context(&second, CLMLA_PROOF_ALWAYS, folder);
    ck_assert_str_eq(chosen(context, &params), name);
    ck_assert_int_ge(second.earlier, 1);
    ck_assert_int_eq(second.refused + second.proven, second.earlier);
    clmla_program_counts counts = clmla_context_programs(context);
    ck_assert_uint_eq(counts.built + counts.loaded, 0); // nor was anything run
    clmla_context_destroy(&context);

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
    told t = told_nothing();
    clmla_plan_params params = small_params(5);
    pthread_t threads[THREADS];
    worker workers[THREADS];
    test_case_begin("proof", 6, "%d threads", THREADS);
    spoil(NULL, NULL, NULL);
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.context = context, .params = &params};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(workers[i].status, CLMLA_OK);
        ck_assert_str_eq(workers[i].name, first_variant());
    }
    ck_assert_int_eq(t.proven, 1);
    clmla_context_destroy(&context);
}
END_TEST

static const char *heads_chosen(const char **reason, clmla_context *context, const clmla_plan_params *params,
                                const clmla_config *config) {
    *reason = plan_prefill_step_refusal(context, params, config);
    const variant *found = plan_prefill_variant(NULL, context, params, config);
    return found ? found->name : "none";
}

// Prompts by reconstructed keys: proven with a plan that knows the model, absorbed before, and called by others
// afterwards.
START_TEST(prompts_are_proven) {
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5);
    clmla_config config = {
        .qk_nope_head_dim = 32, .qk_rope_head_dim = 8, .v_head_dim = 24, .kv_lora_rank = 32, .head_count = 5};
    const char *reason;
    test_case_begin("proof", 7, "attend_heads, %s", _i ? "wrong" : "right");
    spoil(_i ? "attend_heads_vector(" : NULL, _i ? "attend_heads_tile(" : NULL, WRONG);
    chosen(context, &params);
    ck_assert_str_eq(heads_chosen(&reason, context, &params, &config), first_variant());
    ck_assert_ptr_nonnull(reason);
    ck_assert_ptr_nonnull(strstr(reason, "not proven on this device"));
    int proven = t.proven;
    params.config = &config;
    chosen(context, &params);
    ck_assert_str_eq(heads_chosen(&reason, context, &params, &config), _i ? "naive" : first_variant());
    if (_i)
        ck_assert_ptr_nonnull(strstr(reason, "naive kernel alone"));
    else
        ck_assert_ptr_null(reason);
    ck_assert_int_eq(t.proven, proven + (_i ? 0 : 1));
    params.compute = CLMLA_COMPUTE_FAST;
    chosen(context, &params);
    clmla_context_destroy(&context);
}
END_TEST

// Every call and allocation of a proof fails once: a plan or a status, nothing left behind, and the next time is as
// good as new.
START_TEST(failures_lose_nothing) {
    faulty_kind kind = _i ? FAULTY_ALLOCATION : FAULTY_CALL;
    clmla_context *context = NULL;
    clmla_context_params context_params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                           .allocator = faulty_allocator(),
                                           .program_folder = "",
                                           .tuning_file = "",
                                           .proof = CLMLA_PROOF_ALWAYS};
    long faults = 0, refused = 0, unseen = 0;
    faulty_arm(FAULTY_NONE, 0, false);
    TEST_OK(context_create_with_calls(&context, &context_params, faulty_calls()));
    clmla_plan_params params = small_params(1);
    params.attend_variant = first_variant(); // no other is tried in its place
    chosen(context, &params);                // builds the programs
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
        ck_assert_str_eq(clmla_plan_facts_get(plan).attend_variant, first_variant());
        clmla_plan_destroy(&plan);
    }
    ck_assert_int_gt(faults, _i ? 5 : 50);
    ck_assert_int_eq(refused > 10, kind == FAULTY_CALL);
    ck_assert_int_lt(unseen, faults / 4);
    clmla_context_destroy(&context);
    ck_assert(faulty_nothing_lives());
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, right_variants_are_proven_once);
    tcase_add_test(tcase, every_variant_is_right);
    tcase_add_test(tcase, wrong_variants_are_refused);
    tcase_add_test(tcase, naive_is_the_last_resort);
    tcase_add_test(tcase, failures_are_refusals);
    tcase_add_test(tcase, proofs_are_for_devices_without_tests);
    tcase_add_test(tcase, the_rule_of_devices);
    tcase_add_loop_test(tcase, verdicts_last, 0, 2);
    tcase_add_test(tcase, threads_prove_once);
    tcase_add_loop_test(tcase, prompts_are_proven, 0, 2);
    tcase_add_loop_test(tcase, failures_lose_nothing, 0, 2);
}

int main(void) {
    return test_main("check_proof", add_tests);
}
