// SPDX-License-Identifier: Apache-2.0
// Layers on the device hold exactly the stored weights: all types, conversions, head ranges, biases, from files and
// from pointers; and nothing is left behind when any allocation or buffer fails on the way.
#include "lib/layer.h"
#include "tests/api/faults.h"
#include "tests/api/layer_values.h"
#include "tests/api/tensor_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef TEST_DATA
#error "TEST_DATA: the folder of the reference cases"
#endif
#define FILE_NAME "check_layer_load.safetensors" // in the folder the test runs in

static const char *const cases[] = {"a_v2_tiny", "b_v3_tiny_yarn", "c_v2lite_dims", "f_v3_fp8"};
static const clmla_type kinds[] = {CLMLA_TYPE_NONE, CLMLA_TYPE_F32, CLMLA_TYPE_F16, CLMLA_TYPE_BF16};

typedef struct model {
    char path[512];
    clmla_config config;
    clmla_checkpoint *checkpoint;
} model;

static model open_case(const char *name) {
    model m;
    snprintf(m.path, sizeof m.path, "%s/%s", TEST_DATA, name);
    TEST_OK(clmla_config_load(&m.config, m.path));
    TEST_OK(clmla_checkpoint_open(&m.checkpoint, m.path, NULL));
    return m;
}

static void load_and_check(const model *m, uint32_t index, const clmla_layer_params *params) {
    clmla_layer *layer = NULL;
    TEST_OK(clmla_layer_load_from(&layer, test_device_get()->context, &m->config, m->checkpoint, index, params));
    layer_values_check(layer, &m->config, m->checkpoint, index, params);
    clmla_layer_destroy(&layer);
    ck_assert_ptr_null(layer);
}

START_TEST(types) {
    model m = open_case(cases[_i]);
    for (uint32_t index = 0; index < m.config.layer_count; index++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            test_case_begin("types", _i, "%s layer %u as %s", cases[_i], index, clmla_type_name(kinds[k]));
            load_and_check(&m, index, &(clmla_layer_params){.weights = kinds[k]});
        }
    load_and_check(&m, 0, NULL);
    clmla_checkpoint_close(&m.checkpoint);
}
END_TEST

// f_v3_fp8 has 96 rows of kv_b and 80 of q_b a head, so that ranges begin and end inside blocks of 128.
START_TEST(head_ranges) {
    model m = open_case(cases[_i]);
    uint32_t heads = m.config.head_count;
    const uint32_t ranges[][2] = {{0, 1}, {1, 1}, {1, 2}, {heads - 1, 1}, {heads / 2, heads / 2}, {0, heads}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (size_t k = 0; k < 3; k += 2) { // as stored, and f16
            test_case_begin("head_ranges", _i, "%s heads %u + %u as %s", cases[_i], ranges[r][0], ranges[r][1],
                            clmla_type_name(kinds[k]));
            load_and_check(&m, 0, &(clmla_layer_params){kinds[k], ranges[r][0], ranges[r][1]});
        }
    clmla_checkpoint_close(&m.checkpoint);
}
END_TEST

START_TEST(from_path) {
    model m = open_case("f_v3_fp8");
    clmla_layer *layer = NULL;
    TEST_OK(clmla_layer_load(&layer, test_device_get()->context, &m.config, m.path, 0, NULL));
    layer_values_check(layer, &m.config, m.checkpoint, 0, NULL);
    clmla_layer_set_cache_layer(layer, 5);
    ck_assert_uint_eq(layer->cache_layer, 5);
    clmla_layer_destroy(&layer);
    clmla_layer_destroy(&layer);
    clmla_layer_destroy(NULL);
    ck_assert_uint_eq(clmla_layer_bytes(NULL), 0);
    clmla_checkpoint_close(&m.checkpoint);
}
END_TEST

// A failed load leaves no layer; a load that works, optional tensors absent, leaves the last failure's sentence alone.
START_TEST(sentences) {
    model m = open_case("a_v2_tiny");
    clmla_context *context = test_device_get()->context;
    clmla_layer *layer = (clmla_layer *)&m;
    ck_assert_int_eq(clmla_layer_load(&layer, context, &m.config, "/nowhere at all", 0, NULL), CLMLA_E_FILE);
    ck_assert_ptr_null(layer);
    char before[512];
    snprintf(before, sizeof before, "%s", clmla_last_error());
    ck_assert_ptr_nonnull(strstr(before, "nowhere at all"));
    TEST_OK(clmla_layer_load_from(&layer, context, &m.config, m.checkpoint, 0, NULL));
    ck_assert_str_eq(clmla_last_error(), before);
    clmla_layer_destroy(&layer);
    clmla_checkpoint_close(&m.checkpoint);
}
END_TEST

static clmla_config biased_config(uint32_t q_lora) {
    clmla_config config;
    clmla_config_init(&config);
    config.hidden_size = 24;
    config.head_count = 3;
    config.layer_count = 1;
    config.kv_lora_rank = 9;
    config.q_lora_rank = q_lora;
    config.qk_nope_head_dim = 5;
    config.qk_rope_head_dim = 4;
    config.v_head_dim = 7;
    config.attention_bias = true;
    config.context_tokens = 1024;
    return config;
}

static model write_model(const clmla_config *config, const tensor_file *file) {
    model m = {.path = FILE_NAME, .config = *config};
    tensor_file_write(file, FILE_NAME);
    TEST_OK(clmla_checkpoint_open(&m.checkpoint, FILE_NAME, NULL));
    return m;
}

static const char *const dtypes[] = {"F32", "F16", "BF16", "F8_E4M3"};

// Data at odd addresses; o_proj's bias in the first range alone; a bias of q_b_proj, when there is one, by its heads.
START_TEST(unaligned_with_biases) {
    clmla_config config = biased_config(_i % 2 ? 11 : 0);
    tensor_file file = tensor_file_of_layer(&config, dtypes[_i / 2]);
    tensor_file_add(&file, _i % 2 ? "q_b_proj.bias" : "q_proj.bias", "F16", 3 * 9, 0);
    model m = write_model(&config, &file);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (uint32_t first = 0; first < 3; first++)
            for (uint32_t count = 1; first + count <= 3; count++) {
                test_case_begin("unaligned_with_biases", _i, "heads %u + %u as %s", first, count,
                                clmla_type_name(kinds[k]));
                load_and_check(&m, 0, &(clmla_layer_params){kinds[k], first, count});
            }
    clmla_checkpoint_close(&m.checkpoint);
    ck_assert_int_eq(remove(FILE_NAME), 0);
}
END_TEST

// fp8 with partial blocks on both edges and windows that begin in the second and third block.
START_TEST(large_unaligned_fp8) {
    clmla_config config = biased_config(0);
    config.hidden_size = 150;
    config.head_count = 5;
    config.kv_lora_rank = 140;
    config.v_head_dim = 54;
    config.qk_nope_head_dim = 61;
    tensor_file file = tensor_file_of_layer(&config, "F8_E4M3");
    model m = write_model(&config, &file);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (uint32_t first = 0; first < 5; first++) {
            test_case_begin("large_unaligned_fp8", (int)first, "as %s", clmla_type_name(kinds[k]));
            load_and_check(&m, 0, &(clmla_layer_params){kinds[k], first, 1 + (first + (uint32_t)k) % (5 - first)});
        }
    clmla_checkpoint_close(&m.checkpoint);
    ck_assert_int_eq(remove(FILE_NAME), 0);
}
END_TEST

static clmla_host_matrix host_matrix(const model *m, const char *part) {
    clmla_host_matrix out = {CLMLA_TYPE_NONE, NULL, NULL, CLMLA_TYPE_NONE, NULL};
    clmla_tensor tensor;
    char name[128];
    snprintf(name, sizeof name, "model.layers.0.self_attn.%s.weight", part);
    if (clmla_checkpoint_find(&tensor, m->checkpoint, name) != CLMLA_OK) return out;
    out.type = tensor.type;
    out.values = tensor.data;
    snprintf(name, sizeof name, "model.layers.0.self_attn.%s.weight_scale_inv", part);
    if (clmla_checkpoint_find(&tensor, m->checkpoint, name) != CLMLA_OK) return out;
    float *scales = malloc((size_t)tensor.bytes); // a float pointer must be aligned
    ck_assert_ptr_nonnull(scales);
    memcpy(scales, tensor.data, (size_t)tensor.bytes);
    out.scale_inv = scales;
    return out;
}

static clmla_layer_tensors host_tensors(const model *m) {
    clmla_host_matrix q_a = host_matrix(m, "q_a_layernorm"), kv_a = host_matrix(m, "kv_a_layernorm");
    return (clmla_layer_tensors){
        .q_proj = host_matrix(m, "q_proj"),
        .q_a_proj = host_matrix(m, "q_a_proj"),
        .q_b_proj = host_matrix(m, "q_b_proj"),
        .kv_a_proj_with_mqa = host_matrix(m, "kv_a_proj_with_mqa"),
        .kv_b_proj = host_matrix(m, "kv_b_proj"),
        .o_proj = host_matrix(m, "o_proj"),
        .q_a_layernorm_type = q_a.type,
        .kv_a_layernorm_type = kv_a.type,
        .q_a_layernorm = q_a.values,
        .kv_a_layernorm = kv_a.values,
    };
}

static void free_scales(clmla_layer_tensors *tensors) {
    clmla_host_matrix *all[] = {&tensors->q_proj,    &tensors->q_a_proj,
                                &tensors->q_b_proj,  &tensors->kv_a_proj_with_mqa,
                                &tensors->kv_b_proj, &tensors->o_proj};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free((void *)all[i]->scale_inv);
}

START_TEST(from_pointers) {
    model m = open_case(cases[_i]);
    clmla_layer_tensors tensors = host_tensors(&m);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        clmla_layer *layer = NULL;
        clmla_layer_params params = {kinds[k], 1, 2};
        TEST_OK(clmla_layer_create(&layer, test_device_get()->context, &m.config, &tensors, 0, &params));
        layer_values_check(layer, &m.config, m.checkpoint, 0, &params);
        clmla_layer_destroy(&layer);
    }
    free_scales(&tensors);
    clmla_checkpoint_close(&m.checkpoint);
}
END_TEST

// Each host allocation, then each clCreateBuffer, of a load fails once.
static void fail_everywhere(clmla_context *context, const model *m, const clmla_layer_params *params, bool buffers) {
    const faults_counts before = faults_live();
    clmla_status status = CLMLA_E_MEMORY;
    long n = 0;
    for (; status != CLMLA_OK; n++) {
        clmla_layer *layer = (clmla_layer *)context;
        TEST_ASSERT(n < 1000, "no end at %ld", n);
        faults_arm(buffers ? -1 : n, buffers ? n : -1);
        status = clmla_layer_load(&layer, context, &m->config, m->path, 0, params);
        faults_arm(-1, -1);
        TEST_ASSERT((layer != NULL) == (status == CLMLA_OK), "failure %ld", n);
        if (status != CLMLA_OK)
            TEST_ASSERT(status == (buffers ? CLMLA_E_OPENCL : CLMLA_E_MEMORY), "failure %ld: %s", n,
                        clmla_last_error());
        clmla_layer_destroy(&layer);
        faults_counts after = faults_live();
        TEST_ASSERT(after.allocations == before.allocations && after.buffers == before.buffers,
                    "failure %ld: %ld allocations, %ld buffers left", n, after.allocations - before.allocations,
                    after.buffers - before.buffers);
    }
    ck_assert_int_ge(n, buffers ? 7 : 5);
}

START_TEST(failures) {
    clmla_context *context = faults_context();
    model m = open_case("f_v3_fp8");
    for (int buffers = 0; buffers < 2; buffers++) {
        fail_everywhere(context, &m, NULL, buffers);
        fail_everywhere(context, &m, &(clmla_layer_params){CLMLA_TYPE_F16, 1, 2}, buffers);
    }
    clmla_checkpoint_close(&m.checkpoint);
    clmla_context_destroy(&context);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, types, 0, sizeof cases / sizeof *cases);
    tcase_add_loop_test(tcase, head_ranges, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tcase, from_path);
    tcase_add_test(tcase, sentences);
    tcase_add_loop_test(tcase, unaligned_with_biases, 0, 2 * sizeof dtypes / sizeof *dtypes);
    tcase_add_test(tcase, large_unaligned_fp8);
    tcase_add_loop_test(tcase, from_pointers, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tcase, failures);
}

int main(void) {
    return test_main("layer_load", add_tests);
}
