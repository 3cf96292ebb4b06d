// SPDX-License-Identifier: Apache-2.0
// Thousands of seeded mutations of valid files: any answer but a crash or a lie. Run under the address and
// undefined-behaviour checks by tools/check.sh --sanitize.
#include "tests/support/random.h"
#include "tests/unit/config_text.h"
#include "tests/unit/made_file.h"
#include <clmla/checkpoint.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define ROUNDS 3000
#define BYTES_MAX 8192

typedef struct bytes {
    unsigned char data[BYTES_MAX];
    size_t count;
} bytes;

// Pieces that mean something to a JSON or header reader.
static const char *const pieces[] = {
    "{",    "}",     "[",       "]",   ",",    ":",          "\"",         "\\u0000",          "null",
    "-1",   "1e999", "1e18",    "0.5", "true", "4294967296", "2147483648", "9007199254740991", "\\",
    "\xff", "[[[[",  "\"t\":1", "[]",  "{}",   "1",          "\"yarn\"",   "\"longrope\"",     "65536",
    "256",  "\n"};

static void replace(bytes *b, size_t at, size_t length, const void *with, size_t count) {
    if (at + length > b->count || b->count - length + count > BYTES_MAX) return;
    memmove(b->data + at + count, b->data + at + length, b->count - at - length);
    memcpy(b->data + at, with, count);
    b->count += count - length;
}

static void mutate_once(bytes *b, test_random *random) {
    if (b->count == 0) return;
    size_t at = test_random_below(random, (uint32_t)b->count), most = b->count - at;
    size_t length = test_random_below(random, (uint32_t)(most < 24 ? most : 24) + 1);
    const char *piece = pieces[test_random_below(random, sizeof pieces / sizeof *pieces)];
    switch (test_random_below(random, 6)) {
    case 0:
        b->data[at] ^= (unsigned char)(1u << test_random_below(random, 8));
        break;
    case 1:
        b->data[at] = (unsigned char)test_random_bits(random);
        break;
    case 2:
        replace(b, at, length, "", 0);
        break;
    case 3:
        replace(b, at, 0, piece, strlen(piece));
        break;
    case 4:
        replace(b, at, length, piece, strlen(piece));
        break;
    default: { // a piece of the text itself, once more
        unsigned char copy[24];
        memcpy(copy, b->data + at, length);
        replace(b, test_random_below(random, (uint32_t)b->count), 0, copy, length);
    }
    }
}

static bytes mutate(const bytes *from, test_random *random) {
    bytes b = *from;
    for (uint32_t times = 1 + test_random_below(random, 4); times > 0; times--) mutate_once(&b, random);
    return b;
}

// Exactly as long as its content, so that reading past it is seen.
static char *exact_copy(const bytes *b) {
    char *copy = malloc(b->count ? b->count : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, b->data, b->count);
    return copy;
}

static bool is_refusal(clmla_status status) {
    return status == CLMLA_E_FORMAT || status == CLMLA_E_CONFIG || status == CLMLA_E_LIMIT;
}

static void check_config(const bytes *b, uint32_t counts[2]) {
    clmla_config c;
    clmla_config_values values;
    char *text = exact_copy(b);
    clmla_status status = clmla_config_parse(&c, text, b->count, "made.json");
    free(text);
    counts[status == CLMLA_OK]++;
    if (status != CLMLA_OK) {
        ck_assert_msg(is_refusal(status), "%s", clmla_status_name(status));
        ck_assert_ptr_nonnull(strstr(clmla_last_error(), "made.json"));
        return;
    }
    float table[CLMLA_MAX_ROPE_DIM];
    EXPECT_OK(clmla_config_check(&c));
    EXPECT_OK(clmla_config_derive(&values, &c));
    ck_assert(values.softmax_scale > 0.0 && isfinite((float)values.softmax_scale));
    for (int mode = 0; mode < 2; mode++) {
        EXPECT_OK(clmla_rope_table(table, &c, &(int32_t){CLMLA_MAX_CONTEXT}, 1, (clmla_angle_mode)mode));
        for (uint32_t i = 0; i < c.qk_rope_head_dim; i++)
            if (!isfinite(table[i])) ck_abort_msg("value %u of the table is %g", i, (double)table[i]);
    }
}

static const char *const scalings[] = {
    "null",
    "{\"type\": \"yarn\", \"factor\": 40, \"original_max_position_embeddings\": 64, \"mscale\": 1.0, "
    "\"mscale_all_dim\": 0.7}",
    "{\"type\": \"longrope\", \"short_factor\": [1, 1.5, 2, 2.5], \"long_factor\": [1, 4, 8, 16], "
    "\"original_max_position_embeddings\": 512}",
};

START_TEST(configs) {
    test_random random = test_random_make(100 + (uint64_t)_i);
    uint32_t counts[2] = {0};
    bytes text;
    config_text_make((char *)text.data, CONFIG_FIELDS({"rope_scaling", scalings[_i]}));
    text.count = strlen((char *)text.data);
    check_config(&text, counts);
    ck_assert_uint_eq(counts[1], 1);
    for (int round = 0; round < ROUNDS; round++) {
        bytes b = mutate(&text, &random);
        check_config(&b, counts);
    }
    // Both ends are reached, or the mutations are worth nothing.
    ck_assert_uint_gt(counts[0], ROUNDS / 4);
    ck_assert_uint_gt(counts[1], ROUNDS / 100);
}
END_TEST

static void check_tensors(const clmla_checkpoint *checkpoint, size_t file_bytes) {
    volatile unsigned char last;
    uint64_t all = 0;
    for (size_t i = 0; i < clmla_checkpoint_count(checkpoint); i++) {
        clmla_tensor tensor, same;
        uint64_t elements = 1;
        EXPECT_OK(clmla_checkpoint_at(&tensor, checkpoint, i));
        EXPECT_OK(clmla_checkpoint_find(&same, checkpoint, tensor.name));
        ck_assert_ptr_eq(same.data, tensor.data);
        ck_assert_uint_le(tensor.rank, CLMLA_MAX_TENSOR_RANK);
        for (uint32_t d = 0; d < tensor.rank; d++) elements *= tensor.shape[d];
        ck_assert_uint_eq(elements, tensor.element_count);
        ck_assert_uint_eq(elements * clmla_type_bytes(tensor.type), tensor.bytes);
        for (uint64_t k = 0; k < tensor.bytes; k++)
            last = ((const unsigned char *)tensor.data)[k]; // all of it is mapped
        all += tensor.bytes;
    }
    (void)last;
    ck_assert_uint_le(all + 8, file_bytes);
}

static void check_file(const bytes *b, uint32_t counts[2]) {
    clmla_checkpoint *checkpoint = NULL;
    const char *path = made_file("mutated.safetensors", b->data, b->count);
    clmla_status status = clmla_checkpoint_open(&checkpoint, path, NULL);
    counts[status == CLMLA_OK]++;
    if (status != CLMLA_OK) {
        ck_assert_msg(status == CLMLA_E_FORMAT, "%s", clmla_status_name(status));
        ck_assert_ptr_nonnull(strstr(clmla_last_error(), path));
        ck_assert_ptr_null(checkpoint);
        return;
    }
    check_tensors(checkpoint, b->count);
    clmla_checkpoint_close(&checkpoint);
}

static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                             "\"s\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                             "\"t.weight\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"
                             "\"u\":{\"dtype\":\"F8_E4M3\",\"shape\":[1,0,7],\"data_offsets\":[32,32]},"
                             "\"v\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[32,40]}}";

// Most of a mutated header's mistakes are ones of length: half the rounds set the length right again.
START_TEST(safetensors) {
    test_random random = test_random_make(200);
    uint32_t counts[2] = {0};
    bytes text = {.count = sizeof header - 1}, file;
    memcpy(text.data, header, text.count);
    for (int round = -1; round < ROUNDS; round++) {
        bool keep_length = round >= 0 && round % 2 == 0;
        bytes b = round < 0 ? text : keep_length ? text : mutate(&text, &random);
        memset(&file, 0, sizeof file);
        for (size_t i = 0; i < 8; i++) file.data[i] = (unsigned char)((uint64_t)b.count >> (8 * i));
        memcpy(file.data + 8, b.data, b.count);
        file.count = 8 + b.count + 40;
        if (keep_length) file = mutate(&file, &random);
        check_file(&file, counts);
        if (round < 0) ck_assert_uint_eq(counts[1], 1);
    }
    ck_assert_uint_gt(counts[0], ROUNDS / 4);
    ck_assert_uint_gt(counts[1], ROUNDS / 100);
}
END_TEST

static const char index_text[] =
    "{\"metadata\":{\"total_size\":40},\"weight_map\":{\"s\":\"one.safetensors\","
    "\"t.weight\":\"one.safetensors\",\"u\":\"one.safetensors\",\"v\":\"one.safetensors\"}}";

START_TEST(indexes) {
    test_random random = test_random_make(300);
    uint32_t counts[2] = {0};
    bytes text = {.count = sizeof index_text - 1};
    memcpy(text.data, index_text, text.count);
    made_folder("shards");
    made_safetensors("shards/one.safetensors", header, 40);
    for (int round = -1; round < ROUNDS / 3; round++) {
        clmla_checkpoint *checkpoint = NULL;
        bytes b = round < 0 ? text : mutate(&text, &random);
        made_file("shards/model.safetensors.index.json", b.data, b.count);
        clmla_status status = clmla_checkpoint_open(&checkpoint, made_path("shards"), NULL);
        counts[status == CLMLA_OK]++;
        ck_assert_msg(status == CLMLA_OK || status == CLMLA_E_FORMAT || status == CLMLA_E_FILE, "%s",
                      clmla_status_name(status));
        ck_assert_int_eq(status == CLMLA_OK, checkpoint != NULL);
        clmla_checkpoint_close(&checkpoint);
        if (round < 0) ck_assert_uint_eq(counts[1], 1);
    }
    ck_assert_uint_gt(counts[0], ROUNDS / 12);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, configs, 0, sizeof scalings / sizeof *scalings);
    tcase_add_test(tests, safetensors);
    tcase_add_test(tests, indexes);
}

int main(void) {
    return made_run("check_mutations", add_tests);
}
