// SPDX-License-Identifier: Apache-2.0
// What the library needs of the operating system, in one place: os_posix.c and os_windows.c.
#ifndef HOST_OS_H
#define HOST_OS_H

#include <clmla/log.h>
#include <clmla/status.h>
#include <pthread.h> // on Windows by mingw-w64's winpthreads
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef pthread_mutex_t host_mutex;
typedef pthread_cond_t host_condition;

// A file mapped read-only. An empty file has data NULL and bytes 0.
typedef struct host_map {
    const void *data;
    uint64_t bytes;
    void *handle; // the implementation's own
} host_map;

// Errors: CLMLA_E_FILE, with the system's reason and the path.
clmla_status host_map_open(host_map *map, const char *path);
void host_map_close(host_map *map); // accepts a zeroed one

typedef enum host_path_kind { HOST_PATH_MISSING, HOST_PATH_FILE, HOST_PATH_FOLDER, HOST_PATH_OTHER } host_path_kind;
host_path_kind host_path_what(const char *path);

// Makes a private folder (0700) and its parents; true if it is there, is a folder, and belongs to this user alone.
bool host_private_folder(const char *path);
// Writes a file so that a reader sees all of it or none: temporary in the same folder, synced, renamed.
bool host_write_atomic(const char *folder, const char *name, const void *const *parts, const size_t *part_bytes,
                       size_t count);

// A file that is written piece by piece and appears under its name when it is complete: a temporary beside it (this
// user's alone), synced and renamed over what was there. Errors: CLMLA_E_FILE, with the system's reason and the path;
// CLMLA_E_LIMIT (the path is too long).
#define HOST_FILE_PATH 2048
typedef struct host_new_file {
    char path[HOST_FILE_PATH], temporary[HOST_FILE_PATH];
    void *handle; // the implementation's own; NULL = there is none
} host_new_file;
clmla_status host_new_file_begin(host_new_file *file, const char *path);
clmla_status host_new_file_write(host_new_file *file, const void *data, size_t bytes);
clmla_status host_new_file_commit(host_new_file *file);
void host_new_file_abandon(host_new_file *file); // removes the temporary; nothing after a commit, or on a zeroed one
bool host_remove_file(const char *path);
// Marks a file as just used (its modification time is now).
void host_touch_file(const char *path);

typedef struct host_file_entry {
    char name[128]; // longer names are left out
    uint64_t bytes;
    int64_t modified; // seconds
} host_file_entry;
// Calls visit for each regular file of a folder until it answers false.
bool host_list_folder(const char *folder, bool (*visit)(void *payload, const host_file_entry *entry), void *payload);

// The user's cache folder: XDG_CACHE_HOME, else ~/.cache; LOCALAPPDATA on Windows. False if there is none.
bool host_cache_folder(char *out, size_t size);

// Whether this process may use the AMX tiles of an x86 CPU, which it asks the system for: Linux grants them for as long
// as the process lives, to all its threads, and signal frames grow by what tiles take. False, with the reason: a thread
// has an alternate signal stack too small for that, a policy forbids it, or the system is none that grants them.
bool host_amx_permitted(char *reason, size_t size);

// Asks for large pages in place of those of [at, at + bytes) that nothing has touched yet. A wish: where the system has
// none, or gives them to all, nothing happens.
void host_large_pages(void *at, size_t bytes);

// Seconds of a monotonic clock.
double host_seconds(void);

#endif
