// SPDX-License-Identifier: Apache-2.0
#include "tune.h"
#include <string.h>

#define FEW_STEPS 10 // a range of up to so many is walked step by step

uint32_t tune_neighbour(const clmla_tuning *tuning, uint32_t value, bool up) {
    uint32_t step = tuning->step, last = tuning->maximum - tuning->maximum % step;
    bool few = (tuning->maximum - tuning->minimum) / step <= FEW_STEPS;
    if (up) {
        // 0 stands for "by the device" or "none": the first size worth a look is an eighth of the range.
        uint64_t next = few ? (uint64_t)value + step : value ? 2 * (uint64_t)value : tuning->maximum / 8;
        next -= next % step;
        if (next <= value) next = (uint64_t)value + step;
        return next <= last ? (uint32_t)next : last > value ? last : value;
    }
    uint32_t next = few ? (value >= step ? value - step : 0) : value / 2 - value / 2 % step;
    if (next < tuning->minimum) next = tuning->minimum + (step - tuning->minimum % step) % step;
    return next < value ? next : value;
}

static bool is(const char *name, const char *other) {
    return strcmp(name, other) == 0;
}

bool tune_has_matrix_units(const char *variant) {
    return is(variant, "matrix") || is(variant, "matrix_ring") || is(variant, "wgmma");
}

bool tune_has_cpu_products(const char *variant) {
    return strstr(variant, "_dot") != NULL || is(variant, "amx");
}

// Of attend.tile.*: the ring has a group and rows of its own and, over rows as wide as those timed, keys; of wgmma the
// whole tile is given; and a unit has room for one group of either.
static bool tile_uses(const char *variant, const char *number) {
    if (is(number, "part_keys") || is(number, "least_split")) return true;
    if (is(number, "local_kib") && is(variant, "matrix_ring")) return true;
    return is(variant, "tile") || is(variant, "matrix");
}

bool tune_uses(const char *variant, const char *number) {
    const char *rest = strncmp(number, "attend.", 7) == 0 ? number + 7 : NULL;
    if (!rest) return false;
    if (is(rest, "piece_keys")) return true;
    bool tiles = is(variant, "tile") || tune_has_matrix_units(variant);
    if (strncmp(rest, "tile.", 5) == 0) return tiles && tile_uses(variant, rest + 5);
    if (tiles) return false; // the other schedule's numbers are in attend.tile.*
    if (strncmp(rest, "dot.", 4) == 0) return strstr(variant, "_dot") != NULL;
    if (strncmp(rest, "amx.", 4) == 0) return is(variant, "amx");
    if (is(rest, "parts_per_unit")) return !is(variant, "amx");
    if (is(rest, "vector.row_tile")) return true;
    return strncmp(rest, "vector.", 7) != 0 || is(variant, "vector");
}

bool tune_compiles(const char *number) {
    static const char *const names[] = {
        "attend.vector.block_tokens", "attend.dot.block_tokens", "attend.amx.block_tokens", "attend.vector.row_tile",
        "attend.tile.group",          "attend.tile.rows",        "attend.tile.keys",        "attend.tile.local_kib"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is(number, names[i])) return true;
    return false;
}
