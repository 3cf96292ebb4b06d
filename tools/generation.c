// SPDX-License-Identifier: Apache-2.0
#include "generation.h"
#include "stopwatch.h"
#include <math.h>
#include <stdlib.h>

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

static bool prefill(float *logits, model *model, clmla_sequence sequence, const uint8_t *prompt, uint32_t length,
                    failure *failure) {
    for (uint32_t first = 0; first < length; first += MODEL_STEP_TOKENS) {
        uint32_t count = length - first < MODEL_STEP_TOKENS ? length - first : MODEL_STEP_TOKENS;
        if (!model_step(logits, model, sequence, prompt + first, count, 1, failure)) return false;
    }
    return true;
}

static bool decode(continuation *out, float *logits, model *model, clmla_sequence sequence, uint32_t count,
                   FILE *stream, failure *failure) {
    for (;;) {
        uint8_t next = likeliest(logits, model->vocab_size);
        out->bytes[out->count++] = next;
        show(next, stream);
        if (out->count == count) return true;
        if (!model_step(logits, model, sequence, &next, 1, 1, failure)) return false;
    }
}

bool generation_continue(continuation *out, model *model, const uint8_t *prompt, uint32_t length, uint32_t count,
                         FILE *stream, failure *failure) {
    clmla_sequence sequence;
    *out = (continuation){.bytes = malloc(count)};
    float *logits = calloc(model->vocab_size, sizeof *logits);
    bool done = (out->bytes && logits) || failure_memory(failure);
    done = done && model_sequence_create(&sequence, model, failure);
    double begin = stopwatch_now();
    done = done && prefill(logits, model, sequence, prompt, length, failure);
    double filled = stopwatch_now();
    done = done && decode(out, logits, model, sequence, count, stream, failure);
    out->prefill_seconds = filled - begin;
    out->decode_seconds = stopwatch_now() - filled;
    free(logits);
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
