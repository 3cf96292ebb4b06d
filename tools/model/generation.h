// SPDX-License-Identifier: Apache-2.0
// What clmla generate does with a model: continue a text greedily, or score a file.
#ifndef TOOLS_GENERATION_H
#define TOOLS_GENERATION_H

#include "model.h"
#include <stdio.h>

typedef struct writing {
    const uint8_t *prompt;
    uint32_t length;         // of the prompt; 0 only when a saved text is gone on with
    uint32_t count;          // bytes to write
    uint32_t forks;          // >= 1 sequences that start from one prompt and write the same
    const char *load, *save; // saved caches: the text before the prompt; the whole text afterwards. NULL = none
    FILE *stream;            // each byte goes there at once; NULL = nowhere
} writing;

typedef struct continuation {
    uint8_t *bytes; // [count], to be freed
    uint32_t count;
    double prefill_seconds;  // the prompt, in steps of MODEL_STEP_TOKENS
    double decode_seconds;   // one token a step: count - 1 of them, as the prompt's last step gives the first
    clmla_cache_usage usage; // when the last byte was written
} continuation;

// Continues a text by `count` bytes, each the likeliest. With forks each sequence writes for itself, by turns; answers
// false if one of them writes something else. The cache keeps token ids if a text is loaded or saved.
bool generation_continue(continuation *out, model *model, const writing *what, failure *failure);

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
