// SPDX-License-Identifier: Apache-2.0
// Several sequences decoded step by step through a layer, each step checked against the reference: first the rows that
// were written, then the output over the rows as stored.
#ifndef LAYER_SESSION_H
#define LAYER_SESSION_H

#include "tests/layer/layer_model.h"

#define SESSION_SEQUENCES 3
#define SESSION_TOKENS_MAX 256 // of a sequence

typedef struct session_shape {
    clmla_row_format format;
    clmla_rope_order order; // of the cache
    uint32_t page_tokens, page_count;
    uint32_t split_tokens;
    int32_t first_position; // 0 = positions are left to the library
} session_shape;

typedef struct layer_session {
    const layer_model *model;
    session_shape shape;
    clmla_context *context;
    clmla_layer *layer;
    clmla_cache *cache;
    clmla_plan *plan;
    clmla_sequence sequences[SESSION_SEQUENCES];
    uint32_t lengths[SESSION_SEQUENCES];
    test_random random;
    // Of the step under way:
    uint32_t tokens, query_tokens[SESSION_SEQUENCES];
    test_buffer input, output;
    test_run run; // clmla_layer_enqueue of the step
} layer_session;

void layer_session_open(layer_session *out, const layer_model *model, clmla_context *context,
                        const session_shape *shape);
void layer_session_close(layer_session *session);

// Begins a step of so many new tokens each, in the order of `sequences`: input made, rows reserved, plan updated on
// `queue`.
void layer_session_begin(layer_session *session, const uint32_t new_tokens[SESSION_SEQUENCES], cl_command_queue queue);
// Checks rows and output (in `found`) of the step under way and ends it.
void layer_session_check(layer_session *session);
void layer_session_end(layer_session *session);

#endif
