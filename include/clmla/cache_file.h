// SPDX-License-Identifier: Apache-2.0
// Saving sequences of a cache and loading them again: into the same cache or another one, on another device, with
// another page size, after another start.
//
// A saved cache is one run of bytes, in a file or in the caller's memory: the rows as the format's own bytes, in token
// order, layer by layer; the positions they were rotated for; the token ids that were told. It is versioned, each of
// its sections has a checksum, and it says which model's rows these are: every config field that changes what a row
// means. Rows that sequences share from their start (forks, copied prefixes) are saved once and shared again when
// loaded. docs/cache_file.md has the byte layout. What a saved cache does not know is the weights: two models of the
// same config are the same to it.
//
// All calls here block: saved bytes are complete, and loaded rows on the device, when they return. They count as
// changing the cache (one thread at a time). Work that writes the sequences' rows, or that still uses pages given back
// before, must come before: by an in-order queue, or by the wait list. Rows cross in pieces of a few MiB.
#ifndef CLMLA_CACHE_FILE_H
#define CLMLA_CACHE_FILE_H

#include <clmla/cache.h>

CLMLA_BEGIN

#define CLMLA_CACHE_FILE_VERSION 1 // written; any from 1 up to this one is read

// --- saving --------------------------------------------------------------------------------------------------------
// sequences, count: which ones, in this order; NULL and 0 = all, by rising id. An empty cache, or an empty sequence,
//           can be saved. The cache is left as it is, but for pending row work, which is enqueued first
//           (clmla_cache_flush).
// Errors  : CLMLA_E_ARGUMENT (NULL; a sequence named twice); CLMLA_E_SEQUENCE; CLMLA_E_LIMIT; CLMLA_E_MEMORY;
//           CLMLA_E_BUILD; CLMLA_E_OPENCL; and those named below.

// Saves to a file: written beside it under a temporary name, synced, and renamed, so that `path` is the old file or all
// of the new one. The file is the user's alone (mode 0600). Errors: also CLMLA_E_FILE, with the path; `path` is then as
// it was, and nothing is left beside it.
CLMLA_API clmla_status clmla_cache_save(clmla_cache *cache, const clmla_sequence *sequences, uint32_t count,
                                        const char *path, cl_command_queue queue, cl_uint wait_count,
                                        const cl_event *wait);

// Saves to memory. *bytes (never NULL) is what it takes; memory NULL asks for that alone and touches no device (queue
// may be NULL). Errors: also CLMLA_E_ARGUMENT when `capacity` is less: both figures are named, nothing is written.
CLMLA_API clmla_status clmla_cache_save_memory(void *memory, size_t capacity, size_t *bytes, clmla_cache *cache,
                                               const clmla_sequence *sequences, uint32_t count, cl_command_queue queue,
                                               cl_uint wait_count, const cl_event *wait);

// Receives the bytes in order, in pieces of any size; false ends the save. On the calling thread; must not change the
// cache.
typedef bool (*clmla_cache_write)(void *payload, const void *data, size_t bytes);

// Saves through a callback. Errors: also CLMLA_E_FILE when the callback answers false.
CLMLA_API clmla_status clmla_cache_save_stream(clmla_cache_write write, void *payload, clmla_cache *cache,
                                               const clmla_sequence *sequences, uint32_t count, cl_command_queue queue,
                                               cl_uint wait_count, const cl_event *wait);

// --- loading -------------------------------------------------------------------------------------------------------
// Makes new sequences with the saved ones' rows, positions and, in a cache with share_prefixes, token ids. The cache
// must have been made for the same rows: config, layers, format and rope order; page size and page count are its own.
// sequences: [capacity], filled in the order they were saved in; NULL = nothing is loaded, *count alone is answered,
//           after all checks but that for free pages.
// count   : how many there are. Never NULL.
// Errors  : CLMLA_E_FOREIGN, CLMLA_E_NEWER, CLMLA_E_TRUNCATED, CLMLA_E_CORRUPTED, CLMLA_E_MISMATCH (status.h; the
//           sentence names the field, what was expected and what was found); CLMLA_E_CACHE_FULL (how many pages are
//           missing, after the cache's evict callback was asked); CLMLA_E_ARGUMENT (NULL; capacity is less than
//           *count); CLMLA_E_FILE; CLMLA_E_MEMORY; CLMLA_E_BUILD; CLMLA_E_OPENCL.
//           After any of them the cache has the sequences, rows and free pages it had. (A driver that fails while rows
//           are being written may have cost prefixes that were kept in pages nobody holds.) All bytes are checked
//           before the cache is touched. Until the call returns, queries from other threads may see the new sequences
//           already.

// The file is mapped: nobody may change it meanwhile.
CLMLA_API clmla_status clmla_cache_load(clmla_sequence *sequences, size_t capacity, size_t *count, clmla_cache *cache,
                                        const char *path, cl_command_queue queue, cl_uint wait_count,
                                        const cl_event *wait);

// From `bytes` bytes of the caller's, read during the call alone; of any alignment.
CLMLA_API clmla_status clmla_cache_load_memory(clmla_sequence *sequences, size_t capacity, size_t *count,
                                               clmla_cache *cache, const void *memory, size_t bytes,
                                               cl_command_queue queue, cl_uint wait_count, const cl_event *wait);

// --- looking -------------------------------------------------------------------------------------------------------

typedef struct clmla_cache_file_info {
    uint32_t version;
    clmla_row_format format;
    clmla_rope_order rope_order;
    uint32_t latent_dim, rope_dim, layer_count;
    uint64_t bytes; // of the file
    uint32_t sequence_count;
    uint32_t longest_sequence; // tokens
    uint64_t tokens;           // of all sequences; shared ones count for each
    uint64_t rows;             // saved, a layer: shared ones once
} clmla_cache_file_info;

// What a file holds, without a cache or a device. Everything but the rows' own checksums is checked. Errors: as
// clmla_cache_load, CLMLA_E_MISMATCH meaning a format this build does not know. Threads: any.
CLMLA_API clmla_status clmla_cache_file_examine(clmla_cache_file_info *out, const char *path);
CLMLA_API clmla_status clmla_cache_file_examine_memory(clmla_cache_file_info *out, const void *memory, size_t bytes);

CLMLA_END

#endif
