// SPDX-License-Identifier: Apache-2.0
// Operations recorded through the public interface: replays with new data leave the bits that enqueueing them leaves,
// by command buffer and one by one; what is refused; what a failure leaves behind.
#include "lib/recording.h"
#include "tests/api/expect.h"
#include "tests/api/faults.h"
#include "tests/support/buffer.h"
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 3, HEADS = 5, NOPE = 6, ROPE = 8, VALUE = 7, LATENT = 37, HIDDEN = 50, STATES = 2 };
enum { HEAD = NOPE + ROPE, QUERY = HEADS * HEAD };

// x → query (projected, normed, rotated) → states (absorbed, twice) → attended (merged) → output.
typedef struct scene {
    test_buffer x, lse, table;                     // the caller's data
    test_buffer w_q, norm, kv_b, o_proj;           // weights
    test_buffer query, states, attended, heads, y; // what is computed
} scene;

static void make_floats(test_buffer *out, test_random *random, size_t rows, size_t width) {
    test_buffer_make_rows(out, random, rows, width, width, 0.25, 0.5);
}

static void open_scene(scene *s) {
    test_random random = test_random_make(41);
    make_floats(&s->x, &random, TOKENS, HIDDEN);
    make_floats(&s->lse, &random, (size_t)STATES * TOKENS, HEADS);
    make_floats(&s->table, &random, TOKENS, ROPE);
    make_floats(&s->w_q, &random, QUERY, HIDDEN);
    make_floats(&s->norm, &random, 1, QUERY);
    make_floats(&s->kv_b, &random, (size_t)HEADS * (NOPE + VALUE), LATENT);
    make_floats(&s->o_proj, &random, HIDDEN, (size_t)HEADS * VALUE);
    test_buffer_make(&s->query, TOKENS * QUERY * sizeof(float), NULL);
    test_buffer_make(&s->states, (size_t)STATES * TOKENS * HEADS * LATENT * sizeof(float), NULL);
    test_buffer_make(&s->attended, (size_t)TOKENS * HEADS * LATENT * sizeof(float), NULL);
    test_buffer_make(&s->heads, (size_t)TOKENS * HEADS * VALUE * sizeof(float), NULL);
    test_buffer_make(&s->y, TOKENS * HIDDEN * sizeof(float), NULL);
}

static void close_scene(scene *s) {
    test_buffer *all[] = {&s->x,      &s->lse,   &s->table,  &s->w_q,      &s->norm,  &s->kv_b,
                          &s->o_proj, &s->query, &s->states, &s->attended, &s->heads, &s->y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_buffer_free(all[i]);
}

static clmla_matrix matrix(const test_buffer *values, uint32_t rows, uint32_t columns) {
    return (clmla_matrix){CLMLA_TYPE_F32, rows, columns, .row_stride = columns, .values = values->view};
}

static clmla_buffer at(const test_buffer *buffer, uint64_t elements) {
    return (clmla_buffer){buffer->view.memory, buffer->view.offset + elements * sizeof(float)};
}

// --- one function an operation, so that the list below is a step -----------------------------------------------------

typedef clmla_status (*step_part)(const scene *s, clmla_context *context, cl_command_queue queue);

static clmla_status project(const scene *s, clmla_context *context, cl_command_queue queue) {
    clmla_project_params params = {.matrix = matrix(&s->w_q, QUERY, HIDDEN),
                                   .row_count = TOKENS,
                                   .input = s->x.view,
                                   .input_stride = HIDDEN,
                                   .output = s->query.view,
                                   .output_stride = QUERY};
    return clmla_project(context, &params, queue, 0, NULL, NULL);
}

static clmla_status rms_norm(const scene *s, clmla_context *context, cl_command_queue queue) {
    clmla_rms_norm_params params = {.row_count = TOKENS,
                                    .width = QUERY,
                                    .input = s->query.view,
                                    .input_stride = QUERY,
                                    .weight = s->norm.view,
                                    .epsilon = 1e-6f,
                                    .output = s->query.view,
                                    .output_stride = QUERY};
    return clmla_rms_norm(context, &params, queue, 0, NULL, NULL);
}

static clmla_status rope(const scene *s, clmla_context *context, cl_command_queue queue) {
    clmla_rope_params params = {.token_count = TOKENS,
                                .head_count = HEADS,
                                .rope_dim = ROPE,
                                .input = at(&s->query, NOPE),
                                .input_token_stride = QUERY,
                                .input_head_stride = HEAD,
                                .output = at(&s->query, NOPE),
                                .output_token_stride = QUERY,
                                .output_head_stride = HEAD,
                                .table = s->table.view,
                                .table_rows = TOKENS};
    return clmla_rope(context, &params, queue, 0, NULL, NULL);
}

// From the values at `from` of each head to state `to`.
static clmla_status absorb(const scene *s, clmla_context *context, cl_command_queue queue, uint32_t from, uint32_t to) {
    clmla_absorb_params params = {.token_count = TOKENS,
                                  .head_count = HEADS,
                                  .nope_dim = NOPE,
                                  .value_dim = VALUE,
                                  .kv_b = matrix(&s->kv_b, HEADS * (NOPE + VALUE), LATENT),
                                  .query = at(&s->query, from),
                                  .query_token_stride = QUERY,
                                  .query_head_stride = HEAD,
                                  .output = at(&s->states, (uint64_t)to * TOKENS * HEADS * LATENT),
                                  .output_token_stride = HEADS * LATENT,
                                  .output_head_stride = LATENT};
    return clmla_absorb(context, &params, queue, 0, NULL, NULL);
}

static clmla_status absorb_nope(const scene *s, clmla_context *context, cl_command_queue queue) {
    return absorb(s, context, queue, 0, 0);
}

static clmla_status absorb_rotated(const scene *s, clmla_context *context, cl_command_queue queue) {
    return absorb(s, context, queue, NOPE, 1);
}

static clmla_status merge(const scene *s, clmla_context *context, cl_command_queue queue) {
    clmla_merge_params params = {.state_count = STATES,
                                 .token_count = TOKENS,
                                 .head_count = HEADS,
                                 .width = LATENT,
                                 .states = s->states.view,
                                 .lse = s->lse.view,
                                 .output = s->attended.view};
    return clmla_merge(context, &params, queue, 0, NULL, NULL);
}

static clmla_status output(const scene *s, clmla_context *context, cl_command_queue queue) {
    clmla_output_params params = {.token_count = TOKENS,
                                  .head_count = HEADS,
                                  .nope_dim = NOPE,
                                  .value_dim = VALUE,
                                  .kv_b = matrix(&s->kv_b, HEADS * (NOPE + VALUE), LATENT),
                                  .o_proj = matrix(&s->o_proj, HIDDEN, HEADS * VALUE),
                                  .attended = s->attended.view,
                                  .heads = s->heads.view,
                                  .output = s->y.view,
                                  .output_stride = HIDDEN};
    return clmla_output(context, &params, queue, 0, NULL, NULL);
}

static const step_part step[] = {project, rms_norm, rope, absorb_nope, absorb_rotated, merge, output};
#define STEP_PARTS (sizeof step / sizeof *step)
#define STEP_COMMANDS (STEP_PARTS + 1) // output is two

static void enqueue_step(const scene *s, cl_command_queue queue) {
    for (size_t i = 0; i < STEP_PARTS; i++) TEST_OK(step[i](s, test_device_get()->context, queue));
}

// New data where the caller has them, NaN where results go.
static void renew(scene *s, uint64_t seed) {
    test_random random = test_random_make(seed);
    test_buffer *inputs[] = {&s->x, &s->lse, &s->table};
    test_buffer *results[] = {&s->query, &s->states, &s->attended, &s->heads, &s->y};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        test_random_fill(&random, (float *)(void *)inputs[i]->initial, inputs[i]->bytes / sizeof(float), 0.25, 0.5);
        test_buffer_reset(inputs[i]);
    }
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) test_buffer_reset(results[i]);
}

static clmla_recording *record_step(const scene *s, cl_command_queue queue, bool plain) {
    clmla_recording *recording = NULL;
    TEST_OK(clmla_recording_begin(&recording, test_device_get()->context, queue));
    enqueue_step(s, queue);
    recording->host.plain = plain;
    TEST_OK(clmla_recording_end(recording));
    clmla_recording_facts facts = clmla_recording_facts_get(recording);
    ck_assert_uint_eq(facts.command_count, STEP_COMMANDS);
    ck_assert_int_eq(facts.command_buffer, facts.reason[0] == '\0');
    clmla_recording_facts support = clmla_recording_support(test_device_get()->context);
    ck_assert_uint_eq(support.command_count, 0);
    ck_assert_int_eq(facts.command_buffer, support.command_buffer && !plain);
    if (!plain) ck_assert_str_eq(facts.reason, support.reason);
    return recording;
}

// Loop index 1: one by one, whatever the device has.
START_TEST(replays_equal_enqueues) {
    scene s;
    cl_command_queue queue = test_device_get()->queue;
    open_scene(&s);
    clmla_recording *recording = record_step(&s, queue, _i);
    unsigned char *expected = test_allocate(s.y.bytes, 1);
    test_buffer_check_unchanged(&s.y); // nothing ran yet
    for (uint64_t seed = 1; seed <= 3; seed++) {
        renew(&s, seed);
        enqueue_step(&s, queue);
        memcpy(expected, test_buffer_fetch(&s.y), s.y.bytes);
        renew(&s, seed);
        TEST_OK(clmla_recording_replay(recording, 0, NULL, NULL));
        ck_assert_int_eq(memcmp(expected, test_buffer_fetch(&s.y), s.y.bytes), 0);
        ck_assert_int_ne(memcmp(expected, s.y.initial, s.y.bytes), 0);
    }
    clmla_recording_destroy(&recording);
    ck_assert_ptr_null(recording);
    free(expected);
    close_scene(&s);
}
END_TEST

START_TEST(replays_wait_for_events) {
    scene s;
    cl_int code;
    cl_command_queue queue = test_device_get()->queue;
    cl_event gate = clCreateUserEvent(test_device_get()->cl, &code), done = NULL;
    TEST_CL(code);
    open_scene(&s);
    clmla_recording *recording = record_step(&s, queue, _i);
    TEST_OK(clmla_recording_replay(recording, 1, &gate, &done));
    TEST_CL(clFlush(queue));
    cl_int state;
    TEST_CL(clGetEventInfo(done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    ck_assert_int_ne(state, CL_COMPLETE);
    TEST_CL(clSetUserEventStatus(gate, CL_COMPLETE));
    TEST_CL(clWaitForEvents(1, &done));
    clReleaseEvent(gate);
    clReleaseEvent(done);
    clmla_recording_destroy(&recording);
    close_scene(&s);
}
END_TEST

// --- refusals --------------------------------------------------------------------------------------------------------

typedef clmla_status (*wrong_use)(const scene *s, cl_command_queue queue);

static clmla_status ask_for_event(const scene *s, cl_command_queue queue) {
    cl_event event = NULL;
    clmla_merge_params params = {.state_count = 1, .width = 1, .states = s->states.view, .output = s->attended.view};
    clmla_status status = clmla_merge(test_device_get()->context, &params, queue, 0, NULL, &event);
    ck_assert_ptr_null(event);
    return status;
}

static clmla_status give_wait_list(const scene *s, cl_command_queue queue) {
    cl_int code;
    cl_event event = clCreateUserEvent(test_device_get()->cl, &code);
    TEST_CL(code);
    clmla_merge_params params = {.state_count = 1, .width = 1, .states = s->states.view, .output = s->attended.view};
    clmla_status status = clmla_merge(test_device_get()->context, &params, queue, 1, &event, NULL);
    TEST_CL(
        clSetUserEventStatus(event, CL_COMPLETE)); // nothing waits for it, but a driver may keep it until it is told
    clReleaseEvent(event);
    return status;
}

static clmla_status give_no_params(const scene *s, cl_command_queue queue) {
    (void)s;
    return clmla_merge(test_device_get()->context, NULL, queue, 0, NULL, NULL);
}

static clmla_status give_small_buffer(const scene *s, cl_command_queue queue) {
    clmla_merge_params params = {.state_count = 1,
                                 .token_count = 1,
                                 .head_count = 1,
                                 .width = 9,
                                 .states = s->states.view,
                                 .lse = s->lse.view,
                                 .output = test_buffer_tiny()};
    return clmla_merge(test_device_get()->context, &params, queue, 0, NULL, NULL);
}

static clmla_status update_plan(const scene *s, cl_command_queue queue) {
    clmla_plan *plan = NULL;
    const uint32_t tokens = 9;
    clmla_lengths lengths = {.sequence_count = 1, .kv_tokens = &tokens};
    clmla_plan_params params = {.head_count = HEADS, .capacity = {1, 1, 9}};
    (void)s;
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, LATENT, ROPE));
    TEST_OK(clmla_plan_create(&plan, test_device_get()->context, &params));
    clmla_status status = clmla_plan_update_lengths(plan, &lengths, queue, 0, NULL, NULL);
    clmla_plan_destroy(&plan);
    return status;
}

static const struct {
    wrong_use use;
    const char *word;
} wrong_uses[] = {{ask_for_event, "events come from the replay"},
                  {give_wait_list, "wait lists belong to the replay"},
                  {give_no_params, "merge: params is NULL"},
                  {give_small_buffer, "merge: output: 36 bytes needed"},
                  {update_plan, "make this call between replays"}};

START_TEST(refusals_are_answered_again) {
    scene s;
    clmla_recording *recording = NULL;
    cl_command_queue queue = test_device_get()->queue;
    open_scene(&s);
    TEST_OK(clmla_recording_begin(&recording, test_device_get()->context, queue));
    TEST_OK(project(&s, test_device_get()->context, queue));
    expect(wrong_uses[_i].use(&s, queue), CLMLA_E_ARGUMENT, wrong_uses[_i].word);
    TEST_OK(rms_norm(&s, test_device_get()->context, queue));
    expect(clmla_recording_end(recording), CLMLA_E_ARGUMENT, wrong_uses[_i].word);
    expect(clmla_recording_replay(recording, 0, NULL, NULL), CLMLA_E_ARGUMENT, wrong_uses[_i].word);
    clmla_recording_destroy(&recording);
    close_scene(&s);
}
END_TEST

// A layer that is refused before anything is enqueued leaves no silent hole either.
START_TEST(refused_layers_fail_the_recording) {
    clmla_context *context = test_device_get()->context;
    cl_command_queue queue = test_device_get()->queue;
    clmla_config config;
    clmla_layer *layer = NULL;
    clmla_cache *cache = NULL;
    clmla_plan *plan = NULL;
    clmla_recording *recording = NULL;
    TEST_OK(clmla_config_load(&config, TEST_DATA "/a_v2_tiny"));
    TEST_OK(clmla_layer_load(&layer, context, &config, TEST_DATA "/a_v2_tiny", 0, NULL));
    TEST_OK(clmla_cache_create(&cache, context, &config, &(clmla_cache_params){.layer_count = 1, .page_count = 2}));
    TEST_OK(clmla_plan_create_for_cache(&plan, context, cache));
    TEST_OK(clmla_recording_begin(&recording, context, queue));
    expect(clmla_layer_enqueue(layer, plan, cache, test_buffer_tiny(), test_buffer_tiny(), queue, 0, NULL, NULL),
           CLMLA_E_ARGUMENT, "the plan holds no step");
    expect(clmla_recording_end(recording), CLMLA_E_ARGUMENT, "the plan holds no step");
    clmla_recording_destroy(&recording);
    clmla_plan_destroy(&plan);
    clmla_cache_destroy(&cache);
    clmla_layer_destroy(&layer);
}
END_TEST

START_TEST(wrong_arguments) {
    clmla_context *context = test_device_get()->context;
    clmla_recording *recording = (clmla_recording *)(void *)context, *none = NULL;
    expect(clmla_recording_begin(NULL, context, test_device_get()->queue), CLMLA_E_ARGUMENT, "out is NULL");
    expect(clmla_recording_begin(&recording, NULL, test_device_get()->queue), CLMLA_E_ARGUMENT, "context is NULL");
    ck_assert_ptr_null(recording);
    expect(clmla_recording_begin(&recording, context, NULL), CLMLA_E_ARGUMENT, "queue is NULL");
    expect(clmla_recording_end(NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_recording_replay(NULL, 0, NULL, NULL), CLMLA_E_ARGUMENT, "NULL");
    ck_assert(!clmla_recording_facts_get(NULL).command_buffer);
    ck_assert_ptr_nonnull(strstr(clmla_recording_support(NULL).reason, "NULL"));
    clmla_recording_destroy(NULL);
    clmla_recording_destroy(&none);
}
END_TEST

// Each allocation of a begin and of a recorded operation failing once.
START_TEST(no_memory) {
    scene s;
    open_scene(&s);
    clmla_context *context = faults_context();
    cl_command_queue queue = test_device_queue(context, 0);
    TEST_OK(project(&s, context, queue)); // its program and a kernel
    faults_counts before = faults_live();
    bool failed = true;
    for (long at = 0; failed; at++) {
        clmla_recording *recording = NULL;
        faults_arm(at, -1);
        clmla_status status = clmla_recording_begin(&recording, context, queue);
        if (status == CLMLA_OK) {
            (void)project(&s, context, queue);
            recording->host.plain = true;
            status = clmla_recording_end(recording);
        }
        failed = status != CLMLA_OK;
        if (failed) ck_assert_int_eq(status, CLMLA_E_MEMORY);
        faults_arm(-1, -1);
        ck_assert_int_eq(recording != NULL, at > 0);
        clmla_recording_destroy(&recording);
        ck_assert_int_eq(faults_live().allocations, before.allocations);
    }
    clReleaseCommandQueue(queue);
    clmla_context_destroy(&context);
    close_scene(&s);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, replays_equal_enqueues, 0, 2);
    tcase_add_loop_test(tcase, replays_wait_for_events, 0, 2);
    tcase_add_loop_test(tcase, refusals_are_answered_again, 0, sizeof wrong_uses / sizeof *wrong_uses);
    tcase_add_test(tcase, refused_layers_fail_the_recording);
    tcase_add_test(tcase, wrong_arguments);
    tcase_add_test(tcase, no_memory);
}

int main(void) {
    return test_main("check_recording", add_tests);
}
