// SPDX-License-Identifier: Apache-2.0
// What clmla generate does with a model: continue a text greedily, or score a file.
#ifndef TOOLS_GENERATION_H
#define TOOLS_GENERATION_H

#include "model.h"
#include <stdio.h>

typedef struct continuation {
    uint8_t *bytes; // [count], to be freed
    uint32_t count;
    double prefill_seconds; // the prompt, in steps of MODEL_STEP_TOKENS
    double decode_seconds;  // one token a step: count - 1 of them, as the prompt's last step gives the first
} continuation;

// Continues a prompt of length >= 1 by `count` bytes, each the likeliest. Each goes to `stream` at once, unless NULL.
bool generation_continue(continuation *out, model *model, const uint8_t *prompt, uint32_t length, uint32_t count,
                         FILE *stream, failure *failure);

typedef struct score {
    double nats;           // mean −log p of the scored bytes
    uint64_t scored_bytes; // each segment's first byte has no context and is not scored
    uint64_t segments;
    double seconds;
} score;

// Scores bytes in segments of `segment` bytes, each from an empty context.
bool generation_score(score *out, model *model, const uint8_t *bytes, uint64_t length, uint32_t segment,
                      failure *failure);

#endif
