// SPDX-License-Identifier: Apache-2.0
// The numbers kernels and schedules are tuned by, per context. Ranges and meanings are one table in
// tuning.c, what a device begins with another in tuning_defaults.c.
#ifndef LIB_TUNING_H
#define LIB_TUNING_H

#include "lib/context.h"

typedef enum tuning_index {
    TUNING_ATTEND_BLOCK_TOKENS,
    TUNING_ATTEND_DOT_BLOCK_TOKENS,
    TUNING_ATTEND_AMX_BLOCK_TOKENS,
    TUNING_ATTEND_AMX_PARTS_PER_UNIT,
    TUNING_ATTEND_ROW_TILE,
    TUNING_ATTEND_PARTS_PER_UNIT,
    TUNING_ATTEND_PART_KEYS,
    TUNING_ATTEND_LEAST_SPLIT,
    TUNING_ATTEND_PIECE_KEYS,
    TUNING_ATTEND_TILE_GROUP,
    TUNING_ATTEND_TILE_ROWS,
    TUNING_ATTEND_TILE_KEYS,
    TUNING_ATTEND_TILE_LOCAL_KIB,
    TUNING_ATTEND_TILE_PARTS_PER_UNIT,
    TUNING_ATTEND_TILE_PART_KEYS,
    TUNING_ATTEND_TILE_LEAST_SPLIT,
    TUNING_PREFILL_LEAST_TOKENS,
    TUNING_PREFILL_WORKSPACE_KIB,
    TUNING_COUNT
} tuning_index;

// The device's defaults, then what the file says (clmla_context_params.tuning_file).
void tuning_init(clmla_context *context, const char *file);
// Fills every value.
void tuning_defaults(uint32_t values[TUNING_COUNT], const clmla_device_facts *facts);
bool tuning_allowed(tuning_index index, uint32_t value);
// "NAME must be a multiple of 24 from 24 to 192"
void tuning_range_text(char *out, size_t size, tuning_index index);
const char *tuning_name(tuning_index index);
// A tuning_index; -1 = none has that name.
int tuning_find(const char *name, size_t length);
uint32_t tuning_value(clmla_context *context, tuning_index index);
// Whether this is the first time that it is asked since a number was set: what would be said of the numbers in every
// call is said then.
bool tuning_takes_first_warning(clmla_context *context);

#endif
