// SPDX-License-Identifier: Apache-2.0
#include "baseline_group.h"
#include <stdio.h>

#define GROUP_WANTED 128u
#define GROUP_LEAST 32u
#define GROUP_UNKNOWN 64u // where the device does not say
// What a group may take of local memory, at most, so that several run beside each other.
#define LOCAL_BYTES 32768u
// Groups a compute unit in all: the last ones leave others idle, which is to be little of the whole time. A part of
// fewer tokens would spend its time on its state.
#define GROUPS_PER_UNIT 32u
#define PART_TOKENS 128u
// Of baseline_heads_group.cl
#define STREAM_LANES 32u   // that share a row, at most
#define STREAM_KEYS 4u     // that a work-item has at hand, at most
#define STREAM_SCORES 8u   // of a work-item at a time
#define STREAM_VECTORS 12u // of 16 bytes of keys and values in a work-item's registers
#define STREAM_SUMS 64u    // floats of a work-item's sums
#define STREAM_HEADS 7u    // from one more on, tiles are faster
// Of baseline_group.cl
#define TILE_SUMS_WANTED 8u // times 4 floats of a work-item
#define TILE_SUMS_INTEL 4u  // whose work-items have half the registers
#define TILE_SUMS_MOST 16u
#define TILE_LOADS 8u // of 16 bytes that a work-item stages at a time, at most
#define INTEL 0x8086u
#define SUB_GROUP_WIDE 16u // of Intel's GPUs that have no narrower ones: left alone, the compiler takes 32, and spills

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

uint32_t baseline_group_items(const clmla_device_facts *facts) {
    if (facts->type & CL_DEVICE_TYPE_CPU) return 0;
    uint64_t most = facts->max_group_size ? facts->max_group_size : GROUP_UNKNOWN;
    if (facts->max_group_dims[0] && facts->max_group_dims[0] < most) most = facts->max_group_dims[0];
    uint32_t items = facts->group_items ? facts->group_items : GROUP_WANTED;
    while (items > most && items > GROUP_LEAST) items /= 2;
    return items;
}

// --- tiles of heads by keys ----------------------------------------------------------------------------------------

static uint32_t depth(uint32_t score_dim) {
    return score_dim % 32 ? 16 : 32;
}

// Floats of local memory: of both kernels, what either takes.
static uint32_t tile_floats(const baseline_group *group, uint32_t score_dim) {
    uint32_t keys = group->key_tile * (depth(score_dim) + 4), values = 4 * group->value_tile;
    return (keys > values ? keys : values) + depth(score_dim) * group->head_tile +
           group->key_tile * (group->head_tile + 4) + group->items + 2 * group->head_tile;
}

static uint32_t tile_sums(const baseline_group *group) {
    uint32_t parts = least(group->items / group->column_lanes, group->head_tile / 4);
    return group->head_tile / parts * baseline_pieces(group->value_tile / 4, group->column_lanes);
}

// Sets key_tile to the most keys there is local memory for; false: not even the fewest.
static bool fit_keys(baseline_group *group, uint32_t score_dim, clmla_type type, uint64_t local_bytes) {
    uint32_t lanes = group->items / (group->head_tile / 4), width = 16 / (uint32_t)clmla_type_bytes(type);
    for (uint32_t item_keys = 4; item_keys > 0; item_keys /= 2) {
        group->key_tile = lanes * item_keys;
        if (group->key_tile >= 8 && group->key_tile * depth(score_dim) / width <= TILE_LOADS * group->items &&
            tile_floats(group, score_dim) * sizeof(float) <= local_bytes)
            return true;
    }
    return false;
}

static bool is_intel_gpu(const clmla_device_facts *facts) {
    return facts->vendor_id == INTEL && !(facts->type & CL_DEVICE_TYPE_CPU);
}

// The largest tile that a group has registers and local memory for.
static bool fit_tile(baseline_group *group, uint32_t heads, uint32_t score_dim, clmla_type type, uint32_t most_sums,
                     uint64_t local_bytes) {
    group->column_lanes = 1;
    while (group->column_lanes * 2 <= least(group->value_tile / 4, group->items)) group->column_lanes *= 2;
    for (group->head_tile = 32; group->head_tile >= 4; group->head_tile /= 2)
        if ((group->head_tile == 4 || group->head_tile / 2 < heads) && tile_sums(group) <= most_sums &&
            fit_keys(group, score_dim, type, local_bytes))
            return true;
    return false;
}

static uint64_t local_limit(const clmla_device_facts *facts) {
    return facts->local_bytes && facts->local_bytes < LOCAL_BYTES ? facts->local_bytes : LOCAL_BYTES;
}

// In smaller groups than asked for where there is none for those.
static bool choose_tile(baseline_group *out, const clmla_device_facts *facts, uint32_t heads, uint32_t score_dim,
                        clmla_type type, failure *failure) {
    uint64_t local = local_limit(facts);
    uint32_t wanted = is_intel_gpu(facts) ? TILE_SUMS_INTEL : TILE_SUMS_WANTED, items = out->items;
    for (out->items = items; out->items >= GROUP_LEAST; out->items /= 2)
        for (uint32_t most = wanted; most <= TILE_SUMS_MOST; most *= 2)
            if (fit_tile(out, heads, score_dim, type, most, local)) return true;
    return failure_set(failure,
                       "no tile of %u heads by keys of %u and values of %u fits groups of %u with %llu bytes of local "
                       "memory",
                       heads, score_dim, out->value_tile, items, (unsigned long long)local);
}

static bool check_group(const baseline_group *group, const clmla_device_facts *facts, failure *failure) {
    return (facts->max_group_size == 0 || facts->max_group_size >= group->items) ||
           failure_set(failure, "the device's groups have %llu work-items at most, and %u are the fewest for this",
                       (unsigned long long)facts->max_group_size, group->items);
}

bool baseline_group_latent(baseline_group *out, const clmla_device_facts *facts, uint32_t heads, uint32_t score_dim,
                           uint32_t latent_dim, clmla_type type, failure *failure) {
    *out = (baseline_group){.items = baseline_group_items(facts), .value_tile = 128};
    while (latent_dim % out->value_tile) out->value_tile /= 2;
    return check_group(out, facts, failure) && choose_tile(out, facts, heads, score_dim, type, failure);
}

// --- attention of heads ----------------------------------------------------------------------------------------------

// Vectors of 16 bytes that a work-item holds of `dim` elements.
static uint32_t passes(const baseline_group *group, uint32_t dim, uint32_t bytes) {
    return baseline_pieces(dim * bytes / 16, group->lanes);
}

static uint64_t stream_floats(const baseline_group *group, const baseline_shape *shape) {
    uint32_t heads = shape->head_count / shape->kv_head_count, sets = group->items / group->lanes;
    uint64_t scores = 2ull * group->unroll * heads * group->items, merged = 8ull * group->items;
    return (scores > merged ? scores : merged) + heads * (shape->key_dim + shape->shared_dim + 2ull * sets);
}

// false: tiles are faster, or there are too few registers or too little local memory.
static bool choose_stream(baseline_group *out, const clmla_device_facts *facts, const baseline_shape *shape) {
    uint32_t bytes = (uint32_t)clmla_type_bytes(shape->type), heads = shape->head_count / shape->kv_head_count;
    uint32_t widest = shape->key_dim > shape->value_dim ? shape->key_dim : shape->value_dim;
    out->lanes = 4;
    while (out->lanes < least(STREAM_LANES, out->items) && out->lanes * 16 < widest * bytes) out->lanes *= 2;
    uint32_t vectors = passes(out, shape->key_dim, bytes) + passes(out, shape->value_dim, bytes) +
                       passes(out, shape->shared_dim, sizeof(float));
    out->unroll = STREAM_KEYS;
    while (out->unroll > 1 && (out->unroll * heads > STREAM_SCORES || out->unroll * vectors > STREAM_VECTORS))
        out->unroll /= 2;
    uint32_t sums = heads * passes(out, shape->value_dim, bytes) * 16 / bytes;
    return heads <= STREAM_HEADS && sums <= STREAM_SUMS &&
           stream_floats(out, shape) * sizeof(float) <= local_limit(facts);
}

bool baseline_group_heads(baseline_group *out, const clmla_device_facts *facts, const baseline_shape *shape,
                          failure *failure) {
    *out = (baseline_group){.items = baseline_group_items(facts), .value_tile = shape->value_dim};
    if (!check_group(out, facts, failure)) return false;
    if (choose_stream(out, facts, shape)) return true;
    if (shape->shared_dim > 0)
        return failure_set(failure, "shared keys of %u beside keys of %u and values of %u do not fit groups of %u",
                           shape->shared_dim, shape->key_dim, shape->value_dim, out->items);
    return choose_tile(out, facts, shape->head_count / shape->kv_head_count, shape->key_dim, shape->type, failure);
}

void baseline_group_options(char options[BASELINE_GROUP_OPTIONS], const clmla_device_facts *facts,
                            const baseline_group *group, uint32_t score_dim) {
    bool wide = is_intel_gpu(facts) && facts->least_sub_group == SUB_GROUP_WIDE;
    const char *width = wide ? " -DSUB_GROUP=16" : "";
    if (group->head_tile)
        snprintf(options, BASELINE_GROUP_OPTIONS,
                 "-DGROUP=%u -DSCORE_DIM=%u -DHEAD_TILE=%u -DKEY_TILE=%u -DVALUE_TILE=%u -DCOLUMN_LANES=%u%s",
                 group->items, score_dim, group->head_tile, group->key_tile, group->value_tile, group->column_lanes,
                 width);
    else
        snprintf(options, BASELINE_GROUP_OPTIONS, "-DGROUP=%u -DLANES=%u -DUNROLL=%u%s", group->items, group->lanes,
                 group->unroll, width);
}

baseline_parts baseline_group_parts(const clmla_device_facts *facts, uint64_t groups, uint32_t kv_tokens) {
    uint64_t wanted = (uint64_t)facts->compute_units * GROUPS_PER_UNIT;
    uint64_t most = kv_tokens / PART_TOKENS, parts = (wanted + groups - 1) / groups;
    if (parts > most) parts = most;
    if (parts < 1) parts = 1;
    uint32_t tokens = baseline_pieces(baseline_pieces(kv_tokens, (uint32_t)parts), PART_TOKENS) * PART_TOKENS;
    return (baseline_parts){baseline_pieces(kv_tokens, tokens), tokens};
}
