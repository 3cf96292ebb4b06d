// SPDX-License-Identifier: Apache-2.0
// The layer step over several sequences and steps, against a layer in double that reconstructs keys and values.
#include "tests/layer/layer_session.h"
#include <string.h>

typedef struct layer_case {
    const char *name;
    model_shape model;
    session_shape session;
} layer_case;

// Odd dimensions, every weight type, every row format, both rotary orders either way round.
static const layer_case cases[] = {
    {"f32 weights, f32 rows, pages of 4",
     {51, 3, 37, 0, 10, 6, 7, REF_F32, false, false, CLMLA_ROPE_INTERLEAVED, 1},
     {CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 4, 30, 0, 0}},
    {"bf16 weights, q-LoRA, biases, no rotary part, bf16 rows, contiguous",
     {40, 5, 16, 23, 9, 0, 12, REF_BF16, true, false, CLMLA_ROPE_INTERLEAVED, 2},
     {CLMLA_ROWS_BF16, CLMLA_ROPE_INTERLEAVED, 64, 3, 0, 0}},
    {"fp8 weights, q-LoRA, halves kept interleaved, f16 rows, pages of 1, fixed splits",
     {130, 2, 65, 140, 33, 16, 20, REF_F8_E4M3, false, true, CLMLA_ROPE_HALVES, 3},
     {CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 1, 80, 5, 0}},
    {"f16 weights, biases, interleaved kept in halves, f16 rows, given positions",
     {64, 12, 64, 0, 16, 32, 16, REF_F16, true, false, CLMLA_ROPE_INTERLEAVED, 4},
     {CLMLA_ROWS_F16, CLMLA_ROPE_HALVES, 53, 5, 0, 1017}},
    {"one head, one dimension of each kind, bf16 rows",
     {1, 1, 1, 1, 1, 2, 1, REF_F32, true, false, CLMLA_ROPE_HALVES, 5},
     {CLMLA_ROWS_BF16, CLMLA_ROPE_HALVES, 2, 40, 1, 0}},
    {"f32 weights, q5 rows in halves, pages of 4",
     {51, 3, 37, 0, 10, 6, 7, REF_F32, false, false, CLMLA_ROPE_INTERLEAVED, 6},
     {CLMLA_ROWS_Q5, CLMLA_ROPE_HALVES, 4, 30, 0, 0}},
    {"f32 weights, no part that is not rotated, f32 rows, pages of 4",
     {51, 3, 37, 0, 0, 6, 7, REF_F32, false, false, CLMLA_ROPE_INTERLEAVED, 8},
     {CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 4, 30, 0, 0}},
    {"bf16 weights, q-LoRA, q8 rows, contiguous",
     {40, 5, 64, 23, 9, 16, 12, REF_BF16, true, false, CLMLA_ROPE_INTERLEAVED, 7},
     {CLMLA_ROWS_Q8, CLMLA_ROPE_INTERLEAVED, 64, 3, 0, 0}},
};
#define CASES (sizeof cases / sizeof *cases)

// A prompt, decoding, a late sequence, a step that leaves one out, an empty step.
static const uint32_t steps[][SESSION_SEQUENCES] = {{5, 3, 0}, {1, 1, 1}, {0, 1, 9}, {1, 0, 1}, {0, 0, 0}, {2, 4, 1}};
#define STEPS (sizeof steps / sizeof *steps)

static void open_case(layer_model *model, layer_session *session, int number) {
    test_case_begin("layer", number, "%s", cases[number].name);
    layer_model_make(model, &cases[number].model);
    layer_session_open(session, model, test_device_get()->context, &cases[number].session);
}

static void close_case(layer_model *model, layer_session *session) {
    layer_session_close(session);
    layer_model_free(model);
}

START_TEST(matches_the_reference) {
    layer_model model;
    layer_session session;
    if (!test_case_wanted(_i)) return;
    open_case(&model, &session, _i);
    for (size_t i = 0; i < STEPS; i++) {
        layer_session_begin(&session, steps[i], test_device_get()->queue);
        test_run_twice(&session.run);
        layer_session_check(&session);
        layer_session_end(&session);
    }
    close_case(&model, &session);
}
END_TEST

START_TEST(honours_events) {
    const test_device *device = test_device_get();
    layer_model model;
    layer_session session;
    open_case(&model, &session, 2);
    for (size_t i = 0; i < 3; i++) {
        layer_session_begin(&session, steps[i], device->unordered ? device->unordered : device->queue);
        test_run_twice(&session.run);
        test_run_gated(&session.run);
        layer_session_check(&session);
        layer_session_end(&session);
    }
    close_case(&model, &session);
}
END_TEST

// Nothing is waited for between steps: an out-of-order queue, steps ordered by the plan alone.
START_TEST(steps_follow_each_other_without_waits) {
    const test_device *device = test_device_get();
    cl_command_queue queue = device->unordered ? device->unordered : device->queue;
    layer_model model;
    layer_session s;
    test_buffer inputs[STEPS], outputs[STEPS];
    uint32_t tokens[STEPS], lengths[STEPS][SESSION_SEQUENCES];
    open_case(&model, &s, 3);
    for (size_t i = 0; i < STEPS; i++) {
        layer_session_begin(&s, steps[i], queue);
        TEST_OK(clmla_layer_enqueue(s.layer, s.plan, s.cache, s.input.view, s.output.view, queue, 0, NULL, NULL));
        inputs[i] = s.input;
        outputs[i] = s.output;
        tokens[i] = s.tokens;
        memcpy(lengths[i], s.lengths, sizeof s.lengths);
        s.input = s.output = (test_buffer){0};
    }
    TEST_CL(clFinish(queue));
    for (size_t i = 0; i < STEPS; i++) {
        s.input = inputs[i];
        s.output = outputs[i];
        s.tokens = tokens[i];
        memcpy(s.lengths, lengths[i], sizeof s.lengths);
        memcpy(s.query_tokens, steps[i], sizeof s.query_tokens);
        test_buffer_fetch(&s.output);
        layer_session_check(&s);
        layer_session_end(&s);
    }
    close_case(&model, &s);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, matches_the_reference, 0, CASES);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, steps_follow_each_other_without_waits);
}

int main(void) {
    return test_main("check_layer_step", add);
}
