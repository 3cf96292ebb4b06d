// SPDX-License-Identifier: Apache-2.0
// Ways to use the layer step: head ranges, preparing, threads, and wrong arguments.
#include "tests/layer/layer_session.h"
#include "tests/support/compare.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const model_shape model_of = {70, 6, 37, 0, 10, 6, 7, REF_F16, true, false, CLMLA_ROPE_INTERLEAVED, 21};
static const session_shape session_of = {CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 4, 40, 0, 0};
static const uint32_t steps[][SESSION_SEQUENCES] = {{5, 3, 0}, {1, 1, 1}, {0, 1, 30}, {1, 0, 1}};
#define STEPS (sizeof steps / sizeof *steps)

// One range's partial output of the step under way, added to `sum`.
static void add_range(double *sum, layer_session *s, uint32_t first, uint32_t count) {
    const test_device *device = test_device_get();
    clmla_layer *layer = layer_model_load(s->model, s->context, first, count);
    clmla_plan *plan;
    clmla_rows rows;
    TEST_OK(clmla_cache_rows(&rows, s->cache, 0));
    clmla_plan_params params = {.head_count = count, .layout = rows.layout};
    clmla_batch batch = {
        .sequence_count = SESSION_SEQUENCES, .sequences = s->sequences, .query_tokens = s->query_tokens};
    TEST_OK(clmla_plan_create(&plan, s->context, &params));
    TEST_OK(clmla_plan_update(plan, s->cache, &batch, device->queue, 0, NULL, NULL));
    test_buffer_reset(&s->output);
    TEST_OK(clmla_layer_enqueue(layer, plan, s->cache, s->input.view, s->output.view, device->queue, 0, NULL, NULL));
    TEST_CL(clFinish(device->queue));
    test_buffer_fetch(&s->output);
    for (size_t i = 0; i < s->output.bytes / sizeof(float); i++) sum[i] += (double)test_buffer_found(&s->output)[i];
    clmla_plan_destroy(&plan);
    clmla_layer_destroy(&layer);
}

START_TEST(head_ranges_add_up) {
    layer_model model;
    layer_session s;
    test_case_begin("layer head ranges", 0, "1 + 3 + 2 of 6 heads");
    layer_model_make(&model, &model_of);
    layer_session_open(&s, &model, test_device_get()->context, &session_of);
    for (size_t i = 0; i < STEPS; i++) {
        layer_session_begin(&s, steps[i], test_device_get()->queue);
        double *sum = test_allocate(s.output.bytes / sizeof(float), sizeof *sum);
        add_range(sum, &s, 0, 1);
        add_range(sum, &s, 1, 3);
        add_range(sum, &s, 4, 2);
        test_run_twice(&s.run);
        layer_session_check(&s);
        test_compare_rows(test_buffer_found(&s.output), model_of.hidden, sum, s.tokens, model_of.hidden, 4e-6,
                          "sum of ranges");
        free(sum);
        layer_session_end(&s);
    }
    layer_session_close(&s);
    layer_model_free(&model);
}
END_TEST

static uint32_t programs_of(const clmla_context *context) {
    clmla_program_counts counts = clmla_context_programs(context);
    return counts.built + counts.loaded;
}

START_TEST(preparing_leaves_nothing_to_build) {
    layer_model model;
    layer_session s;
    clmla_context *context = test_device_context();
    cl_command_queue queue = test_device_queue(context, 0);
    test_case_begin("layer prepare", 0, "a context of its own");
    layer_model_make(&model, &model_of);
    layer_session_open(&s, &model, context, &session_of);
    clmla_cache_usage before = clmla_cache_usage_get(s.cache);
    TEST_OK(clmla_tuning_set(context, "prefill.least_tokens", 5)); // one of the steps has a prompt
    TEST_ASSERT(programs_of(context) == 0, "%u programs before preparing", programs_of(context));
    TEST_OK(clmla_layer_prepare(s.layer, s.cache, queue));
    clmla_cache_usage after = clmla_cache_usage_get(s.cache);
    uint32_t prepared = programs_of(context);
    TEST_ASSERT(prepared > 0, "preparing built nothing");
    TEST_ASSERT(before.pages_free == after.pages_free && before.tokens == after.tokens, "preparing took pages");
    clmla_batch batch = {.sequence_count = SESSION_SEQUENCES, .sequences = s.sequences, .query_tokens = s.query_tokens};
    for (size_t i = 0; i < STEPS; i++) {
        cl_int code;
        size_t bytes = 64 * model_of.hidden * sizeof(float);
        memcpy(s.query_tokens, steps[i], sizeof s.query_tokens);
        cl_mem memory = clCreateBuffer(clmla_context_opencl(context), CL_MEM_READ_WRITE, 2 * bytes, NULL, &code);
        TEST_CL(code);
        TEST_OK(clmla_cache_reserve(s.cache, &batch));
        TEST_OK(clmla_plan_update(s.plan, s.cache, &batch, queue, 0, NULL, NULL));
        TEST_OK(clmla_layer_enqueue(s.layer, s.plan, s.cache, (clmla_buffer){memory, 0}, (clmla_buffer){memory, bytes},
                                    queue, 0, NULL, NULL));
        TEST_CL(clFinish(queue));
        TEST_CL(clReleaseMemObject(memory));
        TEST_ASSERT(programs_of(context) == prepared, "step %zu: %u programs after %u were prepared", i,
                    programs_of(context), prepared);
    }
    TEST_ASSERT(clmla_layer_prepare(NULL, s.cache, queue) == CLMLA_E_ARGUMENT, "no layer");
    TEST_ASSERT(clmla_layer_prepare(s.layer, NULL, queue) == CLMLA_E_ARGUMENT, "no cache");
    TEST_ASSERT(clmla_layer_prepare(s.layer, s.cache, NULL) == CLMLA_E_ARGUMENT, "no queue");
    TEST_CL(clReleaseCommandQueue(queue));
    layer_session_close(&s);
    layer_model_free(&model);
    clmla_context_destroy(&context);
}
END_TEST

// What one thread does: its own plan, cache and queue on the shared layer and context.
typedef struct worker {
    layer_session session;
    cl_command_queue queue;
    unsigned char *output; // of the last step
    clmla_status status;
    pthread_barrier_t *start;
} worker;

static void *work(void *payload) {
    worker *w = payload;
    layer_session *s = &w->session;
    clmla_batch batch = {
        .sequence_count = SESSION_SEQUENCES, .sequences = s->sequences, .query_tokens = s->query_tokens};
    pthread_barrier_wait(w->start);
    for (size_t i = 0; i < 12 && w->status == CLMLA_OK; i++) {
        uint32_t one[SESSION_SEQUENCES] = {1, 2, 1};
        memcpy(s->query_tokens, one, sizeof one);
        w->status = clmla_cache_reserve(s->cache, &batch);
        if (w->status == CLMLA_OK) w->status = clmla_plan_update(s->plan, s->cache, &batch, w->queue, 0, NULL, NULL);
        if (w->status == CLMLA_OK)
            w->status = clmla_layer_enqueue(s->layer, s->plan, s->cache, s->input.view, s->output.view, w->queue, 0,
                                            NULL, NULL);
    }
    if (clFinish(w->queue) != CL_SUCCESS) w->status = CLMLA_E_OPENCL;
    return NULL;
}

static void open_worker(worker *w, const layer_model *model, clmla_context *context, clmla_layer *shared) {
    *w = (worker){.status = CLMLA_OK};
    layer_session_open(&w->session, model, context, &session_of);
    clmla_layer_destroy(&w->session.layer);
    w->session.layer = shared;
    w->queue = test_device_queue(context, 0);
    test_buffer_make_rows(&w->session.input, &w->session.random, 4, model_of.hidden, model_of.hidden, 0.0, 1.0);
    test_buffer_make(&w->session.output, 4 * model_of.hidden * sizeof(float), NULL);
}

static void close_worker(worker *w) {
    w->session.layer = NULL; // shared
    TEST_CL(clReleaseCommandQueue(w->queue));
    layer_session_close(&w->session);
}

// Threads on the program's context, which by now has programs; the first to need one builds it for the other.
START_TEST(threads_share_context_and_layer) {
    layer_model model;
    worker workers[3];
    pthread_t threads[2];
    pthread_barrier_t together, alone;
    clmla_context *context = test_device_get()->context;
    test_case_begin("layer threads", 0, "2 threads, then one alone");
    layer_model_make(&model, &model_of);
    clmla_layer *layer = layer_model_load(&model, context, 0, 0);
    pthread_barrier_init(&together, NULL, 2);
    pthread_barrier_init(&alone, NULL, 1);
    for (int i = 0; i < 3; i++) {
        open_worker(&workers[i], &model, context, layer);
        workers[i].start = i < 2 ? &together : &alone;
    }
    for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    work(&workers[2]);
    for (int i = 0; i < 3; i++) {
        TEST_ASSERT(workers[i].status == CLMLA_OK, "worker %d: %s", i, clmla_status_name(workers[i].status));
        test_buffer_fetch(&workers[i].session.output);
    }
    for (int i = 0; i < 2; i++)
        TEST_ASSERT(memcmp(workers[i].session.output.found, workers[2].session.output.found,
                           workers[i].session.output.bytes) == 0,
                    "thread %d gave other bits than the same work alone", i);
    for (int i = 0; i < 3; i++) close_worker(&workers[i]);
    clmla_layer_destroy(&layer);
    layer_model_free(&model);
    pthread_barrier_destroy(&together);
    pthread_barrier_destroy(&alone);
}
END_TEST

static void expect_refused(layer_session *s, clmla_plan *plan, clmla_cache *cache, clmla_buffer input,
                           clmla_buffer output, const char *word) {
    cl_event event = NULL;
    clmla_status status =
        clmla_layer_enqueue(s->layer, plan, cache, input, output, test_device_get()->queue, 0, NULL, &event);
    TEST_ASSERT(status == CLMLA_E_ARGUMENT, "%s instead of a refusal that says '%s'", clmla_status_name(status), word);
    TEST_ASSERT(strstr(clmla_last_error(), word), "'%s' is not in: %s", word, clmla_last_error());
    TEST_ASSERT(event == NULL, "a refused step made an event");
    TEST_CL(clFinish(test_device_get()->queue));
    test_buffer_check_unchanged(&s->output);
}

// Its cache would have keys of other angles than its queries.
static void expect_rotation_refused(layer_session *s, const layer_model *model, clmla_context *context) {
    layer_model turned = *model;
    layer_session other;
    turned.config.rope_theta *= 2.0;
    layer_session_open(&other, &turned, context, &session_of);
    layer_session_begin(&other, steps[0], test_device_get()->queue);
    expect_refused(s, other.plan, other.cache, s->input.view, s->output.view, "rotates");
    layer_session_close(&other);
}

START_TEST(refuses_wrong_arguments) {
    layer_model model;
    layer_session s, other;
    clmla_buffer none = {0}, tiny = test_buffer_tiny();
    clmla_context *context = test_device_get()->context;
    test_case_begin("layer arguments", 0, "plan, cache, buffers");
    layer_model_make(&model, &model_of);
    layer_session_open(&s, &model, context, &session_of);
    layer_session_open(&other, &model, context, &session_of);
    layer_session_begin(&s, steps[0], test_device_get()->queue);
    expect_refused(&s, NULL, s.cache, s.input.view, s.output.view, "NULL");
    expect_refused(&s, s.plan, NULL, s.input.view, s.output.view, "NULL");
    expect_refused(&s, other.plan, s.cache, s.input.view, s.output.view, "clmla_plan_update");
    expect_refused(&s, s.plan, other.cache, s.input.view, s.output.view, "clmla_plan_update");
    expect_refused(&s, s.plan, s.cache, tiny, s.output.view, "input");
    expect_refused(&s, s.plan, s.cache, none, s.output.view, "input");
    expect_refused(&s, s.plan, s.cache, s.input.view, tiny, "output");
    expect_refused(&s, s.plan, s.cache, s.input.view, none, "output");
    clmla_layer_set_cache_layer(s.layer, 1);
    expect_refused(&s, s.plan, s.cache, s.input.view, s.output.view, "layer");
    clmla_layer_set_cache_layer(s.layer, 0);
    clmla_layer *whole = s.layer;
    s.layer = layer_model_load(&model, context, 0, 2);
    expect_refused(&s, s.plan, s.cache, s.input.view, s.output.view, "heads");
    clmla_layer_destroy(&s.layer);
    s.layer = whole;
    expect_rotation_refused(&s, &model, context);
    test_run_wrong_waits(&s.run);
    test_run_twice(&s.run);
    layer_session_check(&s);
    layer_session_close(&s);
    layer_session_close(&other);
    layer_model_free(&model);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, head_ranges_add_up);
    tcase_add_test(tcase, preparing_leaves_nothing_to_build);
    tcase_add_test(tcase, threads_share_context_and_layer);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_layer_use", add);
}
