// SPDX-License-Identifier: Apache-2.0
// The attentions clmla compare measures against, in tools/compare/baseline_*.c, against a reference in double.
#include "baseline_attention.h"
#include "baseline_latent.h"
#include "tests/ref/ref_attend_heads.h"
#include "tests/support/buffer.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"
#include "tests/support/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static session open_session(void) {
    const test_device *device = test_device_get();
    return (session){.context = device->context, .queue = device->queue};
}

#define DONE(call)                                                                                                     \
    do {                                                                                                               \
        if (!(call)) test_fail(__FILE__, __LINE__, #call, "%s", f.sentence);                                           \
    } while (0)

// Numbers that every type holds exactly: n/64, |n| < 128.
static double *exact_numbers(test_random *random, size_t count) {
    double *values = test_allocate(count, sizeof *values);
    for (size_t i = 0; i < count; i++) values[i] = ((double)test_random_below(random, 255) - 127.0) / 64.0;
    return values;
}

static cl_mem upload(const session *session, const double *values, size_t count) {
    failure f = {0};
    cl_mem memory;
    float *floats = test_allocate(count, sizeof *floats);
    for (size_t i = 0; i < count; i++) floats[i] = (float)values[i];
    DONE(session_buffer(&memory, session, count * sizeof *floats, floats, &f));
    free(floats);
    return memory;
}

// Half floats of numbers that are exact in them and not subnormal.
static uint16_t half_bits(double value) {
    if (value == 0.0) return 0;
    int exponent;
    double fraction = frexp(fabs(value), &exponent); // [0.5, 1)
    uint32_t mantissa = (uint32_t)((fraction * 2.0 - 1.0) * 1024.0);
    return (uint16_t)((value < 0 ? 0x8000u : 0u) | ((uint32_t)(exponent - 1 + 15) << 10) | mantissa);
}

static cl_mem upload_halves(const session *session, const double *values, size_t count) {
    failure f = {0};
    cl_mem memory;
    uint16_t *halves = test_allocate(count, sizeof *halves);
    for (size_t i = 0; i < count; i++) halves[i] = half_bits(values[i]);
    DONE(session_buffer(&memory, session, count * sizeof *halves, halves, &f));
    free(halves);
    return memory;
}

static void compare(const session *session, cl_mem output, const double *expected, size_t rows, size_t width) {
    float *found = test_allocate(rows * width, sizeof *found);
    TEST_CL(
        clEnqueueReadBuffer(session->queue, output, CL_TRUE, 0, rows * width * sizeof *found, found, 0, NULL, NULL));
    test_compare_rows(found, width, expected, rows, width, TEST_BAR_F32, "output");
    free(found);
}

typedef struct heads_case {
    uint32_t heads, kv_heads, key_dim, value_dim, query_tokens, kv_tokens;
    clmla_type type;
} heads_case;

// One kv head a head streams; from 8 heads on a kv head they share tiles; splits appear with length.
static const heads_case heads_cases[] = {
    {8, 8, 32, 32, 1, 1, CLMLA_TYPE_F32},        {8, 8, 32, 32, 5, 70, CLMLA_TYPE_F16},
    {8, 2, 32, 32, 7, 200, CLMLA_TYPE_BF16},     {10, 1, 32, 32, 3, 130, CLMLA_TYPE_F32},
    {3, 3, 48, 16, 1, 1000, CLMLA_TYPE_F16},     {16, 1, 128, 128, 1, 1200, CLMLA_TYPE_F16},
    {40, 2, 64, 80, 2, 500, CLMLA_TYPE_BF16},    {128, 8, 128, 128, 1, 500, CLMLA_TYPE_F16},
    {128, 1, 128, 128, 1, 97, CLMLA_TYPE_F16},   {12, 1, 128, 64, 48, 48, CLMLA_TYPE_F32},
    {12, 12, 128, 128, 1, 4000, CLMLA_TYPE_F16}, {9, 3, 32, 96, 1, 700, CLMLA_TYPE_F32},
    {7, 1, 16, 64, 3, 300, CLMLA_TYPE_F16},
};
#define SHORT_FORM 4 // of both lists the first cases alone

static void run_heads(int number, const heads_case *c) {
    if (!test_case_wanted(number)) return;
    test_case_begin("heads", number, "heads %u, kv heads %u, dims %u %u, tokens %u of %u, %s", c->heads, c->kv_heads,
                    c->key_dim, c->value_dim, c->query_tokens, c->kv_tokens, clmla_type_name(c->type));
    failure f = {0};
    session session = open_session();
    test_random random = test_random_make((uint64_t)number + 1);
    size_t queries = (size_t)c->query_tokens * c->heads * c->key_dim,
           outputs = (size_t)c->query_tokens * c->heads * c->value_dim;
    size_t keys = (size_t)c->kv_tokens * c->kv_heads * c->key_dim,
           values = (size_t)c->kv_tokens * c->kv_heads * c->value_dim;
    double *q = exact_numbers(&random, queries), *k = exact_numbers(&random, keys), *v = exact_numbers(&random, values);
    double *expected = test_allocate(outputs, sizeof *expected);
    float scale = 0.125f;
    ref_heads shape = {.heads = c->heads,
                       .kv_heads = c->kv_heads,
                       .key_dim = c->key_dim,
                       .value_dim = c->value_dim,
                       .query_tokens = c->query_tokens,
                       .kv_tokens = c->kv_tokens,
                       .scale = (double)scale};
    ref_attend_heads(expected, NULL, &shape, q, k, v);

    baseline_attention attention;
    baseline_rows rows;
    DONE(baseline_attention_open(&attention, &session,
                                 &(baseline_shape){c->heads, c->kv_heads, c->key_dim, c->value_dim, 0, c->type, scale},
                                 &f));
    DONE(baseline_rows_open(&rows, &attention, c->kv_tokens + 3, &f));
    cl_mem query = upload(&session, q, queries), all_k = upload(&session, k, keys), all_v = upload(&session, v, values);
    cl_mem output = upload(&session, expected, outputs);
    DONE(baseline_append(&attention, &rows, all_k, all_v, 0, c->kv_tokens, &f));
    DONE(baseline_attend(&attention, &rows, query, c->query_tokens, c->kv_tokens, output, &f));
    compare(&session, output, expected, (size_t)c->query_tokens * c->heads, c->value_dim);

    cl_mem buffers[] = {query, all_k, all_v, output};
    for (size_t i = 0; i < 4; i++) clReleaseMemObject(buffers[i]);
    baseline_rows_close(&rows);
    baseline_attention_close(&attention);
    free(q), free(k), free(v), free(expected);
}

START_TEST(heads_match_the_reference) {
    int count = test_device_get()->short_form ? SHORT_FORM : sizeof heads_cases / sizeof heads_cases[0];
    for (int i = 0; i < count; i++) run_heads(i, &heads_cases[i]);
}
END_TEST

START_TEST(appended_tokens_go_where_they_belong) {
    failure f = {0};
    session session = open_session();
    test_random random = test_random_make(3);
    uint32_t heads = 2, dim = 16, tokens = 9;
    size_t all = (size_t)tokens * heads * dim;
    double *q = exact_numbers(&random, heads * dim), *k = exact_numbers(&random, all), *v = exact_numbers(&random, all);
    double *expected = test_allocate(heads * dim, sizeof *expected);
    ref_attend_heads(expected, NULL,
                     &(ref_heads){.heads = heads,
                                  .kv_heads = heads,
                                  .key_dim = dim,
                                  .value_dim = dim,
                                  .query_tokens = 1,
                                  .kv_tokens = tokens,
                                  .scale = 1.0},
                     q, k, v);
    baseline_attention attention;
    baseline_rows rows;
    DONE(baseline_attention_open(&attention, &session,
                                 &(baseline_shape){heads, heads, dim, dim, 0, CLMLA_TYPE_F16, 1.0f}, &f));
    DONE(baseline_rows_open(&rows, &attention, tokens, &f));
    cl_mem query = upload(&session, q, heads * dim), output = upload(&session, expected, heads * dim);
    for (uint32_t first = 0; first < tokens; first += 4) { // 4, 4 and 1
        uint32_t count = tokens - first < 4 ? tokens - first : 4;
        cl_mem some_k = upload(&session, k + (size_t)first * heads * dim, (size_t)count * heads * dim);
        cl_mem some_v = upload(&session, v + (size_t)first * heads * dim, (size_t)count * heads * dim);
        DONE(baseline_append(&attention, &rows, some_k, some_v, first, count, &f));
        clReleaseMemObject(some_k);
        clReleaseMemObject(some_v);
    }
    DONE(baseline_attend(&attention, &rows, query, 1, tokens, output, &f));
    compare(&session, output, expected, heads, dim);
    clReleaseMemObject(query);
    clReleaseMemObject(output);
    baseline_rows_close(&rows);
    baseline_attention_close(&attention);
    free(q), free(k), free(v), free(expected);
}
END_TEST

// --- over latent rows -----------------------------------------------------------------------------------------------

typedef struct latent_case {
    uint32_t heads, latent, rope, nope, value, tokens;
    clmla_type type; // f32 or f16
} latent_case;

static const latent_case latent_cases[] = {
    {1, 32, 16, 16, 16, 1, CLMLA_TYPE_F32},    {5, 64, 16, 32, 16, 100, CLMLA_TYPE_F16},
    {16, 128, 0, 32, 48, 193, CLMLA_TYPE_F32}, {20, 80, 32, 64, 64, 48, CLMLA_TYPE_F16},
    {72, 96, 16, 16, 16, 577, CLMLA_TYPE_F16}, {8, 512, 64, 128, 128, 200, CLMLA_TYPE_F16},
    {2, 32, 16, 16, 16, 2100, CLMLA_TYPE_F16}, // rebuilt in several parts
};

// Keys and values of all heads, as the definition has them: k = [W_UK c | k_pe], v = W_UV c.
static void rebuild(double *keys, double *values, const latent_case *c, const double *rows, const double *kv_b) {
    uint32_t width = c->latent + c->rope, both = c->nope + c->value;
    for (uint32_t j = 0; j < c->tokens; j++)
        for (uint32_t h = 0; h < c->heads; h++) {
            const double *row = rows + (size_t)j * width;
            double *k = keys + ((size_t)j * c->heads + h) * (c->nope + c->rope),
                   *v = values + ((size_t)j * c->heads + h) * c->value;
            for (uint32_t i = 0; i < both; i++) {
                double sum = 0.0;
                for (uint32_t l = 0; l < c->latent; l++) sum += kv_b[((size_t)h * both + i) * c->latent + l] * row[l];
                *(i < c->nope ? k + i : v + i - c->nope) = sum;
            }
            for (uint32_t i = 0; i < c->rope; i++) k[c->nope + i] = row[c->latent + i];
        }
}

static void check_rebuilt(const latent_case *c, baseline_latent *latent, const session *session, cl_mem device_rows,
                          const double *rows, const double *kv_b, test_random *random, float scale) {
    failure f = {0};
    size_t queries = (size_t)c->heads * (c->nope + c->rope), outputs = (size_t)c->heads * c->value;
    double *q = exact_numbers(random, queries), *expected = test_allocate(outputs, sizeof *expected);
    double *keys = test_allocate(c->tokens * queries, sizeof *keys),
           *values = test_allocate(c->tokens * outputs, sizeof *values);
    rebuild(keys, values, c, rows, kv_b);
    ref_attend_heads(expected, NULL,
                     &(ref_heads){.heads = c->heads,
                                  .kv_heads = c->heads,
                                  .key_dim = c->nope + c->rope,
                                  .value_dim = c->value,
                                  .query_tokens = 1,
                                  .kv_tokens = c->tokens,
                                  .scale = (double)scale},
                     q, keys, values);
    cl_mem query = upload(session, q, queries), output = upload(session, expected, outputs);
    DONE(latent_attend_rebuilt(latent, device_rows, query, c->tokens, output, &f));
    compare(session, output, expected, c->heads, c->value);
    clReleaseMemObject(query);
    clReleaseMemObject(output);
    free(q), free(expected), free(keys), free(values);
}

static void check_unfused(const latent_case *c, baseline_latent *latent, const session *session, cl_mem device_rows,
                          const double *rows, test_random *random, float scale) {
    failure f = {0};
    size_t width = c->latent + c->rope, outputs = (size_t)c->heads * c->latent;
    double *q = exact_numbers(random, c->heads * width), *expected = test_allocate(outputs, sizeof *expected);
    double *latents = test_allocate((size_t)c->tokens * c->latent, sizeof *latents);
    for (uint32_t j = 0; j < c->tokens; j++)
        memcpy(latents + (size_t)j * c->latent, rows + j * width, c->latent * sizeof *latents);
    ref_attend_heads(expected, NULL,
                     &(ref_heads){.heads = c->heads,
                                  .kv_heads = 1,
                                  .key_dim = width,
                                  .value_dim = c->latent,
                                  .query_tokens = 1,
                                  .kv_tokens = c->tokens,
                                  .scale = (double)scale},
                     q, rows, latents);
    cl_mem query = upload(session, q, c->heads * width), output = upload(session, expected, outputs);
    DONE(latent_attend_unfused(latent, device_rows, query, c->tokens, output, &f));
    compare(session, output, expected, c->heads, c->latent);
    clReleaseMemObject(query);
    clReleaseMemObject(output);
    free(q), free(expected), free(latents);
}

static void run_latent(int number, const latent_case *c) {
    if (!test_case_wanted(number)) return;
    test_case_begin("latent", number, "heads %u, dims %u %u %u %u, tokens %u, %s", c->heads, c->latent, c->rope,
                    c->nope, c->value, c->tokens, clmla_type_name(c->type));
    failure f = {0};
    session session = open_session();
    test_random random = test_random_make((uint64_t)number + 100);
    size_t row_values = (size_t)c->tokens * (c->latent + c->rope),
           weights = (size_t)c->heads * (c->nope + c->value) * c->latent;
    double *rows = exact_numbers(&random, row_values), *kv_b = exact_numbers(&random, weights);
    cl_mem device_rows =
        c->type == CLMLA_TYPE_F16 ? upload_halves(&session, rows, row_values) : upload(&session, rows, row_values);
    cl_mem device_kv_b = upload(&session, kv_b, weights);
    float scale = 0.5f / (float)c->latent; // scores of a few units
    latent_shape shape = {c->heads, c->latent, c->rope, c->nope, c->value, c->type, scale};
    baseline_latent latent;
    DONE(latent_open(&latent, &session, &shape, device_kv_b, &f));
    check_unfused(c, &latent, &session, device_rows, rows, &random, scale);
    check_rebuilt(c, &latent, &session, device_rows, rows, kv_b, &random, scale);
    latent_close(&latent);
    clReleaseMemObject(device_rows);
    clReleaseMemObject(device_kv_b);
    free(rows), free(kv_b);
}

START_TEST(latent_attentions_match_the_reference) {
    int count = test_device_get()->short_form ? SHORT_FORM : sizeof latent_cases / sizeof latent_cases[0];
    for (int i = 0; i < count; i++) run_latent(i, &latent_cases[i]);
}
END_TEST

static void refused(const baseline_shape *shape, const char *word) {
    failure f = {0};
    session session = open_session();
    baseline_attention attention;
    ck_assert(!baseline_attention_open(&attention, &session, shape, &f));
    ck_assert_msg(strstr(f.sentence, word) != NULL, "'%s' does not say '%s'", f.sentence, word);
    baseline_attention_close(&attention);
}

START_TEST(shapes_that_do_not_fit_are_named) {
    refused(&(baseline_shape){8, 8, 40, 32, 0, CLMLA_TYPE_F16, 1.0f}, "key dimension");
    refused(&(baseline_shape){8, 8, 32, 0, 0, CLMLA_TYPE_F16, 1.0f}, "value dimension");
    refused(&(baseline_shape){8, 8, 32, 32, 7, CLMLA_TYPE_F16, 1.0f}, "shared key dimension");
    refused(&(baseline_shape){8, 3, 32, 32, 0, CLMLA_TYPE_F16, 1.0f}, "8 heads are no multiple of 3");
    refused(&(baseline_shape){8, 8, 32, 32, 0, CLMLA_TYPE_F8_E4M3, 1.0f}, "f8_e4m3");
    failure f = {0};
    session session = open_session();
    baseline_latent latent;
    ck_assert(!latent_open(&latent, &session, &(latent_shape){8, 40, 16, 32, 32, CLMLA_TYPE_F16, 1.0f}, NULL, &f));
    ck_assert_ptr_nonnull(strstr(f.sentence, "40 and 16"));
    latent_close(&latent);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, heads_match_the_reference);
    tcase_add_test(tcase, appended_tokens_go_where_they_belong);
    tcase_add_test(tcase, latent_attentions_match_the_reference);
    tcase_add_test(tcase, shapes_that_do_not_fit_are_named);
}

int main(void) {
    return test_main("baseline", add_tests);
}
