// SPDX-License-Identifier: Apache-2.0
// Variant lists on made-up device facts: the order, the reasons, and a fallback for any device.
#include "tests/support/suite.h"
#include <check.h>
#include <clmla/clmla.h>
#include <string.h>

#define MOST 16

static size_t list(clmla_variant *out, cl_device_type type, uint32_t width, clmla_operation operation,
                   clmla_shape shape) {
    clmla_device_facts facts = {.type = type, .float_vector_width = width, .compute_units = 1};
    size_t count = 0;
    ck_assert_int_eq(clmla_variant_list(out, MOST, &count, &facts, operation, &shape), CLMLA_OK);
    ck_assert_uint_le(count, MOST);
    return count;
}

START_TEST(test_every_device_gets_every_operation) {
    const cl_device_type types[] = {CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_CPU, CL_DEVICE_TYPE_ACCELERATOR, 0};
    clmla_variant variants[MOST];
    for (int t = 0; t < 4; t++)
        for (int op = 0; op < CLMLA_OPERATION_COUNT; op++) {
            size_t count = list(variants, types[t], 1, (clmla_operation)op, (clmla_shape){0}), chosen = 0;
            ck_assert_uint_ge(count, 2);
            ck_assert_str_eq(variants[count - 1].name, "naive");
            ck_assert(variants[count - 1].accepted);
            for (size_t i = 0; i < count; i++) {
                chosen += variants[i].chosen;
                ck_assert_int_eq(variants[i].accepted, variants[i].reason[0] == '\0');
            }
            ck_assert_uint_eq(chosen, 1);
            ck_assert_str_ne(clmla_operation_name((clmla_operation)op), "?");
        }
    ck_assert_str_eq(clmla_operation_name(CLMLA_OPERATION_COUNT), "?");
}
END_TEST

static clmla_variant variant_of(clmla_operation operation, const char *name, const clmla_device_facts *facts,
                                clmla_shape shape) {
    clmla_variant variants[MOST];
    size_t count = 0;
    ck_assert_int_eq(clmla_variant_list(variants, MOST, &count, facts, operation, &shape), CLMLA_OK);
    for (size_t i = 0; i < count; i++)
        if (strcmp(variants[i].name, name) == 0) return variants[i];
    ck_abort_msg("%s has no variant %s", clmla_operation_name(operation), name);
}

static clmla_variant attend_variant(const char *name, const clmla_device_facts *facts, clmla_shape shape) {
    return variant_of(CLMLA_OP_ATTEND, name, facts, shape);
}

START_TEST(test_cpu_gets_vectors_gpu_does_not) {
    clmla_device_facts cpu = {.type = CL_DEVICE_TYPE_CPU, .float_vector_width = 16}, gpu = {.type = CL_DEVICE_TYPE_GPU};
    clmla_shape shape = {.latent_dim = 512, .rope_dim = 64, .head_count = 16};
    ck_assert(attend_variant("vector", &cpu, shape).chosen);
    ck_assert(!attend_variant("vector", &gpu, shape).accepted);
    ck_assert_ptr_nonnull(strstr(attend_variant("vector", &gpu, shape).reason, "CPU"));
    shape.latent_dim = 4096;
    ck_assert(!attend_variant("vector", &cpu, shape).accepted);
    ck_assert_ptr_nonnull(strstr(attend_variant("vector", &cpu, shape).reason, "2048"));
}
END_TEST

// GPUs attend prompts by tiles, in fast compute by matrix units where they have some; the figures say why not.
START_TEST(test_gpus_have_tiles_for_prompts) {
    clmla_device_facts facts = {
        .type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x10de, .local_bytes = 49152, .max_group_size = 1024};
    clmla_shape shape = {.latent_dim = 128, .rope_dim = 64, .value_dim = 128, .head_count = 16};
    const clmla_operation heads = CLMLA_OP_ATTEND_HEADS;
    ck_assert(variant_of(heads, "tile", &facts, shape).chosen);
    ck_assert_ptr_nonnull(strstr(variant_of(heads, "matrix", &facts, shape).reason, "fast compute"));
    shape.compute = CLMLA_COMPUTE_FAST;
    ck_assert(variant_of(heads, "matrix", &facts, shape).chosen);
    facts.vendor_id = 0; // none whose matrix units are known
    ck_assert(variant_of(heads, "tile", &facts, shape).chosen);
    ck_assert_ptr_nonnull(strstr(variant_of(heads, "matrix", &facts, shape).reason, "for tests alone"));
    facts.local_bytes = 4096;
    ck_assert(variant_of(heads, "naive", &facts, shape).chosen);
    ck_assert_ptr_nonnull(strstr(variant_of(heads, "tile", &facts, shape).reason, "has 4096"));
    ck_assert_ptr_nonnull(strstr(variant_of(heads, "matrix", &facts, shape).reason, "no tile fits"));
    facts = (clmla_device_facts){.type = CL_DEVICE_TYPE_CPU, .local_bytes = 65536, .max_group_size = 1024};
    ck_assert(variant_of(heads, "vector", &facts, shape).chosen);
}
END_TEST

// Products by a CPU's instructions: which there are, the vectors' width, and what is asked of them.
enum { INT16 = 1, INT8 = 2, BF16 = 4, TILES = 8 };
typedef struct product_case {
    const char *variant;
    int instructions;
    uint32_t vectors;
    clmla_row_format format;
    uint32_t latent, rope, value, heads;
    const char *refusal; // a part of the reason; NULL: it is chosen
} product_case;

static clmla_device_facts facts_of(const product_case *c) {
    return (clmla_device_facts){.type = CL_DEVICE_TYPE_CPU,
                                .float_vector_width = c->vectors,
                                .has_int16_dot = c->instructions & INT16,
                                .has_int8_dot = c->instructions & INT8,
                                .has_bf16_dot = c->instructions & BF16,
                                .has_amx_bf16 = c->instructions & TILES};
}

static void check_product(const product_case *c) {
    clmla_device_facts facts = facts_of(c);
    clmla_shape shape = {.format = c->format,
                         .latent_dim = c->latent,
                         .rope_dim = c->rope,
                         .value_dim = c->value,
                         .head_count = c->heads,
                         .compute = CLMLA_COMPUTE_FAST};
    clmla_variant found = attend_variant(c->variant, &facts, shape);
    if (c->refusal)
        ck_assert_msg(strstr(found.reason, c->refusal) != NULL, "%s: '%s' does not say '%s'", c->variant, found.reason,
                      c->refusal);
    else
        ck_assert_msg(found.chosen, "%s, %s rows: %s", c->variant, clmla_row_format_name(c->format), found.reason);
    // Plans of exact compute have none of them.
    shape.compute = CLMLA_COMPUTE_EXACT;
    ck_assert_ptr_nonnull(strstr(attend_variant(c->variant, &facts, shape).reason, "fast"));
    if (!c->refusal) ck_assert(attend_variant("vector", &facts, shape).chosen);
}

// They serve plans of fast compute on CPUs that have the instruction: dots over their own rows, tiles and codes over
// all.
START_TEST(test_products_are_asked_for) {
    enum { DOTS = INT8 | BF16, ALL = DOTS | TILES };
    static const product_case cases[] = {
        {"int8_dot", DOTS, 16, CLMLA_ROWS_Q8, 512, 64, 0, 16, NULL},
        {"int8_dot", DOTS, 16, CLMLA_ROWS_Q8, 512, 7, 0, 16, NULL},
        {"int8_dot", DOTS, 16, CLMLA_ROWS_BF16, 512, 64, 0, 16, "q8 rows"},
        {"int8_dot", DOTS, 16, CLMLA_ROWS_Q8, 500, 64, 0, 16, "64"},
        {"int8_dot", DOTS, 16, CLMLA_ROWS_Q8, 512, 64, 519, 16, "rope part"},
        {"int8_dot", DOTS, 8, CLMLA_ROWS_Q8, 512, 64, 0, 16, "16 floats"},
        {"int8_dot", BF16, 16, CLMLA_ROWS_Q8, 512, 64, 0, 16, "vpdpbusd"},
        {"bf16_dot", DOTS, 16, CLMLA_ROWS_BF16, 512, 64, 0, 16, NULL},
        {"bf16_dot", DOTS, 16, CLMLA_ROWS_Q8, 512, 64, 0, 16, "bf16 rows"},
        {"bf16_dot", DOTS, 16, CLMLA_ROWS_BF16, 512, 7, 0, 16, "odd"},
        {"bf16_dot", INT8, 16, CLMLA_ROWS_BF16, 512, 64, 0, 16, "vdpbf16ps"},
        {"int16_dot", INT16, 8, CLMLA_ROWS_Q8, 512, 7, 0, 4, "5 heads times"},
        {"int16_dot", INT16, 8, CLMLA_ROWS_Q8, 500, 7, 0, 16, "64"},
        {"int16_dot", INT16, 8, CLMLA_ROWS_Q8, 2048, 7, 0, 16, "wider than 2048"},
        {"int16_dot", INT16, 8, CLMLA_ROWS_Q8, 512, 7, 519, 16, "rope part"},
        {"int16_dot", INT16, 4, CLMLA_ROWS_Q8, 512, 7, 0, 16, "8 or 16 floats"},
        {"int16_dot", 0, 8, CLMLA_ROWS_Q8, 512, 7, 0, 16, "vpmaddwd"},
        {"amx", ALL, 16, CLMLA_ROWS_Q8, 512, 7, 0, 16, "odd"},
        {"amx", ALL, 16, CLMLA_ROWS_Q8, 500, 64, 0, 16, "64"},
        {"amx", ALL, 16, CLMLA_ROWS_Q8, 512, 64, 576, 16, "rope part"},
        {"amx", DOTS, 16, CLMLA_ROWS_Q8, 512, 64, 0, 16, "no AMX"},
        {"amx", ALL, 8, CLMLA_ROWS_Q8, 512, 64, 0, 16, "16 floats"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_product(&cases[i]);
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) {
        const clmla_row_format format = (clmla_row_format)f;
        check_product(&(product_case){"int16_dot", INT16, 8, format, 512, 7, 0, 16, NULL});
        check_product(&(product_case){"int16_dot", INT16, 16, format, 512, 7, 0, 16, NULL});
        check_product(&(product_case){"amx", ALL, 16, format, 512, 64, 0, 16, NULL});
    }
}
END_TEST

// New tokens of a sequence share its cached rows as its heads do: whether these are too few hangs on both.
START_TEST(test_new_tokens_count_as_heads_do) {
    static const struct {
        uint32_t heads, tokens;
        bool dot, matrix;
    } rows[] = {{4, 0, false, false}, {4, 1, false, false},       {1, 4, false, false}, {1, 5, true, false},
                {7, 1, true, false},  {4, 2, true, true},         {1, 8, true, true},   {8, 1, true, true},
                {0, 1, true, true},   {1, UINT32_MAX, true, true}};
    clmla_device_facts cpu = {.type = CL_DEVICE_TYPE_CPU, .float_vector_width = 8, .has_int16_dot = true};
    clmla_device_facts gpu = {.type = CL_DEVICE_TYPE_GPU,
                              .vendor_id = 0x10de,
                              .compute_capability = 80,
                              .local_bytes = 49152,
                              .max_group_size = 1024};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        clmla_shape shape = {.format = CLMLA_ROWS_F16,
                             .latent_dim = 512,
                             .rope_dim = 64,
                             .head_count = rows[i].heads,
                             .query_tokens = rows[i].tokens,
                             .compute = CLMLA_COMPUTE_FAST};
        ck_assert_int_eq(attend_variant("int16_dot", &cpu, shape).accepted, rows[i].dot);
        ck_assert_int_eq(attend_variant("matrix_ring", &gpu, shape).accepted, rows[i].matrix);
        ck_assert_int_eq(attend_variant("matrix", &gpu, shape).accepted, rows[i].matrix);
        ck_assert(attend_variant("tile", &gpu, shape).accepted);
        if (rows[i].matrix) continue;
        ck_assert_ptr_nonnull(strstr(attend_variant("matrix", &gpu, shape).reason, "8 heads times new tokens"));
    }
}
END_TEST

// What CLBlast enqueues cannot be kept, also where it is the choice otherwise.
START_TEST(test_recorded_products_are_our_own) {
    clmla_variant variants[MOST];
    clmla_shape shape = {.weights = CLMLA_TYPE_F32, .row_count = 64};
    list(variants, CL_DEVICE_TYPE_GPU, 1, CLMLA_OP_PROJECT, shape);
    ck_assert_str_eq(variants[0].name, "clblast");
    bool built_with_it = strcmp(variants[0].reason, "built without CLBlast") != 0;
    ck_assert_int_eq(variants[0].chosen, built_with_it);
    shape.recorded = true;
    list(variants, CL_DEVICE_TYPE_GPU, 1, CLMLA_OP_PROJECT, shape);
    ck_assert(!variants[0].accepted);
    if (built_with_it) ck_assert_ptr_nonnull(strstr(variants[0].reason, "recorded"));
}
END_TEST

START_TEST(test_wrong_arguments) {
    clmla_device_facts facts = {0};
    clmla_shape shape = {0};
    size_t count;
    ck_assert_int_eq(clmla_variant_list(NULL, 0, NULL, &facts, CLMLA_OP_MERGE, &shape), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_variant_list(NULL, 1, &count, &facts, CLMLA_OP_MERGE, &shape), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_variant_list(NULL, 0, &count, &facts, CLMLA_OPERATION_COUNT, &shape), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_variant_list(NULL, 0, &count, &facts, CLMLA_OP_MERGE, &shape), CLMLA_OK);
    ck_assert_uint_ge(count, 2);
}
END_TEST

// Widths whose sums pass 32 bits were once 0 to the search for a tile, which divides by them.
START_TEST(test_sizes_beyond_the_limits) {
    clmla_variant variants[MOST];
    size_t count;
    clmla_device_facts facts = {.type = CL_DEVICE_TYPE_GPU, .local_bytes = 65536, .max_group_size = 256};
    clmla_shape shape = {.latent_dim = CLMLA_MAX_DIM,
                         .rope_dim = CLMLA_MAX_DIM,
                         .value_dim = CLMLA_MAX_DIM,
                         .head_count = CLMLA_MAX_HEADS,
                         .row_count = UINT32_MAX};
    for (int op = 0; op < CLMLA_OPERATION_COUNT; op++)
        ck_assert_int_eq(clmla_variant_list(variants, MOST, &count, &facts, (clmla_operation)op, &shape), CLMLA_OK);
    uint32_t *const sizes[] = {&shape.latent_dim, &shape.rope_dim, &shape.value_dim, &shape.head_count};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *sizes[i] = UINT32_MAX;
        ck_assert_int_eq(clmla_variant_list(variants, MOST, &count, &facts, CLMLA_OP_ATTEND, &shape), CLMLA_E_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(clmla_last_error(), "4294967295"));
        *sizes[i] = 1;
    }
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, test_every_device_gets_every_operation);
    tcase_add_test(tests, test_cpu_gets_vectors_gpu_does_not);
    tcase_add_test(tests, test_gpus_have_tiles_for_prompts);
    tcase_add_test(tests, test_products_are_asked_for);
    tcase_add_test(tests, test_new_tokens_count_as_heads_do);
    tcase_add_test(tests, test_recorded_products_are_our_own);
    tcase_add_test(tests, test_wrong_arguments);
    tcase_add_test(tests, test_sizes_beyond_the_limits);
}

int main(void) {
    return test_run_apart("variants", add_tests);
}
