// SPDX-License-Identifier: Apache-2.0
// After clmla_layer_prepare no enqueue compiles: not in the library (program counts) and, where it can be seen, not in
// the driver: PoCL writes what it compiles at first launch into its cache folder, whose files are counted.
#define _XOPEN_SOURCE 700 // nftw
#include "lib/context.h"
#include "lib/plan.h"
#include "tests/support/device.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char driver_cache[] = "prepare-pocl-XXXXXX";
static int compiled;

static int count_file(const char *path, const struct stat *about, int kind, struct FTW *at) {
    (void)about, (void)at;
    size_t length = strlen(path);
    compiled += kind == FTW_F && length > 3 && strcmp(path + length - 3, ".so") == 0;
    return 0;
}

static int compiled_by_driver(void) {
    compiled = 0;
    nftw(driver_cache, count_file, 8, FTW_PHYS);
    return compiled;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *at) {
    (void)about, (void)kind, (void)at;
    return remove(path);
}

typedef struct world {
    clmla_layer *layer;
    clmla_cache *cache;
    clmla_plan *plan;
    cl_mem input, output;
} world;

static void step(world *w, clmla_sequence *sequences, uint32_t count, uint32_t tokens) {
    const test_device *device = test_device_get();
    uint32_t query[4] = {tokens, tokens, tokens, tokens};
    clmla_batch batch = {.sequence_count = count, .sequences = sequences, .query_tokens = query};
    TEST_OK(clmla_cache_reserve(w->cache, &batch));
    TEST_OK(clmla_plan_update(w->plan, w->cache, &batch, device->queue, 0, NULL, NULL));
    TEST_OK(clmla_layer_enqueue(w->layer, w->plan, w->cache, (clmla_buffer){w->input, 0}, (clmla_buffer){w->output, 0},
                                device->queue, 0, NULL, NULL));
    TEST_CL(clFinish(device->queue));
}

static void open_world(world *w, clmla_context *context, clmla_row_format format) {
    const test_device *device = test_device_get();
    clmla_config config;
    cl_int code;
    TEST_OK(clmla_config_load(&config, TEST_DATA "/a_v2_tiny"));
    TEST_OK(clmla_layer_load(&w->layer, context, &config, TEST_DATA "/a_v2_tiny", 0, NULL));
    TEST_OK(clmla_cache_create(
        &w->cache, context, &config,
        &(clmla_cache_params){.format = format, .layer_count = 1, .page_tokens = 16, .page_count = 100}));
    TEST_OK(clmla_plan_create_for_cache(&w->plan, context, w->cache));
    size_t bytes = 200 * config.hidden_size * sizeof(float);
    w->input = clCreateBuffer(device->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    TEST_CL(code);
    w->output = clCreateBuffer(device->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    TEST_CL(code);
    float zero = 0.0f;
    TEST_CL(clEnqueueFillBuffer(device->queue, w->input, &zero, sizeof zero, 0, bytes, 0, NULL, NULL));
}

static void close_world(world *w) {
    clReleaseMemObject(w->input);
    clReleaseMemObject(w->output);
    clmla_plan_destroy(&w->plan);
    clmla_cache_destroy(&w->cache);
    clmla_layer_destroy(&w->layer);
}

static void check_format(clmla_row_format format) {
    const test_device *device = test_device_get();
    world w;
    clmla_sequence sequences[4];
    open_world(&w, device->context, format);
    TEST_OK(clmla_layer_prepare(w.layer, w.cache, device->queue));
    clmla_program_counts before = clmla_context_programs(device->context);
    int before_driver = compiled_by_driver();
    for (int i = 0; i < 4; i++) TEST_OK(clmla_cache_sequence_create(&sequences[i], w.cache));
    step(&w, sequences, 1, 1);
    step(&w, sequences + 1, 3, 1);
    step(&w, sequences, 4, 7);
    uint32_t most = device->short_form ? 40 : 200;
    for (int i = 0; i < 4; i++) step(&w, sequences, 1, most);
    step(&w, sequences, 1, 1);
    if (!device->short_form) ck_assert_uint_gt(clmla_plan_facts_get(w.plan).split_count, 0); // the merge ran too
    clmla_program_counts after = clmla_context_programs(device->context);
    ck_assert_uint_eq(after.built, before.built);
    ck_assert_uint_eq(after.loaded, before.loaded);
    ck_assert_int_eq(compiled_by_driver(), before_driver);
    if (strstr(device->facts->platform_name, "Portable Computing Language"))
        ck_assert_int_gt(before_driver, 0);
    else
        printf("prepare: what %s compiles at launch cannot be seen from outside\n", device->facts->platform_name);
    close_world(&w);
}

START_TEST(nothing_is_compiled_after_prepare) {
    // A plain and a quantised one, both with kernels of fast compute: the others differ in options alone, and are
    // compiled from nothing too. CLMLA_TEST_FULL=1 takes all.
    static const clmla_row_format formats[] = {CLMLA_ROWS_BF16, CLMLA_ROWS_Q8};
    const char *full = getenv("CLMLA_TEST_FULL");
    if (full && strcmp(full, "1") == 0)
        for (int format = 0; format < CLMLA_ROW_FORMAT_COUNT; format++) check_format((clmla_row_format)format);
    else
        for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) check_format(formats[f]);
}
END_TEST

// A step of a plan with these parameters after prepare builds nothing. before: what prepare had built.
static void check_plan(world *w, clmla_context *context, clmla_sequence sequence, clmla_plan_params params,
                       uint32_t tokens, clmla_program_counts before) {
    clmla_rows rows;
    TEST_OK(clmla_cache_rows(&rows, w->cache, 0));
    params.head_count = 4;
    params.layout = rows.layout;
    clmla_plan_destroy(&w->plan);
    TEST_OK(clmla_plan_create(&w->plan, context, &params));
    test_case_begin("prepare, plans", (int)tokens, "%u tokens, %s compute, %s", tokens,
                    clmla_compute_name(params.compute), clmla_plan_facts_get(w->plan).attend_variant);
    step(w, &sequence, 1, tokens);
    TEST_ASSERT(clmla_context_programs(context).built == before.built, "%u programs built, %u by prepare",
                clmla_context_programs(context).built, before.built);
}

// A plan that expects several tokens of a sequence may attend by another variant: in fast compute a CPU's 16-bit
// products of f16 rows pay from some rows on.
START_TEST(nor_for_plans_that_expect_tokens) {
    static const uint32_t tokens[] = {1, 2, 6, 8};
    clmla_context *context = test_device_get()->context;
    clmla_sequence sequence;
    world w;
    if (test_left_out(test_device_get()->short_form, "plans that expect tokens")) return;
    open_world(&w, context, CLMLA_ROWS_F16);
    TEST_OK(clmla_layer_prepare(w.layer, w.cache, test_device_get()->queue));
    clmla_program_counts before = clmla_context_programs(context);
    int before_driver = compiled_by_driver();
    TEST_OK(clmla_cache_sequence_create(&sequence, w.cache));
    for (size_t i = 0; i < 2 * sizeof tokens / sizeof *tokens; i++) {
        clmla_plan_params params = {.query_tokens = tokens[i / 2], .compute = (clmla_compute)(i % 2)};
        check_plan(&w, context, sequence, params, tokens[i / 2], before);
    }
    ck_assert_int_eq(compiled_by_driver(), before_driver);
    close_world(&w);
}
END_TEST

// A plan with a capacity for several tokens a sequence has more rows to share a tile, whose program is another one on
// GPUs: which the device plays here, as the kernels for CPUs have one tile.
START_TEST(nor_for_plans_with_a_capacity) {
    const test_device *device = test_device_get();
    static const uint32_t tokens[] = {1, 2, 3, 4, 8};
    clmla_context_params context_params = {
        .opencl = {device->cl, device->id}, .program_folder = "", .tuning_file = "", .proof = CLMLA_PROOF_NEVER};
    clmla_context *context;
    clmla_sequence sequence;
    world w;
    const char *full = getenv("CLMLA_TEST_FULL");
    bool asked = full && strcmp(full, "1") == 0;
    // PoCL takes a minute and a half to compile what prepare does for GPUs.
    if (test_left_out(device->facts->type & CL_DEVICE_TYPE_CPU && !asked, "plans with a capacity")) return;
    TEST_OK(clmla_context_create(&context, &context_params));
    context->host.facts.type = CL_DEVICE_TYPE_GPU;
    open_world(&w, context, CLMLA_ROWS_F16);
    TEST_OK(clmla_layer_prepare(w.layer, w.cache, device->queue));
    clmla_program_counts before = clmla_context_programs(context);
    TEST_OK(clmla_cache_sequence_create(&sequence, w.cache));
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        clmla_plan_params params = {.capacity = {1, tokens[i], 100}, .compute = (clmla_compute)(i % 2)};
        check_plan(&w, context, sequence, params, tokens[i], before);
        check_plan(&w, context, sequence,
                   (clmla_plan_params){.query_tokens = tokens[i], .compute = (clmla_compute)(i % 2)}, tokens[i],
                   before);
    }
    close_world(&w);
    clmla_context_destroy(&context);
}
END_TEST

// A plan may name a variant of attend_heads that prepare does not run, and need not know the model: proven it is. Only
// with CLMLA_TEST_FULL=1, as it builds attend_heads_tile.
START_TEST(named_variants_are_proven) {
    clmla_context *context = test_device_get()->context;
    const char *full = getenv("CLMLA_TEST_FULL");
    clmla_config config;
    world w;
    if (!full || strcmp(full, "1") != 0) return;
    TEST_OK(clmla_config_load(&config, TEST_DATA "/a_v2_tiny"));
    open_world(&w, context, CLMLA_ROWS_F16);
    clmla_plan_params named = w.plan->params;
    named.attend_heads_variant = "tile";
    context->proof = CLMLA_PROOF_ALWAYS;
    const char *before = plan_prefill_step_refusal(context, &named, &config);
    TEST_OK(clmla_layer_prepare(w.layer, w.cache, test_device_get()->queue));
    const char *after = plan_prefill_step_refusal(context, &named, &config);
    context->proof = CLMLA_PROOF_NEVER;
    TEST_ASSERT(before && strstr(before, "not proven"), "before: %s", before ? before : "proven");
    TEST_ASSERT(!after, "after: %s", after);
    close_world(&w);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, named_variants_are_proven);
    tcase_add_test(tcase, nothing_is_compiled_after_prepare);
    tcase_add_test(tcase, nor_for_plans_that_expect_tokens);
    tcase_add_test(tcase, nor_for_plans_with_a_capacity);
}

int main(void) {
    if (!mkdtemp(driver_cache)) return 1;
    setenv("POCL_CACHE_DIR", driver_cache, 1); // before the driver starts
    int answer = test_main("check_prepare", add_tests);
    nftw(driver_cache, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return answer;
}
