// SPDX-License-Identifier: Apache-2.0
// The numbers kernels and schedules are tuned by, per context. Defaults, ranges and meanings are one table in tuning.c.
#ifndef LIB_TUNING_H
#define LIB_TUNING_H

#include "lib/context.h"

typedef enum tuning_index {
    TUNING_ATTEND_BLOCK_TOKENS,
    TUNING_ATTEND_DOT_BLOCK_TOKENS,
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
    TUNING_COUNT
} tuning_index;

void tuning_init(clmla_context *context);
uint32_t tuning_value(clmla_context *context, tuning_index index);

#endif
