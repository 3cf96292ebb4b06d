// SPDX-License-Identifier: Apache-2.0
// One step of a layer being enqueued.
//   layer_step.c     the step: project, norm, rotate, append, absorb, attend, output
//   layer_prefill.c  what of it is attended by reconstructed keys
#ifndef LIB_LAYER_STEP_H
#define LIB_LAYER_STEP_H

#include "host/launch.h"
#include "lib/layer.h"
#include "lib/operation.h"
#include "lib/plan.h"

// [T][stride] f32 in the workspace, T = tokens.
typedef struct step_rows {
    clmla_buffer memory;
    uint64_t stride;
} step_rows;

// Where keys are reconstructed, a chunk of a prompt's at a time and for some heads at a time.
typedef struct step_chunk {
    uint32_t keys, heads; // at most
    clmla_buffer rows;    // [keys][L + R]: decoded
    clmla_buffer kv;      // [keys][heads][N + V], keys a little apart
    clmla_buffer lse;     // [tokens of a prompt][H], when its keys are several chunks
} step_chunk;

// Everything one step works with. Rows of the workspace, one a token:
//   q_a [q_lora]   q [H·(N+R)]   row [L+R]   heads [H·V]
// and of the tokens that are absorbed alone, one after the other:
//   query [H][L+R]   attended [H][L]
// Where the layer's input matrices are one, so are the rows it writes: q_a, or q, and then row.
typedef struct layer_step {
    const clmla_layer *layer;
    clmla_context *context;
    clmla_plan *plan;
    const clmla_cache *cache;
    uint32_t tokens;
    clmla_buffer input, output;
    step_rows q_a, q, row, query, attended, heads, joint;
    step_chunk chunk;             // with prompts
    attend_neighbours neighbours; // what absorb and output do of attend
} layer_step;

static inline clmla_buffer step_at(step_rows rows, uint64_t elements) {
    return (clmla_buffer){rows.memory.memory, rows.memory.offset + elements * sizeof(float)};
}

// Of so many rows of the workspace, past `end` bytes: `end` moves on, the memory is set later.
step_rows step_place(uint64_t *end, uint64_t rows, uint64_t width);

// Places the chunk that all of the plan's prompts go through.
void layer_prefill_place(layer_step *step, uint64_t *end);
// Attends all prompts of the plan: q, rotated, to heads.
clmla_status layer_prefill_attend(const layer_step *step, const clmla_rows *rows, host_chain *chain);

#endif
