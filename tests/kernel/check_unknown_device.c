// SPDX-License-Identifier: Apache-2.0
// A GPU that nobody has met: this device, with facts as some vendor might tell them. Plans and operations are chosen by
// these facts alone, keep to them, and give right results. What choices make of more devices, without running them, is
// tests/unit.
#include "lib/context.h"
#include "lib/plan.h"
#include "tests/kernel/attend_fixture.h"
#include "tests/layer/layer_session.h"
#include "tests/ref/ref_project.h"
#include "tests/ref/ref_rms_norm.h"
#include "tests/support/compare.h"
#include "tests/support/variants.h"
#include <stdlib.h>
#include <string.h>

#define KIB 1024u

// Zeros: as this device has it.
typedef struct unknown_device {
    const char *name;
    uint64_t local_bytes, max_group_size;
    uint32_t compute_units;
    bool no_half;
} unknown_device;

// One after the other, then together: local memory and groups say what is built, units how keys are shared out.
static const unknown_device devices[] = {
    {"16 KiB of local memory, groups of 64", 16 * KIB, 64, 0, false},
    {"1 compute unit", 0, 0, 1, false},
    {"304 compute units", 0, 0, 304, false},
    {"no half", 0, 0, 0, true},
    {"16 KiB, groups of 64, 1 unit, no half", 16 * KIB, 64, 1, true},
    {"16 KiB, groups of 64, 304 units, no half", 16 * KIB, 64, 304, true},
};
#define DEVICES (int)(sizeof devices / sizeof *devices)

static clmla_device_facts *facts_of_device(void) {
    return &test_device_get()->context->host.facts;
}

static clmla_device_facts real; // also after a test that failed half way

static void play(const unknown_device *device) {
    clmla_device_facts *facts = facts_of_device();
    *facts = real;
    facts->type = CL_DEVICE_TYPE_GPU;
    facts->vendor_id = facts->least_sub_group = facts->compute_capability = facts->group_items = 0;
    facts->name[0] = facts->vendor[0] = facts->platform_name[0] = '\0';
    facts->has_int16_dot = facts->has_int8_dot = facts->has_bf16_dot = facts->has_amx_bf16 = false;
    facts->has_sub_group_matrix = false;
    facts->float_vector_width = 1;
    // As long as the real device can hold what the made-up one says it can.
    if (device->local_bytes && device->local_bytes < facts->local_bytes) facts->local_bytes = device->local_bytes;
    if (device->max_group_size && device->max_group_size < facts->max_group_size)
        facts->max_group_size = device->max_group_size;
    if (device->compute_units) facts->compute_units = device->compute_units;
    if (device->no_half) facts->has_half = false;
}

static void play_no_more(void) {
    *facts_of_device() = real;
}

static bool is_for_cpus(const char *variant) {
    static const char *const words[] = {"vector", "dot", "amx"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(variant, words[i])) return true;
    return false;
}

START_TEST(chooses_nothing_for_cpus) {
    play(&devices[_i]);
    const clmla_shape shape = {.weights = CLMLA_TYPE_F16,
                               .format = CLMLA_ROWS_Q8,
                               .latent_dim = 512,
                               .rope_dim = 64,
                               .value_dim = 512,
                               .head_count = 16,
                               .compute = CLMLA_COMPUTE_FAST,
                               .row_count = 1};
    for (int operation = 0; operation < CLMLA_OPERATION_COUNT; operation++) {
        clmla_variant variants[TEST_VARIANTS_MAX];
        test_case_begin("unknown device, choices", operation, "%s", devices[_i].name);
        size_t count = test_variants(variants, (clmla_operation)operation, &shape);
        for (size_t i = 0; i < count; i++)
            TEST_ASSERT(!variants[i].accepted || !is_for_cpus(variants[i].name), "%s accepts %s",
                        clmla_operation_name((clmla_operation)operation), variants[i].name);
    }
    play_no_more();
}
END_TEST

// --- attend

static void check_facts(const clmla_plan *plan) {
    const clmla_device_facts *facts = facts_of_device();
    const attend_tile *tile = &plan->tile;
    TEST_ASSERT(strcmp(clmla_plan_facts_get(plan).attend_variant, "tile") == 0, "chose %s",
                clmla_plan_facts_get(plan).attend_variant);
    TEST_ASSERT(tile->local_bytes > 0 && tile->local_bytes <= facts->local_bytes, "takes %llu bytes of %llu",
                (unsigned long long)tile->local_bytes, (unsigned long long)facts->local_bytes);
    TEST_ASSERT(tile->group > 0 && tile->group <= facts->max_group_size, "groups of %u, %llu at most", tile->group,
                (unsigned long long)facts->max_group_size);
    TEST_ASSERT(tile->row_tile <= tile->group && tile->key_tile <= tile->group, "%u rows, %u keys, groups of %u",
                tile->row_tile, tile->key_tile, tile->group);
    TEST_ASSERT(plan->rules.units == facts->compute_units, "shares keys among %u units", plan->rules.units);
}

static void check_attend(clmla_row_format format, uint32_t latent, uint32_t heads) {
    attend_fixture f;
    const attend_shape shape = {.format = format,
                                .latent = latent,
                                .rope = latent / 8 + 8,
                                .heads = heads,
                                .sequences = 3,
                                .query_tokens = {1, 2, 1},
                                .kv_tokens = {200, 37, 1},
                                .page_tokens = 16,
                                .lse = true,
                                .seed = 900 + heads};
    attend_make(&f, &shape);
    attend_expect(&f);
    attend_plan(&f, NULL);
    check_facts(f.plan);
    test_run_twice(&f.run);
    attend_compare(&f, f.plan->attend->name);
    attend_finish(&f);
}

// Each size of local memory and groups has programs of its own, which a CPU takes more than a second each to compile:
// where the sizes are the device's, q8 rows are attended by 16 heads alone, and of few programs by none.
static bool is_attended(const unknown_device *device, clmla_row_format format, uint32_t heads) {
    const test_device *here = test_device_get();
    if (here->short_form && heads > 16) return false;
    return device->local_bytes || format == CLMLA_ROWS_F16 || (heads == 16 && !here->few_programs);
}

START_TEST(attends) {
    static const clmla_row_format formats[] = {CLMLA_ROWS_F16, CLMLA_ROWS_Q8};
    static const uint32_t heads[] = {1, 16, 128};
    const unknown_device *device = &devices[_i];
    play(device);
    for (size_t format = 0; format < 2; format++)
        for (size_t h = 0; h < 3; h++) {
            const char *name = clmla_row_format_name(formats[format]);
            if (test_left_out(!is_attended(device, formats[format], heads[h]), "%s rows by %u heads, %s", name,
                              heads[h], device->name))
                continue;
            test_case_begin("unknown device, attend", _i * 10 + (int)(format * 3 + h), "%s: %s rows, %u heads",
                            device->name, name, heads[h]);
            check_attend(formats[format], 64, heads[h]);
        }
    play_no_more();
}
END_TEST

// Of DeepSeek's rows a tile fills 16 KiB.
START_TEST(attends_wide_rows_in_little_local_memory) {
    play(&devices[0]);
    test_case_begin("unknown device, attend", 100, "%s: f16 rows of 448 + 64, 16 heads", devices[0].name);
    if (!test_left_out(test_device_get()->few_programs, "wide rows")) check_attend(CLMLA_ROWS_F16, 448, 16);
    play_no_more();
}
END_TEST

// --- what stands beside attend

static clmla_status enqueue_project(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                    cl_event *event) {
    return clmla_project(test_device_get()->context, payload, queue, count, wait, event);
}

static void check_project(uint32_t tokens) {
    enum { COLUMNS = 304, ROWS = 130 };
    test_random random = test_random_make(910);
    const test_weights_shape shape = {
        .type = REF_F16, .rows = ROWS, .columns = COLUMNS, .bias = true, .deviation = 0.5};
    test_weights weights;
    test_buffer input, output;
    test_weights_make(&weights, &shape, &random);
    test_buffer_make_rows(&input, &random, tokens, COLUMNS, COLUMNS, 0.0, 1.0);
    test_buffer_make(&output, (size_t)tokens * ROWS * sizeof(float), NULL);
    clmla_project_params params = {.matrix = weights.matrix,
                                   .row_count = tokens,
                                   .input = input.view,
                                   .input_stride = COLUMNS,
                                   .output = output.view,
                                   .output_stride = ROWS};
    test_run run = {.enqueue = enqueue_project, .payload = &params, .inputs = {&input}, .outputs = {&output}};
    double *expected = test_allocate((size_t)tokens * ROWS, sizeof *expected);
    test_weights_inputs(run.inputs + 1, &weights);
    ref_project(expected, &weights.reference, test_buffer_floats(&input), tokens, COLUMNS);
    test_run_twice(&run);
    test_compare_rows(test_buffer_found(&output), ROWS, expected, tokens, ROWS, TEST_BAR_F32, "project");
    free(expected);
    test_weights_free(&weights);
    test_buffer_free(&input);
    test_buffer_free(&output);
}

static clmla_status enqueue_rms_norm(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                     cl_event *event) {
    return clmla_rms_norm(test_device_get()->context, payload, queue, count, wait, event);
}

static void check_rms_norm(void) {
    enum { ROWS = 3, WIDTH = 512 };
    test_random random = test_random_make(911);
    test_buffer input, weight, output;
    double expected[ROWS * WIDTH];
    test_buffer_make_rows(&input, &random, ROWS, WIDTH, WIDTH, 0.0, 1.0);
    test_buffer_make_rows(&weight, &random, 1, WIDTH, WIDTH, 1.0, 0.3);
    test_buffer_make(&output, sizeof(float[ROWS * WIDTH]), NULL);
    clmla_rms_norm_params params = {.row_count = ROWS,
                                    .width = WIDTH,
                                    .input = input.view,
                                    .input_stride = WIDTH,
                                    .weight = weight.view,
                                    .epsilon = 1e-6f,
                                    .output = output.view,
                                    .output_stride = WIDTH};
    test_run run = {.enqueue = enqueue_rms_norm, .payload = &params, .inputs = {&input, &weight}, .outputs = {&output}};
    for (size_t r = 0; r < ROWS; r++)
        ref_rms_norm(expected + r * WIDTH, test_buffer_floats(&input) + r * WIDTH, test_buffer_floats(&weight), WIDTH,
                     (double)params.epsilon);
    test_run_twice(&run);
    test_compare_rows(test_buffer_found(&output), WIDTH, expected, ROWS, WIDTH, TEST_BAR_F32, "rms_norm");
    test_buffer_free(&input);
    test_buffer_free(&weight);
    test_buffer_free(&output);
}

static clmla_status enqueue_append(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                   cl_event *event) {
    return clmla_append(test_device_get()->context, payload, queue, count, wait, event);
}

// f32 rows are what they were given, in their slots, and nothing else is written.
static void check_append(void) {
    enum { TOKENS = 3, LATENT = 64, ROPE = 16, WIDTH = LATENT + ROPE, PAGE = 4, PAGES = 3 };
    static const int64_t slots[TOKENS] = {7, 0, 10};
    test_random random = test_random_make(912);
    test_buffer latent, rope, places, cache;
    clmla_row_layout layout;
    TEST_OK(clmla_row_layout_make(&layout, CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, LATENT, ROPE));
    test_buffer_make(&cache, (size_t)PAGE * PAGES * layout.row_bytes, NULL);
    test_buffer_make_rows(&latent, &random, TOKENS, LATENT, LATENT, 0.0, 1.0);
    test_buffer_make_rows(&rope, &random, TOKENS, ROPE, ROPE, 0.0, 1.0);
    test_buffer_make(&places, sizeof slots, slots);
    clmla_append_params params = {.token_count = TOKENS,
                                  .latent = latent.view,
                                  .latent_stride = LATENT,
                                  .rope = rope.view,
                                  .rope_stride = ROPE,
                                  .places = {.slots = places.view}};
    TEST_OK(clmla_rows_from_tensor(&params.rows, &layout, cache.view, PAGE, PAGES));
    test_run run = {
        .enqueue = enqueue_append, .payload = &params, .inputs = {&latent, &rope, &places}, .outputs = {&cache}};
    float *expected = test_nan_bytes(cache.bytes);
    for (size_t t = 0; t < TOKENS; t++) {
        float *row = expected + (size_t)slots[t] * (layout.row_bytes / sizeof *row);
        memcpy(row, test_buffer_floats(&latent) + t * LATENT, sizeof(float[LATENT]));
        memcpy(row + LATENT, test_buffer_floats(&rope) + t * ROPE, sizeof(float[ROPE]));
    }
    test_run_twice(&run);
    TEST_ASSERT(memcmp(cache.found, expected, cache.bytes) == 0, "%s", "cached rows are other ones");
    free(expected);
    test_buffer_free(&cache);
    test_buffer_free(&latent);
    test_buffer_free(&rope);
    test_buffer_free(&places);
}

START_TEST(projects_norms_and_appends) {
    play(&devices[_i]);
    test_case_begin("unknown device, operations", _i, "%s", devices[_i].name);
    check_project(4);
    check_project(33); // which a tile serves
    check_rms_norm();
    check_append();
    play_no_more();
}
END_TEST

// --- a layer's step: the operations there are, in turn

START_TEST(steps_a_layer) {
    static const uint32_t steps[][SESSION_SEQUENCES] = {{4, 0, 0}, {1, 2, 1}};
    const model_shape model_of = {70, 16, 64, 40, 10, 16, 12, REF_F16, false, false, CLMLA_ROPE_INTERLEAVED, 22};
    const session_shape session_of = {
        devices[_i].local_bytes ? CLMLA_ROWS_Q8 : CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 4, 40, 0, 0};
    layer_model model;
    layer_session s;
    play(&devices[_i]);
    test_case_begin("unknown device, layer", _i, "%s: %s rows", devices[_i].name,
                    clmla_row_format_name(session_of.format));
    layer_model_make(&model, &model_of);
    layer_session_open(&s, &model, test_device_get()->context, &session_of);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        layer_session_begin(&s, steps[i], test_device_get()->queue);
        check_facts(s.plan);
        test_run_twice(&s.run);
        layer_session_check(&s);
        layer_session_end(&s);
    }
    layer_session_close(&s);
    layer_model_free(&model);
    play_no_more();
}
END_TEST

static void add(TCase *tcase) {
    real = *facts_of_device();
    tcase_add_loop_test(tcase, chooses_nothing_for_cpus, 0, DEVICES);
    tcase_add_loop_test(tcase, attends, 0, DEVICES);
    tcase_add_test(tcase, attends_wide_rows_in_little_local_memory);
    tcase_add_loop_test(tcase, projects_norms_and_appends, 0, DEVICES);
    tcase_add_loop_test(tcase, steps_a_layer, 0, DEVICES);
}

int main(void) {
    return test_main("check_unknown_device", add);
}
