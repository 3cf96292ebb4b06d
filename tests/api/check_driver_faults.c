// SPDX-License-Identifier: Apache-2.0
// Every driver call, and every allocation, of what an application does with a cache and a layer failing, once and for
// good: the answer is a status that fits, a sequence that was there keeps its rows byte for byte, edits that were
// accepted are done once and whole by the next flush, the same objects work again, and at the end nothing made stays.
#include "lib/context.h"
#include "tests/host/faulty.h"
#include "tests/support/device.h"
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 64, PAGE = 4, PAGES = 64, BASE = 11, SAVED_MOST = 1 << 16 };

// What a sequence holds, as it would be saved.
typedef struct saved {
    unsigned char bytes[SAVED_MOST];
    size_t count;
} saved;

typedef struct scene {
    clmla_context *context;
    clmla_config config;
    clmla_layer *layer;
    clmla_cache *cache;
    cl_mem input, output;
    clmla_sequence base;   // there from the start
    clmla_sequence edited; // of `edit`, once it is changed
} scene;

#define TRY(call)                                                                                                      \
    if (status == CLMLA_OK) status = (call)

static clmla_buffer whole(cl_mem memory) {
    return (clmla_buffer){memory, 0};
}

static void drop(const scene *s, clmla_sequence sequence) {
    if (sequence) TEST_OK(clmla_cache_sequence_drop(s->cache, sequence));
}

static void release(cl_event event) {
    if (event) TEST_CL(faulty_calls()->ReleaseEvent(event));
}

static void finish_queues(void) {
    TEST_CL(clFinish(test_device_get()->queue));
    if (test_device_get()->unordered) TEST_CL(clFinish(test_device_get()->unordered));
}

static clmla_status make_context(clmla_context **out) {
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .allocator = faulty_allocator(),
                                   .program_folder = "",
                                   .tuning_file = ""};
    return context_create_with_calls(out, &params, faulty_calls());
}

// --- what is done while calls fail -----------------------------------------------------------------------------------

// A step of some new tokens for a sequence, as far as it goes.
static clmla_status run(const scene *s, clmla_plan *plan, clmla_sequence sequence, uint32_t tokens,
                        cl_command_queue queue, cl_event *done) {
    clmla_batch batch = {.sequence_count = 1, .sequences = &sequence, .query_tokens = &tokens};
    clmla_status status = clmla_cache_reserve(s->cache, &batch);
    TRY(clmla_plan_update(plan, s->cache, &batch, queue, 0, NULL, NULL));
    TRY(clmla_layer_enqueue(s->layer, plan, s->cache, whole(s->input), whole(s->output), queue, 0, NULL, done));
    ck_assert(!done || (*done != NULL) == (status == CLMLA_OK));
    return status;
}

// Steps of a new sequence and of a fork of it that is edited, with a plan of their own.
static clmla_status step(scene *s, cl_command_queue queue) {
    clmla_plan *plan = NULL;
    clmla_sequence sequence = 0, fork = 0;
    cl_event done = NULL;
    clmla_status status = clmla_plan_create_for_cache(&plan, s->context, s->cache);
    TRY(clmla_cache_sequence_create(&sequence, s->cache));
    TRY(run(s, plan, sequence, 2, queue, NULL));
    TRY(clmla_cache_sequence_fork(&fork, s->cache, sequence));
    TRY(clmla_cache_sequence_shift(s->cache, fork, 0, 2, 3));
    TRY(clmla_cache_sequence_remove(s->cache, fork, 0, 1));
    TRY(run(s, plan, fork, 2, queue, &done));
    release(done);
    finish_queues();
    clmla_plan_destroy(&plan);
    drop(s, sequence);
    drop(s, fork);
    return status;
}

// A prompt by reconstructed keys beside a token that is absorbed.
static clmla_status prompt_step(scene *s, cl_command_queue queue) {
    clmla_plan *plan = NULL;
    clmla_sequence sequences[2] = {0, 0};
    const uint32_t tokens[2] = {PROMPT, 1};
    clmla_batch batch = {.sequence_count = 2, .sequences = sequences, .query_tokens = tokens};
    clmla_status status = clmla_plan_create_for_cache(&plan, s->context, s->cache);
    for (int i = 0; i < 2; i++) TRY(clmla_cache_sequence_create(&sequences[i], s->cache));
    TRY(clmla_cache_reserve(s->cache, &batch));
    TRY(clmla_plan_update(plan, s->cache, &batch, queue, 0, NULL, NULL));
    if (status == CLMLA_OK) {
        bool cpu = test_device_get()->facts->type & CL_DEVICE_TYPE_CPU;
        ck_assert_uint_eq(clmla_plan_facts_get(plan).reconstructed_tokens, cpu ? PROMPT : 0);
    }
    TRY(clmla_layer_enqueue(s->layer, plan, s->cache, whole(s->input), whole(s->output), queue, 0, NULL, NULL));
    finish_queues();
    clmla_plan_destroy(&plan);
    for (int i = 0; i < 2; i++) drop(s, sequences[i]);
    return status;
}

static clmla_status make_recordable_plan(clmla_plan **out, const scene *s) {
    clmla_rows rows;
    clmla_status status = clmla_cache_rows(&rows, s->cache, 0);
    clmla_plan_params params = {.head_count = s->config.head_count,
                                .layout = rows.layout,
                                .capacity = {.sequences = 1, .query_tokens = 2, .kv_tokens = 2 * PAGE}};
    TRY(clmla_plan_create(out, s->context, &params));
    return status;
}

static clmla_status replay(const scene *s, clmla_recording *recording, clmla_plan *plan, clmla_sequence sequence,
                           cl_command_queue queue) {
    uint32_t tokens = 2;
    clmla_batch batch = {.sequence_count = 1, .sequences = &sequence, .query_tokens = &tokens};
    cl_event done = NULL;
    clmla_status status = clmla_cache_reserve(s->cache, &batch);
    TRY(clmla_plan_update(plan, s->cache, &batch, queue, 0, NULL, NULL));
    TRY(clmla_recording_replay(recording, 0, NULL, &done));
    ck_assert((done != NULL) == (status == CLMLA_OK));
    release(done);
    return status;
}

// A layer's step recorded and replayed, and a schedule made on the device.
static clmla_status recorded_step(scene *s, cl_command_queue queue) {
    clmla_plan *plan = NULL;
    clmla_recording *recording = NULL;
    clmla_sequence sequence = 0;
    uint32_t tokens = 2;
    clmla_status status = make_recordable_plan(&plan, s);
    TRY(clmla_cache_sequence_create(&sequence, s->cache));
    clmla_batch batch = {.sequence_count = 1, .sequences = &sequence, .query_tokens = &tokens};
    TRY(clmla_cache_reserve(s->cache, &batch));
    TRY(clmla_plan_update(plan, s->cache, &batch, queue, 0, NULL, NULL));
    TRY(clmla_recording_begin(&recording, s->context, queue));
    if (recording) {
        TRY(clmla_layer_enqueue(s->layer, plan, s->cache, whole(s->input), whole(s->output), queue, 0, NULL, NULL));
        clmla_status ended = clmla_recording_end(recording);
        ck_assert(status == CLMLA_OK || ended == status); // what failed is answered again
        status = ended;
    }
    for (int i = 0; i < 2; i++) TRY(replay(s, recording, plan, sequence, queue));
    clmla_device_lengths lengths = {.sequence_count = 1, .kv_tokens = whole(s->input)}; // zeros
    TRY(clmla_plan_update_device(plan, &lengths, queue, 0, NULL, NULL));
    clmla_recording_destroy(&recording);
    finish_queues();
    clmla_plan_destroy(&plan);
    drop(s, sequence);
    return status;
}

static clmla_status flush(const scene *s, cl_command_queue queue) {
    cl_event done = NULL;
    clmla_status status = clmla_cache_flush(s->cache, queue, 0, NULL, &done);
    ck_assert((done != NULL) == (status == CLMLA_OK));
    release(done);
    return status;
}

// Rows that are copied, and then move and turn where they are, which must not happen twice. Edits are accepted whether
// or not a flush between them fails; check_scene sees to what is left of them.
static clmla_status edit(scene *s, cl_command_queue queue) {
    clmla_sequence fork = 0;
    clmla_status status = clmla_cache_sequence_fork(&fork, s->cache, s->base), first = CLMLA_OK, second = CLMLA_OK;
    TRY(clmla_cache_sequence_shift(s->cache, fork, 2, 9, 5));
    TRY(clmla_cache_sequence_remove(s->cache, fork, 1, 3));
    if (status == CLMLA_OK) first = flush(s, queue);
    // A page's first row of four, whose others move; and rows that did not turn before: two turns in one round
    // otherwise.
    TRY(clmla_cache_sequence_remove(s->cache, fork, 2, 3));
    TRY(clmla_cache_sequence_shift(s->cache, fork, 6, 8, 4));
    if (status == CLMLA_OK) s->edited = fork;
    if (status == CLMLA_OK) second = flush(s, queue);
    finish_queues();
    if (!s->edited) drop(s, fork);
    return status != CLMLA_OK ? status : first != CLMLA_OK ? first : second;
}

static clmla_status save_and_load(scene *s, cl_command_queue queue) {
    static saved held;
    clmla_sequence loaded = 0;
    size_t count = 0;
    clmla_status status =
        clmla_cache_save_memory(held.bytes, SAVED_MOST, &held.count, s->cache, &s->base, 1, queue, 0, NULL);
    TRY(clmla_cache_load_memory(&loaded, 1, &count, s->cache, held.bytes, held.count, queue, 0, NULL));
    ck_assert(status == CLMLA_OK || loaded == 0);
    drop(s, loaded);
    return status;
}

static clmla_status load_and_prepare(scene *s, cl_command_queue queue) {
    clmla_layer *layer = NULL;
    clmla_status status = clmla_layer_load(&layer, s->context, &s->config, TEST_DATA "/a_v2_tiny", 1, NULL);
    ck_assert((layer != NULL) == (status == CLMLA_OK));
    TRY(clmla_layer_prepare(layer, s->cache, queue));
    finish_queues();
    clmla_layer_destroy(&layer);
    return status;
}

// Another context with a cache of its own.
static clmla_status context_and_cache(scene *s, cl_command_queue queue) {
    clmla_context *context = NULL;
    clmla_cache *cache = NULL;
    (void)queue;
    clmla_status status = make_context(&context);
    ck_assert((context != NULL) == (status == CLMLA_OK));
    TRY(clmla_cache_create(&cache, context, &s->config, &(clmla_cache_params){.page_count = 2}));
    ck_assert((cache != NULL) == (status == CLMLA_OK));
    clmla_cache_destroy(&cache);
    clmla_context_destroy(&context);
    return status;
}

// --- the scene -------------------------------------------------------------------------------------------------------

static void open_scene(scene *s, clmla_row_format format) {
    const test_device *device = test_device_get();
    clmla_plan *plan = NULL;
    cl_int code;
    *s = (scene){0};
    faulty_arm(FAULTY_NONE, 0, false);
    clmla_cache_params cache = {.format = format, .layer_count = 1, .page_tokens = PAGE, .page_count = PAGES};
    TEST_OK(make_context(&s->context));
    (void)clmla_recording_support(s->context); // its trial; check_recording_faults has it fail
    TEST_OK(clmla_config_load(&s->config, TEST_DATA "/a_v2_tiny"));
    TEST_OK(clmla_layer_load(&s->layer, s->context, &s->config, TEST_DATA "/a_v2_tiny", 0, NULL));
    TEST_OK(clmla_cache_create(&s->cache, s->context, &s->config, &cache));
    size_t bytes = (PROMPT + 1) * s->config.hidden_size * sizeof(float);
    float *values = calloc(bytes, 1);
    ck_assert_ptr_nonnull(values);
    for (size_t i = 1; i < BASE * s->config.hidden_size; i++) values[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
    s->input = clCreateBuffer(device->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes, values, &code);
    TEST_CL(code);
    free(values);
    s->output = clCreateBuffer(device->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    TEST_CL(code);
    TEST_OK(clmla_cache_sequence_create(&s->base, s->cache));
    TEST_OK(clmla_plan_create_for_cache(&plan, s->context, s->cache));
    TEST_OK(run(s, plan, s->base, BASE, device->queue, NULL));
    finish_queues();
    clmla_plan_destroy(&plan);
}

static void close_scene(scene *s) {
    clReleaseMemObject(s->input);
    clReleaseMemObject(s->output);
    clmla_cache_destroy(&s->cache);
    clmla_layer_destroy(&s->layer);
    clmla_context_destroy(&s->context);
    bool nothing = faulty_nothing_lives();
    faulty_live live = faulty_live_get();
    ck_assert_msg(nothing,
                  "left %ld allocations, %ld contexts, %ld queues, %ld programs, %ld kernels, %ld buffers, %ld events, "
                  "%ld command buffers",
                  live.allocations, live.contexts, live.queues, live.programs, live.kernels, live.buffers, live.events,
                  live.command_buffers);
}

// --- every call fails ------------------------------------------------------------------------------------------------

typedef struct fault_case {
    const char *name;
    clmla_status (*run)(scene *s, cl_command_queue queue);
    clmla_row_format format;
    bool ordered; // it needs an in-order queue
    long least;   // driver calls that there are to fail
    long stride;  // of so many one fails: for those that take long
} fault_case;
static const fault_case cases[] = {
    {"step", step, CLMLA_ROWS_F32, false, 50, 1},
    {"prompt", prompt_step, CLMLA_ROWS_F32, false, 50, 1},
    {"recorded", recorded_step, CLMLA_ROWS_F32, true, 50, 1},
    {"edit", edit, CLMLA_ROWS_F32, false, 10, 1},
    {"edit q8", edit, CLMLA_ROWS_Q8, false, 5, 1},
    {"file", save_and_load, CLMLA_ROWS_F32, false, 5, 1},
    {"load", load_and_prepare, CLMLA_ROWS_F32, true, 50, 17},
    {"context", context_and_cache, CLMLA_ROWS_F32, true, 30, 1},
};
#define CASES (int)(sizeof cases / sizeof *cases)

static void save(saved *out, const scene *s, clmla_sequence sequence, cl_command_queue queue) {
    TEST_OK(clmla_cache_save_memory(out->bytes, SAVED_MOST, &out->count, s->cache, &sequence, 1, queue, 0, NULL));
}

static void check_same(const saved *found, const saved *expected, const char *what) {
    TEST_ASSERT(found->count == expected->count && memcmp(found->bytes, expected->bytes, found->count) == 0,
                "%s changed", what);
}

// The status of a run in which `failed` did.
static void check_status(faulty_kind kind, const char *failed, clmla_status status) {
    bool fits = kind == FAULTY_ALLOCATION
                    ? status == CLMLA_E_MEMORY
                    : status == CLMLA_E_OPENCL || (status == CLMLA_E_BUILD && strcmp(failed, "clBuildProgram") == 0);
    // What destroying waits for, nobody is told of.
    fits |= status == CLMLA_OK && (faulty_may_pass(failed) || strcmp(failed, "clWaitForEvents") == 0);
    TEST_ASSERT(fits, "%s: %s: %s", failed, clmla_status_name(status), clmla_last_error());
    if (status == CLMLA_E_OPENCL)
        TEST_ASSERT(clmla_last_cl_error() == FAULTY_CODE, "%s: %s", failed, clmla_last_error());
}

// The scene as it was, and edits whole: on another queue than the one that failed, where there are two.
static void check_scene(scene *s, const saved *base, const saved *edited, cl_command_queue other) {
    static saved found;
    if (s->edited) {
        save(&found, s, s->edited, other);
        check_same(&found, edited, "the edited sequence");
        drop(s, s->edited);
        s->edited = 0;
    }
    save(&found, s, s->base, other);
    check_same(&found, base, "the sequence that was there");
    clmla_cache_usage usage = clmla_cache_usage_get(s->cache);
    ck_assert_uint_eq(usage.sequences, 1);
    ck_assert_uint_eq(usage.pages_used, (BASE + PAGE - 1) / PAGE);
}

static saved base, edited; // of the scene that is open

static void open_case(scene *s, const fault_case *c, cl_command_queue queue, cl_command_queue other) {
    open_scene(s, c->format);
    save(&base, s, s->base, other);
    if (c->run != edit) return;
    TEST_OK(edit(s, queue));
    save(&edited, s, s->edited, other);
    check_scene(s, &base, &edited, other);
}

// Answers how many calls there were to fail.
static long fail_each(scene *s, const fault_case *c, faulty_kind kind, bool lasting, cl_command_queue queue,
                      cl_command_queue other) {
    for (long at = 0;; at += c->stride) {
        faulty_arm(kind, at, lasting);
        clmla_status status = c->run(s, queue);
        const char *failed = faulty_hit();
        faulty_arm(FAULTY_NONE, 0, false);
        test_case_begin("driver faults", (int)(c - cases), "%s, call %ld, %s, %s", c->name, at,
                        failed ? failed : "none", lasting ? "for good" : "once");
        if (failed) check_status(kind, failed, status);
        check_scene(s, &base, &edited, other);
        if (failed) continue;
        TEST_OK(status);
        return at;
    }
}

// A scene for each, as a context builds its programs but once, and drivers take a tenth of a second even for those that
// they keep.
START_TEST(driver_calls_fail) {
    const test_device *device = test_device_get();
    const fault_case *c = &cases[_i];
    scene s;
    if (!test_case_wanted(_i)) return;
    bool unordered = device->unordered && !c->ordered;
    cl_command_queue other = device->unordered ? device->unordered : device->queue;
    for (int lasting = 0; lasting < 2; lasting++) {
        open_case(&s, c, device->queue, other);
        ck_assert_int_gt(fail_each(&s, c, FAULTY_CALL, lasting, device->queue, other), c->least);
        if (unordered && !lasting)
            ck_assert_int_gt(fail_each(&s, c, FAULTY_CALL, false, other, device->queue),
                             c->least / 4); // it builds nothing any more
        close_scene(&s);
    }
}
END_TEST

START_TEST(allocations_fail) {
    const test_device *device = test_device_get();
    const fault_case *c = &cases[_i];
    scene s;
    if (!test_case_wanted(_i)) return;
    open_case(&s, c, device->queue, device->queue);
    ck_assert_int_gt(fail_each(&s, c, FAULTY_ALLOCATION, false, device->queue, device->queue), 0);
    ck_assert_int_gt(fail_each(&s, c, FAULTY_ALLOCATION, true, device->queue, device->queue), 0);
    close_scene(&s);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, driver_calls_fail, 0, CASES);
    tcase_add_loop_test(tcase, allocations_fail, 0, CASES);
}

int main(void) {
    return test_main("check_driver_faults", add_tests);
}
