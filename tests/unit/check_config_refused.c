// SPDX-License-Identifier: Apache-2.0
// Configs that must be refused: each with its status and a sentence that names what is wrong.
#include "tests/unit/config_text.h"
#include "tests/unit/made_file.h"
#include <math.h>
#include <stdlib.h>

typedef struct bad_field {
    const char *name, *value;
    clmla_status status;
    const char *word;
} bad_field;

// Numbers: types, ranges, presence.
static const bad_field numbers[] = {
    {"hidden_size", NULL, CLMLA_E_CONFIG, "hidden_size is missing"},
    {"hidden_size", "null", CLMLA_E_CONFIG, "hidden_size is missing"},
    {"num_attention_heads", NULL, CLMLA_E_CONFIG, "num_attention_heads is missing"},
    {"kv_lora_rank", NULL, CLMLA_E_CONFIG, "kv_lora_rank is missing"},
    {"qk_nope_head_dim", NULL, CLMLA_E_CONFIG, "qk_nope_head_dim is missing"},
    {"qk_rope_head_dim", NULL, CLMLA_E_CONFIG, "qk_rope_head_dim is missing"},
    {"v_head_dim", NULL, CLMLA_E_CONFIG, "v_head_dim is missing"},
    {"hidden_size", "0", CLMLA_E_CONFIG, "hidden_size"},
    {"hidden_size", "-96", CLMLA_E_CONFIG, "found -96"},
    {"hidden_size", "96.5", CLMLA_E_CONFIG, "found 96.5"},
    {"hidden_size", "\"96\"", CLMLA_E_CONFIG, "found \"96\""},
    {"hidden_size", "true", CLMLA_E_CONFIG, "found true"},
    {"hidden_size", "[96]", CLMLA_E_CONFIG, "found [96]"},
    {"hidden_size", "4294967296", CLMLA_E_CONFIG, "hidden_size: expected an integer"},
    {"hidden_size", "1e400", CLMLA_E_CONFIG, "hidden_size: expected an integer"},
    {"hidden_size", "65537", CLMLA_E_LIMIT, "65537"},
    {"num_attention_heads", "0", CLMLA_E_CONFIG, "num_attention_heads"},
    {"num_attention_heads", "1025", CLMLA_E_LIMIT, "num_attention_heads"},
    {"kv_lora_rank", "0", CLMLA_E_CONFIG, "kv_lora_rank"},
    {"kv_lora_rank", "70000", CLMLA_E_LIMIT, "kv_lora_rank"},
    {"q_lora_rank", "-1", CLMLA_E_CONFIG, "q_lora_rank"},
    {"q_lora_rank", "false", CLMLA_E_CONFIG, "q_lora_rank"},
    {"q_lora_rank", "65537", CLMLA_E_LIMIT, "q_lora_rank"},
    {"qk_nope_head_dim", "65537", CLMLA_E_LIMIT, "qk_nope_head_dim"},
    {"qk_rope_head_dim", "7", CLMLA_E_CONFIG, "qk_rope_head_dim must be even"},
    {"qk_rope_head_dim", "258", CLMLA_E_LIMIT, "qk_rope_head_dim"},
    {"v_head_dim", "0", CLMLA_E_CONFIG, "v_head_dim"},
    {"v_head_dim", "65537", CLMLA_E_LIMIT, "v_head_dim"},
    {"num_hidden_layers", "\"3\"", CLMLA_E_CONFIG, "num_hidden_layers"},
    {"num_hidden_layers", "1.5", CLMLA_E_CONFIG, "num_hidden_layers"},
    {"num_hidden_layers", "65537", CLMLA_E_LIMIT, "65537"},
    {"max_position_embeddings", "2147483648", CLMLA_E_CONFIG, "max_position_embeddings"},
    {"rms_norm_eps", "\"1e-6\"", CLMLA_E_CONFIG, "rms_norm_eps"},
    {"rms_norm_eps", "-1e-6", CLMLA_E_CONFIG, "rms_norm_eps"},
    {"rms_norm_eps", "1e300", CLMLA_E_CONFIG, "rms_norm_eps"},
    {"rope_theta", "\"10000\"", CLMLA_E_CONFIG, "rope_theta"},
    {"rope_theta", "1", CLMLA_E_CONFIG, "rope_theta"},
    {"rope_theta", "0", CLMLA_E_CONFIG, "rope_theta"},
    {"rope_theta", "-10000", CLMLA_E_CONFIG, "rope_theta"},
    {"rope_theta", "1e999", CLMLA_E_CONFIG, "rope_theta"},
    {"attention_bias", "1", CLMLA_E_CONFIG, "attention_bias: expected true or false"},
    {"rope_interleave", "\"true\"", CLMLA_E_CONFIG, "rope_interleave"},
    {"mla_use_nope", "1", CLMLA_E_CONFIG, "mla_use_nope"},
    {"model_type", "3", CLMLA_E_CONFIG, "model_type"},
};

// Mathematics clmla does not have, by name.
static const bad_field mathematics[] = {
    {"model_type", "\"llama\"", CLMLA_E_CONFIG, "llama"},
    {"model_type", "\"deepseek_v32\"", CLMLA_E_CONFIG, "deepseek_v32"},
    {"model_type", "\"\"", CLMLA_E_CONFIG, "model_type"},
    {"index_topk", "2048", CLMLA_E_CONFIG, "index_topk: 2048"},
    {"index_n_heads", "64", CLMLA_E_CONFIG, "index_n_heads"},
    {"mla_scale_q_lora", "true", CLMLA_E_CONFIG, "mla_scale_q_lora"},
    {"mla_scale_kv_lora", "true", CLMLA_E_CONFIG, "mla_scale_kv_lora"},
    {"attn_logit_softcapping", "50.0", CLMLA_E_CONFIG, "attn_logit_softcapping: 50"},
    {"logit_softcapping", "30", CLMLA_E_CONFIG, "logit_softcapping"},
    {"sliding_window", "4096", CLMLA_E_CONFIG, "sliding_window: 4096"},
    {"qk_latent_layernorm", "false", CLMLA_E_CONFIG, "qk_latent_layernorm"},
    {"llama_4_scaling", "{\"beta\": 0.1}", CLMLA_E_CONFIG, "llama_4_scaling"},
    {"llama_4_scaling_beta", "0.1", CLMLA_E_CONFIG, "llama_4_scaling_beta"},
    {"llama_4_scaling_new", "0.1", CLMLA_E_CONFIG, "llama_4_scaling_new"},
    {"attention_sinks", "true", CLMLA_E_CONFIG, "attention_sinks"},
    {"attn_output_gate", "true", CLMLA_E_CONFIG, "attn_output_gate"},
    {"use_output_gate", "true", CLMLA_E_CONFIG, "use_output_gate"},
    {"gated_attention", "\"sigmoid\"", CLMLA_E_CONFIG, "gated_attention"},
    {"partial_rotary_factor", "0.5", CLMLA_E_CONFIG, "partial_rotary_factor: 0.5"},
    {"use_mla", "false", CLMLA_E_CONFIG, "use_mla"},
    {"norm_type", "\"layernorm\"", CLMLA_E_CONFIG, "norm_type"},
    {"use_qk_norm", "true", CLMLA_E_CONFIG, "use_qk_norm"},
    {"clip_qkv", "8.0", CLMLA_E_CONFIG, "clip_qkv"},
    {"qkv_bias", "true", CLMLA_E_CONFIG, "qkv_bias"},
    {"o_lora_rank", "1024", CLMLA_E_CONFIG, "o_lora_rank"},
    {"position_embedding_type", "\"alibi\"", CLMLA_E_CONFIG, "position_embedding_type"},
    {"layer_types", "[\"full_attention\", \"sliding_attention\"]", CLMLA_E_CONFIG, "layer_types"},
    {"num_key_value_heads", "2", CLMLA_E_CONFIG, "num_key_value_heads is 2, num_attention_heads 4"},
    {"num_key_value_heads", "\"4\"", CLMLA_E_CONFIG, "num_key_value_heads"},
    {"qk_head_dim", "64", CLMLA_E_CONFIG, "qk_head_dim is 64"},
    {"q_head_dim", "21", CLMLA_E_CONFIG, "q_head_dim is 21"},
    {"quantization_config", "{\"quant_method\": \"awq\", \"bits\": 4}", CLMLA_E_CONFIG, "quantization_config"},
    {"quantization_config", "{\"quant_method\": \"fp8\"}", CLMLA_E_CONFIG, "weight_block_size"},
    {"quantization_config", "{\"quant_method\": \"fp8\", \"weight_block_size\": [64, 128]}", CLMLA_E_CONFIG,
     "[64,128]"},
    {"quantization_config", "{\"quant_method\": \"fp8\", \"weight_block_size\": 128}", CLMLA_E_CONFIG,
     "quantization_config"},
    {"quantization_config", "{\"quant_method\": \"fp8\", \"fmt\": \"e5m2\", \"weight_block_size\": [128, 128]}",
     CLMLA_E_CONFIG, "quantization_config"},
    {"quantization_config", "\"fp8\"", CLMLA_E_CONFIG, "quantization_config"},
};

// Unknown fields of the families attention settings are named by.
static const char *const unknown[] = {"attn_new",    "attention_new", "rope_new",  "qk_new",
                                      "mla_new",     "kv_new",        "q_new",     "index_new",
                                      "indexer_new", "sliding_new",   "logit_new", "latent_new"};

#define YARN "\"type\": \"yarn\", \"factor\": 4"
static const bad_field ropes[] = {
    {"rope_scaling", "\"yarn\"", CLMLA_E_CONFIG, "rope_scaling: expected an object"},
    {"rope_parameters", "[]", CLMLA_E_CONFIG, "rope_parameters: expected an object"},
    {"rope_scaling", "{\"type\": \"linear\", \"factor\": 2}", CLMLA_E_CONFIG, "'linear'"},
    {"rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2}", CLMLA_E_CONFIG, "'dynamic'"},
    {"rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8}", CLMLA_E_CONFIG, "'llama3'"},
    {"rope_parameters", "{\"rope_type\": \"proportional\"}", CLMLA_E_CONFIG, "'proportional'"},
    {"rope_scaling", "{\"type\": 1}", CLMLA_E_CONFIG, "type"},
    {"rope_scaling", "{\"factor\": 4}", CLMLA_E_CONFIG, "neither type nor rope_type"},
    {"rope_scaling", "{\"type\": \"yarn\"}", CLMLA_E_CONFIG, "factor is missing"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 0.5}", CLMLA_E_CONFIG, "at least 1, not 0.5"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": -4}", CLMLA_E_CONFIG, "factor"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": \"4\"}", CLMLA_E_CONFIG, "factor: expected a number"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 1e999}", CLMLA_E_CONFIG, "factor"},
    {"rope_scaling", "{" YARN ", \"beta_fast\": 0}", CLMLA_E_CONFIG, "beta_fast"},
    {"rope_scaling", "{" YARN ", \"beta_slow\": -1}", CLMLA_E_CONFIG, "beta_slow"},
    {"rope_scaling", "{" YARN ", \"mscale\": -1}", CLMLA_E_CONFIG, "mscale"},
    {"rope_scaling", "{" YARN ", \"mscale\": 1e308}", CLMLA_E_CONFIG, "mscale"},
    {"rope_scaling", "{" YARN ", \"mscale_all_dim\": 1e200}", CLMLA_E_CONFIG, "mscale_all_dim"},
    {"rope_scaling", "{" YARN ", \"mscale_all_dim\": [1]}", CLMLA_E_CONFIG, "mscale_all_dim"},
    {"rope_scaling", "{" YARN ", \"truncate\": 0}", CLMLA_E_CONFIG, "truncate"},
    {"rope_scaling", "{" YARN ", \"attention_factor\": 0}", CLMLA_E_CONFIG, "attention_factor"},
    {"rope_scaling", "{" YARN ", \"attention_factor\": -1}", CLMLA_E_CONFIG, "attention_factor"},
    {"rope_scaling", "{" YARN ", \"original_max_position_embeddings\": 0}", CLMLA_E_CONFIG,
     "original_max_position_embeddings"},
    {"rope_scaling", "{" YARN ", \"original_max_position_embeddings\": 64.5}", CLMLA_E_CONFIG,
     "original_max_position_embeddings"},
    {"rope_scaling", "{" YARN ", \"extrapolation_factor\": 2}", CLMLA_E_CONFIG, "extrapolation_factor"},
    {"rope_scaling", "{" YARN ", \"partial_rotary_factor\": 0.25}", CLMLA_E_CONFIG, "partial_rotary_factor"},
    {"rope_parameters", "{\"rope_type\": \"default\", \"llama_4_scaling_beta\": 0.1}", CLMLA_E_CONFIG,
     "llama_4_scaling_beta"},
    {"rope_parameters", "{\"rope_type\": \"default\", \"mrope_section\": [2, 1, 1]}", CLMLA_E_CONFIG, "mrope_section"},
    {"rope_parameters", "{\"full_attention\": {\"rope_type\": \"default\"}}", CLMLA_E_CONFIG, "full_attention"},
    {"rope_scaling", "{\"type\": \"longrope\"}", CLMLA_E_CONFIG, "short_factor: expected an array of 4"},
    {"rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1,1,1,1]}", CLMLA_E_CONFIG, "long_factor"},
    {"rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1,1,1], \"long_factor\": [1,1,1,1]}", CLMLA_E_CONFIG,
     "found 3"},
    {"rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1,1,1,1,1], \"long_factor\": [1,1,1,1]}",
     CLMLA_E_CONFIG, "found 5"},
    {"rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1,0,1,1], \"long_factor\": [1,1,1,1]}",
     CLMLA_E_CONFIG, "short_factor[1]"},
    {"rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1,1,1,1], \"long_factor\": [1,1,1,\"1\"]}",
     CLMLA_E_CONFIG, "long_factor[3]"},
    {"rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1,1,1e300,1], \"long_factor\": [1,1,1,1]}",
     CLMLA_E_CONFIG, "short_factor[2]"},
    {"rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1e-40,1,1,1], \"long_factor\": [1,1,1,1]}",
     CLMLA_E_CONFIG, "frequency 0"},
    {"rope_scaling", "{\"type\": \"longrope\", \"factor\": 4, \"short_factor\": [1,1,1,1], \"long_factor\": [1,1,1,1]}",
     CLMLA_E_CONFIG, "factor is 4"},
    {"rope_scaling",
     "{\"type\": \"longrope\", \"original_max_position_embeddings\": 1, \"short_factor\": [1,1,1,1], \"long_factor\": "
     "[1,1,1,1]}",
     CLMLA_E_CONFIG, "original_max_position_embeddings"},
    {"rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 50000}", CLMLA_E_CONFIG,
     "disagree about rope_theta"},
};

static void check_refused(const bad_field *bad) {
    clmla_config c, before;
    memset(&c, 0x5a, sizeof c);
    before = c;
    EXPECT_REFUSED(config_text_parse(&c, CONFIG_FIELDS({bad->name, bad->value})), bad->status, bad->word);
    ck_assert_msg(strstr(clmla_last_error(), "made.json") == clmla_last_error(), "no file in \"%s\"",
                  clmla_last_error());
    ck_assert_int_eq(memcmp(&c, &before, sizeof c), 0);
}

START_TEST(bad_numbers) {
    check_refused(&numbers[_i]);
}
END_TEST

START_TEST(other_mathematics) {
    check_refused(&mathematics[_i]);
}
END_TEST

START_TEST(bad_ropes) {
    check_refused(&ropes[_i]);
}
END_TEST

START_TEST(unknown_fields) {
    const char *const values[] = {"true", "1", "0", "\"x\"", "{}"};
    for (size_t v = 0; v < sizeof values / sizeof *values; v++)
        check_refused(&(bad_field){unknown[_i], values[v], CLMLA_E_CONFIG, unknown[_i]});
}
END_TEST

START_TEST(forms_that_disagree) {
    const char *const others[] = {
        "{\"rope_type\": \"default\"}",
        "{\"rope_type\": \"yarn\", \"factor\": 8}",
        "{\"rope_type\": \"yarn\", \"factor\": 4, \"beta_fast\": 16}",
        "{\"rope_type\": \"yarn\", \"factor\": 4, \"mscale_all_dim\": 1}",
        "{\"rope_type\": \"yarn\", \"factor\": 4, \"truncate\": false}",
        "{\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 64}",
    };
    clmla_config c;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        EXPECT_REFUSED(
            config_text_parse(&c, CONFIG_FIELDS({"rope_scaling", "{" YARN "}"}, {"rope_parameters", others[i]})),
            CLMLA_E_CONFIG, "disagree");
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"rope_scaling", "{" YARN "}"},
                                                  {"rope_parameters", "{\"rope_type\": \"yarn\", \"factor\": 4}"})));
}
END_TEST

START_TEST(nothing_to_score) {
    clmla_config c;
    EXPECT_REFUSED(config_text_parse(&c, CONFIG_FIELDS({"qk_nope_head_dim", "0"}, {"qk_rope_head_dim", "0"})),
                   CLMLA_E_CONFIG, "both 0");
    EXPECT_REFUSED(config_text_parse(&c, CONFIG_FIELDS({"sliding_window", "4096"}, {"use_sliding_window", "true"})),
                   CLMLA_E_CONFIG, "sliding_window");
    EXPECT_REFUSED(config_text_parse(&c, CONFIG_FIELDS({"model_type", "\"deepseek_v3\""}, {"v_head_dim", NULL})),
                   CLMLA_E_CONFIG, "v_head_dim is missing");
}
END_TEST

#define TEXT(literal) literal, sizeof literal - 1
static const struct {
    const char *text;
    size_t length;
    const char *word;
} bad_texts[] = {
    {TEXT(""), "not JSON"},
    {TEXT(" \n"), "not JSON"},
    {TEXT("[]"), "not a JSON object"},
    {TEXT("3"), "not a JSON object"},
    {TEXT("null"), "not a JSON object"},
    {TEXT("{"), "not JSON"},
    {TEXT("{\"a\": 1,}"), "not JSON"},
    {TEXT("{\n\"a\": 1,\n\"b\": oops\n}"), "made.json:3"},
    {TEXT("{\"a\": NaN}"), "not JSON"},
    {TEXT("{\"a\": Infinity}"), "not JSON"},
    {TEXT("{'a': 1}"), "not JSON"},
    {TEXT("{\"a\": \"\\x\"}"), "not JSON"},
    {TEXT("{\"a\": 1} {}"), "text after"},
    {TEXT("{\"a\": 1}\n\nx"), "text after"},
    {TEXT("{\"a\": 1, \"b\": 2, \"a\": 1}"), "'a' stands in it twice"},
    {TEXT("{\"a\": {\"b\": 1, \"b\": 2}}"), "'b' stands in it twice"},
    {TEXT("{\"a\": [0, [{\"b\": 1, \"b\": 2}]]}"), "'b' stands in it twice"},
    {TEXT("{\"a\": 1, \"\\u0061\": 2}"), "'a' stands in it twice"},
    {TEXT("{\"a\": 1}\0"), "zero byte"},
    {TEXT("{\"a\0b\": 1}"), "zero byte"},
    {TEXT("{\"a\\u0000b\": 1}"), "zero byte"},
    {TEXT("{\"a\": \"\\\\\\u0000\"}"), "zero byte"},
};

START_TEST(bad_text) {
    clmla_config c, before;
    memset(&c, 0x5a, sizeof c);
    before = c;
    char *copy = malloc(bad_texts[_i].length + 1); // exactly as long, for the address checks
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bad_texts[_i].text, bad_texts[_i].length);
    char *exact = realloc(copy, bad_texts[_i].length ? bad_texts[_i].length : 1);
    ck_assert_ptr_nonnull(exact);
    EXPECT_REFUSED(clmla_config_parse(&c, exact, bad_texts[_i].length, "made.json"), CLMLA_E_FORMAT,
                   bad_texts[_i].word);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "made.json"));
    ck_assert_int_eq(memcmp(&c, &before, sizeof c), 0);
    free(exact);
}
END_TEST

// An escaped backslash before u0000 is no zero.
START_TEST(backslashes) {
    clmla_config c;
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"auto_map", "\"\\\\u0000\""})));
    ck_assert_uint_eq(c.hidden_size, 96);
}
END_TEST

START_TEST(nested_deeply) {
    enum { DEPTH = 200000 };
    clmla_config c;
    char *text = malloc(DEPTH + 8);
    ck_assert_ptr_nonnull(text);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', DEPTH);
    EXPECT_REFUSED(clmla_config_parse(&c, text, DEPTH + 5, "made.json"), CLMLA_E_FORMAT, "not JSON");
    free(text);
}
END_TEST

START_TEST(cut_short) {
    char text[CONFIG_TEXT_MAX];
    clmla_config c;
    config_text_make(text, CONFIG_FIELDS({"rope_scaling", "{" YARN "}"}));
    for (size_t length = 0; length < strlen(text); length++) {
        char *cut = malloc(length ? length : 1);
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, text, length);
        EXPECT_REFUSED(clmla_config_parse(&c, cut, length, "made.json"), CLMLA_E_FORMAT, "made.json");
        free(cut);
    }
}
END_TEST

START_TEST(arguments) {
    clmla_config c;
    clmla_config_values values;
    EXPECT_OK(config_text_parse(&c, NULL));
    EXPECT_REFUSED(clmla_config_parse(NULL, "{}", 2, "x"), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_config_parse(&c, NULL, 2, "x"), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_config_parse(&c, "{}", 2, NULL), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_config_load(NULL, "x"), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_config_load(&c, NULL), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_config_check(NULL), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_config_derive(NULL, &c), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_config_derive(&values, NULL), CLMLA_E_ARGUMENT, "NULL");
    clmla_config_init(NULL);
}
END_TEST

// Values only a hand-made config can hold.
START_TEST(made_by_hand) {
    clmla_config good, c;
    clmla_config_values values;
    EXPECT_OK(config_text_parse(&good, NULL));
    c = good, c.rope_type = (clmla_rope_type)9;
    EXPECT_REFUSED(clmla_config_check(&c), CLMLA_E_CONFIG, "rope_type");
    c = good, c.rope_order = (clmla_rope_order)-1;
    EXPECT_REFUSED(clmla_config_check(&c), CLMLA_E_CONFIG, "rope_order");
    c = good, c.latent_norm_eps = NAN;
    EXPECT_REFUSED(clmla_config_check(&c), CLMLA_E_CONFIG, "latent_norm_eps");
    c = good, c.rms_norm_eps = INFINITY;
    EXPECT_REFUSED(clmla_config_check(&c), CLMLA_E_CONFIG, "rms_norm_eps");
    c = good, c.rope_theta = NAN;
    EXPECT_REFUSED(clmla_config_derive(&values, &c), CLMLA_E_CONFIG, "rope_theta");
    c = good, c.rope_type = CLMLA_ROPE_YARN, c.rope_factor = NAN;
    EXPECT_REFUSED(clmla_config_check(&c), CLMLA_E_CONFIG, "factor");
    c = good, c.rope_type = CLMLA_ROPE_LONGROPE;
    EXPECT_REFUSED(clmla_config_check(&c), CLMLA_E_CONFIG, "short_factor[0]");
    c = good, c.rope_attention_factor = NAN;
    EXPECT_REFUSED(clmla_config_check(&c), CLMLA_E_CONFIG, "attention_factor");
    c = good, c.q_lora_rank = UINT32_MAX;
    EXPECT_REFUSED(clmla_config_check(&c), CLMLA_E_LIMIT, "4294967295");
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, bad_numbers, 0, sizeof numbers / sizeof *numbers);
    tcase_add_loop_test(tests, other_mathematics, 0, sizeof mathematics / sizeof *mathematics);
    tcase_add_loop_test(tests, bad_ropes, 0, sizeof ropes / sizeof *ropes);
    tcase_add_loop_test(tests, unknown_fields, 0, sizeof unknown / sizeof *unknown);
    tcase_add_test(tests, forms_that_disagree);
    tcase_add_test(tests, nothing_to_score);
    tcase_add_loop_test(tests, bad_text, 0, sizeof bad_texts / sizeof *bad_texts);
    tcase_add_test(tests, backslashes);
    tcase_add_test(tests, nested_deeply);
    tcase_add_test(tests, cut_short);
    tcase_add_test(tests, arguments);
    tcase_add_test(tests, made_by_hand);
}

int main(void) {
    return made_run("check_config_refused", add_tests);
}
