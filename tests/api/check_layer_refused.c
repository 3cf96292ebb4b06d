// SPDX-License-Identifier: Apache-2.0
// Checkpoints, pointers and parameters that no layer can be made of: each with its status and a sentence that names it.
#include "lib/layer.h"
#include "tests/api/expect.h"
#include "tests/api/tensor_file.h"
#include <stdio.h>
#include <string.h>

#define FILE_NAME "check_layer_refused.safetensors" // in the folder the test runs in

static clmla_config make_config(bool bias) {
    clmla_config config;
    clmla_config_init(&config);
    config.hidden_size = 24;
    config.head_count = 3;
    config.layer_count = 1;
    config.kv_lora_rank = 8;
    config.q_lora_rank = 12;
    config.qk_nope_head_dim = 6;
    config.qk_rope_head_dim = 4;
    config.v_head_dim = 10;
    config.attention_bias = bias;
    config.context_tokens = 1024;
    return config;
}

static void load_refused(const clmla_config *config, const tensor_file *file, clmla_status status,
                         const char *const words[]) {
    clmla_layer *layer = (clmla_layer *)config;
    tensor_file_write(file, FILE_NAME);
    clmla_status found = clmla_layer_load(&layer, test_device_get()->context, config, FILE_NAME, 0, NULL);
    for (int i = 0; words[i]; i++) expect(found, status, words[i]);
    ck_assert_ptr_null(layer);
    ck_assert_int_eq(remove(FILE_NAME), 0);
}

static const char *const needed[] = {
    "q_a_proj.weight",  "q_a_layernorm.weight",  "q_b_proj.weight", "kv_a_proj_with_mqa.weight",
    "kv_b_proj.weight", "o_proj.weight",         "q_a_proj.bias",   "kv_a_proj_with_mqa.bias",
    "o_proj.bias",      "kv_a_layernorm.weight",
};

START_TEST(missing) {
    clmla_config config = make_config(true);
    tensor_file file = tensor_file_of_layer(&config, "BF16");
    tensor_file_remove(&file, needed[_i]);
    load_refused(&config, &file, CLMLA_E_TENSOR_MISSING, (const char *const[]){needed[_i], "model.layers.0", NULL});
}
END_TEST

// Names count to the letter: no other prefix is looked for.
START_TEST(renamed) {
    clmla_config config = make_config(false);
    tensor_file file = tensor_file_of_layer(&config, "BF16");
    file_tensor *tensor = tensor_file_find(&file, "kv_b_proj.weight");
    snprintf(tensor->name, sizeof tensor->name, "layers.0.self_attn.kv_b_proj.weight");
    load_refused(&config, &file, CLMLA_E_TENSOR_MISSING,
                 (const char *const[]){"model.layers.0.self_attn.kv_b_proj.weight", NULL});
}
END_TEST

START_TEST(wrong_shape) {
    clmla_config config = make_config(true);
    tensor_file file = tensor_file_of_layer(&config, "F16");
    file_tensor *tensor = tensor_file_find(&file, needed[_i]);
    char expected[64], found[64];
    const unsigned long long rows = tensor->shape[0], columns = tensor->shape[1];
    snprintf(expected, sizeof expected, tensor->rank == 2 ? "[%llu, %llu]" : "[%llu]", rows, columns);
    snprintf(found, sizeof found, tensor->rank == 2 ? "[%llu, %llu]" : "[%llu]", rows + 1, columns);
    tensor->shape[0]++;
    load_refused(&config, &file, CLMLA_E_TENSOR_SHAPE,
                 (const char *const[]){needed[_i], expected, found, FILE_NAME, NULL});

    tensor->shape[0]--;
    tensor->shape[tensor->rank++] = 1; // a dimension more
    load_refused(&config, &file, CLMLA_E_TENSOR_SHAPE, (const char *const[]){needed[_i], expected, ", 1]", NULL});
}
END_TEST

START_TEST(transposed) {
    clmla_config config = make_config(false);
    tensor_file file = tensor_file_of_layer(&config, "F16");
    file_tensor *tensor = tensor_file_find(&file, "o_proj.weight");
    uint64_t rows = tensor->shape[0];
    tensor->shape[0] = tensor->shape[1];
    tensor->shape[1] = rows;
    load_refused(&config, &file, CLMLA_E_TENSOR_SHAPE,
                 (const char *const[]){"o_proj.weight", "[30, 24]", "[24, 30]", NULL});
}
END_TEST

static const char *const wrong_dtypes[] = {"F64", "I8", "F8_E5M2", "I32", "U8"};

START_TEST(wrong_type) {
    clmla_config config = make_config(true);
    for (size_t d = 0; d < sizeof wrong_dtypes / sizeof *wrong_dtypes; d++) {
        tensor_file file = tensor_file_of_layer(&config, "F16");
        tensor_file_find(&file, needed[_i])->dtype = wrong_dtypes[d];
        load_refused(&config, &file, CLMLA_E_TENSOR_TYPE, (const char *const[]){needed[_i], "f32", FILE_NAME, NULL});
    }
}
END_TEST

START_TEST(fp8) {
    clmla_config config = make_config(true);
    tensor_file file = tensor_file_of_layer(&config, "F8_E4M3"), good = file;
    tensor_file_remove(&file, "q_b_proj.weight_scale_inv");
    load_refused(&config, &file, CLMLA_E_TENSOR_MISSING,
                 (const char *const[]){"q_b_proj.weight_scale_inv", FILE_NAME, NULL});
    file = good;
    tensor_file_find(&file, "o_proj.weight_scale_inv")->dtype = "BF16";
    load_refused(&config, &file, CLMLA_E_TENSOR_TYPE,
                 (const char *const[]){"o_proj.weight_scale_inv", "bf16", "f32", NULL});
    file = good;
    tensor_file_find(&file, "kv_b_proj.weight_scale_inv")->shape[0] = 2;
    load_refused(&config, &file, CLMLA_E_TENSOR_SHAPE,
                 (const char *const[]){"kv_b_proj.weight_scale_inv", "[2, 1]", "[1, 1]", NULL});
    file = good;
    tensor_file_find(&file, "kv_a_layernorm.weight")->dtype = "F8_E4M3"; // a norm has no scales
    load_refused(&config, &file, CLMLA_E_TENSOR_TYPE, (const char *const[]){"kv_a_layernorm.weight", "f8_e4m3", NULL});
    file = good;
    tensor_file_find(&file, "o_proj.bias")->dtype = "F8_E4M3";
    load_refused(&config, &file, CLMLA_E_TENSOR_TYPE, (const char *const[]){"o_proj.bias", "f8_e4m3", NULL});
}
END_TEST

START_TEST(bias_of_kv_b) {
    clmla_config config = make_config(false);
    tensor_file file = tensor_file_of_layer(&config, "F32");
    tensor_file_add(&file, "kv_b_proj.bias", "F32", 48, 0);
    load_refused(&config, &file, CLMLA_E_UNSUPPORTED, (const char *const[]){"kv_b_proj.bias", FILE_NAME, NULL});
}
END_TEST

static const struct {
    clmla_layer_params params;
    const char *word;
} bad_params[] = {
    {{CLMLA_TYPE_F8_E4M3, 0, 0}, "f8_e4m3"},      {{CLMLA_TYPE_I8, 0, 0}, "i8"},
    {{CLMLA_TYPE_NONE, 3, 1}, "head 3"},          {{CLMLA_TYPE_NONE, 0, 4}, "4 heads"},
    {{CLMLA_TYPE_NONE, 1, 0}, "0 heads"},         {{CLMLA_TYPE_NONE, UINT32_MAX, 2}, "2 heads"},
    {{CLMLA_TYPE_NONE, 1, UINT32_MAX}, "head 1"},
};

START_TEST(wrong_params) {
    clmla_config config = make_config(false);
    tensor_file file = tensor_file_of_layer(&config, "F32");
    clmla_layer *layer = NULL;
    clmla_checkpoint *checkpoint;
    tensor_file_write(&file, FILE_NAME);
    TEST_OK(clmla_checkpoint_open(&checkpoint, FILE_NAME, NULL));
    clmla_context *context = test_device_get()->context;
    expect(clmla_layer_load_from(&layer, context, &config, checkpoint, 0, &bad_params[_i].params), CLMLA_E_ARGUMENT,
           bad_params[_i].word);
    expect(clmla_layer_load_from(&layer, context, &config, checkpoint, 7, NULL), CLMLA_E_TENSOR_MISSING,
           "model.layers.7.");
    expect(clmla_layer_load_from(NULL, context, &config, checkpoint, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_layer_load_from(&layer, NULL, &config, checkpoint, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_layer_load_from(&layer, context, NULL, checkpoint, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_layer_load_from(&layer, context, &config, NULL, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    expect(clmla_layer_load(&layer, context, &config, NULL, 0, NULL), CLMLA_E_ARGUMENT, "NULL");
    config.v_head_dim = 0;
    expect(clmla_layer_load_from(&layer, context, &config, checkpoint, 0, NULL), CLMLA_E_CONFIG, "v_head_dim");
    ck_assert_ptr_null(layer);
    clmla_checkpoint_close(&checkpoint);
    ck_assert_int_eq(remove(FILE_NAME), 0);
}
END_TEST

// 24 · 30 values are the largest tensor of make_config.
static const float ones[24 * 30] = {1.0f};

static clmla_layer_tensors good_tensors(void) {
    const clmla_host_matrix matrix = {.type = CLMLA_TYPE_F32, .values = ones};
    return (clmla_layer_tensors){
        .q_a_proj = matrix,
        .q_b_proj = matrix,
        .kv_a_proj_with_mqa = matrix,
        .kv_b_proj = matrix,
        .o_proj = matrix,
        .q_a_layernorm_type = CLMLA_TYPE_F32,
        .kv_a_layernorm_type = CLMLA_TYPE_F32,
        .q_a_layernorm = ones,
        .kv_a_layernorm = ones,
    };
}

static void create_refused(const clmla_config *config, const clmla_layer_tensors *tensors, clmla_status status,
                           const char *word) {
    clmla_layer *layer = (clmla_layer *)config;
    expect(clmla_layer_create(&layer, test_device_get()->context, config, tensors, 0, NULL), status, word);
    ck_assert_ptr_null(layer);
}

START_TEST(wrong_pointers) {
    clmla_config config = make_config(false), biased = make_config(true);
    clmla_layer_tensors tensors = good_tensors();
    clmla_layer *layer = NULL;
    TEST_OK(clmla_layer_create(&layer, test_device_get()->context, &config, &tensors, 3, NULL));
    ck_assert_uint_eq(layer->cache_layer, 3);
    clmla_layer_destroy(&layer);
    create_refused(&biased, &tensors, CLMLA_E_TENSOR_MISSING, "bias of q_a_proj");
    tensors.o_proj.type = CLMLA_TYPE_NONE;
    create_refused(&config, &tensors, CLMLA_E_TENSOR_MISSING, "o_proj");
    tensors = good_tensors();
    tensors.q_b_proj.values = NULL;
    create_refused(&config, &tensors, CLMLA_E_TENSOR_MISSING, "q_b_proj");
    tensors = good_tensors();
    tensors.kv_a_layernorm = NULL;
    create_refused(&config, &tensors, CLMLA_E_TENSOR_MISSING, "kv_a_layernorm");
    tensors = good_tensors();
    tensors.q_a_layernorm_type = CLMLA_TYPE_F8_E4M3;
    create_refused(&config, &tensors, CLMLA_E_TENSOR_TYPE, "q_a_layernorm");
    tensors = good_tensors();
    tensors.kv_a_proj_with_mqa.type = CLMLA_TYPE_F64;
    create_refused(&config, &tensors, CLMLA_E_TENSOR_TYPE, "kv_a_proj_with_mqa is f64");
    tensors = good_tensors();
    tensors.kv_b_proj.type = CLMLA_TYPE_F8_E4M3;
    create_refused(&config, &tensors, CLMLA_E_TENSOR_MISSING, "scales");
    tensors = good_tensors();
    tensors.kv_b_proj.bias_type = CLMLA_TYPE_F32;
    tensors.kv_b_proj.bias = ones;
    create_refused(&config, &tensors, CLMLA_E_UNSUPPORTED, "kv_b_proj");
    tensors = good_tensors();
    tensors.o_proj.bias_type = CLMLA_TYPE_I32;
    tensors.o_proj.bias = ones;
    create_refused(&config, &tensors, CLMLA_E_TENSOR_TYPE, "bias of o_proj is i32");
    create_refused(&config, NULL, CLMLA_E_ARGUMENT, "NULL");
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, missing, 0, sizeof needed / sizeof *needed);
    tcase_add_test(tcase, renamed);
    tcase_add_loop_test(tcase, wrong_shape, 0, sizeof needed / sizeof *needed);
    tcase_add_test(tcase, transposed);
    tcase_add_loop_test(tcase, wrong_type, 0, sizeof needed / sizeof *needed);
    tcase_add_test(tcase, fp8);
    tcase_add_test(tcase, bias_of_kv_b);
    tcase_add_loop_test(tcase, wrong_params, 0, sizeof bad_params / sizeof *bad_params);
    tcase_add_test(tcase, wrong_pointers);
}

int main(void) {
    return test_main("layer_refused", add_tests);
}
