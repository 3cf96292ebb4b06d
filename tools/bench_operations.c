// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

enum {
    ATTEND_USES = BENCH_USES_HEADS | BENCH_USES_TOKENS | BENCH_USES_QUERIES | BENCH_USES_PAGE,
};

const bench_operation *bench_operations(size_t *count) {
    static const bench_operation operations[] = {
        {"attend", BENCH_FORMAT_ROWS, ATTEND_USES, bench_attend},
        {"attend_mixed", BENCH_FORMAT_ROWS, ATTEND_USES, bench_attend_mixed},
    };
    *count = sizeof operations / sizeof operations[0];
    return operations;
}
