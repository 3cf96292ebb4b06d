// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

enum {
    PRODUCT_USES = BENCH_USES_HEADS | BENCH_USES_QUERIES,
    GATHER_USES = BENCH_USES_TOKENS | BENCH_USES_PAGE,
    APPEND_USES = GATHER_USES | BENCH_USES_QUERIES,
    ATTEND_USES = APPEND_USES | BENCH_USES_HEADS | BENCH_USES_COMPUTE,
    HEADS_USES = BENCH_USES_TOKENS | BENCH_USES_HEADS,
    LAYER_USES = ATTEND_USES | BENCH_USES_WEIGHTS,
    PROMPT_USES = GATHER_USES | BENCH_USES_HEADS | BENCH_USES_WEIGHTS | BENCH_USES_COMPUTE,
};

const bench_operation *bench_operations(size_t *count) {
    static const bench_operation operations[] = {
        {"attend", BENCH_FORMAT_ROWS, ATTEND_USES, bench_attend, CLMLA_OP_ATTEND},
        {"attend_mixed", BENCH_FORMAT_ROWS, ATTEND_USES, bench_attend_mixed, CLMLA_OP_ATTEND},
        {"project", BENCH_FORMAT_WEIGHTS, PRODUCT_USES, bench_part, CLMLA_OP_PROJECT},
        {"absorb", BENCH_FORMAT_WEIGHTS, PRODUCT_USES, bench_part, CLMLA_OP_ABSORB},
        {"output", BENCH_FORMAT_WEIGHTS, PRODUCT_USES, bench_part, CLMLA_OP_OUTPUT},
        {"append", BENCH_FORMAT_ROWS, APPEND_USES, bench_part, CLMLA_OP_APPEND},
        {"gather", BENCH_FORMAT_ROWS, GATHER_USES, bench_part, CLMLA_OP_GATHER},
        {"attend_heads", BENCH_FORMAT_F32, HEADS_USES, bench_part, CLMLA_OP_ATTEND_HEADS},
        {"merge", BENCH_FORMAT_STATES, PRODUCT_USES, bench_part, CLMLA_OP_MERGE},
        {"layer", BENCH_FORMAT_ROWS, LAYER_USES, bench_layer, CLMLA_OP_ATTEND},
        {"layer_replayed", BENCH_FORMAT_ROWS, LAYER_USES, bench_layer_replayed, CLMLA_OP_ATTEND},
        {"prefill", BENCH_FORMAT_ROWS, PROMPT_USES, bench_prefill, CLMLA_OP_ATTEND},
        {"prefill_absorbed", BENCH_FORMAT_ROWS, PROMPT_USES, bench_prefill_absorbed, CLMLA_OP_ATTEND},
        {"prefill_reconstructed", BENCH_FORMAT_ROWS, PROMPT_USES, bench_prefill_reconstructed, CLMLA_OP_ATTEND_HEADS},
    };
    *count = sizeof operations / sizeof operations[0];
    return operations;
}
