// SPDX-License-Identifier: Apache-2.0
#include "lib/attend_heads_tile.h"
#include "cl/common/attend_heads_tile.h"
#include "host/vendors.h"
#include "lib/group.h"
#include <stdio.h>

#define GROUP_MOST 256
// Of NVIDIA's GPUs: a multiprocessor has registers for three such groups, but for one of 256 work-items.
#define GROUP_MOST_NVIDIA 128
#define GROUP_MOST_INTERPRETER 64 // whose work-items run one after the other
#define KEY_SIDE_LEAST 8
#define DEPTH_MOST 16
#define DEPTH_LEAST 8
#define VALUE_KEYS_MOST 16
#define VALUE_KEYS_LEAST 4
#define SUMS_MOST 32       // floats of the value product a work-item keeps in registers
#define SUMS_MOST_MANY 64  // of CPUs, which have them in memory anyway
#define LOADS_MOST_INTEL 1 // quads a work-item fetches for a stage: with more, Intel's compiler keeps arrays in memory
#define LOCAL_SHARED (64u << 10)      // a device with as much shares it out: two groups are to fit
#define LOCAL_UNIT_NVIDIA (96u << 10) // what a multiprocessor has, at least; a group is offered less

// Predicted costs, in multiply-adds of one lane.
#define COST_LOAD 4        // of a quad from local memory
#define COST_STAGE 4       // of a value: read, stored
#define COST_BARRIER 40    // in each lane
#define COST_SOFTMAX 24    // of a score
#define COST_WAITING 128.0 // work-items beside each other at which half of the time would pass in waiting
#define BESIDE_MOST 512.0  // for so many there are registers
#define COST_KEYS 1024     // keys a row sees, by which what a tile has past its causal edge is weighed

typedef struct tile_search {
    const attend_heads_shape *shape;
    uint32_t group_most, sums_most, loads_most, width;
    uint64_t local_unit;         // what groups beside each other share
    uint64_t local, least_local; // what a group may take; the least that any tile asked for
} tile_search;

static uint32_t key_tile_of(const attend_heads_tile *t) {
    return HEADS_KEY_TILE(t->key_side);
}

static uint64_t local_of(const tile_search *s, const attend_heads_tile *t) {
    uint64_t group = t->group;
    return HEADS_LOCAL_BYTES(group, t->key_side, t->depth, t->value_keys, s->shape->value_dim);
}

static uint32_t sums_of(const tile_search *s, const attend_heads_tile *t) {
    return HEADS_ITEM_ROWS * HEADS_QUADS(t->key_side, s->shape->value_dim); // quads
}

// What a stage of so many values takes of each work-item must be in the registers that it has for that.
static bool fits_loads(const tile_search *s, const attend_heads_tile *t, uint64_t values) {
    return values <= (uint64_t)t->group * s->loads_most * 4;
}

static bool fits(tile_search *s, attend_heads_tile *t) {
    uint32_t sums = sums_of(s, t);
    if (sums > HEADS_SUMS || sums * 4 > s->sums_most) return false;
    if (!fits_loads(s, t, (uint64_t)t->row_tile * t->depth) || !fits_loads(s, t, (uint64_t)key_tile_of(t) * t->depth) ||
        !fits_loads(s, t, t->value_keys * HEADS_VALUE_STRIDE((uint64_t)s->shape->value_dim)))
        return false;
    t->local_bytes = local_of(s, t);
    if (t->local_bytes < s->least_local) s->least_local = t->local_bytes;
    return t->local_bytes <= s->local;
}

// What a row and key cost. The fewer work-items local memory has room for, the less there is to do while one of them
// waits.
static double cost_of(const tile_search *s, const attend_heads_tile *t) {
    double rows = t->row_tile, keys = key_tile_of(t), quads = HEADS_QUADS(t->key_side, s->shape->value_dim);
    double width = s->width, value = s->shape->value_dim, pairs = rows * keys, item = HEADS_ITEM_ROWS;
    double score = width * (1.0 + COST_LOAD * (item + HEADS_ITEM_KEYS) / (4.0 * item * HEADS_ITEM_KEYS));
    double sum = t->key_side * (16.0 * item * quads + COST_LOAD * (item + 4.0 * quads)) / (4.0 * item);
    double stage = COST_STAGE * ((rows + keys) * width + keys * value) / pairs;
    double barriers = t->group * COST_BARRIER * (width / t->depth + keys / t->value_keys + 3.0) / pairs;
    double beside = (double)s->local_unit / (double)t->local_bytes * t->group;
    if (beside > BESIDE_MOST) beside = BESIDE_MOST;
    return (score + sum + stage + barriers + COST_SOFTMAX) * (1.0 + (rows + keys) / 2.0 / COST_KEYS) *
           (1.0 + COST_WAITING / beside);
}

static void search_stages(tile_search *s, attend_heads_tile *out, double *best, attend_heads_tile t) {
    for (t.depth = DEPTH_MOST; t.depth >= DEPTH_LEAST; t.depth /= 2)
        for (t.value_keys = VALUE_KEYS_MOST; t.value_keys >= VALUE_KEYS_LEAST; t.value_keys /= 2) {
            if (!fits(s, &t)) continue;
            double cost = cost_of(s, &t);
            if (*best > 0.0 && cost >= *best) continue;
            *best = cost;
            *out = t;
        }
}

static bool search(tile_search *s, attend_heads_tile *out) {
    double best = 0.0;
    for (uint32_t group = GROUP_LEAST; group <= s->group_most; group *= 2)
        for (uint32_t key_side = KEY_SIDE_LEAST; key_side <= group; key_side *= 2)
            search_stages(
                s, out, &best,
                (attend_heads_tile){.group = group, .key_side = key_side, .row_tile = HEADS_ROW_TILE(group, key_side)});
    return best > 0.0;
}

static bool refuse(char reason[ATTEND_TILE_REASON_MAX], const tile_search *s) {
    char held[64];
    snprintf(held, sizeof held, "values of %u", s->shape->value_dim);
    return attend_tile_refuse(reason, &(attend_tile_shortage){GROUP_LEAST, s->group_most, s->least_local, s->local,
                                                              s->shape->value_dim, "key", held});
}

static bool is_nvidia(const clmla_device_facts *facts) {
    return !(facts->type & CL_DEVICE_TYPE_CPU) && facts->vendor_id == VENDOR_NVIDIA;
}

static uint32_t group_limit(const clmla_device_facts *facts, const attend_tile_limits *limits) {
    uint64_t group = group_most(facts);
    uint32_t most = facts->is_interpreter ? GROUP_MOST_INTERPRETER : is_nvidia(facts) ? GROUP_MOST_NVIDIA : GROUP_MOST;
    if (limits->group) most = limits->group < GROUP_MOST ? limits->group : GROUP_MOST;
    return group < most ? (uint32_t)group : most;
}

bool attend_heads_tile_choose(attend_heads_tile *out, char reason[ATTEND_TILE_REASON_MAX],
                              const clmla_device_facts *facts, const attend_tile_limits *limits,
                              const attend_heads_shape *shape) {
    attend_heads_shape known = *shape;
    bool cpu = facts->type & CL_DEVICE_TYPE_CPU, intel = !cpu && facts->vendor_id == VENDOR_INTEL;
    // What is not known could be anything: the choice is then only whether there is a tile.
    if (known.value_dim == 0) known.value_dim = 1;
    tile_search s = {
        .shape = &known,
        .group_most = group_limit(facts, limits),
        .sums_most = cpu ? SUMS_MOST_MANY : SUMS_MOST,
        .loads_most = intel ? LOADS_MOST_INTEL : HEADS_LOADS,
        .width = known.nope_dim + known.rope_dim,
        .local_unit = facts->local_bytes,
        .local = facts->local_bytes,
        .least_local = UINT64_MAX,
    };
    *out = (attend_heads_tile){0};
    reason[0] = '\0';
    if (s.group_most < GROUP_LEAST) return refuse(reason, &s);
    if (limits->local_bytes && limits->local_bytes < s.local) s.local = limits->local_bytes;
    if (is_nvidia(facts) && s.local_unit < LOCAL_UNIT_NVIDIA) s.local_unit = LOCAL_UNIT_NVIDIA;
    uint64_t most = s.local;
    if (!limits->local_bytes && most >= LOCAL_SHARED) s.local = most / 2;
    bool found = search(&s, out);
    s.local = most;
    if (!found) found = search(&s, out);
    s.sums_most = SUMS_MOST_MANY; // of wide values and little local memory
    s.loads_most = HEADS_LOADS;
    if (!found) found = search(&s, out);
    if (!found) return refuse(reason, &s);
    out->sub_group = group_sub_group(facts);
    out->large_registers = intel && facts->least_sub_group > 0; // whose driver knows the option
    return true;
}
