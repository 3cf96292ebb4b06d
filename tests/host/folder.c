// SPDX-License-Identifier: Apache-2.0
#include "tests/host/folder.h"
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], first[512];

const char *test_folder_make(void) {
    strcpy(folder, "host-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    return folder;
}

static int each(int (*visit)(const char *path)) {
    int count = 0;
    DIR *list = opendir(folder);
    if (!list) return 0;
    for (struct dirent *item; (item = readdir(list));) {
        char path[400];
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, item->d_name);
        count += visit(path);
    }
    closedir(list);
    return count;
}

static int remove_all(const char *path) {
    DIR *list = opendir(path);
    struct stat about;
    if (list && lstat(path, &about) == 0 && S_ISDIR(about.st_mode))
        for (struct dirent *item; (item = readdir(list));) {
            char below[600];
            if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0) continue;
            snprintf(below, sizeof below, "%s/%s", path, item->d_name);
            remove_all(below);
        }
    if (list) closedir(list);
    return remove(path) == 0;
}

static int note_one(const char *path) {
    if (!first[0] || strcmp(path, first) < 0) snprintf(first, sizeof first, "%s", path);
    return 1;
}

void test_folder_remove(void) {
    remove_all(folder);
}

int test_folder_files(void) {
    return each(note_one);
}

const char *test_folder_first(void) {
    first[0] = '\0';
    return each(note_one) ? first : NULL;
}

unsigned char *test_file_read(const char *path, size_t *bytes) {
    struct stat about;
    ck_assert_int_eq(stat(path, &about), 0);
    unsigned char *data = malloc((size_t)about.st_size + 1);
    FILE *file = fopen(path, "rb");
    ck_assert(data && file);
    *bytes = fread(data, 1, (size_t)about.st_size, file);
    ck_assert_uint_eq(*bytes, (size_t)about.st_size);
    fclose(file);
    return data;
}

void test_file_write(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, bytes, file), bytes);
    ck_assert_int_eq(fclose(file), 0);
}
