// SPDX-License-Identifier: Apache-2.0
// Variant lists on made-up device facts: the order, the reasons, and a fallback for any device.
#include "tests/support/suite.h"
#include <check.h>
#include <clmla/clmla.h>
#include <string.h>

#define MOST 16

static size_t list(clmla_variant *out, cl_device_type type, uint32_t width, clmla_operation operation, clmla_shape shape) {
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

// Dot products serve plans of fast compute, over their own rows, on CPUs that have the instruction.
START_TEST(test_dot_products_are_asked_for) {
    clmla_device_facts facts = {.type = CL_DEVICE_TYPE_CPU, .float_vector_width = 16, .has_int8_dot = true,
                                .has_bf16_dot = true};
    clmla_shape shape = {.format = CLMLA_ROWS_Q8, .latent_dim = 512, .rope_dim = 64, .head_count = 16,
                         .compute = CLMLA_COMPUTE_FAST};
    ck_assert(attend_variant("int8_dot", &facts, shape).chosen);
    ck_assert_ptr_nonnull(strstr(attend_variant("bf16_dot", &facts, shape).reason, "bf16 rows"));
    shape.format = CLMLA_ROWS_BF16;
    ck_assert(attend_variant("bf16_dot", &facts, shape).chosen);
    shape.rope_dim = 7;
    ck_assert_ptr_nonnull(strstr(attend_variant("bf16_dot", &facts, shape).reason, "odd"));
    shape.format = CLMLA_ROWS_Q8;
    shape.latent_dim = 500;
    ck_assert_ptr_nonnull(strstr(attend_variant("int8_dot", &facts, shape).reason, "64"));
    shape.latent_dim = 512;
    shape.value_dim = 519;
    ck_assert_ptr_nonnull(strstr(attend_variant("int8_dot", &facts, shape).reason, "rope part"));
    shape.value_dim = 0;
    facts.float_vector_width = 8;
    ck_assert_ptr_nonnull(strstr(attend_variant("int8_dot", &facts, shape).reason, "16 floats"));
    facts.has_int8_dot = false;
    ck_assert_ptr_nonnull(strstr(attend_variant("int8_dot", &facts, shape).reason, "vpdpbusd"));
    shape.compute = CLMLA_COMPUTE_EXACT;
    ck_assert_ptr_nonnull(strstr(attend_variant("int8_dot", &facts, shape).reason, "fast"));
    ck_assert(attend_variant("vector", &facts, shape).chosen);
}
END_TEST

// Products of 16-bit codes serve rows of every format and width of the rope part, by short and long vectors; what dots
// of AVX-512 refuse otherwise, they refuse, too.
START_TEST(test_products_of_codes_are_asked_for) {
    clmla_device_facts facts = {.type = CL_DEVICE_TYPE_CPU, .float_vector_width = 8, .has_int16_dot = true};
    clmla_shape shape = {.latent_dim = 512, .rope_dim = 7, .head_count = 16, .compute = CLMLA_COMPUTE_FAST};
    for (uint32_t width = 8; width <= 16; width += 8)
        for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) {
            facts.float_vector_width = width;
            shape.format = (clmla_row_format)f;
            ck_assert(attend_variant("int16_dot", &facts, shape).chosen);
        }
    shape.head_count = 4;
    ck_assert_ptr_nonnull(strstr(attend_variant("int16_dot", &facts, shape).reason, "5 heads"));
    shape.head_count = 16;
    shape.latent_dim = 500;
    ck_assert_ptr_nonnull(strstr(attend_variant("int16_dot", &facts, shape).reason, "64"));
    shape.latent_dim = 2048;
    ck_assert_ptr_nonnull(strstr(attend_variant("int16_dot", &facts, shape).reason, "wider than 2048"));
    shape.latent_dim = 512;
    shape.value_dim = 519;
    ck_assert_ptr_nonnull(strstr(attend_variant("int16_dot", &facts, shape).reason, "rope part"));
    shape.value_dim = 0;
    facts.float_vector_width = 4;
    ck_assert_ptr_nonnull(strstr(attend_variant("int16_dot", &facts, shape).reason, "8 or 16 floats"));
    facts.has_int16_dot = false;
    ck_assert_ptr_nonnull(strstr(attend_variant("int16_dot", &facts, shape).reason, "vpmaddwd"));
    shape.compute = CLMLA_COMPUTE_EXACT;
    ck_assert_ptr_nonnull(strstr(attend_variant("int16_dot", &facts, shape).reason, "fast"));
    ck_assert(attend_variant("vector", &facts, shape).chosen);
}
END_TEST

// Tiles serve rows of every format, in fast compute alone, on CPUs that have them; what dots refuse, they refuse, too.
START_TEST(test_tiles_are_asked_for) {
    clmla_device_facts facts = {.type = CL_DEVICE_TYPE_CPU, .float_vector_width = 16, .has_int8_dot = true,
                                .has_bf16_dot = true, .has_amx_bf16 = true};
    clmla_shape shape = {.latent_dim = 512, .rope_dim = 64, .head_count = 16, .compute = CLMLA_COMPUTE_FAST};
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) {
        shape.format = (clmla_row_format)f;
        ck_assert(attend_variant("amx", &facts, shape).chosen);
    }
    shape.rope_dim = 7;
    ck_assert_ptr_nonnull(strstr(attend_variant("amx", &facts, shape).reason, "odd"));
    shape.rope_dim = 64;
    shape.latent_dim = 500;
    ck_assert_ptr_nonnull(strstr(attend_variant("amx", &facts, shape).reason, "64"));
    shape.latent_dim = 512;
    shape.value_dim = 576;
    ck_assert_ptr_nonnull(strstr(attend_variant("amx", &facts, shape).reason, "rope part"));
    shape.value_dim = 0;
    facts.has_amx_bf16 = false;
    ck_assert_ptr_nonnull(strstr(attend_variant("amx", &facts, shape).reason, "no AMX"));
    facts.has_amx_bf16 = true;
    facts.float_vector_width = 8;
    ck_assert_ptr_nonnull(strstr(attend_variant("amx", &facts, shape).reason, "16 floats"));
    shape.compute = CLMLA_COMPUTE_EXACT;
    ck_assert_ptr_nonnull(strstr(attend_variant("amx", &facts, shape).reason, "fast"));
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
    tcase_add_test(tests, test_dot_products_are_asked_for);
    tcase_add_test(tests, test_products_of_codes_are_asked_for);
    tcase_add_test(tests, test_tiles_are_asked_for);
    tcase_add_test(tests, test_recorded_products_are_our_own);
    tcase_add_test(tests, test_wrong_arguments);
    tcase_add_test(tests, test_sizes_beyond_the_limits);
}

int main(void) {
    return test_run_apart("variants", add_tests);
}
