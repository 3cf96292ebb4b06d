// SPDX-License-Identifier: Apache-2.0
// A reference case: a folder with an attention model's config and weights, inputs, and what an independent
// implementation made of them. tests/data/README.md says what each file holds.
#ifndef TOOLS_REFERENCE_CASE_H
#define TOOLS_REFERENCE_CASE_H

#include "failure.h"
#include <stdint.h>

typedef struct reference_case {
    clmla_config config;
    char *weights_path;
    clmla_checkpoint *file;               // reference.safetensors
    clmla_rope_order stored_order;        // of the tensors layers.N.k_pe
    uint32_t layer_count;                 // layers with a reference
    uint32_t sequence_count, token_count; // B sequences of T tokens each
    float *hidden_states;                 // [B][T][hidden]
    int32_t *positions;                   // [B][T]
} reference_case;

// config_path NULL = the folder's config.json.
bool reference_case_open(reference_case *out, const char *folder, const char *config_path, failure *failure);
void reference_case_close(reference_case *reference);

// Expected values of one layer, f32, to be freed: [B][T][hidden], [B][T][L], and [B][T][R] in the order asked for.
bool reference_case_output(float **out, const reference_case *reference, uint32_t layer, failure *failure);
bool reference_case_latent(float **out, const reference_case *reference, uint32_t layer, failure *failure);
bool reference_case_k_pe(float **out, const reference_case *reference, uint32_t layer, clmla_rope_order order,
                         failure *failure);

#endif
