// SPDX-License-Identifier: Apache-2.0
// Small caches with rows in them, for tests that carry rows from one to another.
#ifndef TEST_CACHE_SCENE_H
#define TEST_CACHE_SCENE_H

#include "tests/support/device.h"
#include "tests/support/random.h"

// Widths that the tests of layers and of attention have too: the driver keeps what it compiled for them.
enum { SCENE_LAYERS = 2, SCENE_HEADS = 3, SCENE_LATENT = 37, SCENE_ROPE = 6, SCENE_TOKENS = 256 };

void scene_config(clmla_config *out);
clmla_cache *scene_cache(clmla_context *context, clmla_row_format format, uint32_t page_tokens, uint64_t pages,
                         bool share_prefixes);
clmla_cache *scene_cache_of(clmla_context *context, const clmla_config *config, const clmla_cache_params *params);

clmla_sequence scene_create(clmla_cache *cache);
// Lengthens by `count` tokens and writes random rows for them, in all layers.
void scene_append(clmla_context *context, clmla_cache *cache, clmla_sequence sequence, uint32_t count,
                  test_random *random);

// A sequence as it can be seen: what a copy of it must be equal to.
typedef struct scene_rows {
    uint32_t tokens;
    int32_t positions[SCENE_TOKENS], ids[SCENE_TOKENS];
    size_t known;
    unsigned char *rows; // [layer][token][row bytes, then scales that lie apart]; freed by scene_rows_free
    size_t bytes;
} scene_rows;
// Flushes, and reads it back.
void scene_read(scene_rows *out, clmla_cache *cache, clmla_sequence sequence);
void scene_rows_free(scene_rows *rows);
void scene_expect_equal(const scene_rows *found, const scene_rows *expected);

// Attention of one query over a sequence without short pages, [SCENE_HEADS][SCENE_LATENT + 1]: output and lse.
void scene_attend(float *out, clmla_context *context, clmla_cache *cache, clmla_sequence sequence);

void scene_expect_same_usage(const clmla_cache *cache, const clmla_cache_usage *before);

// A saved cache in memory, freed with free(); NULL sequences = all.
unsigned char *scene_save(size_t *bytes, clmla_cache *cache, const clmla_sequence *sequences, uint32_t count);

#endif
