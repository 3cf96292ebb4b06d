// SPDX-License-Identifier: Apache-2.0
#include "bench_model.h"
#include <stdlib.h>

#define LITE_HEADS 32

uint32_t bench_hidden_size(uint32_t heads) {
    return heads <= LITE_HEADS ? 2048 : 7168;
}

uint32_t bench_q_lora_rank(uint32_t heads) {
    return heads <= LITE_HEADS ? 0 : 1536;
}

clmla_config bench_config(const bench_case *bench, uint32_t tokens) {
    clmla_config config;
    clmla_config_init(&config);
    config.hidden_size = bench_hidden_size(bench->heads);
    config.head_count = bench->heads ? bench->heads : 1;
    config.layer_count = 1;
    config.kv_lora_rank = bench->latent_dim;
    config.q_lora_rank = bench_q_lora_rank(bench->heads);
    config.qk_nope_head_dim = BENCH_NOPE_DIM;
    config.qk_rope_head_dim = bench->rope_dim;
    config.v_head_dim = BENCH_VALUE_DIM;
    config.context_tokens = tokens;
    return config;
}

bool bench_rope_table(cl_mem *out, const session *session, const bench_case *bench, uint32_t count, failure *failure) {
    clmla_config config = bench_config(bench, count);
    int32_t *positions = malloc((size_t)count * sizeof *positions);
    float *table = malloc((size_t)count * bench->rope_dim * sizeof *table);
    bool made = positions && table;
    if (!made) failure_memory(failure);
    for (uint32_t i = 0; made && i < count; i++) positions[i] = (int32_t)i;
    if (made && clmla_rope_table(table, &config, positions, count, CLMLA_ANGLE_DOUBLE) != CLMLA_OK)
        made = failure_library(failure);
    made = made && session_buffer(out, session, (uint64_t)count * bench->rope_dim * sizeof *table, table, failure);
    free(table);
    free(positions);
    return made;
}
