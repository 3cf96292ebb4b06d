// SPDX-License-Identifier: Apache-2.0
// Program binaries on disk: one file an entry, named by its key.
//
// An entry is a header (magic, store format, key, payload bytes, SHA-256 of the payload) and the payload, written to a
// temporary file and renamed, so a reader sees all of it or none. Readers check every part and treat anything off as
// "not there", removing the file. Any number of processes may share a folder.
#ifndef HOST_PROGRAM_STORE_H
#define HOST_PROGRAM_STORE_H

#include "host/program_key.h"
#include <clmla/log.h>
#include <clmla/status.h>
#include <stdbool.h>

#define HOST_STORE_FORMAT 1
#define HOST_STORE_PATH 1024

typedef struct host_store {
    char folder[HOST_STORE_PATH]; // "" = no store
    uint64_t limit;               // bytes of all entries
    const clmla_allocator *allocator;
    const clmla_log *log;
} host_store;

typedef enum host_store_find { HOST_STORE_MISSING, HOST_STORE_FOUND, HOST_STORE_REJECTED } host_store_find;

// Settles the folder (clmla_context_params.program_folder) and makes it. A store that cannot be used is an empty one,
// with a warning in the log.
void host_store_open(host_store *store, const char *folder, uint64_t limit, const clmla_allocator *allocator,
                     const clmla_log *log);
// FOUND: *payload (to be released with the allocator) and *bytes are set. REJECTED: the entry was off and is gone.
host_store_find host_store_get(unsigned char **payload, size_t *bytes, const host_store *store,
                               const host_program_key *key);
// Removes an entry the driver would not take.
void host_store_reject(const host_store *store, const host_program_key *key, const char *reason);
// True if written. Entries longest unused go when the limit is passed.
bool host_store_put(const host_store *store, const host_program_key *key, const unsigned char *payload, size_t bytes);

#endif
