// SPDX-License-Identifier: Apache-2.0
// Verdicts on programs: what a context keeps, what another start finds on disk, and what becomes of entries that are
// off.
#include "host/program.h"
#include "host/program_store.h"
#include "host/verdict.h"
#include "tests/host/faulty.h"
#include "tests/host/folder.h"
#include "tests/support/device.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const host_source first = {"first", "text one", 8}, second = {"second", "text two", 8},
                         other = {"other", "text 3", 6};

static void open_context(host_context *out, const char *folder) {
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .allocator = faulty_allocator(),
                                   .program_folder = folder};
    TEST_OK(host_context_init(out, &params, faulty_calls()));
}

static host_claim claim_of(const host_source *a, const host_source *b, const char *text) {
    host_claim claim = {.sources = {a, b}};
    snprintf(claim.text, sizeof claim.text, "%s", text);
    return claim;
}

static host_verdict verdict_of(host_verdict_kind kind, const char *reason, bool lasting) {
    host_verdict verdict = {.kind = kind, .lasting = lasting};
    snprintf(verdict.reason, sizeof verdict.reason, "%s", reason);
    return verdict;
}

START_TEST(a_context_keeps_what_it_is_told) {
    host_context context;
    host_claim claim = claim_of(&first, &second, "-DA"), options = claim_of(&first, &second, "-DB"),
               source = claim_of(&other, &second, "-DA");
    open_context(&context, "");
    ck_assert_int_eq(host_verdict_find(&context, &claim).kind, HOST_VERDICT_NONE);
    for (int kind = HOST_VERDICT_RIGHT; kind <= HOST_VERDICT_WRONG; kind++) { // the later one counts
        host_verdict kept = verdict_of((host_verdict_kind)kind, "so and so", true);
        host_verdict_keep(&context, &claim, &kept);
        host_verdict found = host_verdict_find(&context, &claim);
        ck_assert_int_eq(found.kind, kind);
        ck_assert_str_eq(found.reason, "so and so");
        ck_assert(!found.loaded);
    }
    ck_assert_int_eq(host_verdict_find(&context, &options).kind, HOST_VERDICT_NONE);
    ck_assert_int_eq(host_verdict_find(&context, &source).kind, HOST_VERDICT_NONE);
    host_context_finish(&context);
    ck_assert(faulty_nothing_lives());
}
END_TEST

static void keep(const char *folder, const host_claim *claim, const host_verdict *verdict) {
    host_context context;
    open_context(&context, folder);
    host_verdict_keep(&context, claim, verdict);
    host_context_finish(&context);
}

static host_verdict find(const char *folder, const host_claim *claim) {
    host_context context;
    open_context(&context, folder);
    host_verdict found = host_verdict_find(&context, claim);
    ck_assert(!host_verdict_find(&context, claim).loaded); // the second time it is the context's
    host_context_finish(&context);
    return found;
}

START_TEST(another_start_finds_it) {
    const char *folder = test_folder_make();
    host_claim claim = claim_of(&first, &second, "-DA"), options = claim_of(&first, &second, "-DB"),
               sources = claim_of(&first, &other, "-DA"), alone = claim_of(&first, NULL, "-DA");
    char longest[HOST_VERDICT_REASON];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const reasons[] = {"", "by 3e-2", longest};
    for (int i = 0; i < 3; i++) {
        host_verdict kept = verdict_of(i == 1 ? HOST_VERDICT_WRONG : HOST_VERDICT_RIGHT, reasons[i], true);
        keep(folder, &claim, &kept);
        host_verdict found = find(folder, &claim);
        ck_assert_int_eq(found.kind, kept.kind);
        ck_assert_str_eq(found.reason, reasons[i]);
        ck_assert(found.loaded);
        ck_assert_int_eq(test_folder_files(), 1);
    }
    ck_assert_int_eq(find(folder, &options).kind, HOST_VERDICT_NONE);
    ck_assert_int_eq(find(folder, &sources).kind, HOST_VERDICT_NONE);
    ck_assert_int_eq(find(folder, &alone).kind, HOST_VERDICT_NONE);
    // No program is taken for one.
    host_program_key program = host_program_key_make(&first, "-DA", test_device_get()->facts),
                     key = host_claim_key_make(alone.sources, HOST_CLAIM_SOURCES, alone.text, test_device_get()->facts);
    ck_assert_mem_ne(program.bytes, key.bytes, sizeof key.bytes);
    test_folder_remove();
    ck_assert(faulty_nothing_lives());
}
END_TEST

// A failure that may be gone the next time stays off the disk.
START_TEST(what_may_pass_does_not_last) {
    const char *folder = test_folder_make();
    host_claim claim = claim_of(&first, &second, "-DA");
    host_verdict failed = verdict_of(HOST_VERDICT_WRONG, "out of resources", false);
    keep(folder, &claim, &failed);
    ck_assert_int_eq(test_folder_files(), 0);
    ck_assert_int_eq(find(folder, &claim).kind, HOST_VERDICT_NONE);
    test_folder_remove();
}
END_TEST

// Every byte changed, and payloads that are none: no verdict, and the entry is gone.
START_TEST(entries_that_are_off_are_none) {
    static const char *const payloads[] = {"", "verdict 1: ", "verdict 2: right: ", "verdict 1: maybe: ",
                                           "\x7f"
                                           "ELF"};
    const char *folder = test_folder_make();
    host_claim claim = claim_of(&first, &second, "-DA");
    host_verdict right = verdict_of(HOST_VERDICT_RIGHT, "all is well", true);
    keep(folder, &claim, &right);
    size_t bytes;
    char path[512];
    snprintf(path, sizeof path, "%s", test_folder_first());
    unsigned char *whole = test_file_read(path, &bytes);
    for (size_t at = 0; at < bytes; at++) {
        whole[at] ^= 0x10;
        test_file_write(path, whole, bytes);
        ck_assert_msg(find(folder, &claim).kind == HOST_VERDICT_NONE, "byte %zu", at);
        ck_assert_int_eq(test_folder_files(), 0);
        whole[at] ^= 0x10;
    }
    free(whole);
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        host_context context;
        open_context(&context, folder);
        host_program_key key = host_claim_key_make(claim.sources, HOST_CLAIM_SOURCES, claim.text, &context.facts);
        ck_assert(host_store_put(host_programs_store(&context), &key, (const unsigned char *)payloads[i],
                                 strlen(payloads[i])));
        host_context_finish(&context);
        ck_assert_msg(find(folder, &claim).kind == HOST_VERDICT_NONE, "payload %zu", i);
        ck_assert_int_eq(test_folder_files(), 0);
    }
    test_folder_remove();
    ck_assert(faulty_nothing_lives());
}
END_TEST

// Without memory a verdict is forgotten, or found out again; nothing else comes of it.
START_TEST(without_memory_it_is_forgotten) {
    const char *folder = test_folder_make();
    host_claim claim = claim_of(&first, &second, "-DA");
    host_verdict right = verdict_of(HOST_VERDICT_RIGHT, "", true);
    keep(folder, &claim, &right);
    for (int lasting = 0; lasting < 2; lasting++)
        for (long at = 0; at < 4; at++) {
            host_context context;
            open_context(&context, folder);
            faulty_arm(FAULTY_ALLOCATION, at, lasting);
            host_verdict found = host_verdict_find(&context, &claim);
            host_verdict_keep(&context, &claim, &right);
            faulty_arm(FAULTY_NONE, 0, false);
            ck_assert(found.kind == HOST_VERDICT_RIGHT || found.kind == HOST_VERDICT_NONE);
            ck_assert_int_eq(host_verdict_find(&context, &claim).kind, HOST_VERDICT_RIGHT);
            host_context_finish(&context);
        }
    test_folder_remove();
    ck_assert(faulty_nothing_lives());
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, a_context_keeps_what_it_is_told);
    tcase_add_test(tcase, another_start_finds_it);
    tcase_add_test(tcase, what_may_pass_does_not_last);
    tcase_add_test(tcase, entries_that_are_off_are_none);
    tcase_add_test(tcase, without_memory_it_is_forgotten);
}

int main(void) {
    return test_main("check_verdict", add_tests);
}
