// SPDX-License-Identifier: Apache-2.0
// PTX raised to the architecture that a kernel's comments are for, in memory of exactly the length it needs and without
// a 0 at the end.
#include "host/ptx.h"
#include "tests/support/suite.h"
#include <stdlib.h>
#include <string.h>

#define HEAD "//\n// made by a compiler\n//\n.version 8.4\n"
#define LONG_COMMENT "        //@sm_90a wgmma.fence.sync.aligned;\n"

// What `text` becomes; "" when it is refused.
static const char *raised(const char *text) {
    static char out[512];
    size_t length = strlen(text);
    char *memory = malloc(length + HOST_PTX_MORE); // a sanitizer sees a byte too many
    memcpy(memory, text, length);
    size_t now = host_ptx_raise(memory, length);
    ck_assert_uint_lt(now, sizeof out);
    if (now == 0) ck_assert_mem_eq(memory, text, length); // and left as it was
    memcpy(out, memory, now);
    out[now] = '\0';
    free(memory);
    return out;
}

START_TEST(comments_become_instructions) {
    ck_assert_str_eq(raised(HEAD ".target sm_90\n" LONG_COMMENT "ret; //@sm_90a\n" LONG_COMMENT),
                     HEAD ".target sm_90a\n                  wgmma.fence.sync.aligned;\nret; //@sm_90a\n"
                          "                  wgmma.fence.sync.aligned;\n");
    ck_assert_str_eq(raised(".target sm_90, texmode_independent\n//@sm_90a a; //@sm_90a b;"),
                     ".target sm_90a, texmode_independent\n          a;           b;");
    ck_assert_str_eq(raised(".target sm_90\r\n//@sm_90a "), ".target sm_90a\r\n          "); // at the very end
}
END_TEST

START_TEST(text_without_comments_is_raised_too) {
    ck_assert_str_eq(raised(HEAD ".target sm_90\nret;"), HEAD ".target sm_90a\nret;");
    ck_assert_str_eq(raised(".target sm_90 \n// sm_90a //@sm_90"), ".target sm_90a \n// sm_90a //@sm_90");
}
END_TEST

START_TEST(what_is_no_ptx_for_sm_90_is_refused) {
    static const char *const texts[] = {"",
                                        ".",
                                        "\x7f"
                                        "ELF",
                                        ".target",
                                        ".target sm_9",
                                        HEAD LONG_COMMENT,
                                        HEAD ".target sm_80\n" LONG_COMMENT,
                                        HEAD ".target sm_100\n" LONG_COMMENT,
                                        HEAD ".target sm_900\n" LONG_COMMENT,
                                        HEAD ".target sm_90a\n" LONG_COMMENT,
                                        HEAD ".target sm_90"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) ck_assert_str_eq(raised(texts[i]), "");
}
END_TEST

START_TEST(a_zero_inside_ends_nothing) {
    char text[] = "\0.target sm_90\n\0//@sm_90a ret;\0", expected[] = "\0.target sm_90a\n\0          ret;\0";
    char *memory = malloc(sizeof text + HOST_PTX_MORE);
    memcpy(memory, text, sizeof text);
    ck_assert_uint_eq(host_ptx_raise(memory, sizeof text), sizeof expected);
    ck_assert_mem_eq(memory, expected, sizeof expected);
    free(memory);
}
END_TEST

START_TEST(kernels_ask_for_it_by_their_comments) {
    ck_assert(host_ptx_is_wanted("asm(\"//@sm_90a wgmma\")"));
    ck_assert(!host_ptx_is_wanted("// sm_90a, @sm_90a"));
    ck_assert(!host_ptx_is_wanted(""));
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, comments_become_instructions);
    tcase_add_test(tcase, text_without_comments_is_raised_too);
    tcase_add_test(tcase, what_is_no_ptx_for_sm_90_is_refused);
    tcase_add_test(tcase, a_zero_inside_ends_nothing);
    tcase_add_test(tcase, kernels_ask_for_it_by_their_comments);
}

int main(void) {
    return test_run("check_ptx", add_tests);
}
