// SPDX-License-Identifier: Apache-2.0
// SHA-256, program keys and the store of binaries on disk: no device needed.
#include "host/memory.h"
#include "host/program_store.h"
#include "tests/host/folder.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

static void digest_text(char out[65], const char *text, size_t length, size_t piece) {
    unsigned char digest[HOST_SHA256_BYTES];
    host_sha256 sha;
    host_sha256_begin(&sha);
    for (size_t at = 0; at < length; at += piece)
        host_sha256_add(&sha, text + at, length - at < piece ? length - at : piece);
    host_sha256_end(&sha, digest);
    for (int i = 0; i < HOST_SHA256_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

// Vectors of FIPS 180-4's examples and of NIST's long-message test.
START_TEST(sha256_vectors) {
    char hex[65];
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    digest_text(hex, "", 0, 1);
    ck_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_text(hex, "abc", 3, 2);
    ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    for (size_t piece = 1; piece <= 56; piece += 11) {
        digest_text(hex, two_blocks, 56, piece);
        ck_assert_str_eq(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    }
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    digest_text(hex, million, 1000000, 977);
    ck_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}
END_TEST

static host_program_key key_of(const char *text, const char *options, const clmla_device_facts *facts) {
    host_source source = {"any", text, strlen(text)};
    return host_program_key_make(&source, options, facts);
}

static bool same_key(host_program_key a, host_program_key b) {
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

START_TEST(every_field_changes_the_key) {
    clmla_device_facts base = {.name = "device",
                               .vendor = "vendor",
                               .vendor_id = 7,
                               .driver_version = "1.0",
                               .device_version = "OpenCL 3.0",
                               .platform_name = "platform",
                               .platform_version = "3.0"};
    host_program_key key = key_of("text", "-DA", &base);
    ck_assert(same_key(key, key_of("text", "-DA", &base)));
    ck_assert(!same_key(key, key_of("Text", "-DA", &base)));
    ck_assert(!same_key(key, key_of("text", "-DB", &base)));
    ck_assert(!same_key(key, key_of("text-", "DA", &base))); // the same bytes, parted elsewhere
    char *const fields[] = {base.name,           base.vendor,        base.driver_version,
                            base.device_version, base.platform_name, base.platform_version};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        fields[i][0] ^= 1;
        ck_assert(!same_key(key, key_of("text", "-DA", &base)));
        fields[i][0] ^= 1;
    }
    base.vendor_id = 8;
    ck_assert(!same_key(key, key_of("text", "-DA", &base)));
}
END_TEST

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

int main(void) {
    Suite *suite = suite_create("program_store");
    TCase *tests = tcase_create("store");
    tcase_add_test(tests, sha256_vectors);
    tcase_add_test(tests, every_field_changes_the_key);
    tcase_add_test(tests, round_trip);
    tcase_add_test(tests, damaged_entries_are_rejected);
    tcase_add_test(tests, folders_that_cannot_be_used);
    tcase_add_test(tests, folder_that_goes_away);
    tcase_add_test(tests, longest_unused_entries_go_first);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
