// SPDX-License-Identifier: Apache-2.0
// The store of program binaries on disk: what is kept, what is refused, what goes, and where it lies.
#include "host/error.h"
#include "host/memory.h"
#include "host/program_store.h"
#include "tests/host/folder.h"
#include "tests/support/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

static host_program_key key_of(const char *text, const char *options, const clmla_device_facts *facts) {
    host_source source = {"any", text, strlen(text)};
    return host_program_key_make(&source, options, facts);
}

typedef struct lines {
    int warnings;
    char last[1024];
} lines;

static void take_line(void *payload, clmla_log_level level, const char *message) {
    lines *l = payload;
    l->warnings += level == CLMLA_LOG_WARNING;
    snprintf(l->last, sizeof l->last, "%s", message);
}

static host_store store;
static lines heard;
static clmla_log log_to;
static host_program_key key;
static const unsigned char payload[] = "a binary, as far as the store can tell";

static void open_store(const char *folder, uint64_t limit) {
    log_to = (clmla_log){take_line, &heard, CLMLA_LOG_INFO};
    heard = (lines){0};
    host_store_open(&store, folder, limit, NULL, &log_to);
    clmla_device_facts facts = {0};
    key = key_of("text", "", &facts);
}

static host_store_find find(const host_program_key *of) {
    unsigned char *found = NULL;
    size_t bytes = 0;
    host_store_find answer = host_store_get(&found, &bytes, &store, of);
    if (answer == HOST_STORE_FOUND) {
        ck_assert_uint_eq(bytes, sizeof payload);
        ck_assert_mem_eq(found, payload, sizeof payload);
    }
    host_release(NULL, found);
    return answer;
}

START_TEST(round_trip) {
    open_store(test_folder_make(), 0);
    ck_assert_int_eq(find(&key), HOST_STORE_MISSING);
    ck_assert(host_store_put(&store, &key, payload, sizeof payload));
    ck_assert_int_eq(find(&key), HOST_STORE_FOUND);
    ck_assert(host_store_put(&store, &key, payload, sizeof payload)); // again: replaced
    ck_assert_int_eq(test_folder_files(), 1);                         // and no temporary left
    host_program_key other = key;
    other.bytes[0] ^= 1;
    ck_assert_int_eq(find(&other), HOST_STORE_MISSING);
    ck_assert_int_eq(heard.warnings, 0);
    test_folder_remove();
}
END_TEST

// Every byte changed and every length cut: rejected, removed, and a warning said.
START_TEST(damaged_entries_are_rejected) {
    open_store(test_folder_make(), 0);
    ck_assert(host_store_put(&store, &key, payload, sizeof payload));
    size_t bytes;
    char path[512];
    snprintf(path, sizeof path, "%s", test_folder_first());
    unsigned char *whole = test_file_read(path, &bytes);
    for (size_t i = 0; i < 2 * bytes; i++) {
        size_t cut = i < bytes ? bytes : i - bytes;
        if (i < bytes) whole[i] ^= 0x20;
        test_file_write(path, whole, cut);
        if (i < bytes) whole[i] ^= 0x20;
        heard.warnings = 0;
        ck_assert_msg(find(&key) == HOST_STORE_REJECTED, "byte %zu of %zu", i, bytes);
        ck_assert_int_eq(heard.warnings, 1);
        ck_assert_int_eq(test_folder_files(), 0);
        ck_assert_int_eq(find(&key), HOST_STORE_MISSING);
    }
    test_file_write(path, whole, bytes);
    ck_assert_int_eq(find(&key), HOST_STORE_FOUND);
    // An intact entry of another program under this one's name.
    host_program_key other = key;
    other.bytes[31] ^= 1;
    test_folder_remove();
    open_store(test_folder_make(), 0);
    ck_assert(host_store_put(&store, &other, payload, sizeof payload));
    char wrong[512];
    snprintf(wrong, sizeof wrong, "%s", test_folder_first());
    char text[HOST_PROGRAM_KEY_TEXT], right[HOST_STORE_PATH + 128];
    host_program_key_text(text, &key);
    snprintf(right, sizeof right, "%s/%s%s", store.folder, text, strrchr(wrong, '.'));
    ck_assert_int_eq(rename(wrong, right), 0);
    ck_assert_int_eq(find(&key), HOST_STORE_REJECTED);
    ck_assert_ptr_nonnull(strstr(heard.last, "another program"));
    free(whole);
    test_folder_remove();
}
END_TEST

START_TEST(folders_that_cannot_be_used) {
    const char *folder = test_folder_make();
    open_store("", 0);
    ck_assert_str_eq(store.folder, "");
    open_store("off", 0);
    ck_assert_str_eq(store.folder, "");
    ck_assert(!host_store_put(&store, &key, payload, sizeof payload));
    ck_assert_int_eq(find(&key), HOST_STORE_MISSING);
    ck_assert_int_eq(heard.warnings, 0); // asked for: nothing to warn of

    char file[128], below[160];
    snprintf(file, sizeof file, "%s/file", folder);
    test_file_write(file, "x", 1);
    open_store(file, 0); // a file in its place
    ck_assert_str_eq(store.folder, "");
    ck_assert_int_eq(heard.warnings, 1);
    snprintf(below, sizeof below, "%s/deeper", file);
    open_store(below, 0);
    ck_assert_str_eq(store.folder, "");

    ck_assert_int_eq(chmod(folder, 0770), 0); // others of the group could plant binaries
    open_store(folder, 0);
    ck_assert_str_eq(store.folder, "");
    ck_assert_int_eq(heard.warnings, 1);
    ck_assert_int_eq(chmod(folder, 0700), 0);
    if (geteuid() == 0) { // only root can make a folder another user's
        ck_assert_int_eq(chown(folder, 12345, 12345), 0);
        open_store(folder, 0);
        ck_assert_str_eq(store.folder, "");
        ck_assert_int_eq(chown(folder, 0, 0), 0);
    }
    open_store(folder, 0);
    ck_assert_str_eq(store.folder, folder);
    test_folder_remove();
}
END_TEST

START_TEST(folder_that_goes_away) {
    open_store(test_folder_make(), 0);
    test_folder_remove();
    ck_assert(!host_store_put(&store, &key, payload, sizeof payload));
    ck_assert_int_eq(heard.warnings, 1);
    ck_assert_int_eq(find(&key), HOST_STORE_MISSING);
}
END_TEST

START_TEST(longest_unused_entries_go_first) {
    char path[3][HOST_STORE_PATH + 128];
    host_program_key keys[3];
    clmla_device_facts facts = {0};
    open_store(test_folder_make(), 0);
    keys[0] = key_of("0", "", &facts), keys[1] = key_of("1", "", &facts), keys[2] = key_of("2", "", &facts);
    struct stat about = {0};
    for (int i = 0; i < 2; i++) {
        ck_assert(host_store_put(&store, &keys[i], payload, sizeof payload));
        char text[HOST_PROGRAM_KEY_TEXT];
        host_program_key_text(text, &keys[i]);
        snprintf(path[i], sizeof path[i], "%s/%s.clprogram", store.folder, text);
        struct utimbuf past = {time(NULL) - 1000 * (2 - i), time(NULL) - 1000 * (2 - i)};
        ck_assert_int_eq(utime(path[i], &past), 0);
        ck_assert_int_eq(stat(path[i], &about), 0);
    }
    ck_assert_int_eq(find(&keys[0]), HOST_STORE_FOUND); // used just now: entry 1 is the older one
    store.limit = 2 * (uint64_t)about.st_size;
    ck_assert(host_store_put(&store, &keys[2], payload, sizeof payload));
    ck_assert_int_eq(find(&keys[0]), HOST_STORE_FOUND);
    ck_assert_int_eq(find(&keys[1]), HOST_STORE_MISSING);
    ck_assert_int_eq(find(&keys[2]), HOST_STORE_FOUND);
    store.limit = 10; // larger than the store as a whole: not kept, nothing lost
    ck_assert(!host_store_put(&store, &keys[1], payload, sizeof payload));
    ck_assert_int_eq(test_folder_files(), 2);
    test_folder_remove();
}
END_TEST

#define MANY 600

static void write_aged(const char *name, long age) {
    char path[HOST_STORE_PATH + 128];
    snprintf(path, sizeof path, "%s/%s", store.folder, name);
    test_file_write(path, payload, sizeof payload);
    struct utimbuf past = {time(NULL) - age, time(NULL) - age};
    ck_assert(age == 0 || utime(path, &past) == 0);
}

static bool is_there(const char *name) {
    char path[HOST_STORE_PATH + 128];
    snprintf(path, sizeof path, "%s/%s", store.folder, name);
    return access(path, F_OK) == 0;
}

// However many there are, those that go are the oldest; so does what a killed process left of its writing. Other files
// stay.
START_TEST(many_entries_are_all_seen) {
    static const char left[] = ".0123.clprogram.Ab12Cd", other[] = "notes.txt";
    char name[64], oldest[64] = "entry511.clprogram";
    open_store(test_folder_make(), 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "entry%d.clprogram", i);
        write_aged(name, strcmp(name, oldest) == 0 ? 5000 : 0);
    }
    write_aged(left, 9000);
    write_aged(other, 9999);
    store.limit = (MANY - 1) * sizeof payload + 84 + sizeof payload; // room for the new one, once two have gone
    ck_assert(host_store_put(&store, &key, payload, sizeof payload));
    ck_assert_int_eq(find(&key), HOST_STORE_FOUND);
    ck_assert(!is_there(left) && !is_there(oldest) && is_there(other));
    ck_assert_int_eq(test_folder_files(), MANY - 1 + 1 + 1);
    ck_assert_int_eq(heard.warnings, 0);
    test_folder_remove();
}
END_TEST

// The entry's path, named as the store names it.
static const char *entry_path(void) {
    static char path[HOST_STORE_PATH + 128];
    char text[HOST_PROGRAM_KEY_TEXT];
    host_program_key_text(text, &key);
    snprintf(path, sizeof path, "%s/%s.clprogram", store.folder, text);
    return path;
}

// The warning says which part of an entry is off.
START_TEST(warnings_name_the_fault) {
    const struct {
        size_t at; // a byte of that part
        const char *words;
    } parts[] = {{0, "no program entry"},          {7, "no program entry"}, {8, "another format"},
                 {12, "another program"},          {43, "another program"}, {44, "its length"},
                 {51, "its length"},               {52, "its checksum"},    {83, "its checksum"},
                 {84, "its checksum"},             {84 + sizeof payload - 1, "its checksum"}};
    size_t bytes;
    open_store(test_folder_make(), 0);
    ck_assert(host_store_put(&store, &key, payload, sizeof payload));
    unsigned char *whole = test_file_read(entry_path(), &bytes);
    ck_assert_uint_eq(bytes, 84 + sizeof payload);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        whole[parts[i].at] ^= 0x80;
        test_file_write(entry_path(), whole, bytes);
        whole[parts[i].at] ^= 0x80;
        ck_assert_int_eq(find(&key), HOST_STORE_REJECTED);
        ck_assert_msg(strstr(heard.last, parts[i].words) != NULL, "byte %zu: %s", parts[i].at, heard.last);
        ck_assert_msg(strstr(heard.last, entry_path()) != NULL, "%s", heard.last);
    }
    whole[8] = HOST_STORE_FORMAT + 1; // as a later version would write it
    test_file_write(entry_path(), whole, bytes);
    ck_assert_int_eq(find(&key), HOST_STORE_REJECTED);
    ck_assert_ptr_nonnull(strstr(heard.last, "another format"));
    free(whole);
    test_folder_remove();
}
END_TEST

// Neither a folder nor a pipe that nobody writes to holds the store up.
START_TEST(things_that_are_no_files) {
    open_store(test_folder_make(), 0);
    host_fail(NULL, CLMLA_E_FILE, 0, "an earlier failure");
    ck_assert_int_eq(mkfifo(entry_path(), 0600), 0);
    ck_assert_int_eq(find(&key), HOST_STORE_REJECTED);
    ck_assert_int_eq(heard.warnings, 1);
    ck_assert_int_eq(find(&key), HOST_STORE_MISSING); // it is gone
    ck_assert_int_eq(mkdir(entry_path(), 0700), 0);
    ck_assert_int_eq(find(&key), HOST_STORE_REJECTED);
    ck_assert_int_eq(heard.warnings, 2);
    ck_assert(!host_store_put(&store, &key, payload, sizeof payload)); // a folder is not replaced
    ck_assert_int_eq(heard.warnings, 3);
    ck_assert_int_eq(test_folder_files(), 1); // and no temporary left
    ck_assert_str_eq(clmla_last_error(), "an earlier failure"); // no call failed since
    test_folder_remove();
}
END_TEST

START_TEST(links_and_long_names_are_no_folders) {
    char folder[64], link[96], longer[HOST_STORE_PATH + 64];
    snprintf(folder, sizeof folder, "%s", test_folder_make());
    snprintf(link, sizeof link, "%s/link", folder);
    ck_assert_int_eq(symlink("/tmp", link), 0);
    open_store(link, 0); // where it leads is another's to say
    ck_assert_str_eq(store.folder, "");
    ck_assert_int_eq(heard.warnings, 1);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    open_store(longer, 0);
    ck_assert_str_eq(store.folder, "");
    ck_assert_int_eq(heard.warnings, 1);
    test_folder_remove();
}
END_TEST

// Sets an environment variable, or unsets it with NULL.
static void set(const char *name, const char *value) {
    ck_assert_int_eq(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

START_TEST(environment_names_the_folder) {
    char here[512], folder[640], expected[720];
    struct stat about;
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(folder, sizeof folder, "%s/%s", here, test_folder_make());
    set("CLMLA_PROGRAM_CACHE", folder);
    open_store(NULL, 0);
    ck_assert_str_eq(store.folder, folder);
    open_store("", 0); // what the caller says goes first
    ck_assert_str_eq(store.folder, "");
    set("CLMLA_PROGRAM_CACHE", "off");
    open_store(NULL, 0);
    ck_assert_str_eq(store.folder, "");
    ck_assert_int_eq(heard.warnings, 0);

    set("CLMLA_PROGRAM_CACHE", NULL);
    set("XDG_CACHE_HOME", folder);
    open_store(NULL, 0);
    snprintf(expected, sizeof expected, "%s/clmla/programs", folder);
    ck_assert_str_eq(store.folder, expected);
    ck_assert_int_eq(stat(expected, &about), 0); // made, for this user alone
    ck_assert_uint_eq(about.st_mode & 0777, 0700);
    ck_assert(host_store_put(&store, &key, payload, sizeof payload));
    ck_assert_int_eq(find(&key), HOST_STORE_FOUND);

    set("XDG_CACHE_HOME", "not/absolute"); // to be ignored, says its specification
    set("HOME", folder);
    open_store(NULL, 0);
    snprintf(expected, sizeof expected, "%s/.cache/clmla/programs", folder);
    ck_assert_str_eq(store.folder, expected);
    set("XDG_CACHE_HOME", NULL);
    set("HOME", NULL);
    open_store(NULL, 0); // nowhere to keep anything
    ck_assert_str_eq(store.folder, "");
    ck_assert(!host_store_put(&store, &key, payload, sizeof payload));
    test_folder_remove();
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, round_trip);
    tcase_add_test(tcase, damaged_entries_are_rejected);
    tcase_add_test(tcase, warnings_name_the_fault);
    tcase_add_test(tcase, things_that_are_no_files);
    tcase_add_test(tcase, folders_that_cannot_be_used);
    tcase_add_test(tcase, links_and_long_names_are_no_folders);
    tcase_add_test(tcase, folder_that_goes_away);
    tcase_add_test(tcase, longest_unused_entries_go_first);
    tcase_add_test(tcase, many_entries_are_all_seen);
    tcase_add_test(tcase, environment_names_the_folder);
}

int main(void) {
    return test_run("check_program_store", add_tests);
}
