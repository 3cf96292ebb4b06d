// SPDX-License-Identifier: Apache-2.0
// Attend's variants for groups of work-items, over tiles and shapes of a test's own.
#ifndef ATTEND_TILES_H
#define ATTEND_TILES_H

#include "tests/kernel/attend_fixture.h"

// The attend.tile tunables of these names.
typedef struct attend_tile_size {
    uint32_t group, rows, keys, local_kib;
} attend_tile_size;

typedef struct attend_tile_rows {
    clmla_row_format format;
    uint32_t latent, rope, value, heads, query_tokens, window;
    float softcap;
    bool full;
} attend_tile_rows;

static inline void attend_set_tile(attend_tile_size tile) {
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {{"attend.tile.group", tile.group},
                   {"attend.tile.rows", tile.rows},
                   {"attend.tile.keys", tile.keys},
                   {"attend.tile.local_kib", tile.local_kib}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        TEST_OK(clmla_tuning_set(test_device_get()->context, numbers[i].name, numbers[i].value));
}

// Back to what a context begins with.
static inline void attend_reset_tile(void) {
    attend_set_tile((attend_tile_size){0, 32, 32, 0});
}

// Three sequences of these rows, with what else attend does going round with the tile's number.
static inline attend_shape attend_tiles_shape(const attend_tile_rows *rows, size_t tile) {
    return (attend_shape){.format = rows->format,
                          .latent = rows->latent,
                          .rope = rows->rope,
                          .value = rows->value,
                          .heads = rows->heads,
                          .sequences = 3,
                          .query_tokens = {1, rows->query_tokens, 2},
                          .kv_tokens = {33, 90, 0},
                          .page_tokens = 7,
                          .csr = tile % 2,
                          .window = rows->window,
                          .full = rows->full,
                          .softcap = rows->softcap,
                          .lse = true,
                          .max_logit = true,
                          .split_tokens = tile % 3 == 0 ? 40 : 0,
                          .sink = tile % 2 ? ATTEND_SINK_RANDOM : ATTEND_SINK_NONE};
}

static inline void attend_tile_case_begin(const char *family, attend_tile_size tile, size_t number, size_t shape) {
    test_case_begin(family, (int)(number * 10 + shape), "groups of %u, %u rows, %u keys, %u KiB, shape %zu", tile.group,
                    tile.rows, tile.keys, tile.local_kib, shape);
}

#endif
