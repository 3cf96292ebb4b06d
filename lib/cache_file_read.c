// SPDX-License-Identifier: Apache-2.0
// Bytes of a saved cache, read as if an enemy had written them: nothing is believed before it is checked, and nothing
// is allocated beyond what the bytes themselves account for.
#include "host/bytes.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/cache_file.h"
#include <stdio.h>
#include <string.h>

static clmla_status truncated(const cache_saved *saved, uint64_t wanted) {
    return host_fail(NULL, CLMLA_E_TRUNCATED, 0, "%s: it ends after %llu of %llu bytes", saved->name,
                     (unsigned long long)saved->count, (unsigned long long)wanted);
}

#define CORRUPTED(saved, format, ...) host_fail(NULL, CLMLA_E_CORRUPTED, 0, "%s: " format, (saved)->name, __VA_ARGS__)

// `count` bytes and the checksum behind them, which are there.
static clmla_status check_sum(const cache_saved *saved, const unsigned char *bytes, uint64_t count, const char *what) {
    uint32_t expected = host_get_u32(bytes + count), found = host_crc32c_add(&saved->crc, 0, bytes, (size_t)count);
    if (expected == found) return CLMLA_OK;
    return CORRUPTED(saved, "%s: the checksum of its bytes is %08x, %08x was saved", what, found, expected);
}

// --- header and configuration --------------------------------------------------------------------------------------

static clmla_status check_header(cache_saved *saved) {
    const unsigned char *bytes = saved->bytes;
    uint64_t seen = saved->count < CACHE_FILE_MAGIC_BYTES ? saved->count : CACHE_FILE_MAGIC_BYTES;
    if (seen > 0 && memcmp(bytes, CACHE_FILE_MAGIC, (size_t)seen) != 0)
        return host_fail(NULL, CLMLA_E_FOREIGN, 0, "%s: not a saved cache: it does not begin like one", saved->name);
    if (saved->count < CACHE_FILE_AT_HEADER_BYTES) return truncated(saved, CACHE_FILE_HEADER_BYTES);
    saved->version = host_get_u32(bytes + CACHE_FILE_AT_VERSION);
    if (saved->version > CLMLA_CACHE_FILE_VERSION)
        return host_fail(NULL, CLMLA_E_NEWER, 0, "%s: saved in version %u, this library reads up to %d", saved->name,
                         saved->version, CLMLA_CACHE_FILE_VERSION);
    if (saved->version == 0) return CORRUPTED(saved, "there is no version %u", 0u);
    if (saved->count < CACHE_FILE_HEADER_BYTES) return truncated(saved, CACHE_FILE_HEADER_BYTES);
    STATUS_OR_RETURN(check_sum(saved, bytes, CACHE_FILE_AT_SUM, "header"));
    uint32_t header = host_get_u32(bytes + CACHE_FILE_AT_HEADER_BYTES);
    uint32_t reserved = host_get_u32(bytes + CACHE_FILE_AT_RESERVED);
    if (header != CACHE_FILE_HEADER_BYTES || reserved != 0)
        return CORRUPTED(saved, "a header of %u bytes, expected %u; reserved %u, expected 0", header,
                         CACHE_FILE_HEADER_BYTES, reserved);
    uint64_t total = host_get_u64(bytes + CACHE_FILE_AT_FILE_BYTES);
    if (saved->count < total) return truncated(saved, total);
    if (saved->count > total)
        return CORRUPTED(saved, "%llu bytes, it says it has %llu", (unsigned long long)saved->count,
                         (unsigned long long)total);
    return CLMLA_OK;
}

static uint32_t config_bytes_of(const cache_saved *saved) {
    return host_get_u32(saved->bytes + CACHE_FILE_AT_CONFIG_BYTES);
}

// Where the sequences begin, and whether they and their checksum are there.
static bool sequences_at(uint64_t *begin, uint64_t *bytes, const cache_saved *saved) {
    uint64_t end;
    *begin = (uint64_t)CACHE_FILE_HEADER_BYTES + config_bytes_of(saved) + CACHE_FILE_SUM_BYTES;
    *bytes = host_get_u64(saved->bytes + CACHE_FILE_AT_SEQUENCE_BYTES);
    return host_add(&end, *begin + CACHE_FILE_SUM_BYTES, *bytes) && end <= saved->count;
}

static bool is_sound(const cache_file_config *config) {
    return config->latent_dim > 0 && config->latent_dim <= CLMLA_MAX_DIM && config->rope_dim <= CLMLA_MAX_ROPE_DIM &&
           config->layer_count > 0 && config->layer_count <= CLMLA_MAX_LAYERS && config->row_bytes > 0 &&
           config->row_bytes <= 8 * (CLMLA_MAX_DIM + 256) && config->scale_row_bytes <= 4 * CLMLA_MAX_DIM &&
           config->rope_order <= CLMLA_ROPE_HALVES && config->rope_type <= CLMLA_ROPE_NONE;
}

clmla_status cache_saved_open(cache_saved *out, const void *bytes, uint64_t count, const char *name,
                              const clmla_allocator *allocator) {
    uint64_t begin, sequence_bytes;
    *out = (cache_saved){.name = name, .bytes = bytes, .count = count, .allocator = allocator};
    host_crc32c_init(&out->crc);
    STATUS_OR_RETURN(check_header(out));
    out->sequence_count = host_get_u32(out->bytes + CACHE_FILE_AT_SEQUENCES);
    if (!sequences_at(&begin, &sequence_bytes, out) || out->sequence_count > sequence_bytes / CACHE_FILE_RECORD_BYTES)
        return CORRUPTED(out, "sections of %u and %llu bytes and %u sequences do not fit into it", config_bytes_of(out),
                         (unsigned long long)sequence_bytes, out->sequence_count);
    const unsigned char *config = out->bytes + CACHE_FILE_HEADER_BYTES;
    STATUS_OR_RETURN(check_sum(out, config, config_bytes_of(out), "configuration"));
    if (!cache_file_config_read(&out->config, config, config_bytes_of(out)) || !is_sound(&out->config))
        return CORRUPTED(out,
                         "a configuration of %u bytes with kv_lora_rank %u, qk_rope_head_dim %u, %u layers, "
                         "rope_order %u, rope_type %u",
                         config_bytes_of(out), out->config.latent_dim, out->config.rope_dim, out->config.layer_count,
                         out->config.rope_order, out->config.rope_type);
    return CLMLA_OK;
}

void cache_saved_close(cache_saved *saved) {
    host_release(saved->allocator, saved->sequences);
    saved->sequences = NULL;
}

// --- sequences -----------------------------------------------------------------------------------------------------

cache_saved_run cache_saved_run_at(const cache_saved_sequence *sequence, uint32_t index) {
    const unsigned char *at = sequence->runs + (uint64_t)index * CACHE_FILE_RUN_BYTES;
    return (cache_saved_run){host_get_u32(at), host_get_i32(at + 4), host_get_i32(at + 8)};
}

static clmla_status read_record(cache_saved_sequence *out, const cache_saved *saved, const unsigned char *at,
                                uint32_t index) {
    *out = (cache_saved_sequence){.tokens = host_get_u32(at),
                                  .run_count = host_get_u32(at + 4),
                                  .known = host_get_u32(at + 8),
                                  .edited_from = host_get_u32(at + 12),
                                  .parent = host_get_u32(at + 16),
                                  .shared = host_get_u32(at + 20)};
    if (out->tokens > CLMLA_MAX_CONTEXT || out->run_count > out->tokens || (out->tokens > 0) != (out->run_count > 0) ||
        out->known > out->tokens || (out->edited_from >= out->tokens && out->edited_from != UINT32_MAX))
        return CORRUPTED(saved, "sequence %u has %u tokens in %u runs, the ids of %u, edits from %u", index,
                         out->tokens, out->run_count, out->known, out->edited_from);
    const cache_saved_sequence *parent =
        out->parent > 0 && out->parent <= index ? &saved->sequences[out->parent - 1] : NULL;
    if ((!parent && out->parent > 0) || out->shared > out->tokens || out->shared > (parent ? parent->tokens : 0))
        return CORRUPTED(saved, "sequence %u of %u tokens shares %u with parent %u", index, out->tokens, out->shared,
                         out->parent);
    return CLMLA_OK;
}

// A run's positions, and those its rows' bytes were rotated for, must be positions.
static bool is_good_run(cache_saved_run run, uint32_t end) {
    int64_t first = run.position, last = first + end - run.first_row - 1;
    return run.first_row < end && first >= 0 && last <= INT32_MAX && first - run.delta >= 0 &&
           last - run.delta <= INT32_MAX;
}

static clmla_status check_runs(const cache_saved *saved, const cache_saved_sequence *sequence, uint32_t index) {
    for (uint32_t i = 0; i < sequence->run_count; i++) {
        cache_saved_run run = cache_saved_run_at(sequence, i);
        uint32_t end = i + 1 < sequence->run_count ? cache_saved_run_at(sequence, i + 1).first_row : sequence->tokens;
        if (is_good_run(run, end) && (i > 0 || run.first_row == 0) && end <= sequence->tokens) continue;
        return CORRUPTED(saved, "sequence %u: run %u: rows %u to %u at position %d with delta %d", index, i,
                         run.first_row, end, (int)run.position, (int)run.delta);
    }
    return CLMLA_OK;
}

// Of a layer's section, without its checksum.
static uint64_t layer_bytes(const cache_file_config *config, const cache_saved_sequence *sequence) {
    return (uint64_t)(sequence->tokens - sequence->shared) * ((uint64_t)config->row_bytes + config->scale_row_bytes);
}

// Points the sequence at its runs and ids, in the section, and at its rows behind it.
static bool place(cache_saved_sequence *sequence, const cache_saved *saved, uint64_t *at, uint64_t end,
                  uint64_t *rows_at) {
    uint64_t runs = (uint64_t)sequence->run_count * CACHE_FILE_RUN_BYTES, ids = 4ull * sequence->known, rows, next;
    if (runs > end - *at || ids > end - *at - runs) return false;
    sequence->runs = saved->bytes + *at;
    sequence->ids = sequence->runs + runs;
    *at += runs + ids;
    if (!host_multiply(&rows, layer_bytes(&saved->config, sequence) + CACHE_FILE_SUM_BYTES,
                       saved->config.layer_count) ||
        !host_add(&next, *rows_at, rows) || next > saved->count)
        return false;
    sequence->rows = saved->bytes + *rows_at;
    *rows_at = next;
    return true;
}

clmla_status cache_saved_read_sequences(cache_saved *saved) {
    uint64_t begin, bytes;
    sequences_at(&begin, &bytes, saved);
    uint64_t end = begin + bytes, at = begin + (uint64_t)saved->sequence_count * CACHE_FILE_RECORD_BYTES;
    uint64_t rows_at = end + CACHE_FILE_SUM_BYTES;
    STATUS_OR_RETURN(check_sum(saved, saved->bytes + begin, bytes, "sequences"));
    saved->sequences = host_allocate(saved->allocator, saved->sequence_count, sizeof *saved->sequences);
    if (!saved->sequences)
        return host_fail(NULL, CLMLA_E_MEMORY, 0, "%s: no host memory for %u sequences", saved->name,
                         saved->sequence_count);
    for (uint32_t i = 0; i < saved->sequence_count; i++) {
        cache_saved_sequence *sequence = &saved->sequences[i];
        STATUS_OR_RETURN(read_record(sequence, saved, saved->bytes + begin + (uint64_t)i * CACHE_FILE_RECORD_BYTES, i));
        if (!place(sequence, saved, &at, end, &rows_at))
            return CORRUPTED(saved, "sequence %u of %u tokens, %u runs and %u ids does not fit into it", i,
                             sequence->tokens, sequence->run_count, sequence->known);
        STATUS_OR_RETURN(check_runs(saved, sequence, i));
    }
    if (at != end || rows_at != saved->count)
        return CORRUPTED(saved, "its sequences end at byte %llu and %llu, its sections at %llu and %llu",
                         (unsigned long long)at, (unsigned long long)rows_at, (unsigned long long)end,
                         (unsigned long long)saved->count);
    return CLMLA_OK;
}

// --- rows ----------------------------------------------------------------------------------------------------------

clmla_status cache_saved_check_rows(const cache_saved *saved) {
    for (uint32_t i = 0; i < saved->sequence_count; i++) {
        const unsigned char *at = saved->sequences[i].rows;
        uint64_t bytes = layer_bytes(&saved->config, &saved->sequences[i]);
        for (uint32_t layer = 0; layer < saved->config.layer_count; layer++) {
            char what[64];
            snprintf(what, sizeof what, "sequence %u, layer %u", i, layer);
            STATUS_OR_RETURN(check_sum(saved, at, bytes, what));
            at += bytes + CACHE_FILE_SUM_BYTES;
        }
    }
    return CLMLA_OK;
}

const unsigned char *cache_saved_rows(uint32_t *rows, const cache_saved *saved, uint32_t sequence, uint32_t layer,
                                      bool scales, uint32_t row, uint32_t most) {
    const cache_saved_sequence *source = &saved->sequences[sequence];
    const cache_file_config *config = &saved->config;
    for (; row < source->shared; source = &saved->sequences[source->parent - 1])
        if (most > source->shared - row) most = source->shared - row;
    *rows = most;
    uint64_t saved_rows = source->tokens - source->shared, index = row - source->shared;
    const unsigned char *section = source->rows + layer * (layer_bytes(config, source) + CACHE_FILE_SUM_BYTES);
    return scales ? section + saved_rows * config->row_bytes + index * config->scale_row_bytes
                  : section + index * config->row_bytes;
}
