// SPDX-License-Identifier: Apache-2.0
// What the choice of a variant is made of; variants.h is for those who choose.
//   variants.c                 the choice, and what is told of it
//   variant_lists.c            the lists
//   variant_refusals.c         why a variant does not serve a device and shape
//   variant_refusals_attend.c  the same of attend and attend_heads
//   variant_instructions.c     whether what a variant is made of beyond OpenCL C is there, right and pays
#ifndef LIB_VARIANT_PARTS_H
#define LIB_VARIANT_PARTS_H

#include "lib/variants.h"

#define VARIANTS_MAX 10 // of a list

// In order of preference; behind the last one the name is NULL.
const variant *variant_list_of(clmla_operation operation);

// By the facts alone. Constants.
variant_refusal variant_accept_all, variant_refuse_unless_cpu, variant_refuse_clblast;
variant_refusal variant_refuse_project_vector_many, variant_refuse_project_tile;
variant_refusal variant_refuse_group, variant_refuse_plan_group, variant_refuse_row_group;
variant_refusal variant_refuse_attend_vector, variant_refuse_attend_int16_dot, variant_refuse_attend_int8_dot,
    variant_refuse_attend_bf16_dot, variant_refuse_attend_amx;
variant_refusal variant_refuse_attend_tile, variant_refuse_attend_matrix, variant_refuse_attend_ring,
    variant_refuse_attend_wgmma;
variant_refusal variant_refuse_attend_heads_vector, variant_refuse_attend_heads_tile,
    variant_refuse_attend_heads_matrix;

// The figures behind what refused.
variant_explanation variant_explain_group, variant_explain_row_group;
variant_explanation variant_explain_attend_tile, variant_explain_attend_heads_tile;

// Why a variant that the facts accept is for those alone who name it; NULL when it is not. A constant.
const char *variant_refuse_portable(const variant *variant, const clmla_device_facts *facts);
// Why the context's device does not run a variant of a list that its facts accept; NULL when it does: a constant, or
// `reason`. unasked: it must pay too, and more than others that can serve the shape.
const char *variant_refuse_instruction(char reason[VARIANT_REASON_MAX], clmla_context *context, const variant *list,
                                       const variant *variant, const clmla_shape *shape, bool unasked);

#endif
