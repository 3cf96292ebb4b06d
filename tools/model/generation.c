// SPDX-License-Identifier: Apache-2.0
#include "generation.h"
#include "stopwatch.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint8_t likeliest(const float *logits, uint32_t count) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (logits[i] > logits[best]) best = i;
    return (uint8_t)best;
}

// −log of the softmax, in double.
static double surprise(const float *logits, uint32_t count, uint8_t token) {
    double peak = logits[0], sum = 0.0;
    for (uint32_t i = 1; i < count; i++) peak = fmax(peak, logits[i]);
    for (uint32_t i = 0; i < count; i++) sum += exp(logits[i] - peak);
    return peak + log(sum) - logits[token];
}

static void show(uint8_t byte, FILE *stream) {
    if (!stream) return;
    fputc(byte, stream);
    fflush(stream);
}

// --- a text that is gone on with -------------------------------------------------------------------------------------

// A saved sequence but for its last token, which is to be run again: what it says comes from there. *tokens: those it
// had, freed by the caller.
static bool load(clmla_sequence *out, int32_t **tokens, uint32_t *count, model *model, const char *path,
                 failure *failure) {
    size_t sequences, known;
    if (clmla_cache_load(out, 1, &sequences, model->cache, path, model->session->queue, 0, NULL) != CLMLA_OK)
        return failure_library(failure);
    if (sequences != 1) return failure_set(failure, "%s: %zu sequences; a text is one", path, sequences);
    if (clmla_cache_sequence_length(count, model->cache, *out) != CLMLA_OK) return failure_library(failure);
    *tokens = calloc(*count + 1u, sizeof **tokens);
    if (!*tokens) return failure_memory(failure);
    if (clmla_cache_sequence_tokens(*tokens, *count, &known, model->cache, *out) != CLMLA_OK)
        return failure_library(failure);
    if (known < *count || known == 0)
        return failure_set(failure, "%s: %u tokens, of which it says %zu", path, *count, known);
    for (uint32_t i = 0; i < *count; i++)
        if ((*tokens)[i] < 0 || (*tokens)[i] >= 256)
            return failure_set(failure, "%s: token %u is %d, which is no byte", path, i, (int)(*tokens)[i]);
    return clmla_cache_sequence_truncate(model->cache, *out, *count - 1) == CLMLA_OK || failure_library(failure);
}

// `text` is what was run since the sequence was made or loaded: its rows are there, its ids are told now.
static bool save(model *model, clmla_sequence sequence, const uint8_t *text, uint32_t length, const char *path,
                 failure *failure) {
    int32_t *ids = calloc(length + 1u, sizeof *ids);
    if (!ids) return failure_memory(failure);
    for (uint32_t i = 0; i < length; i++) ids[i] = text[i];
    bool told = clmla_cache_commit_tokens(model->cache, sequence, ids, length) == CLMLA_OK;
    free(ids);
    return (told && clmla_cache_save(model->cache, &sequence, 1, path, model->session->queue, 0, NULL) == CLMLA_OK) ||
           failure_library(failure);
}

// --- writing --------------------------------------------------------------------------------------------------------

// What is run: the end of a loaded text, the prompt, and then what is written.
typedef struct text {
    uint8_t *bytes;
    uint32_t length; // of what is to be run before the first new byte
    clmla_sequence *sequences;
    float *logits; // [forks][vocab]
} text;

static bool open_text(text *out, model *model, const writing *what, failure *failure) {
    int32_t *loaded = NULL;
    uint32_t count = 0;
    out->bytes = malloc((size_t)what->length + what->count + 1);
    out->sequences = calloc(what->forks, sizeof *out->sequences);
    out->logits = calloc((size_t)what->forks * model->vocab_size, sizeof *out->logits);
    bool done = (out->bytes && out->sequences && out->logits) || failure_memory(failure);
    if (done && what->load)
        done = load(&out->sequences[0], &loaded, &count, model, what->load, failure);
    else if (done)
        done = model_sequence_create(&out->sequences[0], model, failure);
    if (done && what->load) out->bytes[out->length++] = (uint8_t)loaded[count - 1];
    for (uint32_t i = 0; done && i < what->length; i++) out->bytes[out->length++] = what->prompt[i];
    free(loaded);
    return done;
}

static bool fork_all(text *text, model *model, uint32_t forks, failure *failure) {
    for (uint32_t i = 1; i < forks; i++) {
        if (clmla_cache_sequence_fork(&text->sequences[i], model->cache, text->sequences[0]) != CLMLA_OK)
            return failure_library(failure);
        memcpy(text->logits + (size_t)i * model->vocab_size, text->logits, model->vocab_size * sizeof *text->logits);
    }
    return true;
}

// The forks' next bytes, which are one.
static bool choose(uint8_t *out, const text *text, const model *model, const writing *what, uint32_t index,
                   failure *failure) {
    *out = likeliest(text->logits, model->vocab_size);
    for (uint32_t i = 1; i < what->forks; i++)
        if (likeliest(text->logits + (size_t)i * model->vocab_size, model->vocab_size) != *out)
            return failure_set(failure, "fork %u writes another byte %u than the first sequence", i, index);
    return true;
}

static bool step_all(text *text, model *model, uint32_t forks, uint8_t byte, failure *failure) {
    for (uint32_t i = 0; i < forks; i++)
        if (!model_step(text->logits + (size_t)i * model->vocab_size, model, text->sequences[i], &byte, 1, 1, failure))
            return false;
    return true;
}

static bool decode(continuation *out, text *text, model *model, const writing *what, failure *failure) {
    for (;;) {
        uint8_t next;
        if (!choose(&next, text, model, what, out->count, failure)) return false;
        out->bytes[out->count++] = next;
        show(next, what->stream);
        if (out->count == what->count) return true;
        if (!step_all(text, model, what->forks, next, failure)) return false;
    }
}

static bool write_text(continuation *out, text *text, model *model, const writing *what, failure *failure) {
    double begin = stopwatch_now();
    if (!open_text(text, model, what, failure) ||
        !model_feed(text->logits, model, text->sequences[0], text->bytes, text->length, failure) ||
        !fork_all(text, model, what->forks, failure))
        return false;
    double filled = stopwatch_now();
    if (!decode(out, text, model, what, failure)) return false;
    out->prefill_seconds = filled - begin;
    out->decode_seconds = stopwatch_now() - filled;
    out->usage = model_usage(model);
    if (!what->save) return true;
    memcpy(text->bytes + text->length, out->bytes, out->count);
    return model_step(text->logits, model, text->sequences[0], &out->bytes[out->count - 1], 1, 1, failure) &&
           save(model, text->sequences[0], text->bytes, text->length + out->count, what->save, failure);
}

bool generation_continue(continuation *out, model *model, const writing *what, failure *failure) {
    text text = {0};
    *out = (continuation){.bytes = malloc(what->count)};
    bool done = out->bytes ? write_text(out, &text, model, what, failure) : failure_memory(failure);
    if (!done && out->count > 0) show('\n', what->stream); // what went wrong begins a line
    free(text.bytes);
    free(text.sequences);
    free(text.logits);
    return done;
}

// One segment: every position's logits score the byte that follows it.
static bool score_segment(score *out, float *logits, model *model, const uint8_t *bytes, uint32_t length,
                          failure *failure) {
    clmla_sequence sequence;
    if (!model_sequence_create(&sequence, model, failure)) return false;
    for (uint32_t first = 0; first + 1 < length; first += MODEL_STEP_TOKENS) {
        uint32_t left = length - 1 - first, count = left < MODEL_STEP_TOKENS ? left : MODEL_STEP_TOKENS;
        if (!model_step(logits, model, sequence, bytes + first, count, count, failure)) return false;
        for (uint32_t i = 0; i < count; i++)
            out->nats += surprise(logits + (size_t)i * model->vocab_size, model->vocab_size, bytes[first + i + 1]);
        out->scored_bytes += count;
    }
    out->segments++;
    return model_sequence_drop(model, sequence, failure);
}

bool generation_score(score *out, model *model, const uint8_t *bytes, uint64_t length, uint32_t segment,
                      failure *failure) {
    *out = (score){0};
    float *logits = calloc((size_t)MODEL_STEP_TOKENS * model->vocab_size, sizeof *logits);
    bool done = logits || failure_memory(failure);
    double begin = stopwatch_now();
    for (uint64_t first = 0; done && length - first > 1; first += segment) {
        uint32_t count = length - first < segment ? (uint32_t)(length - first) : segment;
        done = score_segment(out, logits, model, bytes + first, count, failure);
        if (length - first <= segment) break;
    }
    out->seconds = stopwatch_now() - begin;
    out->nats /= (double)out->scored_bytes;
    free(logits);
    return done;
}
