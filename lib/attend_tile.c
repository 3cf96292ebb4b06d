// SPDX-License-Identifier: Apache-2.0
#include "lib/attend_tile.h"
#include "cl/common/attend_tile.h"
#include "host/vendors.h"
#include "lib/group.h"
#include <stdio.h>

#define GROUP_WANTED 128 // fewer, and too little is under way at a time
#define GROUP_MOST 256
#define ROWS_MOST 32
#define ROWS_PLENTY 65536u // of a sequence: more change no choice
#define KEYS_MOST 32
#define SCORE_ROWS_MOST 6
#define SCORE_ROWS_MOST_MANY 8
#define PADDING_MOST 15 // per cent of the rows that are there
#define SUMS_MOST 32    // floats of the value product a work-item keeps in registers
// AMD's GPUs have more registers, and local memory for two groups at most; CPUs have them in memory anyway.
#define SUMS_MOST_MANY 64
#define LOCAL_SHARED (64u << 10) // a device with as much shares it out: two groups are to fit

// Predicted costs, in multiply-adds of one lane.
#define COST_STAGE 8        // of a value: read, converted, stored
#define COST_CONVERT 1      // of a value each time it is read
#define COST_BLOCK (6 * 40) // of a block of keys, in each lane: its barriers
#define COST_SOFTMAX 24     // of a score

typedef struct tile_search {
    const clmla_device_facts *facts;
    const attend_tile_shape *shape;
    uint32_t group_most, rows_most, keys_most, sums_most, score_rows_most, width, element;
    bool coarse;                 // a CPU: few row tiles, as each is a compilation and none is faster there
    uint64_t local, least_local; // what there is to take; the least that any tile asked for
} tile_search;

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

uint32_t attend_rows_of(uint32_t heads, uint32_t query_tokens) {
    uint64_t rows = (uint64_t)heads * (query_tokens ? query_tokens : 1);
    return rows < ROWS_PLENTY ? (uint32_t)rows : ROWS_PLENTY;
}

static uint64_t local_of(const tile_search *s, const attend_tile *t) {
    return TILE_LOCAL_BYTES((uint64_t)t->group, t->row_tile, t->key_tile, t->partials, s->width, s->shape->value_dim,
                            s->element);
}

static uint32_t slices_of(const attend_tile *t) {
    return TILE_SLICES(t->group, t->row_tile, t->score_rows, t->key_tile);
}

// As few additions in local memory as fit, then fewer keys.
static bool fit_local(tile_search *s, attend_tile *t) {
    for (t->key_tile = s->keys_most / TILE_KEYS * TILE_KEYS; t->key_tile >= TILE_KEYS;
         t->key_tile = t->key_tile / 2 / TILE_KEYS * TILE_KEYS) {
        uint32_t slices = slices_of(t);
        if (slices == 0 || t->key_tile > t->group) continue;
        for (uint32_t passes = 1; passes <= 4 && passes <= slices; passes *= 2) {
            t->partials = TILE_SHARE(slices, passes);
            t->local_bytes = local_of(s, t);
            if (t->local_bytes < s->least_local) s->least_local = t->local_bytes;
            if (t->local_bytes <= s->local) return true;
        }
    }
    return false;
}

// As many as registers allow and as divide the tile.
static uint32_t score_rows_of(const tile_search *s, uint32_t row_tile) {
    uint32_t rows = least(row_tile, s->score_rows_most);
    while (row_tile % rows) rows--;
    return rows;
}

// What all tiles of one sequence and kv head cost, for each key.
static uint64_t cost_of(const tile_search *s, const attend_tile *t) {
    uint64_t tiles = TILE_SHARE(s->shape->rows, t->row_tile), value = s->shape->value_dim;
    uint64_t row_groups = TILE_ROW_GROUPS(t->row_tile, t->score_rows);
    uint64_t scoring = slices_of(t) * row_groups * TILE_KEY_GROUPS(t->key_tile);
    uint64_t summing = TILE_COLUMNS(t->group, value) * TILE_ROW_PARTS(t->group, value);
    uint64_t quads = TILE_QUADS(t->group, value), run = quads >= 8 ? 1 : 8 / quads;
    uint64_t rows = t->row_tile, runs = TILE_SHARE(TILE_VALUE_ROWS(t->group, t->row_tile, value), run);
    uint64_t scores = s->width * (rows + row_groups * COST_CONVERT) * t->group / scoring;
    uint64_t values = value * (rows + runs * TILE_ROW_PARTS(t->group, value) * COST_CONVERT) * t->group / summing;
    return tiles * (scores + values + s->width * COST_STAGE + rows * COST_SOFTMAX +
                    (uint64_t)t->group * COST_BLOCK / t->key_tile);
}

static bool wanted(const tile_search *s, uint32_t row_tile, uint32_t score_rows) {
    uint64_t rows = s->shape->rows, padded = (uint64_t)TILE_SHARE(s->shape->rows, row_tile) * row_tile;
    if (s->coarse) return row_tile == 1 || row_tile == 4 || row_tile == 16;
    if (score_rows < 3 && row_tile > 2) return false; // of a prime number of rows
    return padded * 100 <= rows * (100 + PADDING_MOST);
}

static void search_groups(tile_search *s, attend_tile *out, uint64_t *best, uint32_t group_least) {
    for (uint32_t row_tile = 1; row_tile <= s->rows_most; row_tile++) {
        attend_tile t = {.row_tile = row_tile, .score_rows = score_rows_of(s, row_tile)};
        if (!wanted(s, row_tile, t.score_rows)) continue;
        for (t.group = group_least; t.group <= s->group_most; t.group *= 2) {
            if (t.group < row_tile || TILE_SUMS(t.group, row_tile, s->shape->value_dim) > s->sums_most) continue;
            if (!fit_local(s, &t)) continue;
            uint64_t cost = cost_of(s, &t);
            if (*best && cost >= *best) continue;
            *best = cost;
            *out = t;
        }
    }
}

static uint64_t search(tile_search *s, attend_tile *out) {
    uint64_t best = 0;
    search_groups(s, out, &best, least(GROUP_WANTED, s->group_most));
    if (!best) search_groups(s, out, &best, GROUP_LEAST);
    return best;
}

bool attend_tile_refuse(char reason[ATTEND_TILE_REASON_MAX], const attend_tile_shortage *s) {
    if (s->group_most < s->group_least)
        snprintf(reason, ATTEND_TILE_REASON_MAX, "needs groups of %u work-items, the device's are of %u at most",
                 s->group_least, s->group_most);
    else if (s->least_local == UINT64_MAX)
        snprintf(reason, ATTEND_TILE_REASON_MAX, "%u values of a %s do not fit the registers of %u work-items",
                 s->value_dim, s->holder, s->group_most);
    else
        snprintf(reason, ATTEND_TILE_REASON_MAX, "needs %llu bytes of local memory for %s, the device has %llu",
                 (unsigned long long)s->least_local, s->held, (unsigned long long)s->local);
    return false;
}

static bool refuse(char reason[ATTEND_TILE_REASON_MAX], const tile_search *s) {
    char held[64];
    snprintf(held, sizeof held, "rows of %u values", s->width);
    return attend_tile_refuse(reason, &(attend_tile_shortage){GROUP_LEAST, s->group_most, s->least_local, s->local,
                                                              s->shape->value_dim, "row", held});
}

static tile_search begin(const clmla_device_facts *facts, const attend_tile_limits *limits,
                         const attend_tile_shape *shape) {
    bool gpu = !(facts->type & CL_DEVICE_TYPE_CPU), many = !gpu || facts->vendor_id == VENDOR_AMD;
    uint64_t group = group_most(facts);
    if (group > GROUP_MOST && limits->group <= GROUP_MOST) group = GROUP_MOST;
    tile_search s = {
        .facts = facts,
        .shape = shape,
        .group_most = limits->group ? least((uint32_t)group, limits->group) : (uint32_t)group,
        .rows_most = limits->rows ? limits->rows : ROWS_MOST,
        .keys_most = limits->keys ? limits->keys : KEYS_MOST,
        .coarse = !gpu && limits->group == 0,
        .sums_most = many ? SUMS_MOST_MANY : SUMS_MOST,
        .score_rows_most = many ? SCORE_ROWS_MOST_MANY : SCORE_ROWS_MOST,
        .width = shape->latent_dim + shape->rope_dim,
        .element = shape->format == CLMLA_ROWS_F16 || shape->format == CLMLA_ROWS_BF16 ? 2 : 4,
        .local = facts->local_bytes,
        .least_local = UINT64_MAX,
    };
    if (s.coarse) s.keys_most = least(s.keys_most, KEYS_MOST / 2);
    if (limits->local_bytes && limits->local_bytes < s.local) s.local = limits->local_bytes;
    return s;
}

bool attend_tile_choose(attend_tile *out, char reason[ATTEND_TILE_REASON_MAX], const clmla_device_facts *facts,
                        const attend_tile_limits *limits, const attend_tile_shape *shape) {
    attend_tile_shape known = *shape;
    uint64_t best;
    // What is not known could be anything: the choice is then only whether there is a tile.
    if (known.value_dim == 0) known.value_dim = known.latent_dim ? known.latent_dim : 1;
    if (known.rows == 0) known.rows = 1;
    if (known.latent_dim == 0) known.latent_dim = 1;
    *out = (attend_tile){0};
    reason[0] = '\0';
    tile_search s = begin(facts, limits, &known);
    if (s.group_most < GROUP_LEAST) return refuse(reason, &s);
    uint64_t all = s.local;
    if (!limits->local_bytes && all >= LOCAL_SHARED) s.local = all / 2;
    best = search(&s, out);
    if (!best && s.local < all) {
        s.local = all;
        best = search(&s, out);
    }
    if (!best) return refuse(reason, &s);
    out->query_stride = TILE_UP(s.width, 4);
    out->sub_group = group_sub_group(facts);
    return true;
}
