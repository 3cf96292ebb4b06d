// SPDX-License-Identifier: Apache-2.0
// SHA-256 against the examples of FIPS 180-4 and NIST's long-message test, fed in pieces of every kind.
#include "host/sha256.h"
#include "tests/support/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The digest of a text in hexadecimal, the text given in pieces of `piece` bytes.
static const char *digest_of(const char *text, size_t length, size_t piece) {
    static char hex[2 * HOST_SHA256_BYTES + 1];
    unsigned char digest[HOST_SHA256_BYTES];
    host_sha256 sha;
    host_sha256_begin(&sha);
    for (size_t at = 0; at < length; at += piece)
        host_sha256_add(&sha, text + at, length - at < piece ? length - at : piece);
    host_sha256_end(&sha, digest);
    for (int i = 0; i < HOST_SHA256_BYTES; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return hex;
}

START_TEST(published_vectors) {
    const struct {
        const char *text, *digest;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        for (size_t piece = 1; piece <= 57; piece++)
            ck_assert_str_eq(digest_of(vectors[i].text, strlen(vectors[i].text), piece), vectors[i].digest);
}
END_TEST

START_TEST(a_million_letters) {
    const size_t pieces[] = {1, 63, 64, 65, 977, 1000000};
    char *million = malloc(1000000);
    ck_assert_ptr_nonnull(million);
    memset(million, 'a', 1000000);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        ck_assert_str_eq(digest_of(million, 1000000, pieces[i]),
                         "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}
END_TEST

// Around a block's end the padding takes one block or two: every length gives one digest, however it is split, and all
// digests differ.
START_TEST(lengths_around_a_block) {
    char zeros[130] = {0}, seen[130][65];
    for (size_t length = 0; length < sizeof zeros; length++) {
        strcpy(seen[length], digest_of(zeros, length, 130));
        for (size_t piece = 1; piece < 130; piece += 9)
            ck_assert_str_eq(digest_of(zeros, length, piece), seen[length]);
        for (size_t before = 0; before < length; before++) ck_assert_str_ne(seen[before], seen[length]);
    }
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, published_vectors);
    tcase_add_test(tcase, a_million_letters);
    tcase_add_test(tcase, lengths_around_a_block);
}

int main(void) {
    return test_run("check_sha256", add_tests);
}
