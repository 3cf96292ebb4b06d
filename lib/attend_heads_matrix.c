// SPDX-License-Identifier: Apache-2.0
#include "lib/attend_heads_matrix.h"
#include "cl/common/attend_heads_matrix.h"
#include "lib/group.h"
#include <stdio.h>

#define MATRIX_GROUP_LEAST 64
#define GROUP_MOST 256
#define TILE 16
#define ROWS_MOST 64
#define KEYS_MOST 64
#define KEY_FRAGMENTS_MOST 4 // what the kernel's text counts to
#define FRAGMENTS_MOST 16
// Floats of the value product a work-item keeps in registers. Intel's have fewer.
#define SUMS_MOST 64
#define SUMS_MOST_INTEL 32
#define LOCAL_UNIT_NVIDIA (96u << 10) // what a multiprocessor has, at least; a group is offered less

// Predicted costs, in multiply-adds of one lane.
#define PRODUCTS 16.0      // of matrix units in the time of one
#define COST_LOAD 1.0      // of a tile from local memory, in products of tiles
#define COST_STAGE 6       // of a value: read, rounded, stored
#define COST_BARRIER 40    // in each lane
#define COST_SOFTMAX 24    // of a score
#define BARRIERS 5         // of a tile of keys
#define COST_WAITING 128.0 // work-items beside each other at which half of the time would pass in waiting
#define BESIDE_MOST 512.0  // for so many there are registers

typedef struct matrix_search {
    const attend_heads_shape *shape;
    uint32_t group_most, sums_most, wave, width;
    uint64_t local_unit;         // what groups beside each other share
    uint64_t local, least_local; // what a group may take; the least that any tile asked for
} matrix_search;

static bool fits(matrix_search *s, attend_heads_matrix *t) {
    if (t->group < s->wave * (t->row_tile / TILE) || t->group < t->row_tile) return false;
    uint64_t of_keys = HEADS_FRAGMENTS(t->group, s->wave, t->row_tile, t->key_tile);
    uint64_t of_values = HEADS_FRAGMENTS(t->group, s->wave, t->row_tile, (uint64_t)s->shape->value_dim);
    if (of_keys > KEY_FRAGMENTS_MOST || of_values > FRAGMENTS_MOST) return false;
    if (of_values * TILE * TILE / s->wave > s->sums_most) return false;
    t->local_bytes = HEADS_MATRIX_LOCAL_BYTES((uint64_t)t->group, t->row_tile, t->key_tile, (uint64_t)s->width,
                                              (uint64_t)s->shape->value_dim);
    if (t->local_bytes < s->least_local) s->least_local = t->local_bytes;
    return t->local_bytes <= s->local;
}

// What waves that share rows take for `tiles` tiles of `depth` products: some wait while others do one more.
static double product_cost(const matrix_search *s, const attend_heads_matrix *t, uint32_t width, double depth) {
    double fragments = HEADS_FRAGMENTS(t->group, s->wave, t->row_tile, width);
    double waves = HEADS_ROW_WAVES(t->group, s->wave, t->row_tile), tiles = MATRIX_CHUNKS(width);
    return depth / PRODUCTS * (1.0 + COST_LOAD + COST_LOAD / fragments) * (fragments * waves / tiles);
}

// What a row and key cost.
static double cost_of(const matrix_search *s, const attend_heads_matrix *t) {
    double rows = t->row_tile, keys = t->key_tile, all = (double)s->width + s->shape->value_dim;
    double score = product_cost(s, t, t->key_tile, s->width);
    double sum = product_cost(s, t, s->shape->value_dim, s->shape->value_dim);
    double barriers = t->group * (double)(COST_BARRIER * BARRIERS) / (rows * keys);
    double beside = (double)s->local_unit / (double)t->local_bytes * t->group;
    if (beside > BESIDE_MOST) beside = BESIDE_MOST;
    return (score + sum + COST_STAGE * all / rows + COST_SOFTMAX + barriers) * (1.0 + COST_WAITING / beside);
}

static bool search(matrix_search *s, attend_heads_matrix *out) {
    double best = 0.0;
    for (uint32_t rows = TILE; rows <= ROWS_MOST; rows *= 2)
        for (uint32_t keys = TILE; keys <= KEYS_MOST; keys *= 2)
            for (uint32_t group = MATRIX_GROUP_LEAST; group <= s->group_most; group *= 2) {
                attend_heads_matrix t = {.group = group, .row_tile = rows, .key_tile = keys};
                if (!fits(s, &t)) continue;
                double cost = cost_of(s, &t);
                if (best > 0.0 && cost >= best) continue;
                best = cost;
                *out = t;
            }
    return best > 0.0;
}

static bool refuse(char reason[ATTEND_TILE_REASON_MAX], const matrix_search *s) {
    char held[64];
    snprintf(held, sizeof held, "keys of %u and values of %u", s->width, s->shape->value_dim);
    return attend_tile_refuse(reason, &(attend_tile_shortage){MATRIX_GROUP_LEAST, s->group_most, s->least_local,
                                                              s->local, s->shape->value_dim, "key", held});
}

bool attend_heads_matrix_choose(attend_heads_matrix *out, char reason[ATTEND_TILE_REASON_MAX],
                                const clmla_device_facts *facts, const attend_tile_limits *limits,
                                const attend_heads_shape *shape) {
    const host_matrix *form = host_matrix_find(facts);
    attend_heads_shape known = *shape;
    uint64_t group = group_most(facts);
    // What is not known could be anything: the choice is then only whether there is a tile.
    if (known.value_dim == 0) known.value_dim = 1;
    if (limits->group && limits->group < group) group = limits->group;
    matrix_search s = {
        .shape = &known,
        .group_most = group < GROUP_MOST ? (uint32_t)group : GROUP_MOST,
        .sums_most = form->instruction == HOST_INSTRUCTION_MATRIX_INTEL ? SUMS_MOST_INTEL : SUMS_MOST,
        .wave = form->wave,
        .width = known.nope_dim + known.rope_dim,
        .local_unit = facts->local_bytes,
        .local = facts->local_bytes,
        .least_local = UINT64_MAX,
    };
    *out = (attend_heads_matrix){0};
    reason[0] = '\0';
    if (s.group_most < MATRIX_GROUP_LEAST) return refuse(reason, &s);
    if (limits->local_bytes && limits->local_bytes < s.local) s.local = limits->local_bytes;
    if (form->instruction == HOST_INSTRUCTION_MATRIX_NVIDIA && s.local_unit < LOCAL_UNIT_NVIDIA)
        s.local_unit = LOCAL_UNIT_NVIDIA;
    return search(&s, out) || refuse(reason, &s);
}
