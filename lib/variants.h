// SPDX-License-Identifier: Apache-2.0
// The ordered lists of kernel variants, and the one place where one is chosen (after oneDNN's dispatch lists).
#ifndef LIB_VARIANTS_H
#define LIB_VARIANTS_H

#include "host/instruction.h"
#include "host/source.h"
#include "lib/context.h"
#include <clmla/variants.h>

typedef enum variant_method {
    VARIANT_NAIVE,
    VARIANT_VECTOR,
    VARIANT_VECTOR_MANY, // of project: as vector, for many rows
    VARIANT_INT16_DOT,
    VARIANT_INT8_DOT,
    VARIANT_BF16_DOT,
    VARIANT_AMX,
    VARIANT_CLBLAST,
    VARIANT_GROUP, // the work-items of a group share rows, or a row: lib/group.h
    VARIANT_TILE,
    VARIANT_MATRIX,
    VARIANT_MATRIX_RING,
    VARIANT_WGMMA
} variant_method;

#define VARIANT_REASON_MAX sizeof(((clmla_variant *)0)->reason)

// NULL when the device and shape are served, else why not: a constant.
typedef const char *variant_refusal(const clmla_device_facts *facts, const clmla_shape *shape);
// Says more than that: the figures that made it refuse.
typedef void variant_explanation(char reason[VARIANT_REASON_MAX], const clmla_device_facts *facts,
                                 const clmla_shape *shape);

typedef struct variant {
    const char *name;
    variant_method method;
    const host_source *source; // NULL: no kernel of ours
    variant_refusal *refusal;
    // What its kernel is made of, beyond OpenCL C: tried before it is chosen. MATRIX_PORTABLE: the device's own form of
    // matrix products.
    host_instruction instruction;
    variant_explanation *explain; // NULL where the constant says all
} variant;

// One work-item a group, explicit vectors: for CPU devices.
static inline bool variant_has_vectors(const variant *variant) {
    return variant->method == VARIANT_VECTOR || variant->method == VARIANT_VECTOR_MANY ||
           variant->method == VARIANT_INT16_DOT || variant->method == VARIANT_INT8_DOT ||
           variant->method == VARIANT_BF16_DOT || variant->method == VARIANT_AMX;
}

// A group of work-items shares tiles of rows and keys: plan->tile says which.
static inline bool variant_has_tiles(const variant *variant) {
    return variant->method == VARIANT_TILE || variant->method == VARIANT_MATRIX ||
           variant->method == VARIANT_MATRIX_RING || variant->method == VARIANT_WGMMA;
}

// Its groups reduce: through sub-groups where the device's are right.
bool variant_reduces(const variant *variant);

// Products of matrix units, whose program is another one in exact compute.
static inline bool variant_has_matrix_units(const variant *variant) {
    return variant->method == VARIANT_MATRIX || variant->method == VARIANT_MATRIX_RING ||
           variant->method == VARIANT_WGMMA;
}

// From so many rows on every variant for many rows is chosen where it suits the device. Below, project_vector is as
// fast: it converts weights for 8 rows at a time, and finds them in a core's cache for the next 8.
#define VARIANT_MANY_ROWS 49

// The first variant that accepts, or the one called `name` when name is not NULL.
// Errors: CLMLA_E_ARGUMENT: no variant of that name, or refused, with the reason.
clmla_status variant_choose(const variant **out, clmla_context *context, clmla_operation operation,
                            const clmla_shape *shape, const char *name);

// Asked of each variant that device, shape and instruction allow, in order: whether the device is known to run it
// right.
typedef struct variant_judge {
    // Sets `reason` to why not, or "". Errors: those of finding out.
    clmla_status (*judge)(struct variant_judge *judge, char reason[VARIANT_REASON_MAX], clmla_context *context,
                          const variant *variant);
    bool look_up; // what is known alone: nothing is found out, and what is not known is let pass
    bool proven;  // the variant judged last gave right results
} variant_judge;

// variant_choose with a judge, who may be NULL. Errors: the judge's, too.
clmla_status variant_choose_judged(const variant **out, clmla_context *context, clmla_operation operation,
                                   const clmla_shape *shape, const char *name, variant_judge *judge);

// Asks the judge of every variant that is chosen or may be named, but for what is there for tests alone. Errors: the
// judge's.
clmla_status variant_judge_all(clmla_context *context, clmla_operation operation, const clmla_shape *shape,
                               variant_judge *judge);

// The vector width kernels are built for on this device: 16, 8 or 4.
uint32_t variant_vector_width(const clmla_device_facts *facts);

// 16: such a CPU has 32 vectors, others have 16 (cl/common/vector.clh), and the tiles of kernels are made for either.
static inline bool variant_has_long_vectors(const clmla_device_facts *facts) {
    return variant_vector_width(facts) == 16;
}

#endif
