// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/made_file.h"
#include "tests/support/suite.h"
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[128];

// Before any test forks, so that all of them use it.
static bool make_root(const char *program) {
    snprintf(root, sizeof root, "%s.XXXXXX", program);
    if (mkdtemp(root)) return true;
    perror(root);
    return false;
}

const char *made_path(const char *name) {
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

// Files first, then folders of files.
static void remove_files(const char *folder, int depth) {
    DIR *entries = opendir(folder);
    if (!entries) return;
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        char path[1024];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path) != 0 && depth > 0) remove_files(path, depth - 1);
    }
    closedir(entries);
    rmdir(folder);
}

void made_folder(const char *name) {
    ck_assert(mkdir(made_path(name), 0700) == 0 || errno == EEXIST);
}

const char *made_file(const char *name, const void *bytes, size_t count) {
    const char *path = made_path(name);
    remove(path); // some file systems write a file that is cut short and refilled through to the disk
    FILE *stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(bytes, 1, count, stream), count);
    ck_assert_int_eq(fclose(stream), 0);
    return path;
}

const char *made_safetensors(const char *name, const char *header, size_t data_bytes) {
    size_t length = strlen(header), count = 8 + length + data_bytes;
    unsigned char *bytes = malloc(count);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++) bytes[8 + length + i] = (unsigned char)i;
    const char *path = made_file(name, bytes, count);
    free(bytes);
    return path;
}

int made_run(const char *program, void (*add_tests)(TCase *tcase)) {
    if (!make_root(program)) return EXIT_FAILURE;
    int result = test_run_apart(program, add_tests);
    remove_files(root, 2);
    return result;
}
