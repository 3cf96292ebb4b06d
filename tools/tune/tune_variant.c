// SPDX-License-Identifier: Apache-2.0
#include "tune.h"

bool tune_variant(char out[TUNE_VARIANT_MAX], const session *session, const bench_case *bench, failure *failure) {
    clmla_plan_params params = {.head_count = bench->heads, .compute = bench->compute};
    clmla_plan *plan = NULL;
    if (clmla_row_layout_make(&params.layout, bench->rows, CLMLA_ROPE_INTERLEAVED, bench->latent_dim,
                              bench->rope_dim) != CLMLA_OK ||
        clmla_plan_create(&plan, session->context, &params) != CLMLA_OK)
        return failure_library(failure);
    snprintf(out, TUNE_VARIANT_MAX, "%s", clmla_plan_facts_get(plan).attend_variant);
    clmla_plan_destroy(&plan);
    return true;
}
