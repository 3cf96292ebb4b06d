// SPDX-License-Identifier: Apache-2.0
// The lists of variants, each operation's in order of preference.
#include "lib/kernels.h"
#include "lib/variant_parts.h"

#define NAIVE(operation)                                                                                               \
    { "naive", VARIANT_NAIVE, &clmla_source_##operation##_naive, variant_accept_all, HOST_INSTRUCTION_NONE, NULL }
#define VECTOR(operation, refusal)                                                                                     \
    { "vector", VARIANT_VECTOR, &clmla_source_##operation##_vector, refusal, HOST_INSTRUCTION_NONE, NULL }
#define VECTOR_MANY(operation, refusal)                                                                                \
    {                                                                                                                  \
        "vector_many", VARIANT_VECTOR_MANY, &clmla_source_##operation##_vector_many, refusal, HOST_INSTRUCTION_NONE,   \
            NULL                                                                                                       \
    }
#define GROUP_LIMITED(operation, refusal, explanation)                                                                 \
    { "group", VARIANT_GROUP, &clmla_source_##operation##_group, refusal, HOST_INSTRUCTION_NONE, explanation }
#define GROUP(operation) GROUP_LIMITED(operation, variant_refuse_group, variant_explain_group)
#define GROUP_ROW(operation) GROUP_LIMITED(operation, variant_refuse_row_group, variant_explain_row_group)
#define INT16_DOT(operation, refusal)                                                                                  \
    { "int16_dot", VARIANT_INT16_DOT, &clmla_source_##operation##_int16_dot, refusal, HOST_INSTRUCTION_INT16_DOT, NULL }
#define INT8_DOT(operation, refusal)                                                                                   \
    { "int8_dot", VARIANT_INT8_DOT, &clmla_source_##operation##_int8_dot, refusal, HOST_INSTRUCTION_INT8_DOT, NULL }
#define BF16_DOT(operation, refusal)                                                                                   \
    { "bf16_dot", VARIANT_BF16_DOT, &clmla_source_##operation##_bf16_dot, refusal, HOST_INSTRUCTION_BF16_DOT, NULL }
#define AMX(operation, refusal)                                                                                        \
    { "amx", VARIANT_AMX, &clmla_source_##operation##_amx, refusal, HOST_INSTRUCTION_AMX_BF16, NULL }

static const variant lists[CLMLA_OPERATION_COUNT][VARIANTS_MAX] = {
    [CLMLA_OP_PROJECT] = {{"clblast", VARIANT_CLBLAST, NULL, variant_refuse_clblast, HOST_INSTRUCTION_NONE, NULL},
                          VECTOR_MANY(project, variant_refuse_project_vector_many),
                          VECTOR(project, variant_refuse_unless_cpu),
                          {"tile", VARIANT_TILE, &clmla_source_project_tile, variant_refuse_project_tile,
                           HOST_INSTRUCTION_NONE, NULL},
                          GROUP(project),
                          NAIVE(project)},
    [CLMLA_OP_RMS_NORM] = {VECTOR(rms_norm, variant_refuse_unless_cpu), GROUP(rms_norm), NAIVE(rms_norm)},
    [CLMLA_OP_ROPE] = {VECTOR(rope, variant_refuse_unless_cpu), GROUP(rope), NAIVE(rope)},
    [CLMLA_OP_APPEND] = {VECTOR(append, variant_refuse_unless_cpu), GROUP_ROW(append), NAIVE(append)},
    [CLMLA_OP_ABSORB] = {VECTOR(absorb, variant_refuse_unless_cpu), GROUP(absorb), NAIVE(absorb)},
    [CLMLA_OP_ATTEND] = {AMX(attend, variant_refuse_attend_amx),
                         INT8_DOT(attend, variant_refuse_attend_int8_dot),
                         BF16_DOT(attend, variant_refuse_attend_bf16_dot),
                         INT16_DOT(attend, variant_refuse_attend_int16_dot),
                         VECTOR(attend, variant_refuse_attend_vector),
                         {"wgmma", VARIANT_WGMMA, &clmla_source_attend_wgmma, variant_refuse_attend_wgmma,
                          HOST_INSTRUCTION_WGMMA_PORTABLE, NULL},
                         {"matrix_ring", VARIANT_MATRIX_RING, &clmla_source_attend_matrix_ring,
                          variant_refuse_attend_ring, HOST_INSTRUCTION_RING_PORTABLE, NULL},
                         {"matrix", VARIANT_MATRIX, &clmla_source_attend_matrix, variant_refuse_attend_matrix,
                          HOST_INSTRUCTION_MATRIX_PORTABLE, NULL},
                         {"tile", VARIANT_TILE, &clmla_source_attend_tile, variant_refuse_attend_tile,
                          HOST_INSTRUCTION_NONE, variant_explain_attend_tile},
                         NAIVE(attend)},
    [CLMLA_OP_ATTEND_HEADS] = {VECTOR(attend_heads, variant_refuse_attend_heads_vector),
                               {"matrix", VARIANT_MATRIX, &clmla_source_attend_heads_matrix,
                                variant_refuse_attend_heads_matrix, HOST_INSTRUCTION_MATRIX_PORTABLE, NULL},
                               {"tile", VARIANT_TILE, &clmla_source_attend_heads_tile, variant_refuse_attend_heads_tile,
                                HOST_INSTRUCTION_NONE, variant_explain_attend_heads_tile},
                               NAIVE(attend_heads)},
    [CLMLA_OP_MERGE] = {VECTOR(merge, variant_refuse_unless_cpu), GROUP(merge), NAIVE(merge)},
    [CLMLA_OP_PLAN] = {GROUP_LIMITED(plan, variant_refuse_plan_group, NULL), NAIVE(plan)},
    [CLMLA_OP_OUTPUT] = {VECTOR(output, variant_refuse_unless_cpu), GROUP(output), NAIVE(output)},
    [CLMLA_OP_GATHER] = {VECTOR(gather, variant_refuse_unless_cpu), GROUP(gather), NAIVE(gather)},
    [CLMLA_OP_COPY_PAGES] = {VECTOR(copy_pages, variant_refuse_unless_cpu), GROUP(copy_pages), NAIVE(copy_pages)},
    [CLMLA_OP_CONVERT_ROWS] = {VECTOR(convert_rows, variant_refuse_unless_cpu), GROUP_ROW(convert_rows),
                               NAIVE(convert_rows)},
    [CLMLA_OP_MOVE_ROWS] = {VECTOR(move_rows, variant_refuse_unless_cpu), GROUP(move_rows), NAIVE(move_rows)},
    [CLMLA_OP_SHIFT] = {VECTOR(shift, variant_refuse_unless_cpu), GROUP(shift), NAIVE(shift)},
};

const variant *variant_list_of(clmla_operation operation) {
    return lists[operation];
}

bool variant_reduces(const variant *variant) {
    return variant->source == &clmla_source_rms_norm_group || variant->source == &clmla_source_append_group ||
           variant->source == &clmla_source_convert_rows_group;
}

static const char *const operation_names[CLMLA_OPERATION_COUNT] = {
    [CLMLA_OP_PROJECT] = "project",     [CLMLA_OP_RMS_NORM] = "rms_norm",     [CLMLA_OP_ROPE] = "rope",
    [CLMLA_OP_APPEND] = "append",       [CLMLA_OP_ABSORB] = "absorb",         [CLMLA_OP_ATTEND] = "attend",
    [CLMLA_OP_MERGE] = "merge",         [CLMLA_OP_OUTPUT] = "output",         [CLMLA_OP_PLAN] = "plan",
    [CLMLA_OP_GATHER] = "gather",       [CLMLA_OP_COPY_PAGES] = "copy_pages", [CLMLA_OP_CONVERT_ROWS] = "convert_rows",
    [CLMLA_OP_MOVE_ROWS] = "move_rows", [CLMLA_OP_SHIFT] = "shift",           [CLMLA_OP_ATTEND_HEADS] = "attend_heads",
};

const char *clmla_operation_name(clmla_operation operation) {
    return (unsigned)operation < CLMLA_OPERATION_COUNT ? operation_names[operation] : "?";
}
