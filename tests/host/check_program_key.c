// SPDX-License-Identifier: Apache-2.0
// A program's key: the same for the same inputs, another for any other, wherever the inputs are parted.
#include "host/program_key.h"
#include "tests/support/suite.h"
#include <string.h>

static host_program_key key_of(const char *text, const char *options, const clmla_device_facts *facts) {
    host_source source = {"any", text, strlen(text)};
    return host_program_key_make(&source, options, facts);
}

static bool same(host_program_key a, host_program_key b) {
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

static clmla_device_facts made_facts(void) {
    return (clmla_device_facts){.name = "device",
                                .vendor = "vendor",
                                .vendor_id = 7,
                                .driver_version = "1.0",
                                .device_version = "OpenCL 3.0",
                                .platform_name = "platform",
                                .platform_version = "3.0"};
}

START_TEST(every_field_changes_the_key) {
    clmla_device_facts facts = made_facts(), copy = made_facts();
    char *const fields[] = {facts.name,           facts.vendor,        facts.driver_version,
                            facts.device_version, facts.platform_name, facts.platform_version};
    host_program_key key = key_of("text", "-DA", &facts);
    ck_assert(same(key, key_of("text", "-DA", &copy)));
    ck_assert(!same(key, key_of("Text", "-DA", &facts)));
    ck_assert(!same(key, key_of("text", "-DB", &facts)));
    ck_assert(!same(key, key_of("text", "", &facts)));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        fields[i][0] ^= 1;
        ck_assert_msg(!same(key, key_of("text", "-DA", &facts)), "field %zu", i);
        fields[i][0] ^= 1;
    }
    facts.vendor_id = 8;
    ck_assert(!same(key, key_of("text", "-DA", &facts)));
}
END_TEST

// What no compiler looks at: two devices of one kind share their programs.
START_TEST(other_facts_do_not) {
    clmla_device_facts facts = made_facts();
    host_program_key key = key_of("text", "-DA", &facts);
    facts.platform_index = facts.device_index = 3;
    facts.global_bytes = 1u << 30;
    ck_assert(same(key, key_of("text", "-DA", &facts)));
}
END_TEST

START_TEST(fields_do_not_run_together) {
    clmla_device_facts facts = made_facts(), other = made_facts();
    ck_assert(!same(key_of("ab", "c", &facts), key_of("a", "bc", &facts)));
    ck_assert(!same(key_of("ab", "", &facts), key_of("", "ab", &facts)));
    strcpy(facts.name, "ab"), strcpy(facts.vendor, "c");
    strcpy(other.name, "a"), strcpy(other.vendor, "bc");
    ck_assert(!same(key_of("text", "", &facts), key_of("text", "", &other)));
    // The text counts to its length, not to a zero in it.
    host_source longer = {"any", "a\0b", 3};
    ck_assert(!same(host_program_key_make(&longer, "", &facts), key_of("a", "", &facts)));
}
END_TEST

START_TEST(text_is_hexadecimal) {
    host_program_key key = {{0x01, 0xab, 0xff}};
    char text[HOST_PROGRAM_KEY_TEXT];
    host_program_key_text(text, &key);
    ck_assert_uint_eq(strlen(text), 64);
    ck_assert_int_eq(strncmp(text, "01abff00", 8), 0);
    ck_assert_uint_eq(strspn(text, "0123456789abcdef"), 64);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, every_field_changes_the_key);
    tcase_add_test(tcase, other_facts_do_not);
    tcase_add_test(tcase, fields_do_not_run_together);
    tcase_add_test(tcase, text_is_hexadecimal);
}

int main(void) {
    return test_run("check_program_key", add_tests);
}
