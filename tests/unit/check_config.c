// SPDX-License-Identifier: Apache-2.0
// Configs as models ship them: every form, every default, harmless fields, files and folders.
#include "tests/unit/config_text.h"
#include "tests/unit/made_file.h"
#include <math.h>

static clmla_config_values derive(const clmla_config *config) {
    clmla_config_values values;
    EXPECT_OK(clmla_config_derive(&values, config));
    return values;
}

#define YARN(factor, original, fast, mscale, all_dim)                                                                  \
    "{\"type\": \"yarn\", \"factor\": " factor ", \"original_max_position_embeddings\": " original                     \
    ", \"beta_fast\": " fast ", \"beta_slow\": 1, \"mscale\": " mscale ", \"mscale_all_dim\": " all_dim "}"
START_TEST(least_text) {
    clmla_config c;
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"q_lora_rank", NULL}, {"num_hidden_layers", NULL},
                                                  {"max_position_embeddings", NULL}, {"rms_norm_eps", NULL},
                                                  {"rope_theta", NULL})));
    ck_assert_uint_eq(c.q_lora_rank, 0);
    ck_assert_uint_eq(c.layer_count, 0);
    ck_assert_uint_eq(c.context_tokens, 0);
    ck_assert(c.rms_norm_eps == 1e-6f && c.latent_norm_eps == 1e-6f && c.rope_theta == 10000.0);
    ck_assert_int_eq(c.rope_type, CLMLA_ROPE_DEFAULT);
}
END_TEST

START_TEST(single_fields) {
    clmla_config c;
    EXPECT_OK(config_text_parse(&c, NULL));
    ck_assert(c.rms_norm_eps == 1e-5f);
    ck_assert(c.latent_norm_eps == 1e-6f); // whatever rms_norm_eps says
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"q_lora_rank", "0"}, {"attention_bias", "true"})));
    ck_assert_uint_eq(c.q_lora_rank, 0);
    ck_assert(c.attention_bias);
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"q_lora_rank", "1536"}, {"rope_interleave", "false"})));
    ck_assert_uint_eq(c.q_lora_rank, 1536);
    ck_assert_int_eq(c.rope_order, CLMLA_ROPE_HALVES);
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"model_type", "\"kimi_linear\""}, {"mla_use_nope", "true"})));
    ck_assert_int_eq(c.rope_type, CLMLA_ROPE_NONE);
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"model_type", "\"kimi_linear\""}, {"mla_use_nope", "false"})));
    ck_assert_int_eq(c.rope_type, CLMLA_ROPE_DEFAULT);
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"model_type", "\"minicpm3\""}, {"v_head_dim", NULL})));
    ck_assert_uint_eq(c.v_head_dim, 24); // 96 / 4
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"qk_rope_head_dim", "0"})));
    ck_assert_uint_eq(derive(&c).row_width, 24);
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"qk_nope_head_dim", "0"})));
    ck_assert_double_eq_tol(derive(&c).softmax_scale, 1.0 / sqrt(8.0), 1e-15);
}
END_TEST

START_TEST(both_forms) {
    clmla_config c, newer;
    const char *parameters = "{\"rope_type\": \"yarn\", \"type\": \"yarn\", \"rope_theta\": 50000, \"factor\": 40, "
                             "\"original_max_position_embeddings\": 4096, \"mscale\": 1, \"mscale_all_dim\": 1}";
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"rope_theta", "50000"},
                                                  {"rope_scaling", YARN("40", "4096", "32", "1", "1")},
                                                  {"rope_parameters", parameters})));
    EXPECT_OK(config_text_parse(&newer, CONFIG_FIELDS({"rope_theta", NULL}, {"rope_parameters", parameters})));
    ck_assert(c.rope_theta == 50000.0 && newer.rope_theta == 50000.0);
    ck_assert_int_eq(c.rope_type, CLMLA_ROPE_YARN);
    ck_assert_int_eq(memcmp(&c, &newer, sizeof c), 0);
    EXPECT_OK(config_text_parse(
        &newer, CONFIG_FIELDS({"rope_theta", NULL},
                              {"rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 7000}"})));
    ck_assert(newer.rope_theta == 7000.0 && newer.rope_type == CLMLA_ROPE_DEFAULT);
}
END_TEST

// What real files hold beside, and values of dangerous fields that ask for nothing.
static const config_field harmless[] = {
    {"attention_dropout", "0.1"},
    {"attn_implementation", "\"eager\""},
    {"kv_cache_dtype", "\"auto\""},
    {"head_dim", "64"},
    {"qk_head_dim", "20"},
    {"q_head_dim", "20"},
    {"num_key_value_heads", "4"},
    {"torch_dtype", "\"bfloat16\""},
    {"sliding_window", "null"},
    {"index_topk", "null"},
    {"index_topk", "0"},
    {"mla_scale_q_lora", "false"},
    {"attn_logit_softcapping", "null"},
    {"attn_logit_softcapping", "0.0"},
    {"partial_rotary_factor", "1.0"},
    {"use_mla", "true"},
    {"qk_latent_layernorm", "true"},
    {"attn_something_new", "false"},
    {"rope_something_new", "null"},
    {"layer_types", "[\"full_attention\", \"full_attention\"]"},
    {"norm_type", "\"rmsnorm\""},
    {"quantization_config", "null"},
    {"quantization_config", "{\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128]}"},
    {"quantization_config",
     "{\"quant_method\": \"fp8\", \"fmt\": \"e4m3\", \"scale_fmt\": \"ue8m0\", \"weight_block_size\": [128, 128]}"},
    {"rope_scaling", "{\"type\": \"default\"}"},
    {"rope_scaling", "{}"},
    {"linear_attn_config", "{\"kda_layers\": [1, 2], \"full_attn_layers\": [3]}"},
};

START_TEST(harmless_fields) {
    clmla_config plain, c;
    EXPECT_OK(config_text_parse(&plain, NULL));
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS(harmless[_i])));
    ck_assert_int_eq(memcmp(&plain, &c, sizeof c), 0);
}
END_TEST

START_TEST(largest) {
    clmla_config c;
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"hidden_size", "65536"}, {"num_attention_heads", "1024"},
                                                  {"kv_lora_rank", "65536"}, {"q_lora_rank", "65536"},
                                                  {"qk_nope_head_dim", "65536"}, {"qk_rope_head_dim", "256"},
                                                  {"v_head_dim", "65536"}, {"max_position_embeddings", "2147483647"})));
    ck_assert_uint_eq(derive(&c).mha_elements, UINT64_C(1024) * (65536 + 256 + 65536));
    ck_assert_uint_eq(c.context_tokens, CLMLA_MAX_CONTEXT);
}
END_TEST

START_TEST(unused_window) {
    clmla_config c;
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"sliding_window", "4096"}, {"use_sliding_window", "false"})));
}
END_TEST

START_TEST(white_space_around) {
    char text[CONFIG_TEXT_MAX + 16] = " \n\t";
    clmla_config c;
    config_text_make(text + 3, NULL);
    strcat(text, "\r\n \n");
    EXPECT_OK(clmla_config_parse(&c, text, strlen(text), "made.json"));
}
END_TEST

START_TEST(loaded_from_folder) {
    char text[CONFIG_TEXT_MAX];
    clmla_config c;
    config_text_make(text, NULL);
    made_folder("model");
    made_file("model/config.json", text, strlen(text));
    EXPECT_OK(clmla_config_load(&c, made_path("model")));
    ck_assert_uint_eq(c.hidden_size, 96);
    EXPECT_OK(clmla_config_load(&c, made_path("model/config.json")));
    EXPECT_REFUSED(clmla_config_load(&c, made_path("none")), CLMLA_E_FILE, "none");
    EXPECT_REFUSED(clmla_config_load(&c, ""), CLMLA_E_FILE, "'': cannot be opened");
    made_folder("empty");
    EXPECT_REFUSED(clmla_config_load(&c, made_path("empty")), CLMLA_E_FILE, "empty/config.json");
    made_file("nothing.json", "", 0);
    EXPECT_REFUSED(clmla_config_load(&c, made_path("nothing.json")), CLMLA_E_FORMAT, "nothing.json");
}
END_TEST

START_TEST(made_by_hand) {
    clmla_config c;
    memset(&c, 0xff, sizeof c);
    clmla_config_init(&c);
    ck_assert_uint_eq(c.hidden_size, 0);
    ck_assert(c.latent_norm_eps == 1e-6f && c.rms_norm_eps == 1e-6f && c.rope_theta == 10000.0 && c.rope_factor == 1.0);
    ck_assert_int_eq(c.rope_type, CLMLA_ROPE_DEFAULT);
    EXPECT_REFUSED(clmla_config_check(&c), CLMLA_E_CONFIG, "hidden_size");
    c.hidden_size = 64, c.head_count = 5, c.kv_lora_rank = 7, c.qk_nope_head_dim = 3, c.qk_rope_head_dim = 2,
    c.v_head_dim = 1;
    EXPECT_OK(clmla_config_check(&c));
    ck_assert_uint_eq(derive(&c).row_width, 9);
    ck_assert_uint_eq(derive(&c).mha_elements, 30);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, least_text);
    tcase_add_test(tests, single_fields);
    tcase_add_test(tests, both_forms);
    tcase_add_loop_test(tests, harmless_fields, 0, sizeof harmless / sizeof *harmless);
    tcase_add_test(tests, largest);
    tcase_add_test(tests, unused_window);
    tcase_add_test(tests, white_space_around);
    tcase_add_test(tests, loaded_from_folder);
    tcase_add_test(tests, made_by_hand);
}

int main(void) {
    return made_run("check_config", add_tests);
}
