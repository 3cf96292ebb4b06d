// SPDX-License-Identifier: Apache-2.0
// Of attend and attend_heads: why a variant does not serve a device and shape.
#include "lib/attend_heads_matrix.h"
#include "lib/attend_heads_tile.h"
#include "lib/attend_matrix.h"
#include "lib/attend_matrix_ring.h"
#include "lib/attend_tile.h"
#include "lib/attend_wgmma.h"
#include "lib/variant_parts.h"
#include <clmla/config.h>

// Query heads times new tokens of one sequence, for which cached rows become codes once: for fewer attend_vector is
// faster, as it was at 4, slower at 5.
#define INT16_LEAST_ROWS 5
// The same below which most of a tile of 16 rows would be padding.
#define MATRIX_LEAST_ROWS 8
// A row wider than this would make attend_vector's private block larger than a core's second-level cache.
#define ATTEND_VECTOR_WIDEST_ROW 2048
// The same of attend_heads_vector's tile.
#define ATTEND_HEADS_VECTOR_WIDEST 512

// Of queries, that meet the same keys; 0: not known.
static uint32_t rows_of(const clmla_shape *shape) {
    return attend_rows_of(shape->head_count, shape->query_tokens);
}

static bool has_fewer_rows(const clmla_shape *shape, uint32_t least) {
    return shape->head_count != 0 && rows_of(shape) < least;
}

const char *variant_refuse_attend_vector(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->latent_dim + shape->rope_dim > ATTEND_VECTOR_WIDEST_ROW)
        return "rows wider than 2048 elements do not fit the block a core keeps in its cache";
    return variant_refuse_unless_cpu(facts, shape);
}

const char *variant_refuse_attend_heads_vector(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->latent_dim + shape->rope_dim > ATTEND_HEADS_VECTOR_WIDEST ||
        shape->value_dim > ATTEND_HEADS_VECTOR_WIDEST)
        return "keys or values wider than 512 elements do not fit the tile a core keeps in its cache";
    return variant_refuse_unless_cpu(facts, shape);
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
                            .rows = rows_of(shape),
                            .exact = shape->compute == CLMLA_COMPUTE_EXACT};
    return choice(&tile, reason, facts, &(attend_tile_limits){0}, &of);
}

const char *variant_refuse_attend_tile(const clmla_device_facts *facts, const clmla_shape *shape) {
    char reason[ATTEND_TILE_REASON_MAX];
    return tile_for(attend_tile_choose, reason, facts, shape) ? NULL : "no tile fits the device";
}

void variant_explain_attend_tile(char reason[VARIANT_REASON_MAX], const clmla_device_facts *facts,
                                 const clmla_shape *shape) {
    _Static_assert(VARIANT_REASON_MAX >= ATTEND_TILE_REASON_MAX, "attend_tile's reasons are too long");
    (void)tile_for(attend_tile_choose, reason, facts, shape);
}

static attend_heads_shape heads_shape_of(const clmla_shape *shape) {
    return (attend_heads_shape){shape->latent_dim, shape->rope_dim, shape->value_dim};
}

void variant_explain_attend_heads_tile(char reason[VARIANT_REASON_MAX], const clmla_device_facts *facts,
                                       const clmla_shape *shape) {
    attend_heads_tile tile;
    attend_heads_shape of = heads_shape_of(shape);
    (void)attend_heads_tile_choose(&tile, reason, facts, &(attend_tile_limits){0}, &of);
}

const char *variant_refuse_attend_heads_tile(const clmla_device_facts *facts, const clmla_shape *shape) {
    char reason[VARIANT_REASON_MAX];
    variant_explain_attend_heads_tile(reason, facts, shape);
    return reason[0] ? "no tile fits the device" : NULL;
}

const char *variant_refuse_attend_heads_matrix(const clmla_device_facts *facts, const clmla_shape *shape) {
    char reason[ATTEND_TILE_REASON_MAX];
    attend_heads_matrix tile;
    attend_heads_shape of = heads_shape_of(shape);
    if (shape->compute != CLMLA_COMPUTE_FAST) return "16-bit keys and values are for fast compute";
    return attend_heads_matrix_choose(&tile, reason, facts, &(attend_tile_limits){0}, &of) ? NULL
                                                                                           : "no tile fits the device";
}

const char *variant_refuse_attend_matrix(const clmla_device_facts *facts, const clmla_shape *shape) {
    char reason[ATTEND_TILE_REASON_MAX];
    if (shape->format != CLMLA_ROWS_F16 && shape->format != CLMLA_ROWS_BF16)
        return "its products are of f16 or bf16 rows";
    if (has_fewer_rows(shape, MATRIX_LEAST_ROWS))
        return "fewer than 8 heads times new tokens: most of a tile of 16 rows would be padding";
    return tile_for(attend_matrix_choose, reason, facts, shape) ? NULL : "no tile fits the device";
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

const char *variant_refuse_attend_ring(const clmla_device_facts *facts, const clmla_shape *shape) {
    const char *refusal = refuse_parts_in_tile(shape);
    if (refusal) return refusal;
    if (has_fewer_rows(shape, MATRIX_LEAST_ROWS))
        return "fewer than 8 heads times new tokens: most of a tile of 32 rows would be padding";
    return attend_ring_refuse(facts, shape->latent_dim, shape->rope_dim);
}

const char *variant_refuse_attend_wgmma(const clmla_device_facts *facts, const clmla_shape *shape) {
    const char *refusal = refuse_parts_in_tile(shape);
    if (refusal) return refusal;
    return attend_wgmma_refuse(facts, shape->latent_dim, shape->rope_dim);
}

// What the kernels of dot products share.
static const char *refuse_attend_pairs(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->latent_dim % 64 != 0) return "the latent width is no multiple of 64";
    if (shape->value_dim != 0 && shape->value_dim != shape->latent_dim) return "values take the rope part in";
    return variant_refuse_attend_vector(facts, shape);
}

// And those of AVX-512's.
static const char *refuse_attend_dot(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (!variant_has_long_vectors(facts)) return "the device's vectors are not of 16 floats";
    return refuse_attend_pairs(facts, shape);
}

const char *variant_refuse_attend_int16_dot(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->compute != CLMLA_COMPUTE_FAST) return "16-bit queries, rows and weights are for plans of fast compute";
    if (!facts->has_int16_dot)
        return "the CPU has no vpmaddwd of AVX2, or the driver is not known to take inline assembly";
    if (variant_vector_width(facts) < 8) return "the device's vectors are not of 8 or 16 floats";
    if (has_fewer_rows(shape, INT16_LEAST_ROWS))
        return "fewer than 5 heads times new tokens: rows would become codes for too few products";
    return refuse_attend_pairs(facts, shape);
}

const char *variant_refuse_attend_int8_dot(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->compute != CLMLA_COMPUTE_FAST) return "8-bit queries and weights are for plans of fast compute";
    if (shape->format != CLMLA_ROWS_Q8) return "its products are of q8 rows' bytes";
    if (!facts->has_int8_dot) return "the CPU has no vpdpbusd, or the driver is not known to take inline assembly";
    return refuse_attend_dot(facts, shape);
}

const char *variant_refuse_attend_bf16_dot(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->compute != CLMLA_COMPUTE_FAST) return "bf16 queries and weights are for plans of fast compute";
    if (shape->format != CLMLA_ROWS_BF16) return "its products are of bf16 rows";
    if (!facts->has_bf16_dot) return "the CPU has no vdpbf16ps, or the driver is not known to take inline assembly";
    if (shape->rope_dim % 2 != 0) return "the rope width is odd";
    return refuse_attend_dot(facts, shape);
}

const char *variant_refuse_attend_amx(const clmla_device_facts *facts, const clmla_shape *shape) {
    if (shape->compute != CLMLA_COMPUTE_FAST) return "bf16 queries and weights are for plans of fast compute";
    if (!facts->has_amx_bf16) return "the CPU has no AMX, or the driver is not known to take inline assembly";
    if (shape->rope_dim % 2 != 0) return "the rope width is odd";
    return refuse_attend_dot(facts, shape);
}
