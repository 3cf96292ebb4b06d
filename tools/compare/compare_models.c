// SPDX-License-Identifier: Apache-2.0
#include "compare_models.h"
#include "generation.h"
#include "json_input.h"
#include "json_output.h"
#include "options.h"
#include "stopwatch.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_TOKENS 64
#define TIMED_STEPS 16 // of one token each, from each length on
#define TIMED_RUNS 5   // the fastest counts
#define LENGTHS 3
#define TEXT_LIMIT (1u << 30)

typedef struct measured {
    const char *folder;
    char attention[16]; // "mla", "mha", "gqa", "mqa"
    uint64_t parameters;
    score score;
    uint64_t bytes_per_token;
    uint32_t lengths[LENGTHS]; // tokens cached before the timed steps
    double rates[LENGTHS];     // tokens a second
} measured;

typedef struct text {
    char *bytes;
    size_t length;
} text;

static void name_attention(measured *out, const model *model) {
    const heads_config *heads = &model->heads;
    const char *name = heads->head_count == 0                      ? "mla"
                       : heads->kv_head_count == heads->head_count ? "mha"
                       : heads->kv_head_count == 1                 ? "mqa"
                                                                   : "gqa";
    snprintf(out->attention, sizeof out->attention, "%s", name);
}

// Elements of all tensors of a checkpoint.
static bool count_parameters(uint64_t *out, const char *folder, failure *failure) {
    clmla_checkpoint *file;
    if (clmla_checkpoint_open(&file, folder, NULL) != CLMLA_OK) return failure_library(failure);
    size_t count = clmla_checkpoint_count(file);
    bool done = true;
    *out = 0;
    for (size_t i = 0; done && i < count; i++) {
        clmla_tensor tensor;
        done = clmla_checkpoint_at(&tensor, file, i) == CLMLA_OK || failure_library(failure);
        if (done) *out += tensor.element_count;
    }
    clmla_checkpoint_close(&file);
    return done;
}

// One token a step from `length` on, several times from there.
static bool time_steps(double *rate, float *logits, model *model, clmla_sequence sequence, const uint8_t *bytes,
                       uint32_t length, failure *failure) {
    double shortest = INFINITY;
    for (int run = 0; run < TIMED_RUNS; run++) {
        double begin = stopwatch_now();
        for (uint32_t i = 0; i < TIMED_STEPS; i++)
            if (!model_step(logits, model, sequence, bytes + length + i, 1, 1, failure)) return false;
        shortest = fmin(shortest, stopwatch_now() - begin);
        if (!model_sequence_truncate(model, sequence, length, failure)) return false;
    }
    *rate = TIMED_STEPS / shortest;
    return true;
}

static bool measure_rates(measured *out, model *model, const text *text, failure *failure) {
    clmla_sequence sequence;
    float *logits = malloc(model->vocab_size * sizeof *logits);
    if (!logits) return failure_memory(failure);
    bool done = model_sequence_create(&sequence, model, failure);
    uint32_t filled = 0;
    for (int i = 0; done && i < LENGTHS; i++) {
        const uint8_t *bytes = (const uint8_t *)text->bytes;
        done = model_feed(logits, model, sequence, bytes + filled, out->lengths[i] - filled, failure) &&
               time_steps(&out->rates[i], logits, model, sequence, bytes, out->lengths[i], failure);
        filled = out->lengths[i];
    }
    done = done && model_sequence_drop(model, sequence, failure);
    free(logits);
    return done;
}

// An eighth, a half, and all of the context the model was made for, as far as the text goes.
static uint32_t choose_lengths(measured *out, const model *model, const text *text) {
    uint64_t longest = model->config.context_tokens && model->config.context_tokens < text->length
                           ? model->config.context_tokens
                           : text->length;
    longest = longest > 65536 ? 65536 : longest;
    static const uint32_t parts[LENGTHS] = {8, 2, 1};
    for (int i = 0; i < LENGTHS; i++) {
        uint64_t length = longest / parts[i];
        out->lengths[i] = length > TIMED_STEPS + 1 ? (uint32_t)length - TIMED_STEPS : 1;
    }
    return (uint32_t)longest;
}

static bool run_model(measured *out, model *model, const compare_models_request *request, const session *session,
                      const text *text, failure *failure) {
    model_cache cache = {.page_tokens = PAGE_TOKENS};
    model_bytes bytes;
    if (!model_read_config(model, out->folder, failure) || !option_row_format(&cache.format, request->cache, failure))
        return false;
    uint32_t longest = choose_lengths(out, model, text);
    if (longest < request->segment) longest = request->segment;
    cache.page_count = (longest + PAGE_TOKENS - 1) / PAGE_TOKENS;
    name_attention(out, model);
    if (model->config.context_tokens && request->segment > model->config.context_tokens)
        return failure_set(failure, "max_position_embeddings is %u, and segments take %u", model->config.context_tokens,
                           request->segment);
    if (!count_parameters(&out->parameters, out->folder, failure) ||
        !model_open(model, session, out->folder, &cache, failure) ||
        !model_count_bytes(&bytes, model, cache.format, failure) ||
        !generation_score(&out->score, model, (const uint8_t *)text->bytes, text->length, request->segment, failure))
        return false;
    out->bytes_per_token = bytes.token;
    return measure_rates(out, model, text, failure);
}

static bool measure(measured *out, const compare_models_request *request, const session *session, const text *text,
                    failure *failure) {
    model model = {0};
    struct failure why = {0};
    bool done = run_model(out, &model, request, session, text, &why);
    model_close(&model);
    return done || failure_set(failure, "%s: %s", out->folder, why.sentence);
}

// --- what is printed -------------------------------------------------------------------------------------------------

static void print_table(const compare_models_request *request, const char *device, const measured *models) {
    printf("%s, cache %s, one sequence; nats: mean -log p of held-out bytes in segments of %u\n\n", device,
           request->cache, request->segment);
    printf("%-24s %-9s %11s %10s %15s", "model", "attention", "parameters", "nats/byte", "cache bytes/tok");
    for (int i = 0; i < LENGTHS; i++) printf("  tok/s at %-5u", models[0].lengths[i]);
    printf("\n");
    for (size_t m = 0; m < request->count; m++) {
        const measured *row = &models[m];
        printf("%-24s %-9s %11llu %10.5f %15llu", row->folder, row->attention, (unsigned long long)row->parameters,
               row->score.nats, (unsigned long long)row->bytes_per_token);
        for (int i = 0; i < LENGTHS; i++) printf("  %14.1f", row->rates[i]);
        printf("\n");
    }
}

static cJSON *model_json(const measured *row) {
    cJSON *object = cJSON_CreateObject();
    json_add_text(object, "model", row->folder);
    json_add_text(object, "attention", row->attention);
    cJSON_AddNumberToObject(object, "parameters", (double)row->parameters);
    cJSON_AddNumberToObject(object, "nll", row->score.nats);
    cJSON_AddNumberToObject(object, "scored_bytes", (double)row->score.scored_bytes);
    cJSON_AddNumberToObject(object, "cache_bytes_per_token", (double)row->bytes_per_token);
    cJSON *rates = cJSON_AddArrayToObject(object, "tokens_per_second");
    for (int i = 0; i < LENGTHS; i++) {
        cJSON *rate = cJSON_CreateObject();
        cJSON_AddNumberToObject(rate, "tokens", row->lengths[i]);
        cJSON_AddNumberToObject(rate, "rate", row->rates[i]);
        cJSON_AddItemToArray(rates, rate);
    }
    return object;
}

static bool print_json(const compare_models_request *request, const char *device, const measured *models,
                       failure *failure) {
    cJSON *object = cJSON_CreateObject();
    json_add_text(object, "device", device);
    json_add_text(object, "cache", request->cache);
    cJSON_AddNumberToObject(object, "segment", request->segment);
    cJSON *list = cJSON_AddArrayToObject(object, "models");
    for (size_t i = 0; i < request->count; i++) cJSON_AddItemToArray(list, model_json(&models[i]));
    return json_print(object) || failure_memory(failure);
}

// --- all of it -------------------------------------------------------------------------------------------------------

// Before anything is measured: folders that are no models.
static bool check_folders(const compare_models_request *request, failure *failure) {
    for (size_t i = 0; i < request->count; i++) {
        model model;
        if (!model_read_config(&model, request->folders[i], failure)) return false;
    }
    return true;
}

static bool read_text(text *out, const compare_models_request *request, failure *failure) {
    struct failure why = {0};
    char *beside = request->text ? NULL : path_join(request->folders[0], "../heldout.bin");
    if (!request->text && !beside) return failure_memory(failure);
    bool read = file_read(&out->bytes, &out->length, request->text ? request->text : beside, TEXT_LIMIT, &why);
    free(beside);
    if (!read) failure_set(failure, "%s%s", why.sentence, request->text ? "" : " (give the text to score with --nll)");
    if (!read || out->length >= 256) return read;
    return failure_set(failure, "the held-out text has %zu bytes: at least 256 are needed", out->length);
}

bool compare_models(const compare_models_request *request, const session *session, failure *failure) {
    measured models[COMPARE_MOST_MODELS] = {0};
    text text = {0};
    const char *device = clmla_context_facts(session->context)->name;
    bool done = check_folders(request, failure) && read_text(&text, request, failure);
    for (size_t i = 0; done && i < request->count; i++) {
        models[i].folder = request->folders[i];
        done = measure(&models[i], request, session, &text, failure);
    }
    free(text.bytes);
    if (!done) return false;
    if (request->json) return print_json(request, device, models, failure);
    print_table(request, device, models);
    return true;
}
