// SPDX-License-Identifier: Apache-2.0
// Runs the layers of a reference case over a cache and compares what comes out.
#ifndef TOOLS_VERIFY_RUN_H
#define TOOLS_VERIFY_RUN_H

#include "difference.h"
#include "reference_case.h"
#include "session.h"

typedef struct verify_choice {
    clmla_row_format format;
    clmla_rope_order rope_order; // of the cache
    clmla_type weights;          // CLMLA_TYPE_NONE = as stored
    uint32_t chunk;              // tokens of each sequence a step; 0 = all at once
    uint32_t page_tokens;        // 0 = contiguous: one page a sequence
    bool outputs_only;           // latent and k_pe are not read back
    clmla_compute compute;
    clmla_prefill prefill;
    const char *attend_variant; // NULL = the plan's choice
    uint64_t outlier_seed;      // not 0: the layers get outliers in their latents (outlier_layer.h)
} verify_choice;

typedef struct verify_layer {
    difference output, latent, k_pe;
} verify_layer;

// Largest rel_l2 a format may show. Latent and k_pe are what the cache holds; the output also sums over it.
double verify_output_bar(clmla_row_format format, clmla_compute compute);
double verify_rows_bar(clmla_row_format format);

// New tokens of a sequence in a step, but for the last one.
uint32_t verify_step_tokens(const reference_case *reference, const verify_choice *choice);

// How the steps were attended.
typedef struct verify_way {
    const char *attend_variant; // of the tokens that were not reconstructed; a constant
    uint64_t reconstructed;     // tokens of all steps that were attended by reconstructed keys
} verify_way;

// Fills layers[0 .. reference->layer_count), and *way, which may be NULL.
bool verify_run(verify_layer *layers, verify_way *way, const session *session, const reference_case *reference,
                const verify_choice *choice, failure *failure);

#endif
