// SPDX-License-Identifier: Apache-2.0
#include "json_input.h"
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- config.json -----------------------------------------------------------------------------------------------------

// A model with experts has them in every layer from first_k_dense_replace on.
static bool check_dense(const cJSON *json, const char *path, uint32_t layer_count, failure *failure) {
    const cJSON *experts = cJSON_GetObjectItemCaseSensitive(json, "n_routed_experts");
    const cJSON *dense = cJSON_GetObjectItemCaseSensitive(json, "first_k_dense_replace");
    if (!cJSON_IsNumber(experts) || experts->valuedouble < 1) return true;
    if (cJSON_IsNumber(dense) && dense->valuedouble >= layer_count) return true;
    return failure_set(failure,
                       "%s: n_routed_experts is %.0f and first_k_dense_replace is less than num_hidden_layers: "
                       "mixture-of-experts models are not supported by generate",
                       path, experts->valuedouble);
}

static bool read_fields(model *out, const cJSON *json, const char *path, failure *failure) {
    const cJSON *activation = cJSON_GetObjectItemCaseSensitive(json, "hidden_act");
    const char *name = cJSON_IsString(activation) ? activation->valuestring : "silu";
    out->tied_embeddings = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "tie_word_embeddings"));
    if (!json_number(&out->vocab_size, json, path, "vocab_size", 1, INT32_MAX, failure) ||
        !json_number(&out->intermediate_size, json, path, "intermediate_size", 1, INT32_MAX, failure))
        return false;
    if (out->vocab_size != 256)
        return failure_set(failure,
                           "%s: vocab_size is %u: generate has no tokenizer and runs models over bytes (256) alone",
                           path, out->vocab_size);
    if (strcmp(name, "silu") != 0)
        return failure_set(failure, "%s: hidden_act is \"%s\", expected \"silu\"", path, name);
    if (out->config.layer_count == 0) return failure_set(failure, "%s: num_hidden_layers is missing", path);
    return check_dense(json, path, out->config.layer_count, failure);
}

bool model_read_config(model *out, const char *folder, failure *failure) {
    cJSON *json = NULL;
    *out = (model){0};
    char *path = path_join(folder, "config.json");
    if (!path) return failure_memory(failure);
    bool read =
        json_read(&json, path, failure) &&
        (heads_is_llama(json) ? heads_read_config(&out->heads, &out->config, json, path, failure)
                              : clmla_config_load(&out->config, folder) == CLMLA_OK || failure_library(failure)) &&
        read_fields(out, json, path, failure);
    cJSON_Delete(json);
    free(path);
    return read;
}

// --- weights --------------------------------------------------------------------------------------------------------

// A tensor of shape [rows][columns], or [columns] when rows is 0, of a float type.
static bool find(clmla_tensor *out, const clmla_checkpoint *file, const char *name, uint32_t rows, uint32_t columns,
                 failure *failure) {
    if (clmla_checkpoint_find(out, file, name) != CLMLA_OK) return failure_library(failure);
    bool fits = rows ? out->rank == 2 && out->shape[0] == rows && out->shape[1] == columns
                     : out->rank == 1 && out->shape[0] == columns;
    if (!fits) {
        char wanted[32] = "";
        if (rows) snprintf(wanted, sizeof wanted, "%u, ", rows);
        return failure_set(failure, "%s: tensor %s has rank %u and %llu elements, expected shape [%s%u]", out->file,
                           name, out->rank, (unsigned long long)out->element_count, wanted, columns);
    }
    if (out->type == CLMLA_TYPE_F32 || out->type == CLMLA_TYPE_F16 || out->type == CLMLA_TYPE_BF16) return true;
    return failure_set(failure, "%s: tensor %s is %s: generate takes f32, f16 and bf16", out->file, name,
                       clmla_type_name(out->type));
}

// Widened to f32 on the device.
static bool load_f32(cl_mem *out, const model *model, const clmla_checkpoint *file, const char *name, uint32_t rows,
                     uint32_t columns, failure *failure) {
    clmla_tensor tensor;
    if (!find(&tensor, file, name, rows, columns, failure)) return false;
    float *values = malloc((size_t)tensor.element_count * sizeof *values);
    if (!values) return failure_memory(failure);
    bool loaded = clmla_tensor_to_f32(values, &tensor) == CLMLA_OK
                      ? session_buffer(out, model->session, tensor.element_count * sizeof *values, values, failure)
                      : failure_library(failure);
    free(values);
    return loaded;
}

static bool load_matrix(clmla_matrix *out, const model *model, const clmla_checkpoint *file, const char *name,
                        uint32_t rows, uint32_t columns, failure *failure) {
    clmla_tensor tensor;
    if (!find(&tensor, file, name, rows, columns, failure)) return false;
    *out = (clmla_matrix){.type = tensor.type, .rows = rows, .columns = columns, .row_stride = columns};
    return session_buffer(&out->values.memory, model->session, tensor.bytes, tensor.data, failure);
}

// The attention of a layer of Llama's form.
static bool load_heads(model *model, const clmla_checkpoint *file, uint32_t index, failure *failure) {
    static const char *const parts[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
    heads_layer *layer = &model->layers[index].heads;
    uint32_t hidden = model->config.hidden_size, all = model->heads.head_count * model->heads.head_dim;
    uint32_t kv = model->heads.kv_head_count * model->heads.head_dim;
    const struct {
        clmla_matrix *matrix;
        uint32_t rows, columns;
    } matrices[] = {
        {&layer->q, all, hidden}, {&layer->k, kv, hidden}, {&layer->v, kv, hidden}, {&layer->o, hidden, all}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%u.self_attn.%s.weight", index, parts[i]);
        if (!load_matrix(matrices[i].matrix, model, file, name, matrices[i].rows, matrices[i].columns, failure))
            return false;
    }
    return true;
}

static bool load_attention(model *model, const clmla_checkpoint *file, uint32_t index, failure *failure) {
    if (model->heads.head_count) return load_heads(model, file, index, failure);
    return clmla_layer_load_from(&model->layers[index].attention, model->session->context, &model->config, file, index,
                                 NULL) == CLMLA_OK ||
           failure_library(failure);
}

static bool load_layer(model *model, const clmla_checkpoint *file, uint32_t index, failure *failure) {
    enum { INPUT_NORM, POST_NORM, GATE, UP, DOWN, COUNT };
    static const char *const parts[COUNT] = {"input_layernorm", "post_attention_layernorm", "mlp.gate_proj",
                                             "mlp.up_proj", "mlp.down_proj"};
    char names[COUNT][96];
    for (int i = 0; i < COUNT; i++) snprintf(names[i], sizeof names[i], "model.layers.%u.%s.weight", index, parts[i]);
    model_layer *layer = &model->layers[index];
    uint32_t hidden = model->config.hidden_size, wide = model->intermediate_size;
    return load_attention(model, file, index, failure) &&
           load_f32(&layer->input_norm, model, file, names[INPUT_NORM], 0, hidden, failure) &&
           load_f32(&layer->post_norm, model, file, names[POST_NORM], 0, hidden, failure) &&
           load_matrix(&layer->gate, model, file, names[GATE], wide, hidden, failure) &&
           load_matrix(&layer->up, model, file, names[UP], wide, hidden, failure) &&
           load_matrix(&layer->down, model, file, names[DOWN], hidden, wide, failure);
}

static bool load_weights(model *model, const clmla_checkpoint *file, failure *failure) {
    uint32_t hidden = model->config.hidden_size;
    const char *embedding = "model.embed_tokens.weight";
    model->layers = calloc(model->config.layer_count, sizeof *model->layers);
    if (!model->layers) return failure_memory(failure);
    bool loaded = load_f32(&model->embedding, model, file, embedding, model->vocab_size, hidden, failure) &&
                  load_f32(&model->final_norm, model, file, "model.norm.weight", 0, hidden, failure) &&
                  load_matrix(&model->lm_head, model, file, model->tied_embeddings ? embedding : "lm_head.weight",
                              model->vocab_size, hidden, failure);
    for (uint32_t i = 0; loaded && i < model->config.layer_count; i++) loaded = load_layer(model, file, i, failure);
    return loaded;
}

// --- the whole ------------------------------------------------------------------------------------------------------

// Llama's form: one sequence in every layer, as long as the pages would hold.
static bool open_heads(model *model, const model_cache *cache, failure *failure) {
    uint64_t capacity = cache->page_tokens * cache->page_count;
    if (capacity > CLMLA_MAX_CONTEXT)
        return failure_set(failure, "%llu tokens are too many for one sequence", (unsigned long long)capacity);
    if (!heads_attention_open(&model->heads_attention, model->session, &model->heads, cache->format, (uint32_t)capacity,
                              MODEL_STEP_TOKENS, failure))
        return false;
    for (uint32_t i = 0; i < model->config.layer_count; i++)
        if (!baseline_rows_open(&model->layers[i].heads.rows, &model->heads_attention.baseline, (uint32_t)capacity,
                                failure))
            return false;
    return true;
}

static bool open_cache(model *model, const model_cache *cache, failure *failure) {
    if (model->heads.head_count) return open_heads(model, cache, failure);
    clmla_cache_params params = {.format = cache->format,
                                 .page_tokens = cache->page_tokens,
                                 .page_count = cache->page_count,
                                 .share_prefixes = cache->keep_tokens};
    if (clmla_cache_create(&model->cache, model->session->context, &model->config, &params) != CLMLA_OK)
        return failure_library(failure);
    // Prompts are few steps: most decode a token.
    if (!session_plan(&model->plan, model->session, &model->config, model->cache, 1, cache->compute, CLMLA_PREFILL_AUTO,
                      NULL, failure))
        return false;
    // All layers have one shape: after this no step compiles an attention kernel.
    return clmla_layer_prepare(model->layers[0].attention, model->cache, model->session->queue) == CLMLA_OK ||
           failure_library(failure);
}

bool model_open(model *model, const session *session, const char *folder, const model_cache *cache, failure *failure) {
    clmla_checkpoint *file;
    model->session = session;
    if (clmla_checkpoint_open(&file, folder, NULL) != CLMLA_OK) return failure_library(failure);
    bool opened = load_weights(model, file, failure);
    clmla_checkpoint_close(&file);
    return opened && open_cache(model, cache, failure) && model_open_kernels(model, failure);
}

static void release(cl_mem memory) {
    if (memory) clReleaseMemObject(memory);
}

void model_close(model *model) {
    model_close_kernels(model);
    heads_attention_close(&model->heads_attention);
    clmla_plan_destroy(&model->plan);
    clmla_cache_destroy(&model->cache);
    for (uint32_t i = 0; model->layers && i < model->config.layer_count; i++) {
        model_layer *layer = &model->layers[i];
        clmla_layer_destroy(&layer->attention);
        heads_layer_close(&layer->heads);
        release(layer->input_norm);
        release(layer->post_norm);
        release(layer->gate.values.memory);
        release(layer->up.values.memory);
        release(layer->down.values.memory);
    }
    free(model->layers);
    release(model->embedding);
    release(model->final_norm);
    release(model->lm_head.values.memory);
    *model = (struct model){0};
}
