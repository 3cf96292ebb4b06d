// SPDX-License-Identifier: Apache-2.0
// A cache's operations on real rows: random steps through the public calls, rows written by clmla_append and read back
// decoded by clmla_gather, against lists of tokens. Layers lie in several buffers; some runs let driver calls fail.
#include "lib/cache.h"
#include "tests/api/expect.h"
#include "tests/support/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LATENT 24
#define ROPE 4
#define LAYERS 3
#define PAGES 24
#define SEQUENCES 8
#define TOKENS_MOST 60
#define APPEND_MOST 12
#define CHECK_EVERY 16

typedef struct token {
    uint32_t content;
    int32_t position;
    uint32_t shifts; // that were carried out on the device, at most
} token;

typedef struct sequence {
    clmla_sequence id; // 0 = not there
    uint32_t count;
    token tokens[TOKENS_MOST];
} sequence;

typedef struct run_shape {
    clmla_row_format format;
    clmla_rope_order order;
    uint32_t page_tokens;
    bool unordered; // on an out-of-order queue
    bool faults;    // driver calls fail now and then
} run_shape;

typedef struct scene {
    run_shape shape;
    clmla_context *context;
    clmla_cache *cache;
    cl_command_queue queue;
    cl_mem slots, deltas, turns, values, found; // values [TOKENS_MOST][LATENT + ROPE] f32
    sequence sequences[SEQUENCES];
    test_random random;
    uint32_t next_content;
    unsigned long full, failed;
} scene;

// --- driver calls that fail ----------------------------------------------------------------------------------------

static const host_calls *real;
static bool armed;
static test_random fault_random;

static bool fails(void) {
    return armed && test_random_below(&fault_random, 6) == 0;
}

static cl_int CL_API_CALL faulty_launch(cl_command_queue a, cl_kernel b, cl_uint c, const size_t *d, const size_t *e,
                                        const size_t *f, cl_uint g, const cl_event *h, cl_event *i) {
    return fails() ? CL_OUT_OF_RESOURCES : real->EnqueueNDRangeKernel(a, b, c, d, e, f, g, h, i);
}

static cl_int CL_API_CALL faulty_write(cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, const void *f,
                                       cl_uint g, const cl_event *h, cl_event *i) {
    return fails() ? CL_OUT_OF_RESOURCES : real->EnqueueWriteBuffer(a, b, c, d, e, f, g, h, i);
}

static cl_mem CL_API_CALL faulty_buffer(cl_context a, cl_mem_flags b, size_t c, void *d, cl_int *code) {
    if (!fails()) return real->CreateBuffer(a, b, c, d, code);
    *code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    return NULL;
}

static void *faulty_allocate(void *payload, size_t bytes) {
    (void)payload;
    return fails() ? NULL : malloc(bytes);
}

static void plain_release(void *payload, void *memory) {
    (void)payload;
    free(memory);
}

static clmla_context *faulty_context(void) {
    static host_calls table;
    clmla_context *context = NULL;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .allocator = {faulty_allocate, plain_release, NULL},
                                   .program_folder = "",
                                   .tuning_file = ""};
    real = host_calls_default();
    table = *real;
    table.EnqueueNDRangeKernel = faulty_launch;
    table.EnqueueWriteBuffer = faulty_write;
    table.CreateBuffer = faulty_buffer;
    armed = false;
    fault_random = test_random_make(5);
    TEST_OK(context_create_with_calls(&context, &params, &table));
    return context;
}

// --- the scene -----------------------------------------------------------------------------------------------------

static clmla_config small_config(clmla_rope_order order) {
    clmla_config config;
    clmla_config_init(&config);
    config.hidden_size = 64;
    config.head_count = 4;
    config.layer_count = LAYERS;
    config.kv_lora_rank = LATENT;
    config.qk_nope_head_dim = 8;
    config.qk_rope_head_dim = ROPE;
    config.v_head_dim = 8;
    config.context_tokens = 4096;
    config.rope_order = order;
    return config;
}

static cl_mem buffer(size_t bytes) {
    cl_int code;
    cl_mem memory = clCreateBuffer(test_device_get()->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    TEST_CL(code);
    return memory;
}

static void open_scene(scene *s, const run_shape *shape, uint64_t seed) {
    *s = (scene){.shape = *shape, .random = test_random_make(seed), .next_content = 1};
    s->context = faulty_context();
    clmla_config config = small_config(shape->order);
    clmla_row_layout layout;
    TEST_OK(clmla_row_layout_make(&layout, shape->format, shape->order, LATENT, ROPE));
    // Two layers of the three to a buffer.
    s->context->host.facts.max_buffer_bytes = 5 * PAGES * clmla_row_layout_page_bytes(&layout, shape->page_tokens) / 2;
    clmla_cache_params params = {.format = shape->format, .page_tokens = shape->page_tokens, .page_count = PAGES};
    TEST_OK(clmla_cache_create(&s->cache, s->context, &config, &params));
    ck_assert_uint_eq(s->cache->group_count, 2);
    s->queue = shape->unordered ? test_device_get()->unordered : test_device_get()->queue;
    s->slots = buffer(TOKENS_MOST * sizeof(int64_t));
    s->deltas = buffer(TOKENS_MOST * sizeof(int32_t));
    s->turns = buffer(ROPE / 2 * sizeof(uint64_t));
    uint64_t turns[ROPE / 2];
    TEST_OK(clmla_rope_turns(turns, &config));
    TEST_CL(clEnqueueWriteBuffer(s->queue, s->turns, CL_TRUE, 0, sizeof turns, turns, 0, NULL, NULL));
    s->values = buffer(TOKENS_MOST * (LATENT + ROPE) * sizeof(float));
    s->found = buffer(TOKENS_MOST * (LATENT + ROPE) * sizeof(float));
}

static void close_scene(scene *s) {
    TEST_CL(clFinish(s->queue));
    clReleaseMemObject(s->slots);
    clReleaseMemObject(s->deltas);
    clReleaseMemObject(s->turns);
    clReleaseMemObject(s->values);
    clReleaseMemObject(s->found);
    clmla_cache_destroy(&s->cache);
    clmla_context_destroy(&s->context);
}

// --- rows ----------------------------------------------------------------------------------------------------------

// What a token's row holds in a layer: numbers that f16 and bf16 have too. `row` in the cache's rope order.
static double base_value(uint32_t content, uint32_t layer, uint32_t index) {
    uint32_t x = content * 2654435761u ^ (layer * 40503u + index * 9973u + 1) * 2246822519u;
    x ^= x >> 15;
    return ((int)(x * 2654435761u >> 24) - 128) / 64.0;
}

static void row_of(double *row, const scene *s, const token *t, uint32_t layer) {
    for (uint32_t i = 0; i < LATENT; i++) row[i] = base_value(t->content, layer, i);
    for (uint32_t pair = 0; pair < ROPE / 2; pair++) {
        double angle = t->position * pow(10000.0, -2.0 * pair / ROPE);
        double a = base_value(t->content, layer, LATENT + 2 * pair),
               b = base_value(t->content, layer, LATENT + 2 * pair + 1);
        bool halves = s->shape.order == CLMLA_ROPE_HALVES;
        row[LATENT + (halves ? pair : 2 * pair)] = a * cos(angle) - b * sin(angle);
        row[LATENT + (halves ? pair + ROPE / 2 : 2 * pair + 1)] = a * sin(angle) + b * cos(angle);
    }
}

// A blocking write may return before the device's memory holds it (Intel's CPU runtime): finished, or what comes next
// on an out-of-order queue reads what was there.
static void write_now(const scene *s, cl_mem memory, const void *values, size_t bytes) {
    TEST_CL(clEnqueueWriteBuffer(s->queue, memory, CL_TRUE, 0, bytes, values, 0, NULL, NULL));
    TEST_CL(clFinish(s->queue));
}

static void flush(scene *s) {
    clmla_status status = CLMLA_E_OPENCL;
    armed = s->shape.faults;
    for (int tries = 0; status != CLMLA_OK; tries++) {
        cl_event done = NULL;
        status = clmla_cache_flush(s->cache, s->queue, 0, NULL, &done);
        TEST_ASSERT((status == CLMLA_OK) == (done != NULL), "an event is there when it is done");
        TEST_ASSERT(status == CLMLA_OK || (s->shape.faults && tries < 200), "%s", clmla_last_error());
        s->failed += status != CLMLA_OK;
        if (done) clReleaseEvent(done);
    }
    armed = false;
    if (s->shape.unordered) TEST_CL(clFinish(s->queue)); // the appends below wait for nothing
}

static void append_rows(scene *s, const sequence *q, uint32_t first) {
    float values[APPEND_MOST][LATENT + ROPE];
    int64_t slots[APPEND_MOST];
    double row[LATENT + ROPE];
    uint32_t count = q->count - first;
    if (count == 0) return;
    TEST_OK(clmla_cache_sequence_slots(slots, s->cache, q->id, first, count));
    write_now(s, s->slots, slots, count * sizeof *slots);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        for (uint32_t t = 0; t < count; t++) {
            row_of(row, s, &q->tokens[first + t], layer);
            for (uint32_t i = 0; i < LATENT + ROPE; i++) values[t][i] = (float)row[i];
        }
        write_now(s, s->values, values, count * sizeof *values);
        clmla_append_params params = {.token_count = count,
                                      .latent = {s->values, 0},
                                      .latent_stride = LATENT + ROPE,
                                      .rope = {s->values, LATENT * sizeof(float)},
                                      .rope_stride = LATENT + ROPE,
                                      .places = {.slots = {s->slots, 0}}};
        TEST_OK(clmla_cache_rows(&params.rows, s->cache, layer));
        TEST_OK(clmla_append(s->context, &params, s->queue, 0, NULL, NULL));
        TEST_CL(clFinish(s->queue));
    }
}

static bool is_scaled(const scene *s) {
    return s->shape.format >= CLMLA_ROWS_FP8;
}

// Scaled rows keep their codes: no number of shifts makes them less exact.
static void check_row(const scene *s, const float *found, const token *t, uint32_t layer, uint32_t index) {
    static const struct {
        double latent, step;
    } bars[] = {
        [CLMLA_ROWS_F32] = {0, 1.2e-7},   [CLMLA_ROWS_F16] = {0, 1e-3},         [CLMLA_ROWS_BF16] = {0, 8e-3},
        [CLMLA_ROWS_FP8] = {0.13, 8e-3},  [CLMLA_ROWS_FP8_FLAT] = {0.13, 6e-2}, [CLMLA_ROWS_FP8_PAGED] = {0.13, 8e-3},
        [CLMLA_ROWS_Q8] = {0.03, 1.2e-2}, [CLMLA_ROWS_Q6] = {0.08, 1.3e-2},     [CLMLA_ROWS_Q5] = {0.11, 1.3e-2},
        [CLMLA_ROWS_Q4] = {0.32, 1.3e-2}};
    double row[LATENT + ROPE], latent_bar = bars[s->shape.format].latent;
    double rope_bar = 3.0 * bars[s->shape.format].step * (is_scaled(s) ? 1.5 : 1 + t->shifts);
    row_of(row, s, t, layer);
    for (uint32_t i = 0; i < LATENT; i++)
        TEST_ASSERT(fabs(found[i] - row[i]) <= latent_bar, "layer %u, row %u, value %u: %g, expected %g", layer, index,
                    i, (double)found[i], row[i]);
    for (uint32_t i = LATENT; i < LATENT + ROPE; i++)
        TEST_ASSERT(fabs(found[i] - row[i]) <= rope_bar,
                    "layer %u, row %u, rope value %u: %g, expected %g after %u shifts", layer, index, i,
                    (double)found[i], row[i], t->shifts);
}

static void check_sequence(scene *s, const sequence *q) {
    float found[TOKENS_MOST][LATENT + ROPE];
    int64_t slots[TOKENS_MOST];
    int32_t positions[TOKENS_MOST];
    uint32_t length = 0;
    TEST_OK(clmla_cache_sequence_length(&length, s->cache, q->id));
    ck_assert_uint_eq(length, q->count);
    if (q->count == 0) return;
    TEST_OK(clmla_cache_sequence_slots(slots, s->cache, q->id, 0, q->count));
    TEST_OK(clmla_cache_sequence_positions(positions, s->cache, q->id, 0, q->count));
    for (uint32_t i = 0; i < q->count; i++) ck_assert_int_eq(positions[i], q->tokens[i].position);
    write_now(s, s->slots, slots, q->count * sizeof *slots);
    if (is_scaled(s)) {
        int32_t deltas[TOKENS_MOST];
        TEST_OK(clmla_cache_sequence_deltas(deltas, s->cache, q->id, 0, q->count));
        write_now(s, s->deltas, deltas, q->count * sizeof *deltas);
    }
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        clmla_gather_params params = {.token_count = q->count,
                                      .places = {.slots = {s->slots, 0}},
                                      .deltas = {is_scaled(s) ? s->deltas : NULL, 0},
                                      .rope_turns = {s->turns, 0},
                                      .output = {s->found, 0},
                                      .output_stride = LATENT + ROPE};
        TEST_OK(clmla_cache_rows(&params.rows, s->cache, layer));
        TEST_OK(clmla_gather(s->context, &params, s->queue, 0, NULL, NULL));
        TEST_CL(clFinish(s->queue));
        TEST_CL(clEnqueueReadBuffer(s->queue, s->found, CL_TRUE, 0, q->count * sizeof *found, found, 0, NULL, NULL));
        for (uint32_t i = 0; i < q->count; i++) check_row(s, found[i], &q->tokens[i], layer, i);
    }
}

// --- steps ---------------------------------------------------------------------------------------------------------

// Whether it was done. With faults, memory may be what is wanting; then nothing changed, as the next check sees.
static bool done(scene *s, clmla_status status) {
    armed = false;
    if (status == CLMLA_OK) return true;
    s->full += status == CLMLA_E_CACHE_FULL;
    s->failed += status == CLMLA_E_MEMORY;
    TEST_ASSERT(status == CLMLA_E_CACHE_FULL || (s->shape.faults && status == CLMLA_E_MEMORY), "%s",
                clmla_last_error());
    return false;
}

static sequence *empty_place(scene *s) {
    for (int i = 0; i < SEQUENCES; i++)
        if (s->sequences[i].id == 0) return &s->sequences[i];
    return NULL;
}

static void append(scene *s, sequence *q) {
    uint32_t count = test_random_below(&s->random, APPEND_MOST + 1), first = q->count;
    if (q->count + count > TOKENS_MOST) return;
    if (!done(s, clmla_cache_reserve(s->cache, &(clmla_batch){1, &q->id, &count, NULL}))) return;
    flush(s);
    for (uint32_t i = 0; i < count; i++) {
        int32_t position = q->count > 0 ? q->tokens[q->count - 1].position + 1 : 0;
        q->tokens[q->count++] = (token){s->next_content++, position, 0};
    }
    append_rows(s, q, first);
}

static void fork_sequence(scene *s, const sequence *q) {
    sequence *place = empty_place(s);
    clmla_sequence id = 0;
    if (!place || !done(s, clmla_cache_sequence_fork(&id, s->cache, q->id))) return;
    *place = *q;
    place->id = id;
}

static void remove_tokens(scene *s, sequence *q, uint32_t from, uint32_t to) {
    if (!done(s, clmla_cache_sequence_remove(s->cache, q->id, from, to))) return;
    memmove(q->tokens + from, q->tokens + to, (q->count - to) * sizeof *q->tokens);
    q->count -= to - from;
}

static void shift(scene *s, sequence *q, uint32_t from, uint32_t to) {
    int32_t delta = (int32_t)test_random_below(&s->random, 30) - 8;
    for (uint32_t i = from; i < to; i++)
        if (q->tokens[i].position + delta < 0) return;
    if (!done(s, clmla_cache_sequence_shift(s->cache, q->id, from, to, delta))) return;
    for (uint32_t i = from; i < to; i++) q->tokens[i].position += delta, q->tokens[i].shifts++;
}

static void step(scene *s) {
    sequence *q = &s->sequences[test_random_below(&s->random, SEQUENCES)];
    uint32_t kind = test_random_below(&s->random, 16);
    if (q->id == 0) {
        clmla_sequence id = 0;
        armed = s->shape.faults;
        if (done(s, clmla_cache_sequence_create(&id, s->cache))) *q = (sequence){.id = id};
        return;
    }
    uint32_t from = test_random_below(&s->random, q->count + 1);
    uint32_t to = from + test_random_below(&s->random, q->count - from + 1);
    armed = s->shape.faults;
    if (kind == 0) {
        if (done(s, clmla_cache_sequence_drop(s->cache, q->id))) *q = (sequence){0};
    } else if (kind < 4)
        fork_sequence(s, q);
    else if (kind < 7)
        remove_tokens(s, q, from, to);
    else if (kind < 10)
        shift(s, q, from, to);
    else if (kind == 10) {
        if (done(s, clmla_cache_sequence_truncate(s->cache, q->id, from))) q->count = from;
    } else
        append(s, q);
    armed = false;
}

static void check(scene *s) {
    flush(s);
    TEST_CL(clFinish(s->queue));
    for (int i = 0; i < SEQUENCES; i++)
        if (s->sequences[i].id) check_sequence(s, &s->sequences[i]);
}

static const run_shape shapes[] = {
    {CLMLA_ROWS_F32, CLMLA_ROPE_INTERLEAVED, 4, false, false}, {CLMLA_ROWS_F16, CLMLA_ROPE_HALVES, 8, false, false},
    {CLMLA_ROWS_BF16, CLMLA_ROPE_INTERLEAVED, 3, true, false}, {CLMLA_ROWS_F32, CLMLA_ROPE_HALVES, 5, false, true},
    {CLMLA_ROWS_FP8, CLMLA_ROPE_INTERLEAVED, 4, false, false}, {CLMLA_ROWS_FP8_PAGED, CLMLA_ROPE_HALVES, 6, true, true},
    {CLMLA_ROWS_Q8, CLMLA_ROPE_HALVES, 4, false, false},       {CLMLA_ROWS_Q6, CLMLA_ROPE_INTERLEAVED, 7, true, false},
    {CLMLA_ROWS_Q5, CLMLA_ROPE_INTERLEAVED, 4, false, true},   {CLMLA_ROWS_Q4, CLMLA_ROPE_HALVES, 5, false, false},
};

START_TEST(random_steps) {
    scene s;
    int steps = test_device_get()->short_form ? 40 : 1000;
    test_case_begin("cache device", _i, "%s, page %u, seed %d", clmla_row_format_name(shapes[_i].format),
                    shapes[_i].page_tokens, 300 + _i);
    if (test_left_out(shapes[_i].unordered && !test_device_get()->unordered, "the device has no out-of-order queue"))
        return;
    open_scene(&s, &shapes[_i], 300 + (uint64_t)_i);
    for (int i = 0; i < steps; i++) {
        step(&s);
        if (i % CHECK_EVERY == 0 || i + 1 == steps) check(&s);
    }
    if (!test_device_get()->short_form) {
        ck_assert_uint_gt(s.full, 10);
        if (s.shape.faults) ck_assert_uint_gt(s.failed, 10);
    }
    close_scene(&s);
}
END_TEST

// 64 shifts by -1 are one rotation by -64 when nothing is flushed in between: the same bits as one shift. Quantised
// rows keep a delta and are not touched at all.
START_TEST(many_shifts_are_one) {
    float found[2][TOKENS_MOST][LATENT + ROPE];
    int32_t positions[APPEND_MOST];
    uint32_t count = APPEND_MOST;
    for (int way = 0; way < 2; way++) {
        scene s;
        sequence *q = &s.sequences[0];
        open_scene(&s, &shapes[_i], 1);
        TEST_OK(clmla_cache_sequence_create(&q->id, s.cache));
        for (int i = 0; i < APPEND_MOST; i++) positions[i] = 100 + i;
        TEST_OK(clmla_cache_reserve(s.cache, &(clmla_batch){1, &q->id, &count, positions}));
        for (; q->count < count; q->count++) q->tokens[q->count] = (token){q->count + 1, positions[q->count], 0};
        append_rows(&s, q, 0);
        for (int i = 0; i < (way ? 64 : 1); i++)
            TEST_OK(clmla_cache_sequence_shift(s.cache, q->id, 0, count, way ? -1 : -64));
        ck_assert_uint_eq(s.cache->pages.work.count, is_scaled(&s) ? 0 : 2); // pages of 8 rows
        for (uint32_t i = 0; i < count; i++) q->tokens[i].position -= 64, q->tokens[i].shifts = 1;
        check(&s);
        TEST_CL(clEnqueueReadBuffer(s.queue, s.found, CL_TRUE, 0, sizeof found[way], found[way], 0, NULL, NULL));
        close_scene(&s);
    }
    ck_assert_int_eq(memcmp(found[0], found[1], count * sizeof found[0][0]), 0);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, random_steps, 0, sizeof shapes / sizeof *shapes);
    tcase_add_loop_test(tcase, many_shifts_are_one, 1, 2);
    tcase_add_loop_test(tcase, many_shifts_are_one, 8, 9);
}

int main(void) {
    return test_main("check_cache_device", add);
}
