// SPDX-License-Identifier: Apache-2.0
// Whole steps recorded once and replayed for every later step of other lengths: a layer over a cache, updated from the
// host between replays, and the operations of a runtime whose lengths are on the device. Same bits as enqueueing them,
// and without a capacity too where that leaves attend's tile as it is.
// And fixed splits: what a sequence gets from a whole layer step does not depend, bit for bit, on its company.
#include "lib/plan.h"
#include "lib/recording.h"
#include "tests/layer/layer_model.h"
#include "tests/support/compare.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 3, TOKENS = 6, HIDDEN = 51, PAGE = 4, PAGES = 40, KEYS = 40 };

static const model_shape shape = {HIDDEN, 5, 37, 23, 10, 6, 7, REF_BF16, true, false, CLMLA_ROPE_INTERLEAVED, 61};
static const uint32_t steps[][SEQUENCES] = {{3, 1, 2}, {1, 1, 1}, {0, 2, 1}, {1, 4, 1}, {1, 1, 0}};
#define STEPS (sizeof steps / sizeof *steps)

// A layer over a cache of its own, with memory for one step.
typedef struct scene {
    clmla_layer *layer;
    clmla_cache *cache;
    clmla_plan *plan;
    clmla_sequence sequences[SEQUENCES];
    test_buffer x, y;
} scene;

static void scene_open_of(scene *s, const layer_model *model, clmla_row_format format, bool capacity,
                          uint32_t split_tokens) {
    clmla_context *context = test_device_get()->context;
    clmla_rows rows;
    s->layer = layer_model_load(model, context, 0, 0);
    clmla_cache_params params = {.format = format, .page_tokens = PAGE, .page_count = PAGES};
    TEST_OK(clmla_cache_create(&s->cache, context, &model->config, &params));
    for (int i = 0; i < SEQUENCES; i++) TEST_OK(clmla_cache_sequence_create(&s->sequences[i], s->cache));
    TEST_OK(clmla_cache_rows(&rows, s->cache, 0));
    clmla_plan_params plan = {.head_count = shape.heads, .layout = rows.layout, .split_tokens = split_tokens};
    if (capacity) plan.capacity = (clmla_plan_capacity){SEQUENCES, TOKENS, KEYS};
    TEST_OK(clmla_plan_create(&s->plan, context, &plan));
    test_buffer_make(&s->x, sizeof(float) * TOKENS * HIDDEN, NULL);
    test_buffer_make(&s->y, sizeof(float) * TOKENS * HIDDEN, NULL);
}

static void scene_open(scene *s, const layer_model *model, bool capacity, uint32_t split_tokens) {
    scene_open_of(s, model, CLMLA_ROWS_F16, capacity, split_tokens);
}

static void scene_close(scene *s) {
    clmla_plan_destroy(&s->plan);
    clmla_cache_destroy(&s->cache);
    clmla_layer_destroy(&s->layer);
    test_buffer_free(&s->x);
    test_buffer_free(&s->y);
}

static clmla_status enqueue(const scene *s) {
    return clmla_layer_enqueue(s->layer, s->plan, s->cache, s->x.view, s->y.view, test_device_get()->queue, 0, NULL,
                               NULL);
}

// Reserves and schedules a step of `tokens` new tokens of `count` sequences and brings its input to the device.
static uint32_t begin_step(scene *s, const clmla_sequence *sequences, const uint32_t *tokens, uint32_t count,
                           const float *x) {
    cl_command_queue queue = test_device_get()->queue;
    clmla_batch batch = {.sequence_count = count, .sequences = sequences, .query_tokens = tokens};
    uint32_t all = 0;
    for (uint32_t i = 0; i < count; i++) all += tokens[i];
    TEST_OK(clmla_cache_reserve(s->cache, &batch));
    TEST_OK(clmla_plan_update(s->plan, s->cache, &batch, queue, 0, NULL, NULL));
    if (all)
        TEST_CL(clEnqueueWriteBuffer(queue, s->x.view.memory, CL_TRUE, (size_t)s->x.view.offset,
                                     sizeof(float) * all * HIDDEN, x, 0, NULL, NULL));
    return all;
}

static void fill(float *x, uint64_t seed) {
    test_random random = test_random_make(seed);
    test_random_fill(&random, x, TOKENS * HIDDEN, 0.0, 1.0);
}

// A plan with a capacity may choose another tile of attend, and then adds its keys up in another order.
#define OTHER_TILE 1e-5

static bool same_attend(const clmla_plan *a, const clmla_plan *b) {
    const attend_tile *s = &a->tile, *t = &b->tile;
    return a->attend == b->attend && s->group == t->group && s->row_tile == t->row_tile && s->key_tile == t->key_tile &&
           s->score_rows == t->score_rows && s->partials == t->partials && s->sub_group == t->sub_group;
}

static void check_plain(const scene *kept, const scene *plain, size_t count, size_t step) {
    double expected[TOKENS * HIDDEN];
    if (same_attend(kept->plan, plain->plan)) {
        TEST_ASSERT(memcmp(kept->y.found, plain->y.found, count * sizeof(float)) == 0,
                    "step %zu: with a capacity and without differ", step);
        return;
    }
    for (size_t i = 0; i < count; i++) expected[i] = (double)test_buffer_found(&plain->y)[i];
    test_difference d = test_compare(test_buffer_found(&kept->y), expected, count);
    TEST_ASSERT(d.first_misplaced == count && d.largest_error <= OTHER_TILE * d.peak,
                "step %zu: with a capacity and without, in tiles of %u and %u rows: %.2e of %.2e apart", step,
                kept->plan->tile.row_tile, plain->plan->tile.row_tile, d.largest_error, d.peak);
}

START_TEST(layer_steps_replay) {
    layer_model model;
    scene kept, capacity, plain;
    clmla_recording *recording = NULL;
    float x[TOKENS * HIDDEN];
    cl_command_queue queue = test_device_get()->queue;
    clmla_row_format format = _i / 2 ? CLMLA_ROWS_Q5 : CLMLA_ROWS_F16;
    test_case_begin("layer recorded", _i, "%s rows, %s", clmla_row_format_name(format),
                    _i % 2 ? "one by one" : "by command buffer where there is one");
    layer_model_make(&model, &shape);
    scene_open_of(&kept, &model, format, true, 0);
    scene_open_of(&capacity, &model, format, true, 0);
    scene_open_of(&plain, &model, format, false, 0);
    for (size_t i = 0; i < STEPS; i++) {
        fill(x, 70 + i);
        if (i == 2) { // positions shift between replays: quantised rows by deltas, which recorded kernels read
            scene *all[] = {&kept, &capacity, &plain};
            for (int a = 0; a < 3; a++)
                TEST_OK(clmla_cache_sequence_shift(all[a]->cache, all[a]->sequences[0], 1, 4, 5));
        }
        uint32_t tokens = begin_step(&kept, kept.sequences, steps[i], SEQUENCES, x);
        begin_step(&capacity, capacity.sequences, steps[i], SEQUENCES, x);
        begin_step(&plain, plain.sequences, steps[i], SEQUENCES, x);
        if (!recording) {
            TEST_OK(clmla_recording_begin(&recording, test_device_get()->context, queue));
            TEST_OK(enqueue(&kept));
            recording->host.plain = _i % 2;
            TEST_OK(clmla_recording_end(recording));
        }
        TEST_OK(clmla_recording_replay(recording, 0, NULL, NULL));
        TEST_OK(enqueue(&capacity));
        TEST_OK(enqueue(&plain));
        size_t bytes = sizeof(float) * tokens * HIDDEN;
        test_buffer_fetch(&kept.y);
        test_buffer_fetch(&capacity.y);
        test_buffer_fetch(&plain.y);
        TEST_ASSERT(memcmp(kept.y.found, capacity.y.found, bytes) == 0, "step %zu: replayed and enqueued differ", i);
        check_plain(&kept, &plain, (size_t)tokens * HIDDEN, i);
        TEST_ASSERT(memcmp(kept.y.found, kept.y.initial, bytes) != 0, "step %zu: nothing was written", i);
    }
    ck_assert_uint_ge(clmla_recording_facts_get(recording).command_count, 8);
    clmla_recording_destroy(&recording);
    scene_close(&kept);
    scene_close(&capacity);
    scene_close(&plain);
    layer_model_free(&model);
}
END_TEST

// --- a runtime's own memory, lengths on the device ------------------------------------------------------------------

enum { HEADS = 5, LATENT = 37, ROPE = 6, WIDTH = LATENT + ROPE, TABLE = KEYS / PAGE };

typedef struct runtime {
    clmla_rows rows;
    clmla_plan *plan;
    test_buffer cache, table, kv_tokens, query_tokens, latent, sequences, indices, query, output, lse;
} runtime;

static void runtime_open(runtime *r) {
    int32_t table[SEQUENCES * TABLE];
    clmla_row_layout layout;
    test_random random = test_random_make(81);
    test_random_permutation(&random, table, SEQUENCES * TABLE);
    TEST_OK(clmla_row_layout_make(&layout, CLMLA_ROWS_BF16, CLMLA_ROPE_HALVES, LATENT, ROPE));
    test_buffer_make(&r->cache, (size_t)SEQUENCES * TABLE * PAGE * layout.row_bytes, NULL);
    test_buffer_make(&r->table, sizeof table, table);
    test_buffer_make(&r->kv_tokens, sizeof(int32_t) * SEQUENCES, NULL);
    test_buffer_make(&r->query_tokens, sizeof(int32_t) * SEQUENCES, NULL);
    test_buffer_make(&r->sequences, sizeof(int32_t) * TOKENS, NULL);
    test_buffer_make(&r->indices, sizeof(int32_t) * TOKENS, NULL);
    test_buffer_make(&r->latent, sizeof(float) * TOKENS * WIDTH, NULL);
    test_buffer_make(&r->query, sizeof(float) * TOKENS * HEADS * WIDTH, NULL);
    test_buffer_make(&r->output, sizeof(float) * TOKENS * HEADS * LATENT, NULL);
    test_buffer_make(&r->lse, sizeof(float) * TOKENS * HEADS, NULL);
    TEST_OK(clmla_rows_from_tensor(&r->rows, &layout, r->cache.view, PAGE, SEQUENCES * TABLE));
    clmla_plan_params params = {.head_count = HEADS, .layout = layout, .capacity = {SEQUENCES, TOKENS, KEYS}};
    TEST_OK(clmla_plan_create(&r->plan, test_device_get()->context, &params));
}

static void runtime_close(runtime *r) {
    test_buffer *all[] = {&r->cache,     &r->table,   &r->kv_tokens, &r->query_tokens, &r->latent,
                          &r->sequences, &r->indices, &r->query,     &r->output,       &r->lse};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_buffer_free(all[i]);
    clmla_plan_destroy(&r->plan);
}

// schedule, append, attend.
static void runtime_enqueue(runtime *r) {
    const test_device *device = test_device_get();
    clmla_device_lengths lengths = {SEQUENCES, r->query_tokens.view, r->kv_tokens.view};
    TEST_OK(clmla_plan_update_device(r->plan, &lengths, device->queue, 0, NULL, NULL));
    clmla_append_params append = {.token_count = TOKENS,
                                  .latent = r->latent.view,
                                  .latent_stride = WIDTH,
                                  .rope = {r->latent.view.memory, r->latent.view.offset + LATENT * sizeof(float)},
                                  .rope_stride = WIDTH,
                                  .rows = r->rows};
    append.places = (clmla_row_places){.sequences = r->sequences.view,
                                       .indices = r->indices.view,
                                       .sequence_count = SEQUENCES,
                                       .page_table = r->table.view,
                                       .page_table_stride = TABLE};
    TEST_OK(clmla_append(device->context, &append, device->queue, 0, NULL, NULL));
    clmla_attend_params attend = {.query = r->query.view,
                                  .query_token_stride = HEADS * WIDTH,
                                  .query_head_stride = WIDTH,
                                  .rows = r->rows,
                                  .page_table = r->table.view,
                                  .page_table_stride = TABLE,
                                  .softmax_scale = 0.2f,
                                  .output = r->output.view,
                                  .lse = r->lse.view};
    TEST_OK(clmla_attend(r->plan, &attend, device->queue, 0, NULL, NULL));
}

static void write(const test_buffer *to, const void *data) {
    TEST_CL(clEnqueueWriteBuffer(test_device_get()->queue, to->view.memory, CL_TRUE, (size_t)to->view.offset, to->bytes,
                                 data, 0, NULL, NULL));
}

static uint32_t runtime_step(runtime *r, size_t step, uint32_t held[SEQUENCES]) {
    int32_t kv[SEQUENCES], queries[SEQUENCES], sequences[TOKENS], indices[TOKENS];
    float latent[TOKENS * WIDTH], query[TOKENS * HEADS * WIDTH];
    test_random random = test_random_make(90 + step);
    uint32_t token = 0;
    test_random_fill(&random, latent, TOKENS * WIDTH, 0.0, 1.0);
    test_random_fill(&random, query, TOKENS * HEADS * WIDTH, 0.0, 1.0);
    for (uint32_t i = 0; i < SEQUENCES; i++) {
        for (uint32_t t = 0; t < steps[step][i]; t++, token++) {
            sequences[token] = (int32_t)i;
            indices[token] = (int32_t)(held[i] + t);
        }
        held[i] += steps[step][i];
        kv[i] = (int32_t)held[i];
        queries[i] = (int32_t)steps[step][i];
    }
    uint32_t tokens = token;
    for (; token < TOKENS; token++) sequences[token] = indices[token] = -1;
    write(&r->kv_tokens, kv);
    write(&r->query_tokens, queries);
    write(&r->sequences, sequences);
    write(&r->indices, indices);
    write(&r->latent, latent);
    write(&r->query, query);
    return tokens;
}

START_TEST(device_lengths_replay) {
    runtime kept = {0}, plain = {0};
    uint32_t held[SEQUENCES] = {0}, again[SEQUENCES] = {0};
    clmla_recording *recording = NULL;
    test_case_begin("runtime recorded", _i, _i ? "one by one" : "by command buffer where there is one");
    runtime_open(&kept);
    runtime_open(&plain);
    TEST_OK(clmla_recording_begin(&recording, test_device_get()->context, test_device_get()->queue));
    runtime_enqueue(&kept);
    recording->host.plain = _i;
    TEST_OK(clmla_recording_end(recording));
    for (size_t i = 0; i < STEPS; i++) {
        uint32_t tokens = runtime_step(&kept, i, held);
        runtime_step(&plain, i, again);
        TEST_OK(clmla_recording_replay(recording, 0, NULL, NULL));
        runtime_enqueue(&plain);
        test_buffer_fetch(&kept.output);
        test_buffer_fetch(&plain.output);
        test_buffer_fetch(&kept.lse);
        test_buffer_fetch(&plain.lse);
        TEST_ASSERT(memcmp(kept.output.found, plain.output.found, kept.output.bytes) == 0, "step %zu: outputs differ",
                    i);
        TEST_ASSERT(memcmp(kept.lse.found, plain.lse.found, kept.lse.bytes) == 0, "step %zu: lse differ", i);
        for (uint32_t p = 0; p < tokens * HEADS; p++)
            TEST_ASSERT(test_buffer_found(&kept.lse)[p] > -100.0f && test_buffer_found(&kept.lse)[p] < 100.0f,
                        "step %zu: lse %u is %g", i, p, (double)test_buffer_found(&kept.lse)[p]);
    }
    clmla_recording_destroy(&recording);
    runtime_close(&kept);
    runtime_close(&plain);
}
END_TEST

// --- fixed splits ---------------------------------------------------------------------------------------------------

// Sequence 1 of a batch, and the same tokens decoded alone.
START_TEST(fixed_splits_do_not_know_their_company) {
    layer_model model;
    scene together, alone;
    float x[TOKENS * HIDDEN];
    test_case_begin("layer fixed splits", _i, "splits of %d keys", _i ? 7 : 3);
    layer_model_make(&model, &shape);
    scene_open(&together, &model, false, _i ? 7 : 3);
    scene_open(&alone, &model, false, _i ? 7 : 3);
    for (size_t i = 0; i < STEPS; i++) {
        fill(x, 110 + i);
        uint32_t first = steps[i][0], own = steps[i][1];
        begin_step(&together, together.sequences, steps[i], SEQUENCES, x);
        begin_step(&alone, &alone.sequences[1], &own, 1, x + first * HIDDEN);
        TEST_OK(enqueue(&together));
        TEST_OK(enqueue(&alone));
        test_buffer_fetch(&together.y);
        test_buffer_fetch(&alone.y);
        TEST_ASSERT(
            memcmp(together.y.found + sizeof(float) * first * HIDDEN, alone.y.found, sizeof(float) * own * HIDDEN) == 0,
            "step %zu: sequence 1 differs from itself alone", i);
    }
    scene_close(&together);
    scene_close(&alone);
    layer_model_free(&model);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, layer_steps_replay, 0, 4);
    tcase_add_loop_test(tcase, device_lengths_replay, 0, 2);
    tcase_add_loop_test(tcase, fixed_splits_do_not_know_their_company, 0, 2);
}

int main(void) {
    return test_main("check_layer_recorded", add);
}
