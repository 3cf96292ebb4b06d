// SPDX-License-Identifier: Apache-2.0
// The layer around a case's heads: the dimensions of DeepSeek-V2-Lite up to 32 heads, of DeepSeek-V3 above.
#ifndef TOOLS_BENCH_MODEL_H
#define TOOLS_BENCH_MODEL_H

#include "bench.h"

// DeepSeek's head: N values without rotary embedding in a query, V in a value.
#define BENCH_NOPE_DIM 128
#define BENCH_VALUE_DIM 128

uint32_t bench_hidden_size(uint32_t heads);
uint32_t bench_q_lora_rank(uint32_t heads); // 0 = none

// A config of those dimensions with default rotary embedding, for contexts of `tokens`.
clmla_config bench_config(const bench_case *bench, uint32_t tokens);

// Cosines and sines for positions 0 .. count-1 on the device.
bool bench_rope_table(cl_mem *out, const session *session, const bench_case *bench, uint32_t count, failure *failure);

#endif
