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

bool tune_uses(const char *variant, const char *number) {
    const char *rest = strncmp(number, "attend.", 7) == 0 ? number + 7 : NULL;
    if (!rest) return false;
    bool tile = strcmp(variant, "tile") == 0, dot = strstr(variant, "_dot") != NULL, amx = strcmp(variant, "amx") == 0;
    if (strncmp(rest, "tile.", 5) == 0) return tile;
    if (strncmp(rest, "dot.", 4) == 0) return dot;
    if (strncmp(rest, "amx.", 4) == 0) return amx;
    if (strcmp(rest, "parts_per_unit") == 0 && amx) return false;
    if (strcmp(rest, "vector.row_tile") == 0) return !tile;
    if (strncmp(rest, "vector.", 7) == 0) return strcmp(variant, "vector") == 0;
    return !tile || strcmp(rest, "piece_keys") == 0; // the tile variant has the other schedule's numbers for itself
}
