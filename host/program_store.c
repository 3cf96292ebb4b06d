// SPDX-License-Identifier: Apache-2.0
#include "host/program_store.h"
#include "host/env.h"
#include "host/error.h"
#include "host/memory.h"
#include "host/os.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIMIT (256ull << 20)
#define SUFFIX ".clprogram"
#define ENTRIES_FIRST 256 // room for so many when the folder is listed; it grows

static const char magic[8] = {'C', 'L', 'M', 'L', 'A', 'P', 'R', 'G'};

// As it lies in the file, little-endian and without padding.
enum { AT_MAGIC = 0, AT_FORMAT = 8, AT_KEY = 12, AT_BYTES = 44, AT_CHECKSUM = 52, HEADER_BYTES = 84 };

static void put_number(unsigned char *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get_number(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void checksum(unsigned char digest[HOST_SHA256_BYTES], const unsigned char *payload, size_t bytes) {
    host_sha256 sha;
    host_sha256_begin(&sha);
    host_sha256_add(&sha, payload, bytes);
    host_sha256_end(&sha, digest);
}

void host_store_open(host_store *store, const char *folder, uint64_t limit, const clmla_allocator *allocator,
                     const clmla_log *log) {
    char base[HOST_STORE_PATH - 64];
    *store = (host_store){.limit = limit ? limit : DEFAULT_LIMIT, .allocator = allocator, .log = log};
    if (!folder) folder = host_env_program_cache();
    if (folder && (folder[0] == '\0' || strcmp(folder, "off") == 0)) return;
    int length;
    if (folder)
        length = snprintf(store->folder, sizeof store->folder, "%s", folder);
    else if (host_cache_folder(base, sizeof base))
        length = snprintf(store->folder, sizeof store->folder, "%s/clmla/programs", base);
    else
        return;
    if (length > 0 && (size_t)length < sizeof store->folder - 128 && host_private_folder(store->folder)) return;
    host_log(log, CLMLA_LOG_WARNING, "program store: '%s' is not a folder of this user alone: nothing is kept on disk",
             store->folder);
    store->folder[0] = '\0';
}

static void entry_name(char name[128], const host_program_key *key) {
    char text[HOST_PROGRAM_KEY_TEXT];
    host_program_key_text(text, key);
    snprintf(name, 128, "%s" SUFFIX, text);
}

static void entry_path(char path[HOST_STORE_PATH + 128], const host_store *store, const host_program_key *key) {
    char name[128];
    entry_name(name, key);
    snprintf(path, HOST_STORE_PATH + 128, "%s/%s", store->folder, name);
}

// What is wrong with an entry, or NULL.
static const char *fault(const unsigned char *data, uint64_t bytes, const host_program_key *key) {
    unsigned char digest[HOST_SHA256_BYTES];
    if (bytes < HEADER_BYTES) return "it is shorter than its header";
    if (memcmp(data + AT_MAGIC, magic, sizeof magic) != 0) return "it is no program entry";
    if (get_number(data + AT_FORMAT, 4) != HOST_STORE_FORMAT) return "it has another format";
    if (memcmp(data + AT_KEY, key->bytes, sizeof key->bytes) != 0) return "it belongs to another program";
    if (get_number(data + AT_BYTES, 8) != bytes - HEADER_BYTES) return "its length is not what its header says";
    checksum(digest, data + HEADER_BYTES, (size_t)(bytes - HEADER_BYTES));
    return memcmp(data + AT_CHECKSUM, digest, sizeof digest) == 0 ? NULL : "its checksum does not fit";
}

void host_store_reject(const host_store *store, const host_program_key *key, const char *reason) {
    char path[HOST_STORE_PATH + 128];
    entry_path(path, store, key);
    host_log(store->log, CLMLA_LOG_WARNING, "program store: entry %s is discarded: %s", path, reason);
    host_remove_file(path);
}

host_store_find host_store_get(unsigned char **payload, size_t *bytes, const host_store *store,
                               const host_program_key *key) {
    char path[HOST_STORE_PATH + 128];
    host_map map = {0};
    if (!store->folder[0]) return HOST_STORE_MISSING;
    entry_path(path, store, key);
    if (host_path_what(path) == HOST_PATH_MISSING) return HOST_STORE_MISSING;
    const char *reason = "it cannot be read";
    host_last_failure told; // a bad entry costs a rebuild: no call has failed
    host_last_failure_keep(&told);
    if (host_map_open(&map, path) == CLMLA_OK) reason = fault(map.data, map.bytes, key);
    host_last_failure_restore(&told);
    if (!reason) {
        *bytes = (size_t)(map.bytes - HEADER_BYTES);
        *payload = host_allocate(store->allocator, *bytes, 1);
        if (*payload) memcpy(*payload, (const unsigned char *)map.data + HEADER_BYTES, *bytes);
    }
    host_map_close(&map);
    if (reason) {
        host_store_reject(store, key, reason);
        return HOST_STORE_REJECTED;
    }
    if (!*payload) return HOST_STORE_MISSING;
    host_touch_file(path);
    return HOST_STORE_FOUND;
}

typedef struct store_files {
    const clmla_allocator *allocator;
    host_file_entry *entries;
    size_t count, capacity;
    uint64_t bytes; // also of entries there was no memory for
} store_files;

static bool grow(store_files *files) {
    size_t capacity = files->capacity ? 2 * files->capacity : ENTRIES_FIRST;
    host_file_entry *larger = host_allocate(files->allocator, capacity, sizeof *larger);
    if (!larger) return false;
    if (files->count) memcpy(larger, files->entries, files->count * sizeof *larger);
    host_release(files->allocator, files->entries);
    files->entries = larger;
    files->capacity = capacity;
    return true;
}

// Temporaries too: one that a process left behind when it was killed goes when its turn comes.
static bool collect(void *payload, const host_file_entry *entry) {
    store_files *files = payload;
    if (!strstr(entry->name, SUFFIX)) return true;
    files->bytes += entry->bytes;
    if (files->count < files->capacity || grow(files)) files->entries[files->count++] = *entry;
    return true;
}

static int older(const void *a, const void *b) {
    const host_file_entry *x = a, *y = b;
    return x->modified < y->modified ? -1 : x->modified > y->modified;
}

// Removes the longest unused entries until `bytes` more fit.
static void make_room(const host_store *store, uint64_t bytes) {
    store_files files = {.allocator = store->allocator};
    (void)host_list_folder(store->folder, collect, &files);
    if (files.count > 0) qsort(files.entries, files.count, sizeof *files.entries, older);
    for (size_t i = 0; i < files.count && files.bytes + bytes > store->limit; i++) {
        char path[HOST_STORE_PATH + 256];
        snprintf(path, sizeof path, "%s/%s", store->folder, files.entries[i].name);
        if (host_remove_file(path)) files.bytes -= files.entries[i].bytes;
    }
    host_release(store->allocator, files.entries);
}

bool host_store_put(const host_store *store, const host_program_key *key, const unsigned char *payload, size_t bytes) {
    unsigned char header[HEADER_BYTES];
    char name[128];
    if (!store->folder[0] || bytes + HEADER_BYTES > store->limit) return false;
    memcpy(header + AT_MAGIC, magic, sizeof magic);
    put_number(header + AT_FORMAT, HOST_STORE_FORMAT, 4);
    memcpy(header + AT_KEY, key->bytes, sizeof key->bytes);
    put_number(header + AT_BYTES, bytes, 8);
    checksum(header + AT_CHECKSUM, payload, bytes);
    make_room(store, bytes + HEADER_BYTES);
    entry_name(name, key);
    const void *parts[2] = {header, payload};
    const size_t part_bytes[2] = {HEADER_BYTES, bytes};
    if (host_write_atomic(store->folder, name, parts, part_bytes, 2)) return true;
    host_log(store->log, CLMLA_LOG_WARNING, "program store: nothing can be written to '%s'", store->folder);
    return false;
}
