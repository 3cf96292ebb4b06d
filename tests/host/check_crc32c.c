// SPDX-License-Identifier: Apache-2.0
// Sums of RFC 3720, B.4, and of pieces against the whole.
#include "host/crc32c.h"
#include "tests/support/suite.h"
#include <string.h>

static host_crc32c crc;

START_TEST(known_sums) {
    unsigned char bytes[32];
    host_crc32c_init(&crc);
    ck_assert_uint_eq(host_crc32c_add(&crc, 0, "123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(host_crc32c_add(&crc, 0, "", 0), 0);
    memset(bytes, 0, sizeof bytes);
    ck_assert_uint_eq(host_crc32c_add(&crc, 0, bytes, sizeof bytes), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    ck_assert_uint_eq(host_crc32c_add(&crc, 0, bytes, sizeof bytes), 0x62a8ab43u);
    for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)i;
    ck_assert_uint_eq(host_crc32c_add(&crc, 0, bytes, sizeof bytes), 0x46dd794eu);
}
END_TEST

START_TEST(pieces_sum_to_the_whole) {
    unsigned char bytes[101];
    host_crc32c_init(&crc);
    for (int i = 0; i < 101; i++) bytes[i] = (unsigned char)(i * 37 + 11);
    uint32_t whole = host_crc32c_add(&crc, 0, bytes, 101);
    for (size_t first = 0; first <= 101; first++)
        for (size_t second = first; second <= 101; second += 7) {
            uint32_t sum = host_crc32c_add(&crc, 0, bytes, first);
            sum = host_crc32c_add(&crc, sum, bytes + first, second - first);
            ck_assert_uint_eq(host_crc32c_add(&crc, sum, bytes + second, 101 - second), whole);
        }
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, known_sums);
    tcase_add_test(tcase, pieces_sum_to_the_whole);
}

int main(void) {
    return test_run("check_crc32c", add_tests);
}
