// SPDX-License-Identifier: Apache-2.0
// The scale and frequencies that follow from a config, against the values of the models' own code.
#include "tests/unit/config_text.h"
#include "tests/unit/made_file.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

#ifndef TEST_DATA
#error "TEST_DATA: the folder of the reference cases"
#endif

static void check_near(double found, double expected, double relative, const char *what) {
    ck_assert_msg(fabs(found - expected) <= relative * fabs(expected), "%s is %.17g, not %.17g", what, found, expected);
}

static clmla_config_values derive(const clmla_config *config) {
    clmla_config_values values;
    EXPECT_OK(clmla_config_derive(&values, config));
    return values;
}

// Reference cases: hidden, H, layers, L, q-LoRA, N, R, V, context.
static const struct {
    const char *name;
    uint32_t dimensions[9];
    clmla_rope_type rope;
} cases[] = {
    {"a_v2_tiny", {256, 4, 2, 64, 0, 32, 16, 32, 2048}, CLMLA_ROPE_DEFAULT},
    {"b_v3_tiny_yarn", {256, 4, 1, 64, 96, 32, 16, 32, 2560}, CLMLA_ROPE_YARN},
    {"c_v2lite_dims", {704, 16, 1, 512, 0, 128, 64, 128, 163840}, CLMLA_ROPE_YARN},
    {"f_v3_fp8", {320, 4, 1, 128, 192, 48, 32, 48, 163840}, CLMLA_ROPE_YARN},
};

static cJSON *read_reference(const char *name) {
    char path[512], text[65536];
    snprintf(path, sizeof path, TEST_DATA "/%s/reference.json", name);
    FILE *stream = fopen(path, "rb");
    ck_assert_ptr_nonnull(stream);
    size_t length = fread(text, 1, sizeof text - 1, stream);
    fclose(stream);
    cJSON *json = cJSON_ParseWithLength(text, length);
    ck_assert_ptr_nonnull(json);
    return json;
}

static double number(const cJSON *json, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    ck_assert_msg(cJSON_IsNumber(item), "the reference has no %s", name);
    return item->valuedouble;
}

static void check_against_reference(const clmla_config *config, const cJSON *reference) {
    clmla_config_values values = derive(config);
    const cJSON *frequencies = cJSON_GetObjectItemCaseSensitive(reference, "inv_freq");
    check_near(values.softmax_scale, number(reference, "softmax_scale"), 1e-14, "softmax_scale");
    check_near(values.rope_attention_factor, number(reference, "rope_cos_sin_factor"), 1e-14, "rope_attention_factor");
    ck_assert((double)config->latent_norm_eps == (double)(float)number(reference, "latent_norm_eps"));
    ck_assert_int_eq(cJSON_GetArraySize(frequencies), (int)config->qk_rope_head_dim / 2);
    for (int i = 0; i < cJSON_GetArraySize(frequencies); i++)
        check_near(values.inverse_frequency[i], cJSON_GetArrayItem(frequencies, i)->valuedouble, 1e-13, "inv_freq");
    ck_assert_uint_eq(values.row_width, config->kv_lora_rank + config->qk_rope_head_dim);
    ck_assert_uint_eq(values.mha_elements,
                      (uint64_t)config->head_count *
                          (config->qk_nope_head_dim + config->qk_rope_head_dim + config->v_head_dim));
}

START_TEST(reference_cases) {
    const char *const files[] = {"", "/config.json", "/config_transformers.json"};
    cJSON *reference = read_reference(cases[_i].name);
    for (size_t f = 0; f < 3; f++) {
        char path[512];
        clmla_config c;
        snprintf(path, sizeof path, TEST_DATA "/%s%s", cases[_i].name, files[f]);
        EXPECT_OK(clmla_config_load(&c, path));
        const uint32_t found[] = {c.hidden_size,      c.head_count,       c.layer_count, c.kv_lora_rank,  c.q_lora_rank,
                                  c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim,  c.context_tokens};
        for (size_t i = 0; i < 9; i++) ck_assert_uint_eq(found[i], cases[_i].dimensions[i]);
        ck_assert_int_eq(c.rope_type, cases[_i].rope);
        ck_assert_int_eq(c.rope_order, CLMLA_ROPE_INTERLEAVED);
        ck_assert(!c.attention_bias);
        check_against_reference(&c, reference);
    }
    cJSON_Delete(reference);
}
END_TEST

// Models' rope fields, with m and the scale as published for them.
#define YARN(factor, original, fast, mscale, all_dim)                                                                  \
    "{\"type\": \"yarn\", \"factor\": " factor ", \"original_max_position_embeddings\": " original                     \
    ", \"beta_fast\": " fast ", \"beta_slow\": 1, \"mscale\": " mscale ", \"mscale_all_dim\": " all_dim "}"
static const struct {
    const char *model, *nope, *rope, *theta, *scaling;
    double mscale, scale;
    int low, high; // of YaRN's ramp; 0 = not looked at
} models[] = {
    {"\"deepseek_v2\"", "128", "64", "10000", YARN("40", "4096", "32", "0.707", "0.707"), 1.260804, 0.114721, 10, 23},
    {"\"deepseek_v3\"", "128", "64", "10000", YARN("40", "4096", "32", "1.0", "1.0"), 1.368888, 0.135234, 10, 23},
    {"\"kimi_k2\"", "128", "64", "50000", YARN("32.0", "4096", "1.0", "1.0", "1.0"), 1.346574, 0.130861, 19, 20},
    {"\"kimi_k2\"", "128", "64", "50000", YARN("64.0", "4096", "1.0", "1.0", "1.0"), 1.415888, 0.144680, 19, 20},
    {"null", "64", "64", "10000", YARN("128", "8192", "32", "1", "1"), 1.485203, 0.194969, 0, 0},
    {"\"deepseek_v3\"", "128", "64", "50000", "null", 1.0, 0.0721688, 0, 0},
    {"\"minicpm3\"", "64", "32", "10000", "null", 1.0, 0.102062, 0, 0},
    {"\"glm4_moe_lite\"", "192", "64", "1000000", "null", 1.0, 0.0625, 0, 0},
    {"\"youtu\"", "128", "64", "100000", "null", 1.0, 0.0721688, 0, 0},
    {"\"youtu_llm\"", "128", "64", "1600000", "null", 1.0, 0.0721688, 0, 0},
    {"\"kimi_linear\"", "128", "64", "10000", "null", 1.0, 0.0721688, 0, 0},
};

static void check_ramp(const clmla_config *c, const clmla_config_values *values, int low, int high) {
    for (int i = 0; i < (int)c->qk_rope_head_dim / 2; i++) {
        double ratio = values->inverse_frequency[i] / pow(c->rope_theta, -2.0 * i / c->qk_rope_head_dim);
        if (i <= low)
            check_near(ratio, 1.0, 1e-14, "a fast frequency");
        else if (i >= high)
            check_near(ratio, 1.0 / c->rope_factor, 1e-14, "a slow frequency");
        else
            check_near(ratio, 1.0 + (1.0 / c->rope_factor - 1.0) * (i - low) / (high - low), 1e-13, "between");
    }
}

START_TEST(model_scales) {
    clmla_config c;
    EXPECT_OK(
        config_text_parse(&c, CONFIG_FIELDS({"model_type", models[_i].model}, {"qk_nope_head_dim", models[_i].nope},
                                            {"qk_rope_head_dim", models[_i].rope}, {"rope_theta", models[_i].theta},
                                            {"rope_scaling", models[_i].scaling})));
    clmla_config_values values = derive(&c);
    check_near(values.mscale, models[_i].mscale, 1e-6, "m");
    check_near(values.softmax_scale, models[_i].scale, 4e-6, "scale");
    check_near(values.rope_attention_factor, 1.0, 1e-15, "rope_attention_factor");
    if (models[_i].high) check_ramp(&c, &values, models[_i].low, models[_i].high);
    ck_assert_int_eq(c.rope_order, strstr(models[_i].model, "minicpm3") ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED);
}
END_TEST

// YaRN's own defaults: beta 32 and 1, mscale 1, mscale_all_dim 0, original context = max_position_embeddings.
START_TEST(yarn_defaults) {
    clmla_config c;
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"rope_scaling", "{\"type\": \"yarn\", \"factor\": 8}"})));
    ck_assert(c.rope_beta_fast == 32.0 && c.rope_beta_slow == 1.0 && c.rope_mscale == 1.0 &&
              c.rope_mscale_all_dim == 0.0);
    ck_assert_uint_eq(c.rope_original_context, 2048);
    clmla_config_values values = derive(&c);
    check_near(values.mscale, 1.0, 0.0, "m");
    check_near(values.softmax_scale, 1.0 / sqrt(20.0), 1e-15, "scale");
    check_near(values.rope_attention_factor, 0.1 * log(8.0) + 1.0, 1e-15, "rope_attention_factor");

    EXPECT_OK(config_text_parse(
        &c, CONFIG_FIELDS({"rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 8, \"mscale\": 0.5, "
                                           "\"mscale_all_dim\": 2, \"attention_factor\": null}"})));
    values = derive(&c);
    check_near(values.rope_attention_factor, (0.05 * log(8.0) + 1.0) / (0.2 * log(8.0) + 1.0), 1e-15,
               "rope_attention_factor");
    check_near(values.mscale, 0.2 * log(8.0) + 1.0, 1e-15, "m");

    EXPECT_OK(config_text_parse(
        &c, CONFIG_FIELDS({"rope_scaling", "{\"type\": \"yarn\", \"factor\": 8, \"attention_factor\": 1.75}"})));
    check_near(derive(&c).rope_attention_factor, 1.75, 0.0, "rope_attention_factor");
}
END_TEST

START_TEST(yarn_of_factor_one) {
    clmla_config plain, scaled;
    EXPECT_OK(config_text_parse(&plain, NULL));
    EXPECT_OK(config_text_parse(&scaled, CONFIG_FIELDS({"rope_scaling", YARN("1.0", "64", "32", "0.7", "1.3")})));
    clmla_config_values a = derive(&plain), b = derive(&scaled);
    check_near(b.softmax_scale, a.softmax_scale, 0.0, "scale");
    check_near(b.rope_attention_factor, 1.0, 0.0, "rope_attention_factor");
    for (int i = 0; i < 4; i++) check_near(b.inverse_frequency[i], a.inverse_frequency[i], 0.0, "frequency");
}
END_TEST

// corr(r) = R·ln(orig/(2πr))/(2 ln theta), unrounded with truncate false.
START_TEST(yarn_untruncated) {
    clmla_config c;
    EXPECT_OK(config_text_parse(
        &c, CONFIG_FIELDS({"qk_rope_head_dim", "64"},
                          {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 40, \"truncate\": false, "
                                           "\"original_max_position_embeddings\": 4096}"})));
    ck_assert(c.rope_yarn_no_truncate);
    double turn = 2.0 * acos(-1.0), low = 64 * log(4096 / (32 * turn)) / (2 * log(10000.0)),
           high = 64 * log(4096 / turn) / (2 * log(10000.0));
    clmla_config_values values = derive(&c);
    for (int i = 0; i < 32; i++) {
        double ramp = i < low ? 0.0 : i > high ? 1.0 : (i - low) / (high - low);
        check_near(values.inverse_frequency[i], pow(10000.0, -i / 32.0) * (1.0 - ramp + ramp / 40.0), 1e-13,
                   "frequency");
    }
    c.rope_yarn_no_truncate = false;
    ck_assert(derive(&c).inverse_frequency[15] != values.inverse_frequency[15]);
}
END_TEST

#define LONGROPE                                                                                                       \
    "{\"type\": \"longrope\", \"short_factor\": [1, 1.5, 2, 2.5], \"long_factor\": [1, 4, 8, 16.25], "                 \
    "\"original_max_position_embeddings\": 512}"

START_TEST(longrope) {
    const double short_factor[] = {1, 1.5, 2, 2.5}, long_factor[] = {1, 4, 8, 16.25};
    clmla_config c;
    EXPECT_OK(config_text_parse(&c, CONFIG_FIELDS({"model_type", "\"minicpm3\""}, {"rope_scaling", LONGROPE})));
    ck_assert_int_eq(c.rope_type, CLMLA_ROPE_LONGROPE);
    const uint32_t contexts[] = {2048, 513, 512, 7};
    for (size_t k = 0; k < 4; k++) {
        c.context_tokens = contexts[k];
        clmla_config_values values = derive(&c);
        const double *factor = contexts[k] > 512 ? long_factor : short_factor;
        for (int i = 0; i < 4; i++)
            check_near(values.inverse_frequency[i], pow(10000.0, -i / 4.0) / factor[i], 1e-14, "frequency");
        double expected = contexts[k] > 512 ? sqrt(1.0 + log(contexts[k] / 512.0) / log(512.0)) : 1.0;
        check_near(values.rope_attention_factor, expected, 1e-15, "rope_attention_factor");
        check_near(values.softmax_scale, 1.0 / sqrt(20.0), 1e-15, "scale");
    }
    c.rope_attention_factor = 1.25;
    check_near(derive(&c).rope_attention_factor, 1.25, 0.0, "rope_attention_factor");
}
END_TEST

// "factor" says once more what the contexts say; original_max_position_embeddings may stand outside too.
START_TEST(longrope_elsewhere) {
    clmla_config c;
    EXPECT_OK(config_text_parse(
        &c, CONFIG_FIELDS({"original_max_position_embeddings", "512"},
                          {"rope_scaling", "{\"type\": \"longrope\", \"factor\": 4, \"short_factor\": [1,1,1,1], "
                                           "\"long_factor\": [2,2,2,2]}"})));
    ck_assert_uint_eq(c.rope_original_context, 512);
    check_near(derive(&c).inverse_frequency[0], 0.5, 0.0, "frequency");
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, reference_cases, 0, sizeof cases / sizeof *cases);
    tcase_add_loop_test(tests, model_scales, 0, sizeof models / sizeof *models);
    tcase_add_test(tests, yarn_defaults);
    tcase_add_test(tests, yarn_of_factor_one);
    tcase_add_test(tests, yarn_untruncated);
    tcase_add_test(tests, longrope);
    tcase_add_test(tests, longrope_elsewhere);
}

int main(void) {
    return made_run("check_config_values", add_tests);
}
