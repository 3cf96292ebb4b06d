// SPDX-License-Identifier: Apache-2.0
#include "lib/attend_matrix.h"
#include "cl/common/attend_matrix.h"
#include "lib/group.h"
#include <stdio.h>

#define MATRIX_GROUP_LEAST 64
#define GROUP_MOST 256
#define TILE 16
#define ROWS_MOST 32
#define KEYS_MOST 32
#define PARTIALS_MOST 8
#define FRAGMENTS_MOST 16 // of a wave's sums: what the kernel's text counts to
// Floats of the value product a work-item keeps in registers. Intel's have fewer; in exact compute AMD's with WMMA
// spill, for the places of the sums of runs.
#define SUMS_MOST 64
#define SUMS_MOST_OF_FEW 32
#define LOCAL_SHARED (64u << 10) // a device with as much shares it out: two groups are to fit

typedef struct matrix_search {
    uint32_t group_most, rows_most, keys_most, sums_most, wave, width, value_dim, rows, parts;
    uint64_t local, least_local; // what there is to take; the least that any tile asked for
} matrix_search;

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static uint32_t up_to(uint32_t value, uint32_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// As many keys as leave no wave idle while scores are computed, by shares of the width where tiles are fewer than
// waves; of the fewest keys also where some are.
static bool fit_local(matrix_search *s, attend_tile *t) {
    uint32_t waves = t->group / s->wave, row_tiles = t->row_tile / TILE;
    uint32_t most = waves > row_tiles ? least(waves / row_tiles, PARTIALS_MOST) : 1;
    for (t->key_tile = s->keys_most / TILE * TILE; t->key_tile >= TILE; t->key_tile /= 2) {
        uint32_t fewest = t->key_tile > TILE ? most / (t->key_tile / TILE) : 1;
        for (t->partials = most; t->partials >= 1 && t->partials >= fewest; t->partials /= 2) {
            t->local_bytes = MATRIX_LOCAL_BYTES((uint64_t)t->group, t->row_tile, t->key_tile, t->partials,
                                                (uint64_t)s->width, s->parts);
            if (t->local_bytes < s->least_local) s->least_local = t->local_bytes;
            if (t->local_bytes <= s->local) return true;
        }
    }
    return false;
}

static bool fits_registers(const matrix_search *s, const attend_tile *t) {
    uint64_t fragments = MATRIX_FRAGMENTS(t->group, s->wave, (uint64_t)t->row_tile, s->value_dim);
    return fragments <= FRAGMENTS_MOST && fragments * TILE * TILE / s->wave <= s->sums_most;
}

static bool search(matrix_search *s, attend_tile *out) {
    uint64_t best = UINT64_MAX;
    for (uint32_t row_tile = TILE; row_tile <= s->rows_most; row_tile *= 2)
        for (uint32_t group = MATRIX_GROUP_LEAST; group <= s->group_most; group *= 2) {
            attend_tile t = {.group = group, .row_tile = row_tile};
            uint64_t padded = up_to(s->rows, row_tile);
            if (group < s->wave || !fits_registers(s, &t) || !fit_local(s, &t) || t.key_tile > group) continue;
            // Of as many padded rows the larger tile, which reads keys less often; of equal tiles the larger group.
            uint64_t cost = padded * 4 + (padded / row_tile) * TILE;
            if (cost > best) continue;
            best = cost;
            *out = t;
        }
    return best != UINT64_MAX;
}

static bool refuse(char reason[ATTEND_TILE_REASON_MAX], const matrix_search *s) {
    char held[64];
    snprintf(held, sizeof held, "rows of %u values", s->width);
    return attend_tile_refuse(reason, &(attend_tile_shortage){MATRIX_GROUP_LEAST, s->group_most, s->least_local,
                                                              s->local, s->value_dim, "row", held});
}

uint32_t attend_matrix_parts(clmla_row_format format, bool exact) {
    return !exact ? 1 : format == CLMLA_ROWS_BF16 ? 3 : 2;
}

static bool has_few_registers(const host_matrix *form, bool exact) {
    return form->instruction == HOST_INSTRUCTION_MATRIX_INTEL ||
           (form->instruction == HOST_INSTRUCTION_MATRIX_AMD_WMMA && exact);
}

bool attend_matrix_choose(attend_tile *out, char reason[ATTEND_TILE_REASON_MAX], const clmla_device_facts *facts,
                          const attend_tile_limits *limits, const attend_tile_shape *shape) {
    const host_matrix *form = host_matrix_find(facts);
    uint64_t group = group_most(facts);
    uint32_t latent = shape->latent_dim ? shape->latent_dim : 1;
    if (limits->group && limits->group < group) group = limits->group;
    matrix_search s = {
        .group_most = least((uint32_t)group, GROUP_MOST),
        .rows_most = limits->rows ? least(limits->rows, ROWS_MOST) : ROWS_MOST,
        .keys_most = limits->keys ? least(limits->keys, KEYS_MOST) : KEYS_MOST,
        .sums_most = has_few_registers(form, shape->exact) ? SUMS_MOST_OF_FEW : SUMS_MOST,
        .wave = form->wave,
        .width = latent + shape->rope_dim,
        .value_dim = shape->value_dim ? shape->value_dim : latent,
        .rows = shape->rows ? shape->rows : 1,
        .parts = attend_matrix_parts(shape->format, shape->exact),
        .local = facts->local_bytes,
        .least_local = UINT64_MAX,
    };
    *out = (attend_tile){0};
    reason[0] = '\0';
    if (s.rows_most < TILE) s.rows_most = TILE;
    if (s.keys_most < TILE) s.keys_most = TILE;
    if (s.group_most < MATRIX_GROUP_LEAST) return refuse(reason, &s);
    if (limits->local_bytes && limits->local_bytes < s.local) s.local = limits->local_bytes;
    uint64_t all = s.local;
    if (!limits->local_bytes && all >= LOCAL_SHARED) s.local = all / 2;
    bool found = search(&s, out);
    s.local = all;
    if (!found) found = search(&s, out);
    if (!found) return refuse(reason, &s);
    out->query_stride = MATRIX_QUERY_STRIDE(s.width, s.parts);
    return true;
}
