// SPDX-License-Identifier: Apache-2.0
#include "model_heads.h"
#include "baseline_program.h"
#include "json_input.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// --- config.json -----------------------------------------------------------------------------------------------------

bool heads_is_llama(const cJSON *json) {
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(json, "model_type");
    return cJSON_IsString(type) && strcmp(type->valuestring, "llama") == 0;
}

// A number that may be missing.
static bool read_real(double *out, const cJSON *json, const char *path, const char *name, double missing,
                      failure *failure) {
    const cJSON *field = cJSON_GetObjectItemCaseSensitive(json, name);
    *out = missing;
    if (!field || cJSON_IsNull(field)) return true;
    if (!cJSON_IsNumber(field) || !(field->valuedouble > 0.0))
        return failure_set(failure, "%s: %s is not a number above 0", path, name);
    *out = field->valuedouble;
    return true;
}

// Fields that must be absent, null or false.
static bool check_absent(const cJSON *json, const char *path, failure *failure) {
    static const char *const names[] = {"rope_scaling",   "rope_parameters", "attention_bias", "mlp_bias",
                                        "sliding_window", "qk_norm",         "use_qk_norm",    "quantization_config"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const cJSON *field = cJSON_GetObjectItemCaseSensitive(json, names[i]);
        if (field && !cJSON_IsNull(field) && !cJSON_IsFalse(field))
            return failure_set(failure, "%s: %s is set: models of Llama's form are run without it", path, names[i]);
    }
    return true;
}

// A number that is absent, null or, but for rounding, the one that changes nothing.
static bool check_neutral(const cJSON *json, const char *path, const char *name, double neutral, failure *failure) {
    const cJSON *field = cJSON_GetObjectItemCaseSensitive(json, name);
    if (!field || cJSON_IsNull(field)) return true;
    return (cJSON_IsNumber(field) && fabs(field->valuedouble - neutral) <= 1e-6 * neutral) ||
           failure_set(failure, "%s: %s is not %.9g: models of Llama's form are run without it", path, name, neutral);
}

// Factors and caps. The scores' factor, which two fields tell, each in its way, follows from head_dim here.
static bool check_factors(const cJSON *json, const char *path, uint32_t head_dim, failure *failure) {
    const struct {
        const char *name;
        double neutral;
    } factors[] = {{"partial_rotary_factor", 1.0},      {"residual_multiplier", 1.0},
                   {"embedding_multiplier", 1.0},       {"logits_scaling", 1.0},
                   {"final_logit_softcapping", 0.0},    {"attn_logit_softcapping", 0.0},
                   {"query_pre_attn_scalar", head_dim}, {"attention_multiplier", 1.0 / sqrt(head_dim)}};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
        if (!check_neutral(json, path, factors[i].name, factors[i].neutral, failure)) return false;
    return true;
}

bool heads_read_config(heads_config *out, clmla_config *config, const cJSON *json, const char *path, failure *failure) {
    double epsilon;
    clmla_config_init(config);
    if (!check_absent(json, path, failure) ||
        !json_number(&config->hidden_size, json, path, "hidden_size", 1, CLMLA_MAX_DIM, failure) ||
        !json_number(&config->layer_count, json, path, "num_hidden_layers", 1, 65536, failure) ||
        !json_number(&config->context_tokens, json, path, "max_position_embeddings", 1, CLMLA_MAX_CONTEXT, failure) ||
        !json_number(&out->head_count, json, path, "num_attention_heads", 1, CLMLA_MAX_HEADS, failure) ||
        !read_real(&out->rope_theta, json, path, "rope_theta", 10000.0, failure) ||
        !read_real(&epsilon, json, path, "rms_norm_eps", 1e-6, failure))
        return false;
    config->head_count = out->kv_head_count = out->head_count;
    config->rms_norm_eps = (float)epsilon;
    out->head_dim = config->hidden_size / out->head_count;
    if (cJSON_HasObjectItem(json, "num_key_value_heads") &&
        !json_number(&out->kv_head_count, json, path, "num_key_value_heads", 1, out->head_count, failure))
        return false;
    if (cJSON_HasObjectItem(json, "head_dim") &&
        !json_number(&out->head_dim, json, path, "head_dim", 1, CLMLA_MAX_ROPE_DIM, failure))
        return false;
    if (out->head_count % out->kv_head_count)
        return failure_set(failure, "%s: num_attention_heads is %u, no multiple of num_key_value_heads, %u", path,
                           out->head_count, out->kv_head_count);
    if (out->head_dim == 0 || out->head_dim % 16)
        return failure_set(failure, "%s: head_dim is %u: heads of a multiple of 16 are run", path, out->head_dim);
    return check_factors(json, path, out->head_dim, failure);
}

// --- what all layers share -------------------------------------------------------------------------------------------

static bool type_of(clmla_type *out, clmla_row_format format, failure *failure) {
    switch (format) {
    case CLMLA_ROWS_F32:
        return *out = CLMLA_TYPE_F32, true;
    case CLMLA_ROWS_F16:
        return *out = CLMLA_TYPE_F16, true;
    case CLMLA_ROWS_BF16:
        return *out = CLMLA_TYPE_BF16, true;
    default:
        return failure_set(failure, "models of Llama's form keep keys and values in f32, f16 or bf16, not %s",
                           clmla_row_format_name(format));
    }
}

static bool make_table(heads_attention *out, const session *session, const heads_config *config, failure *failure) {
    size_t pairs = config->head_dim / 2, count = out->capacity * pairs * 2;
    float *table = malloc(count * sizeof *table);
    if (!table) return failure_memory(failure);
    for (size_t position = 0; position < out->capacity; position++)
        for (size_t i = 0; i < pairs; i++) {
            double angle = (double)position * pow(config->rope_theta, -(double)i / (double)pairs);
            table[(position * pairs + i) * 2] = (float)cos(angle);
            table[(position * pairs + i) * 2 + 1] = (float)sin(angle);
        }
    bool made = session_buffer(&out->table, session, count * sizeof *table, table, failure);
    free(table);
    return made;
}

bool heads_attention_open(heads_attention *out, const session *session, const heads_config *config,
                          clmla_row_format format, uint32_t capacity, uint32_t step_tokens, failure *failure) {
    *out = (heads_attention){.capacity = capacity};
    baseline_shape shape = {.head_count = config->head_count,
                            .kv_head_count = config->kv_head_count,
                            .key_dim = config->head_dim,
                            .value_dim = config->head_dim,
                            .softmax_scale = 1.0f / sqrtf((float)config->head_dim)};
    uint64_t kv = sizeof(float) * (uint64_t)step_tokens * config->kv_head_count * config->head_dim;
    uint64_t all = sizeof(float) * (uint64_t)step_tokens * config->head_count * config->head_dim;
    return type_of(&shape.type, format, failure) && baseline_attention_open(&out->baseline, session, &shape, failure) &&
           make_table(out, session, config, failure) && session_buffer(&out->q, session, all, NULL, failure) &&
           session_buffer(&out->k, session, kv, NULL, failure) && session_buffer(&out->v, session, kv, NULL, failure) &&
           session_buffer(&out->output, session, all, NULL, failure);
}

void heads_attention_close(heads_attention *attention) {
    cl_mem *buffers[] = {&attention->table, &attention->q, &attention->k, &attention->v, &attention->output};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) baseline_release(buffers[i]);
    baseline_attention_close(&attention->baseline);
    *attention = (heads_attention){0};
}

void heads_layer_close(heads_layer *layer) {
    cl_mem *buffers[] = {&layer->q.values.memory, &layer->k.values.memory, &layer->v.values.memory,
                         &layer->o.values.memory};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) baseline_release(buffers[i]);
    baseline_rows_close(&layer->rows);
}

// --- a step ----------------------------------------------------------------------------------------------------------

bool heads_reserve(const heads_attention *attention, uint32_t count, failure *failure) {
    return count <= attention->capacity - attention->length ||
           failure_set(failure, "the sequence has %u tokens and room for %u, not for %u more", attention->length,
                       attention->capacity, count);
}

static bool project(const session *session, const clmla_matrix *matrix, cl_mem input, cl_mem output, uint32_t rows,
                    failure *failure) {
    const clmla_project_params params = {.matrix = *matrix,
                                         .row_count = rows,
                                         .input = {input, 0},
                                         .input_stride = matrix->columns,
                                         .output = {output, 0},
                                         .output_stride = matrix->rows};
    return clmla_project(session->context, &params, session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

// Rotates queries or keys where they are. Llama's pairs are (i, i + head_dim / 2).
static bool rotate(const heads_attention *attention, cl_mem values, uint32_t heads, uint32_t count, failure *failure) {
    const session *session = attention->baseline.session;
    uint32_t dim = attention->baseline.shape.key_dim;
    const clmla_rope_params params = {.token_count = count,
                                      .head_count = heads,
                                      .rope_dim = dim,
                                      .input = {values, 0},
                                      .input_token_stride = (uint64_t)heads * dim,
                                      .input_head_stride = dim,
                                      .output = {values, 0},
                                      .output_token_stride = (uint64_t)heads * dim,
                                      .output_head_stride = dim,
                                      .table = {attention->table, (uint64_t)attention->length * dim * sizeof(float)},
                                      .table_rows = count,
                                      .input_order = CLMLA_ROPE_HALVES,
                                      .output_order = CLMLA_ROPE_HALVES};
    return clmla_rope(session->context, &params, session->queue, 0, NULL, NULL) == CLMLA_OK || failure_library(failure);
}

bool heads_layer_enqueue(heads_attention *attention, const heads_layer *layer, cl_mem x, cl_mem output, uint32_t count,
                         failure *failure) {
    baseline_attention *baseline = &attention->baseline;
    const session *session = baseline->session;
    return project(session, &layer->q, x, attention->q, count, failure) &&
           project(session, &layer->k, x, attention->k, count, failure) &&
           project(session, &layer->v, x, attention->v, count, failure) &&
           rotate(attention, attention->q, baseline->shape.head_count, count, failure) &&
           rotate(attention, attention->k, baseline->shape.kv_head_count, count, failure) &&
           baseline_append(baseline, &layer->rows, attention->k, attention->v, attention->length, count, failure) &&
           baseline_attend(baseline, &layer->rows, attention->q, count, attention->length + count, attention->output,
                           failure) &&
           project(session, &layer->o, attention->output, output, count, failure);
}
