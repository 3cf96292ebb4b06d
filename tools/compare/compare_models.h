// SPDX-License-Identifier: Apache-2.0
// clmla compare --models: whole models that differ in their attention, on the same text and device.
#ifndef TOOLS_COMPARE_MODELS_H
#define TOOLS_COMPARE_MODELS_H

#include "model.h"
#include <stddef.h>

#define COMPARE_MOST_MODELS 16

typedef struct compare_models_request {
    const char *folders[COMPARE_MOST_MODELS];
    size_t count;
    const char *text;  // file of held-out bytes; NULL = heldout.bin in the folder that holds the first model's
    const char *cache; // row format
    uint32_t segment;  // bytes scored from an empty context
    bool json;
} compare_models_request;

// Measures all models and prints them.
bool compare_models(const compare_models_request *request, const session *session, failure *failure);

#endif
