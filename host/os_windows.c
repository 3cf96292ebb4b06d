// SPDX-License-Identifier: Apache-2.0
#ifdef _WIN32
#include "host/env.h"
#include "host/error.h"
#include "host/os.h"
#include <stdio.h>
#include <string.h>
#include <windows.h>

#define PATH_BYTES 2048

static clmla_status fail_file(const char *path, const char *what) {
    return host_fail(NULL, CLMLA_E_FILE, 0, "%s: %s: Windows error %lu", path[0] ? path : "''", what, GetLastError());
}

static clmla_status map_contents(host_map *map, HANDLE file, const char *path) {
    LARGE_INTEGER bytes;
    if (!GetFileSizeEx(file, &bytes)) return fail_file(path, "cannot be examined");
    if (bytes.QuadPart == 0) return CLMLA_OK;
    HANDLE mapping = CreateFileMappingA(file, NULL, PAGE_READONLY, 0, 0, NULL);
    if (!mapping) return fail_file(path, "cannot be mapped");
    const void *data = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
    CloseHandle(mapping); // the view keeps it
    if (!data) return fail_file(path, "cannot be mapped");
    *map = (host_map){data, (uint64_t)bytes.QuadPart, NULL};
    return CLMLA_OK;
}

clmla_status host_map_open(host_map *map, const char *path) {
    *map = (host_map){0};
    HANDLE file = CreateFileA(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                              FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return fail_file(path, "cannot be opened");
    clmla_status status = map_contents(map, file, path);
    CloseHandle(file);
    return status;
}

void host_map_close(host_map *map) {
    if (map->data) UnmapViewOfFile(map->data);
    *map = (host_map){0};
}

host_path_kind host_path_what(const char *path) {
    DWORD about = GetFileAttributesA(path);
    if (about == INVALID_FILE_ATTRIBUTES) return HOST_PATH_MISSING;
    if (about & FILE_ATTRIBUTE_DIRECTORY) return HOST_PATH_FOLDER;
    return about & FILE_ATTRIBUTE_DEVICE ? HOST_PATH_OTHER : HOST_PATH_FILE;
}

static bool make_folder(const char *path) {
    return CreateDirectoryA(path, NULL) || GetLastError() == ERROR_ALREADY_EXISTS;
}

// A folder under the user's profile is the user's alone by what it inherits.
bool host_private_folder(const char *path) {
    char part[PATH_BYTES];
    size_t length = strlen(path);
    if (length >= sizeof part) return false;
    for (size_t i = 1; i < length; i++) {
        if ((path[i] != '/' && path[i] != '\\') || path[i - 1] == ':') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (!make_folder(part)) return false;
    }
    return make_folder(path) && host_path_what(path) == HOST_PATH_FOLDER;
}

static bool write_all(HANDLE file, const void *data, size_t bytes) {
    const char *from = data;
    for (size_t left = bytes; left > 0;) {
        DWORD written = 0, take = left < (1u << 30) ? (DWORD)left : 1u << 30;
        if (!WriteFile(file, from, take, &written, NULL) || written == 0) return false;
        from += written;
        left -= written;
    }
    return true;
}

static bool write_parts(HANDLE file, const void *const *parts, const size_t *part_bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!write_all(file, parts[i], part_bytes[i])) return false;
    return FlushFileBuffers(file) != 0;
}

bool host_write_atomic(const char *folder, const char *name, const void *const *parts, const size_t *part_bytes,
                       size_t count) {
    char temporary[PATH_BYTES], final[PATH_BYTES];
    int a = snprintf(temporary, sizeof temporary, "%s/.%s.%lu.%lu", folder, name, GetCurrentProcessId(),
                     GetCurrentThreadId());
    int b = snprintf(final, sizeof final, "%s/%s", folder, name);
    if (a < 0 || (size_t)a >= sizeof temporary || b < 0 || (size_t)b >= sizeof final) return false;
    HANDLE file = CreateFileA(temporary, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return false;
    bool done = write_parts(file, parts, part_bytes, count);
    done = CloseHandle(file) && done;
    done = done && MoveFileExA(temporary, final, MOVEFILE_REPLACE_EXISTING);
    if (!done) DeleteFileA(temporary);
    return done;
}

clmla_status host_new_file_begin(host_new_file *file, const char *path) {
    *file = (host_new_file){.handle = NULL};
    int a = snprintf(file->path, sizeof file->path, "%s", path);
    int b = snprintf(file->temporary, sizeof file->temporary, "%s.%lu.%lu", path, GetCurrentProcessId(),
                     GetCurrentThreadId());
    if (a < 0 || b < 0 || (size_t)b >= sizeof file->temporary)
        return host_fail(NULL, CLMLA_E_LIMIT, 0, "%.200s...: a path of %zu bytes is too long", path, strlen(path));
    HANDLE handle = CreateFileA(file->temporary, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    if (handle == INVALID_HANDLE_VALUE) return fail_file(path, "cannot be made");
    file->handle = handle;
    return CLMLA_OK;
}

clmla_status host_new_file_write(host_new_file *file, const void *data, size_t bytes) {
    return write_all(file->handle, data, bytes) ? CLMLA_OK : fail_file(file->path, "cannot be written");
}

clmla_status host_new_file_commit(host_new_file *file) {
    if (!FlushFileBuffers(file->handle)) return fail_file(file->path, "cannot be synced");
    BOOL closed = CloseHandle(file->handle);
    file->handle = NULL;
    if (closed && MoveFileExA(file->temporary, file->path, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
        return CLMLA_OK;
    clmla_status status = fail_file(file->path, "cannot be replaced");
    DeleteFileA(file->temporary);
    return status;
}

void host_new_file_abandon(host_new_file *file) {
    if (!file->handle) return;
    CloseHandle(file->handle);
    DeleteFileA(file->temporary);
    file->handle = NULL;
}

bool host_remove_file(const char *path) {
    return DeleteFileA(path) != 0;
}

void host_touch_file(const char *path) {
    FILETIME now;
    HANDLE file = CreateFileA(path, FILE_WRITE_ATTRIBUTES, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                              OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return;
    GetSystemTimeAsFileTime(&now);
    SetFileTime(file, NULL, NULL, &now);
    CloseHandle(file);
}

// FILETIME counts 100 ns.
static int64_t seconds_of(FILETIME time) {
    return (int64_t)(((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) / 10000000u);
}

bool host_list_folder(const char *folder, bool (*visit)(void *payload, const host_file_entry *entry), void *payload) {
    char pattern[PATH_BYTES];
    WIN32_FIND_DATAA found;
    if ((size_t)snprintf(pattern, sizeof pattern, "%s/*", folder) >= sizeof pattern) return false;
    HANDLE list = FindFirstFileA(pattern, &found);
    if (list == INVALID_HANDLE_VALUE) return false;
    bool more = true;
    do {
        host_file_entry entry;
        size_t length = strlen(found.cFileName);
        if (found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY || length >= sizeof entry.name) continue;
        memcpy(entry.name, found.cFileName, length + 1);
        entry.bytes = (uint64_t)found.nFileSizeHigh << 32 | found.nFileSizeLow;
        entry.modified = seconds_of(found.ftLastWriteTime);
        more = visit(payload, &entry);
    } while (more && FindNextFileA(list, &found));
    FindClose(list);
    return more;
}

bool host_cache_folder(char *out, size_t size) {
    const char *folder = host_env_local_app_data();
    int length = folder ? snprintf(out, size, "%s", folder) : -1;
    return length > 0 && (size_t)length < size;
}

bool host_amx_permitted(char *reason, size_t size) {
    snprintf(reason, size, "the system is not known to grant AMX tiles");
    return false;
}

void host_large_pages(void *at, size_t bytes) {
    (void)at, (void)bytes; // they need a privilege
}

double host_seconds(void) {
    LARGE_INTEGER frequency, now;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&now);
    return (double)now.QuadPart / (double)frequency.QuadPart;
}
#else
typedef int host_os_windows_is_not_used_here;
#endif
