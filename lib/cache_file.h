// SPDX-License-Identifier: Apache-2.0
// The saved cache as bytes (docs/cache_file.md): a pure function of them, no device, no cache.
//   cache_file_config.c  the configuration section: which model's rows these are
//   cache_file_read.c    bytes to a description of what is saved, every number checked
//   cache_save.c         a cache to bytes
//   cache_load.c         bytes to a cache
//   cache_restore.c      the sequences and pages of a load
#ifndef LIB_CACHE_FILE_H
#define LIB_CACHE_FILE_H

#include "host/crc32c.h"
#include <clmla/cache_file.h>

#define CACHE_FILE_MAGIC                                                                                               \
    "\x89"                                                                                                             \
    "CLMLA\r\n"
#define CACHE_FILE_MAGIC_BYTES 8u
#define CACHE_FILE_HEADER_BYTES 48u
#define CACHE_FILE_SUM_BYTES 4u
#define CACHE_FILE_RECORD_BYTES 24u // of a sequence
#define CACHE_FILE_RUN_BYTES 12u

enum { // bytes into the header
    CACHE_FILE_AT_VERSION = 8,
    CACHE_FILE_AT_HEADER_BYTES = 12,
    CACHE_FILE_AT_FILE_BYTES = 16,
    CACHE_FILE_AT_SEQUENCES = 24,
    CACHE_FILE_AT_CONFIG_BYTES = 28,
    CACHE_FILE_AT_SEQUENCE_BYTES = 32,
    CACHE_FILE_AT_RESERVED = 40,
    CACHE_FILE_AT_SUM = 44
};

// --- configuration -------------------------------------------------------------------------------------------------

#define CACHE_FILE_FORMAT_BYTES 16
#define CACHE_FILE_CONFIG_BYTES 100u // without factors
#define CACHE_FILE_CONFIG_MOST (CACHE_FILE_CONFIG_BYTES + 4u * (CLMLA_MAX_ROPE_DIM / 2))

typedef struct cache_file_config {
    char format[CACHE_FILE_FORMAT_BYTES + 1];
    uint32_t rope_order, latent_dim, rope_dim, layer_count, row_bytes, scale_row_bytes;
    float latent_norm_eps;
    uint32_t rope_type;
    double rope_theta, attention_factor, rope_factor, beta_fast, beta_slow;
    uint32_t original_context, no_truncate, factor_count;
    float factors[CLMLA_MAX_ROPE_DIM / 2];
} cache_file_config;

// Of a cache's rows.
void cache_file_config_make(cache_file_config *out, const clmla_config *config, const clmla_config_values *values,
                            const clmla_row_layout *layout, uint32_t layer_count);
// Into CACHE_FILE_CONFIG_MOST bytes at most; how many.
uint32_t cache_file_config_write(unsigned char *out, const cache_file_config *config);
// False if the sizes do not fit; only those are checked.
bool cache_file_config_read(cache_file_config *out, const unsigned char *bytes, uint32_t count);
// CLMLA_E_MISMATCH with the first field that differs.
clmla_status cache_file_config_match(const cache_file_config *found, const cache_file_config *expected,
                                     const char *name);

// --- reading -------------------------------------------------------------------------------------------------------

typedef struct cache_saved_run {
    uint32_t first_row;
    int32_t position, delta;
} cache_saved_run;

typedef struct cache_saved_sequence {
    uint32_t tokens, run_count, known, edited_from, parent, shared; // parent: 1 + index, 0 = none
    const unsigned char *runs, *ids, *rows;                         // rows: layer 0's section
} cache_saved_sequence;

// Points into bytes that stay the caller's.
typedef struct cache_saved {
    const char *name; // for sentences
    const unsigned char *bytes;
    uint64_t count;
    uint32_t version;
    cache_file_config config;
    uint32_t sequence_count;
    cache_saved_sequence *sequences; // [sequence_count]; owned
    const clmla_allocator *allocator;
    host_crc32c crc;
} cache_saved;

// Reads header and configuration: checksums and sizes. cache_saved_close afterwards, also on failure.
clmla_status cache_saved_open(cache_saved *out, const void *bytes, uint64_t count, const char *name,
                              const clmla_allocator *allocator);
// Then the sequences: afterwards every pointer and number is good.
clmla_status cache_saved_read_sequences(cache_saved *saved);
// Then the rows' checksums.
clmla_status cache_saved_check_rows(const cache_saved *saved);
void cache_saved_close(cache_saved *saved); // accepts a zeroed struct

cache_saved_run cache_saved_run_at(const cache_saved_sequence *sequence, uint32_t index);
// Where a layer's row of a sequence is saved (its scales, if `scales`), and in *rows how many from there on, of at most
// `most`, stand one after another.
const unsigned char *cache_saved_rows(uint32_t *rows, const cache_saved *saved, uint32_t sequence, uint32_t layer,
                                      bool scales, uint32_t row, uint32_t most);

#endif
