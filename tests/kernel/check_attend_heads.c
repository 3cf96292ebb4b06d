// SPDX-License-Identifier: Apache-2.0
// attend_heads: every variant against tests/ref/ref_attend_heads.c: masks, chunks of keys before, around and after the
// queries, results carried from other chunks, NaN in keys that are hidden, ways to lie in memory.
#include "tests/ref/ref_attend_heads.h"
#include "tests/ref/ref_merge.h"
#include "tests/support/compare.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS, TOKENS, KEYS, DIMS, PLACE, MASK, CAP, CARRY, LSE, LAYOUT, SPREAD, HIDDEN, FACTORS };
// Where the keys stand in the sequence: its last ones, a chunk all tokens see, one that some see, one that none sees.
enum { PLACE_LAST, PLACE_BEFORE, PLACE_MIDDLE, PLACE_AFTER, PLACES };
enum { MASK_CAUSAL, MASK_FULL, MASK_WINDOW, MASK_FULL_WINDOW, MASKS };
enum { CARRY_NONE, CARRY_STATE, CARRY_SOME_EMPTY, CARRIES };
// Keys and values side by side for each token, or for each head, or in tensors of their own with gaps.
enum { LIE_TOKENS, LIE_HEADS, LIE_APART, LAYOUTS };
static const uint32_t head_counts[] = {1, 3, 16}, token_counts[] = {1, 2, 33, 64, 70, 131};
static const uint32_t key_counts[] = {0, 1, 12, 47, 49, 131, 300};
// N, R, V: DeepSeek's; no nope part, no rope part; tails of vectors.
static const uint32_t dims[][3] = {{128, 64, 128}, {0, 6, 33}, {16, 0, 64}, {33, 2, 1}, {5, 10, 7}};

typedef struct shape {
    uint32_t heads, tokens, keys, nope, rope, value;
    int place, mask, carry, layout;
    bool cap, lse, spread, hidden;
    uint64_t seed;
} shape;

typedef struct fixture {
    shape shape;
    clmla_attend_heads_params params;
    test_buffer query, kv, key, value, key_rope, output, lse; // kv: keys and values in one tensor
    double *q, *k, *v;                                        // [tokens|keys][heads][width]
    test_run run;
} fixture;

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    return clmla_attend_heads(test_device_get()->context, payload, queue, count, wait, event);
}

static float *floats_of(test_buffer *buffer) {
    return (float *)(void *)buffer->initial;
}

static void make_query(fixture *f, test_random *random) {
    const shape *s = &f->shape;
    uint32_t width = s->nope + s->rope, head = width + (s->layout == LIE_APART ? 3 : 0), token = s->heads * head + 1;
    test_buffer_make(&f->query, (size_t)s->tokens * token * sizeof(float), NULL);
    f->q = test_allocate((size_t)s->tokens * s->heads * width, sizeof *f->q);
    for (uint32_t i = 0; i < s->tokens * s->heads; i++) {
        float *to = floats_of(&f->query) + (size_t)(i / s->heads) * token + (size_t)(i % s->heads) * head;
        test_random_fill(random, to, width, 0.0, 1.0);
        for (uint32_t d = 0; d < width; d++) f->q[(size_t)i * width + d] = (double)to[d];
    }
    f->params.query_token_stride = token;
    f->params.query_head_stride = head;
}

// Where keys and values lie: sets views and strides in the parameters.
static void place_keys(fixture *f) {
    const shape *s = &f->shape;
    clmla_attend_heads_params *p = &f->params;
    uint64_t both = (uint64_t)s->nope + s->value;
    if (s->layout == LIE_APART) {
        p->key_head_stride = s->nope + 2, p->key_token_stride = s->heads * p->key_head_stride + 5;
        p->value_token_stride = s->value + 1, p->value_head_stride = s->keys * p->value_token_stride + 4;
        test_buffer_make(&f->key, s->keys * p->key_token_stride * sizeof(float), NULL);
        test_buffer_make(&f->value, s->heads * p->value_head_stride * sizeof(float), NULL);
        p->key = f->key.view, p->value = f->value.view;
        return;
    }
    p->key_head_stride = s->layout == LIE_TOKENS ? both : s->keys * both;
    p->key_token_stride = s->layout == LIE_TOKENS ? s->heads * both : both;
    p->value_head_stride = p->key_head_stride, p->value_token_stride = p->key_token_stride;
    test_buffer_make(&f->kv, s->keys * s->heads * both * sizeof(float), NULL);
    p->key = p->value = f->kv.view;
    p->value.offset += s->nope * sizeof(float);
}

static void fill_head(fixture *f, test_random *random, uint32_t k, uint32_t h, const float *rope, bool is_nan) {
    const shape *s = &f->shape;
    const clmla_attend_heads_params *p = &f->params;
    size_t width = s->nope + s->rope, at = (size_t)k * s->heads + h;
    bool apart = s->layout == LIE_APART;
    float *key = floats_of(apart ? &f->key : &f->kv) + k * p->key_token_stride + h * p->key_head_stride;
    float *value = floats_of(apart ? &f->value : &f->kv) + (apart ? 0 : s->nope) + k * p->value_token_stride +
                   h * p->value_head_stride;
    if (!is_nan) {
        test_random_fill(random, key, s->nope, 0.0, s->spread ? 2.0 : 0.3);
        test_random_fill(random, value, s->value, s->value < 16 ? 2.0 : 0.0, 0.5);
    }
    for (uint32_t d = 0; d < s->nope; d++) f->k[at * width + d] = (double)key[d];
    for (uint32_t d = 0; d < s->rope; d++) f->k[at * width + s->nope + d] = (double)rope[d];
    for (uint32_t d = 0; d < s->value; d++) f->v[at * s->value + d] = (double)value[d];
}

// With `hidden` the last key is NaN through and through, and shows where it is seen.
static void make_keys(fixture *f, test_random *random) {
    const shape *s = &f->shape;
    size_t count = (size_t)s->keys * s->heads, rope_stride = s->rope + 3;
    place_keys(f);
    f->params.key_rope_stride = rope_stride;
    test_buffer_make(&f->key_rope, s->keys * rope_stride * sizeof(float), NULL);
    f->k = test_allocate(count * (s->nope + s->rope) + 1, sizeof *f->k);
    f->v = test_allocate(count * s->value + 1, sizeof *f->v);
    for (uint32_t k = 0; k < s->keys; k++) {
        bool is_nan = s->hidden && k + 1 == s->keys;
        float *rope = floats_of(&f->key_rope) + k * rope_stride;
        if (!is_nan) test_random_fill(random, rope, s->rope, 0.0, s->spread ? 1.0 : 0.3);
        for (uint32_t h = 0; h < s->heads; h++) fill_head(f, random, k, h, rope, is_nan);
    }
    test_buffer *all[] = {&f->query, &f->key_rope, &f->kv, &f->key, &f->value};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->bytes) test_buffer_reset(all[i]);
}

// The result so far: empty states keep NaN, which must not be read.
static void make_results(fixture *f, test_random *random) {
    const shape *s = &f->shape;
    clmla_attend_heads_params *p = &f->params;
    p->output_head_stride = s->value + (s->layout == LIE_APART ? 2 : 0);
    p->output_token_stride = s->heads * p->output_head_stride + 3;
    p->lse_token_stride = s->layout == LIE_APART ? 2 : s->heads;
    p->lse_head_stride = s->layout == LIE_APART ? 2 * s->tokens : 1;
    test_buffer_make(&f->output, s->tokens * p->output_token_stride * sizeof(float), NULL);
    if (s->lse) test_buffer_make(&f->lse, (size_t)s->tokens * s->heads * 2 * sizeof(float), NULL);
    for (uint32_t i = 0; s->carry != CARRY_NONE && i < s->tokens * s->heads; i++) {
        uint32_t t = i / s->heads, h = i % s->heads;
        bool empty = s->carry == CARRY_SOME_EMPTY && test_random_below(random, 2);
        floats_of(&f->lse)[t * p->lse_token_stride + h * p->lse_head_stride] =
            empty ? (i % 2 ? INFINITY : -INFINITY) : (float)(1.0 + 2.0 * test_random_normal(random));
        if (!empty)
            test_random_fill(random, floats_of(&f->output) + t * p->output_token_stride + h * p->output_head_stride,
                             s->value, s->value < 16 ? 2.0 : 0.0, 0.5);
    }
    test_buffer_reset(&f->output);
    if (s->lse) test_buffer_reset(&f->lse);
}

// The chunk's first key, and the first query token's own.
static void place_chunk(clmla_attend_heads_params *p, const shape *s) {
    int32_t keys = (int32_t)s->keys, tokens = (int32_t)s->tokens;
    p->key_first = s->place == PLACE_LAST ? 0 : 100;
    switch (s->place) {
    case PLACE_BEFORE:
        p->query_first = 100 + keys + 3;
        break;
    case PLACE_MIDDLE:
        p->query_first = 100 + keys / 2 - tokens / 2;
        break;
    case PLACE_AFTER:
        p->query_first = 100 - tokens;
        break;
    default:
        p->query_first = keys - tokens;
    }
}

static void make(fixture *f, const shape *s) {
    test_random random = test_random_make(s->seed);
    *f = (fixture){.shape = *s};
    f->params = (clmla_attend_heads_params){
        .token_count = s->tokens,
        .key_count = s->keys,
        .full = s->mask == MASK_FULL || s->mask == MASK_FULL_WINDOW,
        .window = s->mask == MASK_WINDOW || s->mask == MASK_FULL_WINDOW ? 20 : 0,
        .head_count = s->heads,
        .nope_dim = s->nope,
        .rope_dim = s->rope,
        .value_dim = s->value,
        .softmax_scale = (float)(1.0 / sqrt((double)s->nope + s->rope)),
        .softcap = s->cap ? 3.0f : 0.0f,
        .carry = s->carry != CARRY_NONE,
    };
    place_chunk(&f->params, s);
    make_query(f, &random);
    make_keys(f, &random);
    make_results(f, &random);
    f->params.query = f->query.view;
    f->params.key_rope = f->key_rope.view;
    f->params.output = f->output.view;
    f->params.lse = f->lse.view;
    f->run = (test_run){
        .enqueue = enqueue, .payload = &f->params, .inputs = {&f->query, &f->key_rope}, .outputs = {&f->output}};
    if (s->layout == LIE_APART) {
        f->run.inputs[2] = &f->key;
        f->run.inputs[3] = &f->value;
    } else {
        f->run.inputs[2] = &f->kv;
    }
    if (s->lse) f->run.outputs[1] = &f->lse;
}

static void finish(fixture *f) {
    test_buffer *all[] = {&f->query, &f->kv, &f->key, &f->value, &f->key_rope, &f->output, &f->lse};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_buffer_free(all[i]);
    free(f->q);
    free(f->k);
    free(f->v);
}

static ref_heads reference_of(const fixture *f) {
    const shape *s = &f->shape;
    const clmla_attend_heads_params *p = &f->params;
    return (ref_heads){
        .heads = s->heads,
        .kv_heads = s->heads,
        .key_dim = s->nope + s->rope,
        .value_dim = s->value,
        .query_tokens = s->tokens,
        .kv_tokens = s->keys,
        .scale = (double)p->softmax_scale,
        .softcap = (double)p->softcap,
        .window = p->window,
        .full = p->full,
        .ahead = (long)p->query_first - (long)p->key_first - ((long)s->keys - (long)s->tokens),
    };
}

// Joins what was carried with the chunk's own result.
static double join(const fixture *f, double *out, double lse, uint32_t t, uint32_t h) {
    const clmla_attend_heads_params *p = &f->params;
    size_t width = f->shape.value;
    double states[2 * 128], lses[2] = {0, lse};
    if (!p->carry) return lse;
    lses[0] = (double)test_buffer_floats(&f->lse)[t * p->lse_token_stride + h * p->lse_head_stride];
    for (size_t d = 0; d < width; d++) {
        states[d] = (double)test_buffer_floats(&f->output)[t * p->output_token_stride + h * p->output_head_stride + d];
        states[width + d] = out[d];
    }
    return ref_merge(out, states, lses, 2, width, false);
}

// Scores of at most 8 in magnitude, or a little more: the bar is that of f32 computation.
static void compare_row(fixture *f, const double *expected, double lse, uint32_t t, uint32_t h, const char *variant) {
    const clmla_attend_heads_params *p = &f->params;
    size_t at = t * p->output_token_stride + h * p->output_head_stride, width = f->shape.value;
    double bar = TEST_BAR_F32 * (f->shape.spread ? 4.0 : 1.0);
    test_compare_rows(test_buffer_found(&f->output) + at, width, expected, 1, width, bar, variant);
    memcpy(f->output.found + at * sizeof(float), f->output.initial + at * sizeof(float), width * sizeof(float));
    if (!f->shape.lse) return;
    float *found = (float *)(void *)f->lse.found + t * p->lse_token_stride + h * p->lse_head_stride;
    test_difference d = test_compare(found, &lse, 1);
    TEST_ASSERT(d.first_misplaced == 1 && d.largest_error <= 2e-6 * fmax(1.0, fabs(lse)),
                "%s: lse of token %u, head %u is %.9g, expected %.9g", variant, t, h, (double)*found, lse);
    memcpy(found, test_buffer_floats(&f->lse) + t * p->lse_token_stride + h * p->lse_head_stride, sizeof *found);
}

// Every result, and that nothing between them was touched.
static void compare(fixture *f, const double *out, const double *lse, const char *variant) {
    const shape *s = &f->shape;
    double row[128];
    for (uint32_t t = 0; t < s->tokens; t++)
        for (uint32_t h = 0; h < s->heads; h++) {
            size_t i = (size_t)t * s->heads + h;
            memcpy(row, out + i * s->value, s->value * sizeof *row);
            compare_row(f, row, join(f, row, lse[i], t, h), t, h, variant);
        }
    for (int i = 0; f->run.outputs[i]; i++)
        TEST_ASSERT(memcmp(f->run.outputs[i]->found, f->run.outputs[i]->initial, f->run.outputs[i]->bytes) == 0,
                    "%s: output %d was touched between its values", variant, i);
}

// The kernel for GPUs takes CPUs seconds to compile for each N, R and V: there these are of two, tails of vectors and
// no nope part. every_tile_gives_the_same has the others; of few programs, no nope part too.
static bool left_out(const shape *s, const clmla_variant *variant) {
    bool small = s->nope == dims[4][0] || (s->nope == dims[1][0] && !test_device_get()->few_programs);
    return strcmp(variant->name, "tile") == 0 && (test_device_get()->facts->type & CL_DEVICE_TYPE_CPU) && !small;
}

static void check_variants(fixture *f) {
    const shape *s = &f->shape;
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = {.latent_dim = s->nope,
                         .rope_dim = s->rope,
                         .value_dim = s->value,
                         .head_count = s->heads,
                         .row_count = s->tokens};
    size_t count = test_variants(variants, CLMLA_OP_ATTEND_HEADS, &shape), rows = (size_t)s->tokens * s->heads;
    double *out = test_allocate(rows * s->value, sizeof *out), *lse = test_allocate(rows, sizeof *lse);
    ref_heads reference = reference_of(f);
    ref_attend_heads(out, lse, &reference, f->q, f->k, f->v);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted || left_out(s, &variants[i])) continue;
        f->params.variant = variants[i].name;
        test_run_twice(&f->run);
        compare(f, out, lse, variants[i].name);
    }
    test_variants_refused(&f->run, &f->params.variant, CLMLA_OP_ATTEND_HEADS, &shape);
    free(out);
    free(lse);
}

typedef void comparison(fixture *f, const double *out, const double *lse, const char *variant);

static void check_variant(fixture *f, const char *variant, comparison *compare_with) {
    size_t rows = (size_t)f->shape.tokens * f->shape.heads;
    double *out = test_allocate(rows * f->shape.value, sizeof *out), *lse = test_allocate(rows, sizeof *lse);
    ref_heads reference = reference_of(f);
    ref_attend_heads(out, lse, &reference, f->q, f->k, f->v);
    f->params.variant = variant;
    test_run_twice(&f->run);
    compare_with(f, out, lse, variant ? variant : "the choice");
    free(out);
    free(lse);
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    uint64_t pairs = (uint64_t)head_counts[chosen[HEADS]] * token_counts[chosen[TOKENS]] * key_counts[chosen[KEYS]];
    const uint32_t *dim = dims[chosen[DIMS]];
    uint64_t width = (uint64_t)dim[0] + dim[1] + dim[2];
    return pairs * width <= (test_device_get()->short_form ? 300000u : 12000000u);
}

static void run_case(int number, const int *chosen) {
    shape s = {
        .heads = head_counts[chosen[HEADS]],
        .tokens = token_counts[chosen[TOKENS]],
        .keys = key_counts[chosen[KEYS]],
        .nope = dims[chosen[DIMS]][0],
        .rope = dims[chosen[DIMS]][1],
        .value = dims[chosen[DIMS]][2],
        .place = chosen[PLACE],
        .mask = chosen[MASK],
        .carry = chosen[CARRY],
        .layout = chosen[LAYOUT],
        .cap = chosen[CAP],
        .lse = chosen[LSE] || chosen[CARRY] != CARRY_NONE,
        .spread = chosen[SPREAD],
        .hidden = chosen[HIDDEN],
        .seed = (uint64_t)number + 7000,
    };
    test_case_begin(
        "attend_heads", number,
        "heads %u, tokens %u, keys %u, N %u, R %u, V %u, place %d, mask %d, softcap %d, carry %d, lse %d, layout %d, "
        "spread %d, hidden NaN %d, seed %d",
        s.heads, s.tokens, s.keys, s.nope, s.rope, s.value, s.place, s.mask, s.cap, s.carry, s.lse, s.layout, s.spread,
        s.hidden, number + 7000);
    fixture f;
    make(&f, &s);
    check_variants(&f);
    finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS,
                      .levels = {3, 6, 7, 5, PLACES, MASKS, 2, CARRIES, 2, LAYOUTS, 2, 2},
                      .accept = accept,
                      .seed = 17};
    pairwise_run(&cases, "attend_heads", run_case);
}
END_TEST

static void make_small(fixture *f) {
    shape s = {.heads = 3,
               .tokens = 5,
               .keys = 9,
               .nope = 5,
               .rope = 10,
               .value = 7,
               .carry = CARRY_SOME_EMPTY,
               .layout = LIE_APART,
               .lse = true,
               .seed = 7};
    test_case_begin("attend_heads small", 0, "heads 3, tokens 5, keys 9, N 5, R 10, V 7, carried");
    make(f, &s);
}

static void set_tile(uint32_t group, uint32_t local_kib) {
    TEST_OK(clmla_tuning_set(test_device_get()->context, "attend.tile.group", group));
    TEST_OK(clmla_tuning_set(test_device_get()->context, "attend.tile.local_kib", local_kib));
}

// The bars of fast compute: the cosine difference over the whole output, and lse.
#define FAST_COSINE 1e-5
#define FAST_LSE 2e-2

static void compare_fast(fixture *f, const double *out, const double *lse, const char *variant) {
    const shape *s = &f->shape;
    const clmla_attend_heads_params *p = &f->params;
    double row[128], both = 0.0, found_squares = 0.0, expected_squares = 0.0;
    for (uint32_t i = 0; i < s->tokens * s->heads; i++) {
        uint32_t t = i / s->heads, h = i % s->heads;
        float *found = (float *)(void *)f->output.found + t * p->output_token_stride + h * p->output_head_stride;
        float *found_lse = (float *)(void *)f->lse.found + t * p->lse_token_stride + h * p->lse_head_stride;
        memcpy(row, out + (size_t)i * s->value, s->value * sizeof *row);
        double expected = join(f, row, lse[i], t, h);
        for (uint32_t d = 0; d < s->value; d++) {
            double value = (double)found[d];
            TEST_ASSERT(isnan(value) == isnan(row[d]), "%s: token %u, head %u, value %u is %g, expected %g", variant, t,
                        h, d, value, row[d]);
            if (!isnan(value))
                both += value * row[d], found_squares += value * value, expected_squares += row[d] * row[d];
        }
        bool same = isnan(expected)   ? isnan(*found_lse)
                    : isinf(expected) ? (double)*found_lse == expected
                                      : fabs((double)*found_lse - expected) <= FAST_LSE;
        TEST_ASSERT(same, "%s: lse of token %u, head %u is %.9g, expected %.9g", variant, t, h, (double)*found_lse,
                    expected);
    }
    double difference = both == 0.0 && found_squares == 0.0 ? 0.0 : 1.0 - both / sqrt(found_squares * expected_squares);
    TEST_ASSERT(difference < FAST_COSINE, "%s: a cosine difference of %g", variant, difference);
}

// Fast compute by matrix units, or by what stands for them: tiles of several sizes, both roundings, masks, carried
// results, NaN in a hidden key.
START_TEST(fast_is_close) {
    static const struct {
        uint32_t group, local_kib, dims, tokens, keys;
        int mask, carry, layout;
        bool cap, spread, hidden;
    } cases[] = {
        {64, 32, 0, 33, 70, MASK_CAUSAL, CARRY_NONE, LIE_TOKENS, false, true, true},
        {128, 0, 1, 70, 49, MASK_WINDOW, CARRY_STATE, LIE_APART, false, false, true},
        {256, 0, 2, 5, 131, MASK_FULL, CARRY_SOME_EMPTY, LIE_HEADS, true, false, false},
        {0, 0, 0, 64, 100, MASK_CAUSAL, CARRY_NONE, LIE_TOKENS, false, true, false},
    };
    const test_device *device = test_device_get();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint32_t *widths = dims[cases[i].dims];
        shape s = {.heads = 2,
                   .tokens = cases[i].tokens,
                   .keys = cases[i].keys,
                   .nope = widths[0],
                   .rope = widths[1],
                   .value = widths[2],
                   .mask = cases[i].mask,
                   .carry = cases[i].carry,
                   .layout = cases[i].layout,
                   .cap = cases[i].cap,
                   .spread = cases[i].spread,
                   .hidden = cases[i].hidden,
                   .lse = true,
                   .seed = 950 + i};
        fixture f;
        test_case_begin("attend_heads fast", (int)i, "groups of %u, N %u, R %u, V %u", cases[i].group, s.nope, s.rope,
                        s.value);
        if (test_left_out(cases[i].group > device->facts->max_group_size, "groups of %u", cases[i].group)) continue;
        if (test_left_out(device->few_programs && i > 1, "fast compute of N %u, R %u, V %u by groups of %u", s.nope,
                          s.rope, s.value, cases[i].group))
            continue;
        set_tile(cases[i].group, cases[i].local_kib);
        make(&f, &s);
        f.params.compute = CLMLA_COMPUTE_FAST;
        f.params.rounding = i == 0 || i == 2 ? CLMLA_TYPE_F16 : CLMLA_TYPE_BF16;
        check_variant(&f, "matrix", compare_fast);
        f.params.variant = NULL; // what is chosen: without matrix units as exact
        test_run_twice(&f.run);
        set_tile(0, 0);
        finish(&f);
    }
}
END_TEST

// attend_heads_tile built as for GPUs of all sizes: groups of 32 to 256 work-items, little local memory; and so little
// that there is no tile, for a variant that is named, and for what is chosen.
START_TEST(every_tile_gives_the_same) {
    static const struct { uint32_t group, local_kib; } tiles[] = {{32, 0}, {64, 16}, {128, 0}, {256, 32}};
    const test_device *device = test_device_get();
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        shape s = {.heads = 2,
                   .tokens = device->short_form ? 9 : 70,
                   .keys = device->short_form ? 40 : 150,
                   .nope = dims[i % 4][0],
                   .rope = dims[i % 4][1],
                   .value = dims[i % 4][2],
                   .mask = i % 2 ? MASK_WINDOW : MASK_CAUSAL,
                   .carry = i % 2 ? CARRY_SOME_EMPTY : CARRY_NONE,
                   .layout = (int)i % LAYOUTS,
                   .lse = true,
                   .hidden = true,
                   .seed = 900 + i};
        fixture f;
        test_case_begin("attend_heads tile", (int)i, "groups of %u, %u KiB", tiles[i].group, tiles[i].local_kib);
        if (test_left_out(tiles[i].group > device->facts->max_group_size, "groups of %u", tiles[i].group)) continue;
        if (test_left_out(device->few_programs && i != 1 && i != 2, "tiles of N %u, R %u, V %u by groups of %u", s.nope,
                          s.rope, s.value, tiles[i].group))
            continue;
        set_tile(tiles[i].group, tiles[i].local_kib);
        make(&f, &s);
        check_variant(&f, "tile", compare);
        finish(&f);
    }
    set_tile(0, 1);
    fixture f;
    make_small(&f);
    f.params.variant = "tile";
    TEST_ASSERT(enqueue(&f.params, device->queue, 0, NULL, NULL) == CLMLA_E_LIMIT, "a tile of 1 KiB");
    check_variant(&f, NULL, compare);
    set_tile(0, 0);
    finish(&f);
}
END_TEST

// A context in chunks, each carrying on, in an order of its own, against all of it at once.
START_TEST(chunks_carry_on) {
    static const uint32_t edges[] = {0, 48, 49, 130, 180};
    static const int orders[][4] = {{0, 1, 2, 3}, {3, 1, 0, 2}};
    fixture f;
    shape s = {.heads = 2, .tokens = 70, .keys = 180, .nope = 16, .rope = 0, .value = 64, .lse = true, .seed = 71};
    test_case_begin("attend_heads chunks", 0, "heads 2, tokens 70, keys 180 in 4 chunks");
    make(&f, &s);
    size_t rows = (size_t)s.tokens * s.heads;
    double *out = test_allocate(rows * s.value, sizeof *out), *lse = test_allocate(rows, sizeof *lse);
    ref_heads reference = reference_of(&f);
    ref_attend_heads(out, lse, &reference, f.q, f.k, f.v);
    for (int order = 0; order < 2; order++) {
        test_buffer_reset(&f.output);
        for (int i = 0; i < 4; i++) {
            clmla_attend_heads_params p = f.params;
            uint32_t first = edges[orders[order][i]];
            p.key_first = first;
            p.key_count = edges[orders[order][i] + 1] - first;
            p.key.offset += first * p.key_token_stride * sizeof(float);
            p.value.offset += first * p.value_token_stride * sizeof(float);
            p.key_rope.offset += first * p.key_rope_stride * sizeof(float);
            p.carry = i > 0;
            TEST_OK(clmla_attend_heads(test_device_get()->context, &p, test_device_get()->queue, 0, NULL, NULL));
        }
        TEST_CL(clFinish(test_device_get()->queue));
        test_buffer_fetch(&f.output);
        test_buffer_fetch(&f.lse);
        compare(&f, out, lse, "chunks");
    }
    free(out);
    free(lse);
    finish(&f);
}
END_TEST

START_TEST(honours_events) {
    fixture f;
    make_small(&f);
    f.params.carry = false; // the results' buffers are outputs here, not written behind the gate
    test_run_events(&f.run);
    finish(&f);
}
END_TEST

START_TEST(takes_no_tokens_and_no_heads) {
    for (int i = 0; i < 2; i++) {
        fixture f;
        make_small(&f);
        if (i)
            f.params.head_count = 0;
        else
            f.params.token_count = 0;
        test_run_twice(&f.run);
        test_buffer_check_unchanged(&f.output);
        test_buffer_check_unchanged(&f.lse);
        finish(&f);
    }
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_attend_heads_params, &f.params, f.params.change, word)

START_TEST(refuses_wrong_arguments) {
    fixture f;
    make_small(&f);
    REFUSED(head_count = CLMLA_MAX_HEADS + 1, "head_count");
    REFUSED(nope_dim = f.params.rope_dim = 0, "nope_dim");
    REFUSED(value_dim = 0, "value_dim");
    REFUSED(softmax_scale = 0.0f, "softmax_scale");
    REFUSED(softmax_scale = NAN, "softmax_scale");
    REFUSED(softmax_scale = INFINITY, "softmax_scale");
    REFUSED(softcap = -1.0f, "softcap");
    REFUSED(softcap = INFINITY, "softcap");
    REFUSED(lse.memory = NULL, "carry");
    REFUSED(compute = (clmla_compute)2, "compute");
    REFUSED(rounding = CLMLA_TYPE_F8_E4M3, "rounding");
    REFUSED(query = test_buffer_tiny(), "query");
    REFUSED(query.memory = NULL, "query");
    REFUSED(query_head_stride = 14, "query");
    REFUSED(query_token_stride += 1000, "query");
    REFUSED(key = test_buffer_tiny(), "key");
    REFUSED(key.offset += 2, "key");
    REFUSED(key_token_stride += 1000, "key");
    REFUSED(key_head_stride = 4, "key");
    REFUSED(key_rope = test_buffer_tiny(), "key_rope");
    REFUSED(key_rope_stride = 9, "key_rope");
    REFUSED(value = test_buffer_tiny(), "value");
    REFUSED(value_token_stride = 6, "value");
    REFUSED(key_count = 1000, "key");
    REFUSED(output = test_buffer_tiny(), "output");
    REFUSED(output_head_stride = 6, "output");
    REFUSED(output_token_stride = 20, "output");
    REFUSED(lse = test_buffer_tiny(), "lse");
    REFUSED(lse_token_stride = 0, "lse");
    test_run_wrong_waits(&f.run);
    f.params.key_first = INT32_MAX;
    TEST_ASSERT(enqueue(&f.params, test_device_get()->queue, 0, NULL, NULL) == CLMLA_E_LIMIT, "keys past 31 bits");
    f.run.payload = NULL;
    test_run_refused(&f.run, "params");
    finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, every_tile_gives_the_same);
    tcase_add_test(tcase, fast_is_close);
    tcase_add_test(tcase, chunks_carry_on);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, takes_no_tokens_and_no_heads);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_attend_heads", add);
}
