// SPDX-License-Identifier: Apache-2.0
#include "compare_refusal.h"
#include "baseline_group.h"
#include "compare.h"

static bool refuse(compare_row *row, const failure *why) {
    snprintf(row->reason, sizeof row->reason, "%.255s", why->sentence);
    return false;
}

bool compare_fits(compare_row *row, const clmla_device_facts *facts, const uint64_t *buffers, size_t count) {
    failure why = {0};
    uint64_t all = 0;
    for (size_t i = 0; i < count; i++) {
        all += buffers[i];
        if (facts->max_buffer_bytes == 0 || buffers[i] <= facts->max_buffer_bytes) continue;
        failure_set(&why, "it needs a buffer of %llu bytes, and the device's have %llu at most",
                    (unsigned long long)buffers[i], (unsigned long long)facts->max_buffer_bytes);
        return refuse(row, &why);
    }
    if (facts->global_bytes == 0 || all <= facts->global_bytes) return true;
    failure_set(&why, "it needs %llu bytes, and the device has %llu", (unsigned long long)all,
                (unsigned long long)facts->global_bytes);
    return refuse(row, &why);
}

bool compare_has_heads(compare_row *row, const clmla_device_facts *facts, const baseline_shape *shape) {
    baseline_group group;
    failure why = {0};
    return !baseline_group_items(facts) || baseline_group_heads(&group, facts, shape, &why) || refuse(row, &why);
}

bool compare_has_latent(compare_row *row, const clmla_device_facts *facts, const compare_shape *shape) {
    baseline_group group;
    failure why = {0};
    return !baseline_group_items(facts) ||
           baseline_group_latent(&group, facts, shape->heads, shape->latent_dim + shape->rope_dim, shape->latent_dim,
                                 CLMLA_TYPE_F16, &why) ||
           refuse(row, &why);
}
