// SPDX-License-Identifier: Apache-2.0
// Files that are no safetensors, lie about themselves, or contradict their index: each with its status and a sentence
// that names file and tensor.
#include "tests/unit/made_file.h"
#include <clmla/checkpoint.h>
#include <stdint.h>
#include <unistd.h>

static void check_refused(const char *path, clmla_status status, const char *word) {
    clmla_checkpoint *checkpoint = (clmla_checkpoint *)(uintptr_t)&status;
    EXPECT_REFUSED(clmla_checkpoint_open(&checkpoint, path, NULL), status, word);
    ck_assert_ptr_null(checkpoint);
}

// Headers over eight bytes of data. ONE is a tensor called t.
#define ONE(dtype, shape, offsets) "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(offsets_1, offsets_2)                                                                                      \
    "{\"s\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" offsets_1                                               \
    "},\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" offsets_2 "}}"
static const struct {
    const char *header, *word;
} headers[] = {
    {"", "begin with '{'"},
    {" " ONE("\"U8\"", "[8]", "[0,8]"), "begin with '{'"},
    {"[]", "begin with '{'"},
    {"{", "not JSON"},
    {"{}x", "text after"},
    {"{}", "8 bytes after the last tensor"},
    {"{\"t\":3}", "tensor t: its entry is no object"},
    {"{\"t\":null}", "tensor t: its entry is no object"},
    {"{\"t\":{}}", "tensor t: dtype"},
    {"{\"__metadata__\":[]}", "__metadata__: it is no object"},
    {"{\"__metadata__\":{\"a\":1}}", "__metadata__: it holds something else than text"},
    {"{\"t\":{\"shape\":[8],\"data_offsets\":[0,8]}}", "dtype is missing"},
    {"{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,8]}}", "shape is missing"},
    {"{\"t\":{\"dtype\":\"U8\",\"shape\":[8]}}", "data_offsets"},
    // dtype
    {ONE("\"F4\"", "[8]", "[0,8]"), "tensor t: dtype 'F4' is not known"},
    {ONE("\"f32\"", "[2]", "[0,8]"), "'f32'"},
    {ONE("\"\"", "[2]", "[0,8]"), "''"},
    {ONE("8", "[8]", "[0,8]"), "dtype is missing or no text"},
    // shape
    {ONE("\"U8\"", "8", "[0,8]"), "tensor t: shape"},
    {ONE("\"U8\"", "[-8]", "[0,8]"), "tensor t: shape"},
    {ONE("\"U8\"", "[-2,-4]", "[0,8]"), "whole numbers"},
    {ONE("\"U8\"", "[8.5]", "[0,8]"), "whole numbers"},
    {ONE("\"U8\"", "[\"8\"]", "[0,8]"), "whole numbers"},
    {ONE("\"U8\"", "[null]", "[0,8]"), "whole numbers"},
    {ONE("\"U8\"", "[[8]]", "[0,8]"), "whole numbers"},
    {ONE("\"U8\"", "[1e999]", "[0,8]"), "whole numbers"},
    {ONE("\"U8\"", "[9223372036854775808]", "[0,8]"), "whole numbers"}, // 2^63
    {ONE("\"U8\"", "[9007199254740992]", "[0,8]"), "whole numbers"},    // 2^53
    {ONE("\"U8\"", "[4294967296,4294967296]", "[0,8]"), "64 bits"},     // 2^64
    {ONE("\"U8\"", "[4294967296,4294967296,0]", "[0,0]"), "64 bits"},
    {ONE("\"F64\"", "[2147483648,2147483648]", "[0,8]"), "64 bits"}, // 2^62 elements
    {ONE("\"U8\"", "[2097152,2097152,2097153,2097152]", "[0,8]"), "64 bits"},
    {ONE("\"U8\"", "[1,1,1,1,1,1,1,1,8]", "[0,8]"), "more than 8 dimensions"},
    // data_offsets
    {ONE("\"U8\"", "[8]", "[0,8,8]"), "data_offsets"},
    {ONE("\"U8\"", "[8]", "[8]"), "data_offsets"},
    {ONE("\"U8\"", "[8]", "{\"a\":0,\"b\":8}"), "data_offsets"},
    {ONE("\"U8\"", "[8]", "[-1,7]"), "data_offsets"},
    {ONE("\"U8\"", "[8]", "[0,\"8\"]"), "data_offsets"},
    {ONE("\"U8\"", "[8]", "[0.5,8.5]"), "data_offsets"},
    {ONE("\"U8\"", "[8]", "[8,0]"), "data_offsets 8 to 0"},
    {ONE("\"U8\"", "[9]", "[0,9]"), "data_offsets 0 to 9"},
    {ONE("\"U8\"", "[8]", "[9007199254740983,9007199254740991]"), "do not lie in the file's 8 bytes"},
    {ONE("\"U8\"", "[8]", "[18446744073709551608,18446744073709551616]"), "data_offsets"},
    {ONE("\"U8\"", "[7]", "[0,8]"), "takes 7 bytes, data_offsets give 8"},
    {ONE("\"F32\"", "[4]", "[0,8]"), "takes 16 bytes, data_offsets give 8"},
    {ONE("\"U8\"", "[]", "[0,8]"), "takes 1 bytes"},
    {ONE("\"U8\"", "[7]", "[0,7]"), "1 bytes after the last tensor"},
    {ONE("\"U8\"", "[7]", "[1,8]"), "tensor t: there is a hole before its data"},
    {TWO("[0,4]", "[0,4]"), "overlap"},
    {TWO("[0,4]", "[2,6]"), "tensor t: its data overlap"},
    {TWO("[4,8]", "[3,7]"), "tensor t: there is a hole"},
    {"{\"s\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_"
     "offsets\":[4,8]}}",
     "tensor t: there is a hole"},
    {"{\"s\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},\"t\":{\"dtype\":\"U8\",\"shape\":[0],\"data_"
     "offsets\":[4,4]}}",
     "overlap"},
    // names
    {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_"
     "offsets\":[4,8]}}",
     "'t' stands in it twice"},
    {"{\"t\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[8],\"data_offsets\":[0,8]}}", "'dtype' stands in it twice"},
    {"{\"t\\u0000x\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}", "zero byte"},
};

START_TEST(bad_headers) {
    const char *path = made_safetensors("bad.safetensors", headers[_i].header, 8);
    check_refused(path, CLMLA_E_FORMAT, headers[_i].word);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), path));
}
END_TEST

static const char good[] = TWO("[0,4]", "[4,8]");

START_TEST(cut_short) {
    unsigned char bytes[8 + sizeof good - 1 + 8] = {sizeof good - 1};
    memcpy(bytes + 8, good, sizeof good - 1);
    for (size_t length = 0; length < sizeof bytes; length++)
        check_refused(made_file("cut.safetensors", bytes, length), CLMLA_E_FORMAT, "cut.safetensors");
    clmla_checkpoint *checkpoint;
    EXPECT_OK(clmla_checkpoint_open(&checkpoint, made_file("cut.safetensors", bytes, sizeof bytes), NULL));
    clmla_checkpoint_close(&checkpoint);
}
END_TEST

// A length in the file's first eight bytes that its other bytes do not bear out.
static const struct {
    uint64_t length;
    const char *word;
} lengths[] = {
    {0, "begin with '{'"},
    {1, "not JSON"},
    {sizeof good - 2, "not JSON"},
    {sizeof good, "zero byte"}, // of the data
    {sizeof good + 7, "zero byte"},
    {sizeof good + 8, "does not fit the file"},
    {100000000, "does not fit the file"},
    {100000001, "does not fit the file"},
    {UINT32_MAX, "does not fit the file"},
    {INT64_MAX, "does not fit the file"},
    {UINT64_MAX - 7, "does not fit the file"},
    {UINT64_MAX, "does not fit the file"},
};

START_TEST(lying_length) {
    unsigned char bytes[8 + sizeof good - 1 + 8] = {0};
    memcpy(bytes + 8, good, sizeof good - 1);
    for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)(lengths[_i].length >> (8 * i));
    check_refused(made_file("lie.safetensors", bytes, sizeof bytes), CLMLA_E_FORMAT, lengths[_i].word);
}
END_TEST

// The file could hold the header; the format does not allow it. Its bytes past the ninth are a hole in the disk.
START_TEST(header_beyond_limit) {
    const uint32_t length = 100000001;
    unsigned char bytes[9] = {length & 255, length >> 8 & 255, length >> 16 & 255, length >> 24, 0, 0, 0, 0, '{'};
    const char *path = made_file("large.safetensors", bytes, sizeof bytes);
    ck_assert_int_eq(truncate(path, 8 + (off_t)length), 0);
    check_refused(path, CLMLA_E_FORMAT, "limit of 100000000");
}
END_TEST

// The reason stays in the sentence however long the name is.
START_TEST(long_name) {
    char text[4096];
    memset(text, 'n', sizeof text);
    memcpy(text, "{\"", 2);
    const char *rest = "\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,8]}}";
    memcpy(text + sizeof text - strlen(rest) - 1, rest, strlen(rest) + 1);
    check_refused(made_safetensors("long.safetensors", text, 8), CLMLA_E_FORMAT, "takes 9 bytes, data_offsets give 8");
}
END_TEST

START_TEST(zero_bytes_for_padding) {
    unsigned char bytes[8 + sizeof good + 8] = {sizeof good};
    memcpy(bytes + 8, good, sizeof good); // with the terminator
    check_refused(made_file("padded.safetensors", bytes, sizeof bytes), CLMLA_E_FORMAT, "zero byte");
}
END_TEST

START_TEST(not_there) {
    check_refused(made_path("none.safetensors"), CLMLA_E_FILE, "none.safetensors");
    check_refused("", CLMLA_E_FILE, "");
    made_folder("empty");
    check_refused(made_path("empty"), CLMLA_E_FILE, "model.safetensors");
    check_refused("/dev/null", CLMLA_E_FILE, "/dev/null");
    check_refused(made_file("nothing.safetensors", "", 0), CLMLA_E_FORMAT, "0 bytes");
    char longest[6000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    check_refused(longest, CLMLA_E_FILE, "xxx");
}
END_TEST

// Two shards: one.safetensors with s and t, two.safetensors with u.
#define MAP(entries) "{\"weight_map\":{" entries "}}"
#define BOTH "\"s\":\"one.safetensors\",\"t\":\"one.safetensors\",\"u\":\"two.safetensors\""
static const struct {
    const char *index;
    clmla_status status;
    const char *word;
} indexes[] = {
    {"", CLMLA_E_FORMAT, "index.json"},
    {"{}", CLMLA_E_FORMAT, "weight_map is missing"},
    {"{\"weight_map\":null}", CLMLA_E_FORMAT, "weight_map is missing"},
    {"{\"weight_map\":[\"one.safetensors\"]}", CLMLA_E_FORMAT, "weight_map is missing or no object"},
    {"{\"weight_map\":{},}", CLMLA_E_FORMAT, "not JSON"},
    {MAP("\"s\":1"), CLMLA_E_FORMAT, "s: its shard"},
    {MAP("\"s\":null"), CLMLA_E_FORMAT, "s: its shard"},
    {MAP("\"s\":\"\""), CLMLA_E_FORMAT, "s: its shard"},
    {MAP("\"s\":\".\""), CLMLA_E_FORMAT, "plain file name"},
    {MAP("\"s\":\"..\""), CLMLA_E_FORMAT, "plain file name"},
    {MAP("\"s\":\"../shards/one.safetensors\""), CLMLA_E_FORMAT, "plain file name"},
    {MAP("\"s\":\"/etc/passwd\""), CLMLA_E_FORMAT, "plain file name"},
    {MAP("\"s\":\"..\\\\one.safetensors\""), CLMLA_E_FORMAT, "plain file name"},
    {MAP("\"s\":\"c:one.safetensors\""), CLMLA_E_FORMAT, "plain file name"},
    {MAP("\"s\":\"one.safetensors\\u0000\""), CLMLA_E_FORMAT, "zero byte"},
    {MAP(BOTH ",\"s\":\"one.safetensors\""), CLMLA_E_FORMAT, "'s' stands in it twice"},
    {MAP(BOTH ",\"v\":\"three.safetensors\""), CLMLA_E_FILE, "three.safetensors"},
    {MAP(BOTH ",\"v\":\"two.safetensors\""), CLMLA_E_FORMAT, "tensor v is not in two.safetensors"},
    {MAP("\"s\":\"one.safetensors\",\"t\":\"two.safetensors\""), CLMLA_E_FORMAT, "tensor t is not in two.safetensors"},
    {MAP(BOTH ",\"v\":\"double.safetensors\""), CLMLA_E_FORMAT, "tensor t stands in"},
    {MAP(BOTH ",\"v\":\"broken.safetensors\""), CLMLA_E_FORMAT, "broken.safetensors"},
    {MAP(BOTH ",\"v\":\"folder\""), CLMLA_E_FILE, "folder"},
};

START_TEST(bad_indexes) {
    made_folder("shards");
    made_safetensors("shards/one.safetensors", good, 8);
    made_safetensors("shards/two.safetensors", "{\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    made_safetensors("shards/double.safetensors", ONE("\"U8\"", "[8]", "[0,8]"), 8);
    made_file("shards/broken.safetensors", "broken", 6);
    made_folder("shards/folder");
    made_file("shards/model.safetensors.index.json", indexes[_i].index, strlen(indexes[_i].index));
    check_refused(made_path("shards"), indexes[_i].status, indexes[_i].word);
}
END_TEST

START_TEST(good_index) {
    made_folder("right");
    made_safetensors("right/one.safetensors", good, 8);
    made_safetensors("right/two.safetensors", "{\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    made_file("right/model.safetensors.index.json", MAP(BOTH), strlen(MAP(BOTH)));
    clmla_checkpoint *checkpoint;
    EXPECT_OK(clmla_checkpoint_open(&checkpoint, made_path("right"), NULL));
    ck_assert_uint_eq(clmla_checkpoint_count(checkpoint), 3);
    clmla_checkpoint_close(&checkpoint);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, bad_headers, 0, sizeof headers / sizeof *headers);
    tcase_add_test(tests, cut_short);
    tcase_add_loop_test(tests, lying_length, 0, sizeof lengths / sizeof *lengths);
    tcase_add_test(tests, header_beyond_limit);
    tcase_add_test(tests, long_name);
    tcase_add_test(tests, zero_bytes_for_padding);
    tcase_add_test(tests, not_there);
    tcase_add_loop_test(tests, bad_indexes, 0, sizeof indexes / sizeof *indexes);
    tcase_add_test(tests, good_index);
}

int main(void) {
    return made_run("check_checkpoint_refused", add_tests);
}
