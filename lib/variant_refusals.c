// SPDX-License-Identifier: Apache-2.0
// Of all operations but attention's: why a variant does not serve a device and shape.
#include "host/gemm.h"
#include "lib/group.h"
#include "lib/variant_parts.h"
#include <stdio.h>

// Below this many rows CLBlast's general product does not pay its launches.
#define CLBLAST_LEAST_ROWS 32
#define PROJECT_TILE_LEAST_ROWS 32

const char *variant_accept_all(const clmla_device_facts *facts, const clmla_shape *shape) {
    (void)facts, (void)shape;
    return NULL;
}

const char *variant_refuse_unless_cpu(const clmla_device_facts *facts, const clmla_shape *shape) {
    (void)shape;
    if (!(facts->type & CL_DEVICE_TYPE_CPU)) return "one work-item a group suits CPU devices alone";
    return NULL;
}

const char *variant_refuse_project_vector_many(const clmla_device_facts *facts, const clmla_shape *shape) {
    // So many rows pay a conversion apart, fewer of fp8 weights. Of shorter vectors than 16 floats there are 16
    // registers, and project_vector converts weights for 4 rows at a time, not for 8.
    static const struct {
        uint32_t rows;
        const char *refusal;
    } least[2][2] = {{{VARIANT_MANY_ROWS, "fewer than 49 rows"}, {17, "fewer than 17 rows"}},
                     {{17, "fewer than 17 rows"}, {5, "fewer than 5 rows"}}};
    int short_vectors = !variant_has_long_vectors(facts), fp8 = shape->weights == CLMLA_TYPE_F8_E4M3;
    if (shape->row_count != 0 && shape->row_count < least[short_vectors][fp8].rows)
        return least[short_vectors][fp8].refusal;
    return variant_refuse_unless_cpu(facts, shape);
}

const char *variant_refuse_group(const clmla_device_facts *facts, const clmla_shape *shape) {
    (void)shape;
    return group_size(facts) ? NULL : "needs groups of 32 work-items";
}

void variant_explain_group(char reason[VARIANT_REASON_MAX], const clmla_device_facts *facts, const clmla_shape *shape) {
    (void)shape;
    snprintf(reason, VARIANT_REASON_MAX,
             "needs groups of %u work-items and %u bytes of local memory, the device has %llu and %llu", GROUP_LEAST,
             GROUP_LOCAL_BYTES, (unsigned long long)group_most(facts), (unsigned long long)facts->local_bytes);
}

const char *variant_refuse_plan_group(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (facts->type & CL_DEVICE_TYPE_CPU) return "on a CPU one work-item is faster";
    return variant_refuse_group(facts, shape);
}

const char *variant_refuse_project_tile(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->row_count != 0 && shape->row_count < PROJECT_TILE_LEAST_ROWS)
        return "fewer than 32 rows: most of a tile would be padding";
    return group_tile_choose(facts, 0, 0).group ? NULL : "no tile fits the device: groups of 64 work-items are needed";
}

const char *variant_refuse_row_group(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (!group_size(facts)) return variant_refuse_group(facts, shape);
    uint64_t bytes = group_row_bytes(group_size(facts), shape->latent_dim, shape->rope_dim);
    return facts->local_bytes && bytes > facts->local_bytes ? "a row does not fit local memory" : NULL;
}

void variant_explain_row_group(char reason[VARIANT_REASON_MAX], const clmla_device_facts *facts,
                               const clmla_shape *shape) {
    if (!group_size(facts)) {
        variant_explain_group(reason, facts, shape);
        return;
    }
    snprintf(reason, VARIANT_REASON_MAX,
             "needs %llu bytes of local memory for rows of %u + %u values, the device has %llu",
             (unsigned long long)group_row_bytes(group_size(facts), shape->latent_dim, shape->rope_dim),
             shape->latent_dim, shape->rope_dim, (unsigned long long)facts->local_bytes);
}

const char *variant_refuse_clblast(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (!host_gemm_available()) return "built without CLBlast";
    if (!(facts->type & CL_DEVICE_TYPE_GPU) || facts->type & CL_DEVICE_TYPE_CPU)
        return "on devices other than GPUs our own products are faster";
    if (shape->recorded) return "what CLBlast enqueues cannot be recorded";
    if (shape->weights != CLMLA_TYPE_NONE && shape->weights != CLMLA_TYPE_F32) return "CLBlast takes f32 weights alone";
    if (shape->row_count != 0 && shape->row_count < CLBLAST_LEAST_ROWS) return "fewer than 32 rows";
    return NULL;
}
