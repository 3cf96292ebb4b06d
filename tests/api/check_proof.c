// SPDX-License-Identifier: Apache-2.0
// No variant is used that gives wrong results on a device: variants whose programs were spoilt on the way to the driver are
// refused with a reason, the next one is taken, and what was found is kept by the context and on disk.
#include "lib/attend.h"
#include "lib/context.h"
#include "lib/plan.h"
#include "lib/proof.h"
#include "tests/api/expect.h"
#include "tests/host/faulty.h"
#include "tests/host/folder.h"
#include "tests/support/buffer.h"
#include "tests/support/device.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRONG "#define fma(a, b, c) ((a) * (b) * 0.99f + (c))\n"
#define NO_NUMBERS "#define fma(a, b, c) ((a) * (b) * NAN + (c))\n"
#define NO_PROGRAM "#error a spoilt program\n"

// Programs with a word in their text become wrong ones: `before` is put before it, and `from` becomes `to`, which is as long.
typedef struct spoilt {
    const char *word, *before, *from, *to;
} spoilt;
#define SPOILT 3
static spoilt spoils[SPOILT];
static const char *dropped; // the kernel that is never launched, though the driver says so

static cl_program CL_API_CALL spoil_source(cl_context context, cl_uint count, const char **text, const size_t *length,
                                           cl_int *code) {
    const char *before = "";
    ck_assert_uint_eq(count, 1);
    char *copy = test_allocate(length[0] + 1, 1);
    memcpy(copy, text[0], length[0]);
    for (int i = SPOILT - 1; i >= 0; i--) { // of two texts before it, the first one's
        const spoilt *s = &spoils[i];
        if (!s->word || !strstr(copy, s->word)) continue;
        if (s->before) before = s->before;
        for (char *at = copy; s->from && (at = strstr(at, s->from)) != NULL;) memcpy(at, s->to, strlen(s->to));
    }
    const char *texts[2] = {before, copy};
    const size_t lengths[2] = {strlen(before), length[0]};
    cl_program made = clCreateProgramWithSource(context, 2, texts, lengths, code);
    free(copy);
    return made;
}

static cl_int CL_API_CALL drop_launch(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                      const size_t *offset, const size_t *global, const size_t *local, cl_uint count,
                                      const cl_event *wait, cl_event *event) {
    char name[64] = "";
    clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
    if (dropped && strcmp(name, dropped) == 0) return clEnqueueMarkerWithWaitList(queue, count, wait, event);
    return clEnqueueNDRangeKernel(queue, kernel, dimensions, offset, global, local, count, wait, event);
}

// No programs on disk, verdicts alone: to serialise a program takes PoCL longer than to build it, and a spoilt one would be found.
static cl_int CL_API_CALL give_no_binary(cl_program program, cl_program_info info, size_t bytes, void *out,
                                         size_t *needed) {
    if (info == CL_PROGRAM_BINARY_SIZES || info == CL_PROGRAM_BINARIES) return CL_INVALID_PROGRAM_EXECUTABLE;
    return clGetProgramInfo(program, info, bytes, out, needed);
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
    table.EnqueueNDRangeKernel = drop_launch;
    table.GetProgramInfo = give_no_binary;
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

static const char *first_word(void) {
    return test_device_get()->facts->type & CL_DEVICE_TYPE_CPU ? "attend_vector(" : "attend_tile(";
}

static void spoil_nothing(void) {
    memset(spoils, 0, sizeof spoils);
    dropped = NULL;
}

static void spoil(const char *word, const char *before) {
    spoil_nothing();
    spoils[0] = (spoilt){.word = word, .before = before};
}

// The first variant, and what could be taken in its place, which does not even compile.
static void spoil_all(const char *before) {
    spoil(first_word(), before);
    spoils[1] = (spoilt){.word = "attend_tile(", .before = NO_PROGRAM};
}

START_TEST(right_variants_are_proven_once) {
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5);
    spoil_nothing();
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

// Plain and scaled rows, widths that are no multiples of anything, more heads than a tile has rows, values with rope parts, and
// every path of a plan: by every variant that serves them.
static const clmla_plan_params every_plan[] = {
    {.head_count = 5, .layout = {.format = CLMLA_ROWS_F16, .latent_dim = 32, .rope_dim = 8}},
    {.head_count = 390,
     .kv_head_count = 3,
     .layout = {.format = CLMLA_ROWS_BF16, .latent_dim = 37, .rope_dim = 6},
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
        ck_assert_str_eq(chosen(context, &params), variants[v].name);
    }
}

START_TEST(every_variant_is_right) {
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    int count = test_device_get()->short_form ? 1 : (int)(sizeof every_plan / sizeof *every_plan);
    spoil_nothing();
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
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(6);
    params.attend_variant = first_variant();
    spoil_nothing();
    for (int i = 0; i < 3; i++) spoils[i] = (spoilt){.word = first_word(), .from = paths[i].from, .to = paths[i].to};
    ck_assert_str_eq(chosen(context, &params), first_variant());
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
    told t = told_nothing();
    clmla_context *never = make_context(&t, CLMLA_PROOF_NEVER, ""), *always = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5);
    clmla_attend_scope scope = {.index_count = 0};
    clmla_attend_params attend = {.scopes = &scope, .scope_count = 1};
    clmla_plan *plan = NULL;
    test_case_begin("proof", 9, "lists of a plan that did not ask for them");
    spoil_nothing();
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
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5);
    clmla_plan *plan = NULL;
    char name[32];
    test_case_begin("proof", 10, "a kernel that does not run");
    spoil_nothing();
    snprintf(name, sizeof name, "attend_%s", first_variant());
    dropped = name;
    params.attend_variant = first_variant();
    ck_assert_int_eq(clmla_plan_create(&plan, context, &params), CLMLA_E_ARGUMENT);
    ck_assert_msg(strstr(t.last, "differed from naive"), "%s", t.last);
    clmla_context_destroy(&context);
    spoil_nothing();
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
    spoil(first_word(), WRONG);
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
    test_case_begin("proof", 2, "attend_vector and attend_tile");
    spoil_all(WRONG);
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
    spoil_all(NO_PROGRAM);
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
    spoil_nothing();
    context = make_context(&t, CLMLA_PROOF_ALWAYS, folder);
    ck_assert_str_eq(chosen(context, &params), first_variant());
    clmla_context_destroy(&context);
    test_folder_remove();
}
END_TEST

// A naive kernel that gives no numbers says nothing of a variant: it is not used, and another start compares again.
START_TEST(what_naive_cannot_judge_does_not_last) {
    told t = told_nothing();
    const char *folder = test_folder_make();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, folder);
    clmla_plan_params params = small_params(5);
    test_case_begin("proof", 8, "attend_naive gives NaN");
    params.attend_variant = first_variant();
    spoil("attend_naive(", NO_NUMBERS);
    clmla_plan *plan = NULL;
    ck_assert_int_eq(clmla_plan_create(&plan, context, &params), CLMLA_E_ARGUMENT);
    ck_assert_msg(strstr(t.last, "naive gave no finite numbers") != NULL, "%s", t.last);
    clmla_context_destroy(&context);
    spoil_nothing();
    context = make_context(&t, CLMLA_PROOF_ALWAYS, folder);
    ck_assert_str_eq(chosen(context, &params), first_variant());
    ck_assert_int_eq(t.earlier, 0);
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
    spoil_all(NO_PROGRAM);
    ck_assert_str_eq(chosen(never, &params), first_variant());
    if (proof_is_covered(test_device_get()->facts)) ck_assert_str_eq(chosen(by_itself, &params), first_variant());
    ck_assert_int_eq(t.proven + t.refused, 0);
    // The same device, as a GPU: its first variant is a wrong one.
    by_itself->host.facts.type = CL_DEVICE_TYPE_GPU;
    by_itself->host.facts.is_interpreter = false;
    ck_assert_str_eq(chosen(by_itself, &params), "naive");
    ck_assert_int_eq(t.refused, 1);
    spoil_nothing();
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
    told told[2] = {told_nothing(), told_nothing()};
    const char *folder = test_folder_make();
    clmla_plan_params params = small_params(5);
    params.attend_variant = first_variant();
    test_case_begin("proof", 5, "on disk, %s", _i ? "wrong" : "right");
    spoil_nothing();
    if (_i) spoil(first_word(), WRONG);
    for (int start = 0; start < 2; start++) {
        clmla_context *context = make_context(&told[start], CLMLA_PROOF_ALWAYS, folder);
        clmla_plan *plan = NULL;
        ck_assert_int_eq(clmla_plan_create(&plan, context, &params), _i ? CLMLA_E_ARGUMENT : CLMLA_OK);
        clmla_plan_destroy(&plan);
        ck_assert_int_eq(told[start].proven, !_i);
        ck_assert_int_eq(told[start].refused, _i);
        ck_assert_int_eq(told[start].earlier, start);
        clmla_program_counts counts = clmla_context_programs(context);
        ck_assert_int_eq(counts.built + counts.loaded > 0, start == 0); // nor was anything run
        clmla_context_destroy(&context);
        spoil_nothing();
    }
    test_folder_remove();
}
END_TEST

// A schedule on the device by a group's work-items, of plans with a capacity: as a GPU, which alone is given it.
START_TEST(schedules_are_proven) {
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5);
    clmla_plan *plan = NULL;
    test_case_begin("proof", 11, "plan_group, %s", _i ? "wrong" : "right");
    spoil_nothing();
    // A piece takes all keys that are left.
    if (_i)
        spoils[0] = (spoilt){.word = "plan_group(", .from = "c->kv_begin + (int)take", .to = "c->kv_begin + (int)keys"};
    params.attend_variant = "naive"; // needs no proof
    chosen(context, &params);
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
    spoil_nothing();
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

// Prompts by reconstructed keys: proven with a plan that knows the model, absorbed before, and called by others afterwards.
START_TEST(prompts_are_proven) {
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5);
    clmla_config config = {
        .qk_nope_head_dim = 32, .qk_rope_head_dim = 8, .v_head_dim = 24, .kv_lora_rank = 32, .head_count = 5};
    const char *reason;
    test_case_begin("proof", 7, "attend_heads, %s", _i ? "wrong" : "right");
    spoil_nothing();
    if (_i) spoil("attend_heads_vector(", WRONG), spoils[1] = (spoilt){"attend_heads_tile(", NO_PROGRAM, NULL, NULL};
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

// What clmla_layer_prepare does for plans that name a variant of attend_heads and do not know the model: of each that may be named.
START_TEST(named_variants_of_prompts_are_proven) {
    told t = told_nothing();
    clmla_context *context = make_context(&t, CLMLA_PROOF_ALWAYS, "");
    clmla_plan_params params = small_params(5), named = params;
    clmla_config config = {
        .qk_nope_head_dim = 32, .qk_rope_head_dim = 8, .v_head_dim = 24, .kv_lora_rank = 32, .head_count = 5};
    const char *reason;
    test_case_begin("proof", 12, "attend_heads, named");
    spoil("attend_heads_tile(", NO_PROGRAM);
    if (strcmp(first_variant(), "tile") == 0) spoil_nothing();
    params.config = &config;
    named.attend_heads_variant = first_variant();
    heads_chosen(&reason, context, &named, &config);
    ck_assert_ptr_nonnull(strstr(reason, "not proven on this device"));
    TEST_OK(plan_prefill_prove_all(context, &params));
    ck_assert_str_eq(heads_chosen(&reason, context, &named, &config), first_variant());
    ck_assert_ptr_null(reason);
    // The other one was tried, too, and is known to be wrong.
    named.attend_heads_variant = "tile";
    if (strcmp(first_variant(), "tile") != 0) {
        ck_assert_str_eq(heads_chosen(&reason, context, &named, &config), "none");
        ck_assert_ptr_nonnull(strstr(reason, "the variant of attend_heads that the plan names is refused"));
        ck_assert_int_eq(t.refused, 1);
    }
    clmla_context_destroy(&context);
}
END_TEST

// Every call and allocation of a proof fails once: a plan or a status, nothing left behind, and the next time is as good as new.
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
    tcase_add_test(tcase, every_path_is_tried);
    tcase_add_test(tcase, lists_are_asked_for);
    tcase_add_test(tcase, what_is_not_written_shows);
    tcase_add_test(tcase, wrong_variants_are_refused);
    tcase_add_test(tcase, naive_is_the_last_resort);
    tcase_add_test(tcase, failures_are_refusals);
    tcase_add_test(tcase, what_naive_cannot_judge_does_not_last);
    tcase_add_test(tcase, proofs_are_for_devices_without_tests);
    tcase_add_test(tcase, the_rule_of_devices);
    tcase_add_loop_test(tcase, verdicts_last, 0, 2);
    tcase_add_loop_test(tcase, schedules_are_proven, 0, 2);
    tcase_add_test(tcase, threads_prove_once);
    tcase_add_loop_test(tcase, prompts_are_proven, 0, 2);
    tcase_add_test(tcase, named_variants_of_prompts_are_proven);
    tcase_add_loop_test(tcase, failures_lose_nothing, 0, 2);
}

int main(void) {
    return test_main("check_proof", add_tests);
}
