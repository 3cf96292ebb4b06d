// SPDX-License-Identifier: Apache-2.0
#ifndef _WIN32
#ifdef __linux__
#define _DEFAULT_SOURCE // syscall(), madvise()
#endif
#include "host/env.h"
#include "host/error.h"
#include "host/os.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <time.h>
#include <unistd.h>

#define PATH_MAX_BYTES 2048

static clmla_status fail_file(const char *path, const char *what) {
    return host_fail(NULL, CLMLA_E_FILE, 0, "%s: %s: %s", path[0] ? path : "''", what, strerror(errno));
}

clmla_status host_map_open(host_map *map, const char *path) {
    struct stat about;
    *map = (host_map){0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a named pipe must not hold the caller up
    if (file < 0) return fail_file(path, "cannot be opened");
    clmla_status status = CLMLA_OK;
    if (fstat(file, &about) != 0)
        status = fail_file(path, "cannot be examined");
    else if (!S_ISREG(about.st_mode))
        status = host_fail(NULL, CLMLA_E_FILE, 0, "%s: not a regular file", path);
    else if ((uint64_t)about.st_size > SIZE_MAX)
        status = host_fail(NULL, CLMLA_E_FILE, 0, "%s: too large to map", path);
    else if (about.st_size > 0) {
        void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (data == MAP_FAILED)
            status = fail_file(path, "cannot be mapped");
        else
            *map = (host_map){data, (uint64_t)about.st_size, NULL};
    }
    close(file);
    return status;
}

void host_map_close(host_map *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, (size_t)map->bytes);
    *map = (host_map){0};
}

host_path_kind host_path_what(const char *path) {
    struct stat about;
    if (stat(path, &about) != 0) return HOST_PATH_MISSING;
    if (S_ISREG(about.st_mode)) return HOST_PATH_FILE;
    return S_ISDIR(about.st_mode) ? HOST_PATH_FOLDER : HOST_PATH_OTHER;
}

static bool make_parents(const char *path) {
    char part[PATH_MAX_BYTES];
    size_t length = strlen(path);
    if (length >= sizeof part) return false;
    for (size_t i = 1; i < length; i++) {
        if (path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST) return false;
    }
    return true;
}

bool host_private_folder(const char *path) {
    struct stat about;
    if (!make_parents(path)) return false;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return false;
    if (lstat(path, &about) != 0 || !S_ISDIR(about.st_mode)) return false;
    return about.st_uid == geteuid() && (about.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static bool write_all(int file, const void *data, size_t bytes) {
    const char *from = data;
    while (bytes > 0) {
        ssize_t written = write(file, from, bytes);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        from += written;
        bytes -= (size_t)written;
    }
    return true;
}

bool host_write_atomic(const char *folder, const char *name, const void *const *parts, const size_t *part_bytes,
                       size_t count) {
    char temporary[PATH_MAX_BYTES], final[PATH_MAX_BYTES];
    int a = snprintf(temporary, sizeof temporary, "%s/.%s.XXXXXX", folder, name);
    int b = snprintf(final, sizeof final, "%s/%s", folder, name);
    if (a < 0 || (size_t)a >= sizeof temporary || b < 0 || (size_t)b >= sizeof final) return false;
    int file = mkstemp(temporary);
    if (file < 0) return false;
    bool done = true;
    for (size_t i = 0; i < count && done; i++) done = write_all(file, parts[i], part_bytes[i]);
    done = done && fsync(file) == 0;
    done = close(file) == 0 && done;
    done = done && rename(temporary, final) == 0;
    if (!done) unlink(temporary);
    return done;
}

static clmla_status too_long(const char *path) {
    return host_fail(NULL, CLMLA_E_LIMIT, 0, "%.200s...: a path of %zu bytes is too long", path, strlen(path));
}

clmla_status host_new_file_begin(host_new_file *file, const char *path) {
    *file = (host_new_file){.handle = NULL};
    int a = snprintf(file->path, sizeof file->path, "%s", path);
    int b = snprintf(file->temporary, sizeof file->temporary, "%s.XXXXXX", path);
    if (a < 0 || b < 0 || (size_t)b >= sizeof file->temporary) return too_long(path);
    int handle = mkstemp(file->temporary);
    if (handle < 0) return fail_file(path, "cannot be made");
    fcntl(handle, F_SETFD, FD_CLOEXEC);
    file->handle = (void *)(intptr_t)(handle + 1);
    return CLMLA_OK;
}

static int handle_of(const host_new_file *file) {
    return (int)(intptr_t)file->handle - 1;
}

clmla_status host_new_file_write(host_new_file *file, const void *data, size_t bytes) {
    return write_all(handle_of(file), data, bytes) ? CLMLA_OK : fail_file(file->path, "cannot be written");
}

// A rename lasts once its folder is written. Not every file system can be asked for it, and the file is complete.
static void sync_folder_of(const char *path) {
    char folder[HOST_FILE_PATH];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (slash == path) length = 1;
    memcpy(folder, length > 0 ? path : ".", length > 0 ? length : 1);
    folder[length > 0 ? length : 1] = '\0';
    int handle = open(folder, O_RDONLY | O_CLOEXEC);
    if (handle < 0) return;
    fsync(handle);
    close(handle);
}

clmla_status host_new_file_commit(host_new_file *file) {
    if (fsync(handle_of(file)) != 0) return fail_file(file->path, "cannot be synced");
    int closed = close(handle_of(file));
    file->handle = NULL;
    if (closed != 0 || rename(file->temporary, file->path) != 0) {
        clmla_status status = fail_file(file->path, closed != 0 ? "cannot be closed" : "cannot be replaced");
        unlink(file->temporary);
        return status;
    }
    sync_folder_of(file->path);
    return CLMLA_OK;
}

void host_new_file_abandon(host_new_file *file) {
    if (!file->handle) return;
    close(handle_of(file));
    unlink(file->temporary);
    file->handle = NULL;
}

bool host_remove_file(const char *path) {
    return unlink(path) == 0;
}

void host_touch_file(const char *path) {
    const struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    if (utimensat(AT_FDCWD, path, now, 0) != 0) return; // its age is a hint alone
}

bool host_list_folder(const char *folder, bool (*visit)(void *payload, const host_file_entry *entry), void *payload) {
    DIR *list = opendir(folder);
    if (!list) return false;
    bool more = true;
    for (const struct dirent *item; more && (item = readdir(list)) != NULL;) {
        struct stat about;
        host_file_entry entry;
        size_t length = strlen(item->d_name);
        if (length >= sizeof entry.name || fstatat(dirfd(list), item->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (!S_ISREG(about.st_mode)) continue;
        memcpy(entry.name, item->d_name, length + 1);
        entry.bytes = (uint64_t)about.st_size;
        entry.modified = (int64_t)about.st_mtime;
        more = visit(payload, &entry);
    }
    closedir(list);
    return more;
}

bool host_cache_folder(char *out, size_t size) {
    const char *xdg = host_env_xdg_cache_home(), *home = host_env_home();
    int length = -1;
    if (xdg && xdg[0] == '/')
        length = snprintf(out, size, "%s", xdg);
    else if (home)
        length = snprintf(out, size, "%s/.cache", home);
    return length > 0 && (size_t)length < size;
}

#if defined(__linux__) && defined(__x86_64__)
#define REQUEST_STATE_PERMISSION 0x1023 // ARCH_REQ_XCOMP_PERM of asm/prctl.h since Linux 5.16
#define STATE_OF_TILES 18               // XFEATURE_XTILEDATA

bool host_amx_permitted(char *reason, size_t size) {
    if (syscall(SYS_arch_prctl, REQUEST_STATE_PERMISSION, STATE_OF_TILES) == 0) return true;
    snprintf(reason, size, "the system does not grant AMX tiles: %s",
             errno == ENOSPC ? "a thread's alternate signal stack is too small for them" : strerror(errno));
    return false;
}
#else
bool host_amx_permitted(char *reason, size_t size) {
    snprintf(reason, size, "the system is not known to grant AMX tiles");
    return false;
}
#endif

void host_large_pages(void *at, size_t bytes) {
#ifdef MADV_HUGEPAGE
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)at + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)at + bytes) / page * page;
    if (begin < end) (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)at, (void)bytes;
#endif
}

double host_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#else
typedef int host_os_posix_is_not_used_here;
#endif
