// SPDX-License-Identifier: Apache-2.0
#include "lib/variants.h"
#include "host/error.h"
#include "host/gemm.h"
#include "lib/attend_heads_matrix.h"
#include "lib/attend_heads_tile.h"
#include "lib/attend_matrix.h"
#include "lib/attend_matrix_ring.h"
#include "lib/attend_tile.h"
#include "lib/attend_wgmma.h"
#include "lib/group.h"
#include "lib/kernels.h"
#include "lib/proof.h"
#include "lib/tuning.h"
#include <clmla/config.h>
#include <stdio.h>
#include <string.h>

#define VARIANTS_MAX 10
// Below this many rows CLBlast's general product does not pay its launches.
#define CLBLAST_LEAST_ROWS 32
#define PROJECT_TILE_LEAST_ROWS 32
// An instruction by inline assembly that gives less than this is not worth its rounding. Tiles have more around them that is
// no product.
#define INSTRUCTION_LEAST_GAIN 1.25f
#define AMX_LEAST_GAIN 3.0f
// Of q8 rows: measured even at 64 heads.
#define AMX_Q8_LEAST_HEADS 64
// Below so many query heads of one sequence rows become codes for too few products: attend_vector was faster at 4, slower at 5.
#define INT16_LEAST_HEADS 5
// Query heads of one sequence below which most of a tile of 16 rows would be padding.
#define MATRIX_LEAST_HEADS 8
// A row wider than this would make attend_vector's private block larger than a core's second-level cache.
#define ATTEND_VECTOR_WIDEST_ROW 2048
// The same of attend_heads_vector's tile.
#define ATTEND_HEADS_VECTOR_WIDEST 512

static const char *accept_all(const clmla_device_facts *facts, const clmla_shape *shape) {
    (void)facts, (void)shape;
    return NULL;
}

static const char *refuse_unless_cpu(const clmla_device_facts *facts, const clmla_shape *shape) {
    (void)shape;
    if (!(facts->type & CL_DEVICE_TYPE_CPU)) return "one work-item a group suits CPU devices alone";
    return NULL;
}

static const char *refuse_project_vector_many(const clmla_device_facts *facts, const clmla_shape *shape) {
    // So many rows pay a conversion apart, fewer of fp8 weights. Of shorter vectors than 16 floats there are 16 registers, and
    // project_vector converts weights for 4 rows at a time, not for 8.
    static const struct {
        uint32_t rows;
        const char *refusal;
    } least[2][2] = {{{VARIANT_MANY_ROWS, "fewer than 49 rows"}, {17, "fewer than 17 rows"}},
                     {{17, "fewer than 17 rows"}, {5, "fewer than 5 rows"}}};
    int short_vectors = !variant_has_long_vectors(facts), fp8 = shape->weights == CLMLA_TYPE_F8_E4M3;
    if (shape->row_count != 0 && shape->row_count < least[short_vectors][fp8].rows)
        return least[short_vectors][fp8].refusal;
    return refuse_unless_cpu(facts, shape);
}

static const char *refuse_attend_vector(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->latent_dim + shape->rope_dim > ATTEND_VECTOR_WIDEST_ROW)
        return "rows wider than 2048 elements do not fit the block a core keeps in its cache";
    return refuse_unless_cpu(facts, shape);
}

static const char *refuse_attend_heads_vector(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->latent_dim + shape->rope_dim > ATTEND_HEADS_VECTOR_WIDEST ||
        shape->value_dim > ATTEND_HEADS_VECTOR_WIDEST)
        return "keys or values wider than 512 elements do not fit the tile a core keeps in its cache";
    return refuse_unless_cpu(facts, shape);
}

typedef bool tile_choice(attend_tile *out, char reason[ATTEND_TILE_REASON_MAX], const clmla_device_facts *facts,
                         const attend_tile_limits *limits, const attend_tile_shape *shape);

static bool tile_for(tile_choice choice, char reason[ATTEND_TILE_REASON_MAX], const clmla_device_facts *facts,
                     const clmla_shape *shape) {
    attend_tile tile;
    attend_tile_shape of = {.format = shape->format,
                            .latent_dim = shape->latent_dim,
                            .rope_dim = shape->rope_dim,
                            .value_dim = shape->latent_dim + shape->rope_dim, // at most
                            .rows = shape->head_count,
                            .exact = shape->compute == CLMLA_COMPUTE_EXACT};
    return choice(&tile, reason, facts, &(attend_tile_limits){0}, &of);
}

static const char *refuse_attend_tile(const clmla_device_facts *facts, const clmla_shape *shape) {
    char reason[ATTEND_TILE_REASON_MAX];
    return tile_for(attend_tile_choose, reason, facts, shape) ? NULL : "no tile fits the device";
}

static void explain_attend_tile(char reason[VARIANT_REASON_MAX], const clmla_device_facts *facts,
                                const clmla_shape *shape) {
    _Static_assert(VARIANT_REASON_MAX >= ATTEND_TILE_REASON_MAX, "attend_tile's reasons are too long");
    (void)tile_for(attend_tile_choose, reason, facts, shape);
}

static attend_heads_shape heads_shape_of(const clmla_shape *shape) {
    return (attend_heads_shape){shape->latent_dim, shape->rope_dim, shape->value_dim};
}

static void explain_attend_heads_tile(char reason[VARIANT_REASON_MAX], const clmla_device_facts *facts,
                                      const clmla_shape *shape) {
    attend_heads_tile tile;
    attend_heads_shape of = heads_shape_of(shape);
    (void)attend_heads_tile_choose(&tile, reason, facts, &(attend_tile_limits){0}, &of);
}

static const char *refuse_attend_heads_tile(const clmla_device_facts *facts, const clmla_shape *shape) {
    char reason[VARIANT_REASON_MAX];
    explain_attend_heads_tile(reason, facts, shape);
    return reason[0] ? "no tile fits the device" : NULL;
}

static const char *refuse_attend_heads_matrix(const clmla_device_facts *facts, const clmla_shape *shape) {
    char reason[ATTEND_TILE_REASON_MAX];
    attend_heads_matrix tile;
    attend_heads_shape of = heads_shape_of(shape);
    if (shape->compute != CLMLA_COMPUTE_FAST) return "16-bit keys and values are for fast compute";
    return attend_heads_matrix_choose(&tile, reason, facts, &(attend_tile_limits){0}, &of) ? NULL
                                                                                           : "no tile fits the device";
}

static const char *refuse_attend_matrix(const clmla_device_facts *facts, const clmla_shape *shape) {
    char reason[ATTEND_TILE_REASON_MAX];
    if (shape->format != CLMLA_ROWS_F16 && shape->format != CLMLA_ROWS_BF16)
        return "its products are of f16 or bf16 rows";
    if (shape->head_count != 0 && shape->head_count < MATRIX_LEAST_HEADS)
        return "fewer than 8 heads: most of a tile of 16 rows would be padding";
    return tile_for(attend_matrix_choose, reason, facts, shape) ? NULL : "no tile fits the device";
}

// Dot products and tiles of CPUs are so in contexts of tests.
#define PORTABLE_DOT "the context makes its products by OpenCL C, which is for tests alone"
// Matrix products in OpenCL C are for tests, which ask for them by name.
#define PORTABLE_MATRIX "the device has no matrix units known here: in OpenCL C its products are for tests alone"
static const char *refuse_portable(const variant *variant, const clmla_device_facts *facts) {
    if (variant->method == VARIANT_MATRIX_RING && host_ring_find(facts) == HOST_INSTRUCTION_RING_PORTABLE)
        return "its ring is of NVIDIA's GPUs from sm_80 on: in OpenCL C it is for tests alone";
    bool portable = variant->method == VARIANT_WGMMA
                        ? host_wgmma_find(facts) == HOST_INSTRUCTION_WGMMA_PORTABLE
                        : variant->method == VARIANT_MATRIX &&
                              host_matrix_find(facts)->instruction == HOST_INSTRUCTION_MATRIX_PORTABLE;
    return portable ? PORTABLE_MATRIX : NULL;
}

// What tiles share that hold a query's parts as rows of one product.
static const char *refuse_parts_in_tile(const clmla_shape *shape) {
    if (shape->compute == CLMLA_COMPUTE_EXACT && shape->format == CLMLA_ROWS_BF16)
        return "in exact compute its products are of f16 rows: a bf16 query's three parts do not fit its tile";
    if (shape->format != CLMLA_ROWS_F16 && shape->format != CLMLA_ROWS_BF16)
        return "its products are of f16 or bf16 rows";
    if (shape->value_dim != 0 && shape->value_dim != shape->latent_dim) return "values take the rope part in";
    return NULL;
}

static const char *refuse_attend_ring(const clmla_device_facts *facts, const clmla_shape *shape) {
    const char *refusal = refuse_parts_in_tile(shape);
    if (refusal) return refusal;
    if (shape->head_count != 0 && shape->head_count < MATRIX_LEAST_HEADS)
        return "fewer than 8 heads: most of a tile of 32 rows would be padding";
    return attend_ring_refuse(facts, shape->latent_dim, shape->rope_dim);
}

static const char *refuse_attend_wgmma(const clmla_device_facts *facts, const clmla_shape *shape) {
    const char *refusal = refuse_parts_in_tile(shape);
    if (refusal) return refusal;
    return attend_wgmma_refuse(facts, shape->latent_dim, shape->rope_dim);
}

// What the kernels of dot products share.
static const char *refuse_attend_pairs(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->latent_dim % 64 != 0) return "the latent width is no multiple of 64";
    if (shape->value_dim != 0 && shape->value_dim != shape->latent_dim) return "values take the rope part in";
    return refuse_attend_vector(facts, shape);
}

// And those of AVX-512's.
static const char *refuse_attend_dot(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (!variant_has_long_vectors(facts)) return "the device's vectors are not of 16 floats";
    return refuse_attend_pairs(facts, shape);
}

static const char *refuse_attend_int16_dot(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->compute != CLMLA_COMPUTE_FAST) return "16-bit queries, rows and weights are for plans of fast compute";
    if (!facts->has_int16_dot)
        return "the CPU has no vpmaddwd of AVX2, or the driver is not known to take inline assembly";
    if (variant_vector_width(facts) < 8) return "the device's vectors are not of 8 or 16 floats";
    if (shape->head_count != 0 && shape->head_count < INT16_LEAST_HEADS)
        return "fewer than 5 heads: rows would become codes for too few products";
    return refuse_attend_pairs(facts, shape);
}

static const char *refuse_attend_int8_dot(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->compute != CLMLA_COMPUTE_FAST) return "8-bit queries and weights are for plans of fast compute";
    if (shape->format != CLMLA_ROWS_Q8) return "its products are of q8 rows' bytes";
    if (!facts->has_int8_dot) return "the CPU has no vpdpbusd, or the driver is not known to take inline assembly";
    return refuse_attend_dot(facts, shape);
}

static const char *refuse_attend_bf16_dot(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->compute != CLMLA_COMPUTE_FAST) return "bf16 queries and weights are for plans of fast compute";
    if (shape->format != CLMLA_ROWS_BF16) return "its products are of bf16 rows";
    if (!facts->has_bf16_dot) return "the CPU has no vdpbf16ps, or the driver is not known to take inline assembly";
    if (shape->rope_dim % 2 != 0) return "the rope width is odd";
    return refuse_attend_dot(facts, shape);
}

static const char *refuse_group(const clmla_device_facts *facts, const clmla_shape *shape) {
    (void)shape;
    return group_size(facts) ? NULL : "needs groups of 32 work-items";
}

static void explain_group(char reason[VARIANT_REASON_MAX], const clmla_device_facts *facts, const clmla_shape *shape) {
    (void)shape;
    snprintf(reason, VARIANT_REASON_MAX,
             "needs groups of %u work-items and %u bytes of local memory, the device has %llu and %llu", GROUP_LEAST,
             GROUP_LOCAL_BYTES, (unsigned long long)group_most(facts), (unsigned long long)facts->local_bytes);
}

static const char *refuse_plan_group(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (facts->type & CL_DEVICE_TYPE_CPU) return "on a CPU one work-item is faster";
    return refuse_group(facts, shape);
}

static const char *refuse_project_tile(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->row_count != 0 && shape->row_count < PROJECT_TILE_LEAST_ROWS)
        return "fewer than 32 rows: most of a tile would be padding";
    return group_tile_choose(facts, 0, 0).group ? NULL : "no tile fits the device: groups of 64 work-items are needed";
}

static const char *refuse_row_group(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (!group_size(facts)) return refuse_group(facts, shape);
    uint64_t bytes = group_row_bytes(group_size(facts), shape->latent_dim, shape->rope_dim);
    return facts->local_bytes && bytes > facts->local_bytes ? "a row does not fit local memory" : NULL;
}

static void explain_row_group(char reason[VARIANT_REASON_MAX], const clmla_device_facts *facts,
                              const clmla_shape *shape) {
    if (!group_size(facts)) {
        explain_group(reason, facts, shape);
        return;
    }
    snprintf(reason, VARIANT_REASON_MAX,
             "needs %llu bytes of local memory for rows of %u + %u values, the device has %llu",
             (unsigned long long)group_row_bytes(group_size(facts), shape->latent_dim, shape->rope_dim),
             shape->latent_dim, shape->rope_dim, (unsigned long long)facts->local_bytes);
}

static const char *refuse_attend_amx(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->compute != CLMLA_COMPUTE_FAST) return "bf16 queries and weights are for plans of fast compute";
    if (!facts->has_amx_bf16) return "the CPU has no AMX, or the driver is not known to take inline assembly";
    if (shape->rope_dim % 2 != 0) return "the rope width is odd";
    return refuse_attend_dot(facts, shape);
}

static const char *refuse_clblast(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (!host_gemm_available()) return "built without CLBlast";
    if (!(facts->type & CL_DEVICE_TYPE_GPU) || facts->type & CL_DEVICE_TYPE_CPU)
        return "on devices other than GPUs our own products are faster";
    if (shape->recorded) return "what CLBlast enqueues cannot be recorded";
    if (shape->weights != CLMLA_TYPE_NONE && shape->weights != CLMLA_TYPE_F32) return "CLBlast takes f32 weights alone";
    if (shape->row_count != 0 && shape->row_count < CLBLAST_LEAST_ROWS) return "fewer than 32 rows";
    return NULL;
}

#define NAIVE(operation)                                                                                               \
    { "naive", VARIANT_NAIVE, &clmla_source_##operation##_naive, accept_all, HOST_INSTRUCTION_NONE, NULL }
#define VECTOR(operation, refusal)                                                                                     \
    { "vector", VARIANT_VECTOR, &clmla_source_##operation##_vector, refusal, HOST_INSTRUCTION_NONE, NULL }
#define VECTOR_MANY(operation, refusal)                                                                                \
    {                                                                                                                  \
        "vector_many", VARIANT_VECTOR_MANY, &clmla_source_##operation##_vector_many, refusal, HOST_INSTRUCTION_NONE,   \
            NULL                                                                                                       \
    }
#define GROUP_LIMITED(operation, refusal, explanation)                                                                 \
    { "group", VARIANT_GROUP, &clmla_source_##operation##_group, refusal, HOST_INSTRUCTION_NONE, explanation }
#define GROUP(operation) GROUP_LIMITED(operation, refuse_group, explain_group)
#define GROUP_ROW(operation) GROUP_LIMITED(operation, refuse_row_group, explain_row_group)
#define INT16_DOT(operation, refusal)                                                                                  \
    { "int16_dot", VARIANT_INT16_DOT, &clmla_source_##operation##_int16_dot, refusal, HOST_INSTRUCTION_INT16_DOT, NULL }
#define INT8_DOT(operation, refusal)                                                                                   \
    { "int8_dot", VARIANT_INT8_DOT, &clmla_source_##operation##_int8_dot, refusal, HOST_INSTRUCTION_INT8_DOT, NULL }
#define BF16_DOT(operation, refusal)                                                                                   \
    { "bf16_dot", VARIANT_BF16_DOT, &clmla_source_##operation##_bf16_dot, refusal, HOST_INSTRUCTION_BF16_DOT, NULL }
#define AMX(operation, refusal)                                                                                        \
    { "amx", VARIANT_AMX, &clmla_source_##operation##_amx, refusal, HOST_INSTRUCTION_AMX_BF16, NULL }

static const variant lists[CLMLA_OPERATION_COUNT][VARIANTS_MAX] = {
    [CLMLA_OP_PROJECT] = {{"clblast", VARIANT_CLBLAST, NULL, refuse_clblast, HOST_INSTRUCTION_NONE, NULL},
                          VECTOR_MANY(project, refuse_project_vector_many),
                          VECTOR(project, refuse_unless_cpu),
                          {"tile", VARIANT_TILE, &clmla_source_project_tile, refuse_project_tile, HOST_INSTRUCTION_NONE,
                           NULL},
                          GROUP(project),
                          NAIVE(project)},
    [CLMLA_OP_RMS_NORM] = {VECTOR(rms_norm, refuse_unless_cpu), GROUP(rms_norm), NAIVE(rms_norm)},
    [CLMLA_OP_ROPE] = {VECTOR(rope, refuse_unless_cpu), GROUP(rope), NAIVE(rope)},
    [CLMLA_OP_APPEND] = {VECTOR(append, refuse_unless_cpu), GROUP_ROW(append), NAIVE(append)},
    [CLMLA_OP_ABSORB] = {VECTOR(absorb, refuse_unless_cpu), GROUP(absorb), NAIVE(absorb)},
    [CLMLA_OP_ATTEND] = {AMX(attend, refuse_attend_amx),
                         INT8_DOT(attend, refuse_attend_int8_dot),
                         BF16_DOT(attend, refuse_attend_bf16_dot),
                         INT16_DOT(attend, refuse_attend_int16_dot),
                         VECTOR(attend, refuse_attend_vector),
                         {"wgmma", VARIANT_WGMMA, &clmla_source_attend_wgmma, refuse_attend_wgmma,
                          HOST_INSTRUCTION_WGMMA_PORTABLE, NULL},
                         {"matrix_ring", VARIANT_MATRIX_RING, &clmla_source_attend_matrix_ring, refuse_attend_ring,
                          HOST_INSTRUCTION_RING_PORTABLE, NULL},
                         {"matrix", VARIANT_MATRIX, &clmla_source_attend_matrix, refuse_attend_matrix,
                          HOST_INSTRUCTION_MATRIX_PORTABLE, NULL},
                         {"tile", VARIANT_TILE, &clmla_source_attend_tile, refuse_attend_tile, HOST_INSTRUCTION_NONE,
                          explain_attend_tile},
                         NAIVE(attend)},
    [CLMLA_OP_ATTEND_HEADS] = {VECTOR(attend_heads, refuse_attend_heads_vector),
                               {"matrix", VARIANT_MATRIX, &clmla_source_attend_heads_matrix, refuse_attend_heads_matrix,
                                HOST_INSTRUCTION_MATRIX_PORTABLE, NULL},
                               {"tile", VARIANT_TILE, &clmla_source_attend_heads_tile, refuse_attend_heads_tile,
                                HOST_INSTRUCTION_NONE, explain_attend_heads_tile},
                               NAIVE(attend_heads)},
    [CLMLA_OP_MERGE] = {VECTOR(merge, refuse_unless_cpu), GROUP(merge), NAIVE(merge)},
    [CLMLA_OP_PLAN] = {GROUP_LIMITED(plan, refuse_plan_group, NULL), NAIVE(plan)},
    [CLMLA_OP_OUTPUT] = {VECTOR(output, refuse_unless_cpu), GROUP(output), NAIVE(output)},
    [CLMLA_OP_GATHER] = {VECTOR(gather, refuse_unless_cpu), GROUP(gather), NAIVE(gather)},
    [CLMLA_OP_COPY_PAGES] = {VECTOR(copy_pages, refuse_unless_cpu), GROUP(copy_pages), NAIVE(copy_pages)},
    [CLMLA_OP_CONVERT_ROWS] = {VECTOR(convert_rows, refuse_unless_cpu), GROUP_ROW(convert_rows), NAIVE(convert_rows)},
    [CLMLA_OP_MOVE_ROWS] = {VECTOR(move_rows, refuse_unless_cpu), GROUP(move_rows), NAIVE(move_rows)},
    [CLMLA_OP_SHIFT] = {VECTOR(shift, refuse_unless_cpu), GROUP(shift), NAIVE(shift)},
};

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

uint32_t variant_vector_width(const clmla_device_facts *facts) {
    if (facts->float_vector_width >= 16) return 16;
    return facts->float_vector_width == 4 ? 4 : 8;
}

const char *clmla_compute_name(clmla_compute compute) {
    return compute == CLMLA_COMPUTE_EXACT ? "exact" : compute == CLMLA_COMPUTE_FAST ? "fast" : "?";
}

clmla_status clmla_compute_parse(clmla_compute *out, const char *name) {
    if (!out || !name) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "compute: out or name is NULL");
    for (int c = CLMLA_COMPUTE_EXACT; c <= CLMLA_COMPUTE_FAST; c++)
        if (strcmp(name, clmla_compute_name((clmla_compute)c)) == 0) {
            *out = (clmla_compute)c;
            return CLMLA_OK;
        }
    return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "compute: \"%s\" is none of exact, fast", name);
}

static bool pays(const variant *variant, const host_instruction_trial *trial) {
    return trial->gain >= (variant->method == VARIANT_AMX ? AMX_LEAST_GAIN : INSTRUCTION_LEAST_GAIN);
}

static bool is_small_q8(const clmla_shape *shape) {
    return shape->format == CLMLA_ROWS_Q8 && shape->head_count != 0 && shape->head_count < AMX_Q8_LEAST_HEADS;
}

// What a variant's kernel is made of on the context's device.
static host_instruction instruction_of(const clmla_context *context, const variant *variant) {
    if (variant->method == VARIANT_WGMMA) return host_wgmma_find(&context->host.facts);
    if (variant->method == VARIANT_MATRIX_RING) return host_ring_find(&context->host.facts);
    if (variant->method == VARIANT_MATRIX) return host_matrix_find(&context->host.facts)->instruction;
    return host_instruction_form(&context->host, variant->instruction);
}

// Of a list, another variant for the shape whose instruction is right, pays and gave more than `gain` in its trial; or NULL.
static const variant *find_faster(const variant *list, const variant *than, float gain, clmla_context *context,
                                  const clmla_shape *shape) {
    for (int i = 0; i < VARIANTS_MAX && list[i].name; i++) {
        host_instruction instruction = instruction_of(context, &list[i]);
        if (&list[i] == than || !host_instruction_is_timed(instruction) ||
            list[i].refusal(&context->host.facts, shape))
            continue;
        if (list[i].method == VARIANT_AMX && is_small_q8(shape)) continue;
        const host_instruction_trial *trial = host_instruction_try(&context->host, instruction);
        if (trial->right && pays(&list[i], trial) && trial->gain > gain) return &list[i];
    }
    return NULL;
}

// Why the context's device does not run a variant of a list that its facts accept; NULL when it does. `unasked`: it must pay
// too, and more than others that can serve the shape.
static const char *refuse_instruction(char reason[VARIANT_REASON_MAX], clmla_context *context, const variant *list,
                                      const variant *variant, const clmla_shape *shape, bool unasked) {
    host_instruction instruction = instruction_of(context, variant);
    if (instruction == HOST_INSTRUCTION_NONE) return NULL;
    const host_instruction_trial *trial = host_instruction_try(&context->host, instruction);
    if (!trial->right) return trial->reason;
    if (variant_has_matrix_units(variant) && shape->compute == CLMLA_COMPUTE_EXACT && shape->format == CLMLA_ROWS_F16 &&
        !trial->keeps_subnormals)
        return "its products take f16 values below 2^-14 for zeros, which exact compute may not";
    if (unasked && host_instruction_is_portable_dot(instruction)) return PORTABLE_DOT;
    if (!unasked || !host_instruction_is_timed(instruction)) return NULL;
    int length =
        snprintf(reason, VARIANT_REASON_MAX,
                 "in a trial its products gave %.2f times the products of f32 multiply-adds", (double)trial->gain);
    if (!pays(variant, trial)) return reason;
    if (variant->method == VARIANT_AMX && is_small_q8(shape) && find_faster(list, variant, 0.0f, context, shape))
        return "q8 rows become bf16 first, which takes longer than products of their bytes below 64 heads";
    const struct variant *faster = find_faster(list, variant, trial->gain, context, shape);
    if (!faster) return NULL;
    snprintf(reason + length, VARIANT_REASON_MAX - (size_t)length, ", those of %s more", faster->name);
    return reason;
}

// Operations check what they are given before they choose; here a shape comes from the caller as it is.
static clmla_status check_shape(const clmla_shape *shape) {
    const struct {
        const char *name;
        uint32_t size, most;
    } sizes[] = {{"latent_dim", shape->latent_dim, CLMLA_MAX_DIM},
                 {"rope_dim", shape->rope_dim, CLMLA_MAX_DIM},
                 {"value_dim", shape->value_dim, CLMLA_MAX_DIM},
                 {"head_count", shape->head_count, CLMLA_MAX_HEADS}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].size > sizes[i].most)
            return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "variant list: shape.%s is %u, the limit is %u", sizes[i].name,
                             sizes[i].size, sizes[i].most);
    return CLMLA_OK;
}

// The judge of a shape whose widths and heads are all told; NULL where none is asked.
typedef union shape_judge {
    variant_judge base;
    proof_attend attend;
    proof_heads heads;
} shape_judge;

static variant_judge *judge_of(shape_judge *out, clmla_plan_params *params, const clmla_context *context,
                               clmla_operation operation, const clmla_shape *shape) {
    if (!context || !proof_is_wanted(context) || shape->head_count == 0 || shape->latent_dim == 0) return NULL;
    *params =
        (clmla_plan_params){.head_count = shape->head_count, .value_dim = shape->value_dim, .compute = shape->compute};
    if (operation == CLMLA_OP_ATTEND) {
        if (clmla_row_layout_make(&params->layout, shape->format, CLMLA_ROPE_INTERLEAVED, shape->latent_dim,
                                  shape->rope_dim) != CLMLA_OK)
            return NULL;
        out->attend = proof_attend_of(params);
        return &out->base;
    }
    if (operation != CLMLA_OP_ATTEND_HEADS || shape->value_dim == 0) return NULL;
    params->layout.format = shape->format;
    clmla_config config = {
        .qk_nope_head_dim = shape->latent_dim, .qk_rope_head_dim = shape->rope_dim, .v_head_dim = shape->value_dim};
    out->heads = proof_heads_of(params, &config);
    return &out->base;
}

// Why one variant of a list is not to be chosen; NULL when it may be.
static clmla_status refuse_variant(const char **refusal, char reason[VARIANT_REASON_MAX], clmla_context *context,
                                   const variant *list, const variant *variant, const clmla_shape *shape, bool unasked,
                                   variant_judge *judge) {
    const clmla_device_facts *facts = &context->host.facts;
    *refusal = variant->refusal(facts, shape);
    if (*refusal && variant->explain) {
        variant->explain(reason, facts, shape);
        *refusal = reason;
    }
    if (!*refusal && unasked) *refusal = refuse_portable(variant, facts);
    if (!*refusal) *refusal = refuse_instruction(reason, context, list, variant, shape, unasked);
    if (judge) judge->proven = false;
    // There is nothing to compare the naive one with.
    if (*refusal || !judge || variant->method == VARIANT_NAIVE) return CLMLA_OK;
    STATUS_OR_RETURN(judge->judge(judge, reason, context, variant));
    if (reason[0]) *refusal = reason;
    return CLMLA_OK;
}

static clmla_status check_list(const clmla_variant *variants, size_t capacity, const size_t *count,
                               const clmla_device_facts *facts, clmla_operation operation, const clmla_shape *shape) {
    if (!count || !facts || !shape || (!variants && capacity > 0))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "variant list: count, facts, shape or the list is NULL");
    if ((unsigned)operation >= CLMLA_OPERATION_COUNT)
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "variant list: %d is no operation", (int)operation);
    return check_shape(shape);
}

static void list_one(clmla_variant *out, const variant *variant, const char *refusal, bool chosen) {
    *out = (clmla_variant){.name = variant->name, .accepted = !refusal, .chosen = !refusal && !chosen};
    snprintf(out->reason, sizeof out->reason, "%s", refusal ? refusal : "");
}

clmla_status clmla_variant_list(clmla_variant *variants, size_t capacity, size_t *count,
                                const clmla_device_facts *facts, clmla_operation operation, const clmla_shape *shape) {
    bool chosen = false;
    STATUS_OR_RETURN(check_list(variants, capacity, count, facts, operation, shape));
    const variant *list = lists[operation];
    for (*count = 0; *count < VARIANTS_MAX && list[*count].name; (*count)++) {
        if (*count >= capacity) continue;
        clmla_variant *out = &variants[*count];
        const char *refusal = list[*count].refusal(facts, shape);
        if (!refusal) refusal = refuse_portable(&list[*count], facts);
        list_one(out, &list[*count], refusal, chosen);
        if (refusal && list[*count].explain) list[*count].explain(out->reason, facts, shape);
        chosen |= !refusal;
    }
    return CLMLA_OK;
}

clmla_status clmla_variant_list_tried(clmla_variant *variants, size_t capacity, size_t *count, clmla_context *context,
                                      clmla_operation operation, const clmla_shape *shape) {
    bool chosen = false;
    char reason[VARIANT_REASON_MAX];
    const char *refusal;
    shape_judge of;
    clmla_plan_params params;
    if (!context) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "variant list: context is NULL");
    STATUS_OR_RETURN(check_list(variants, capacity, count, &context->host.facts, operation, shape));
    const variant *list = lists[operation];
    variant_judge *judge = judge_of(&of, &params, context, operation, shape);
    for (*count = 0; *count < VARIANTS_MAX && list[*count].name; (*count)++) {
        if (*count >= capacity) continue;
        if (judge) judge->look_up = chosen;
        STATUS_OR_RETURN(refuse_variant(&refusal, reason, context, list, &list[*count], shape, true, judge));
        list_one(&variants[*count], &list[*count], refusal, chosen);
        variants[*count].proven = judge && judge->proven;
        chosen |= !refusal;
    }
    return CLMLA_OK;
}

clmla_status variant_choose_judged(const variant **out, clmla_context *context, clmla_operation operation,
                                   const clmla_shape *shape, const char *name, variant_judge *judge) {
    const variant *list = lists[operation];
    char reason[VARIANT_REASON_MAX];
    const char *refusal;
    for (int i = 0; i < VARIANTS_MAX && list[i].name; i++) {
        if (name && strcmp(name, list[i].name) != 0) continue;
        STATUS_OR_RETURN(refuse_variant(&refusal, reason, context, list, &list[i], shape, name == NULL, judge));
        if (refusal && name)
            return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "%s: variant '%s' is refused: %s",
                             operation_names[operation], name, refusal);
        if (refusal) continue;
        *out = &list[i];
        return CLMLA_OK;
    }
    return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "%s: no variant is called '%s'",
                     operation_names[operation], name ? name : "");
}

clmla_status variant_choose(const variant **out, clmla_context *context, clmla_operation operation,
                            const clmla_shape *shape, const char *name) {
    return variant_choose_judged(out, context, operation, shape, name, NULL);
}
