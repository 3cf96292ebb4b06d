// SPDX-License-Identifier: Apache-2.0
// A sequence's rows read back from the device as f32. Plain formats are decoded here by the layout alone: no code of
// the library takes part, so that what verify compares is what the bytes say. Scaled ones are gathered by the library.
#ifndef TOOLS_CACHE_READBACK_H
#define TOOLS_CACHE_READBACK_H

#include "session.h"

// latent [tokens][L], k_pe [tokens][R], of the sequence's first `tokens` tokens. The queue must be idle.
bool cache_read_back(float *latent, float *k_pe, const clmla_cache *cache, uint32_t layer, clmla_sequence sequence,
                     uint32_t tokens, const session *session, failure *failure);

#endif
