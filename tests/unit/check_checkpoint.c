// SPDX-License-Identifier: Apache-2.0
// Checkpoints that are well-formed: single files, folders, shards; what is found in them; and what happens when memory
// runs out at any point of opening one.
#include "tests/ref/ref_number.h"
#include "tests/unit/made_file.h"
#include <clmla/checkpoint.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef TEST_DATA
#error "TEST_DATA: the folder of the reference cases"
#endif

// Data bytes are 0, 1, 2, ...: byte n of the data is n.
static void check_data(const clmla_tensor *tensor, uint64_t begin, uint64_t bytes) {
    ck_assert_uint_eq(tensor->bytes, bytes);
    for (uint64_t i = 0; i < bytes; i++) ck_assert_uint_eq(((const unsigned char *)tensor->data)[i], (begin + i) % 256);
}

static clmla_checkpoint *open_made(const char *path) {
    clmla_checkpoint *checkpoint = NULL;
    EXPECT_OK(clmla_checkpoint_open(&checkpoint, path, NULL));
    ck_assert_ptr_nonnull(checkpoint);
    return checkpoint;
}

// Metadata, a scalar, empty tensors, eight dimensions, offsets out of order, padding: all part of the format.
static const char everything[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[24,28]},"
    "\"deep\":{\"dtype\":\"U8\",\"shape\":[1,2,1,3,1,2,1,2],\"data_offsets\":[0,24]},"
    "\"b.empty\":{\"dtype\":\"F16\",\"shape\":[0,9007199254740991],\"data_offsets\":[24,24]},"
    "\"a.empty\":{\"data_offsets\":[28,28],\"shape\":[3,0],\"dtype\":\"BF16\"}}   \n";

START_TEST(single_file) {
    clmla_checkpoint *checkpoint = open_made(made_safetensors("all.safetensors", everything, 28));
    const char *const names[] = {"a.empty", "b.empty", "deep", "scalar"};
    clmla_tensor tensor;
    ck_assert_uint_eq(clmla_checkpoint_count(checkpoint), 4);
    for (size_t i = 0; i < 4; i++) {
        EXPECT_OK(clmla_checkpoint_at(&tensor, checkpoint, i));
        ck_assert_str_eq(tensor.name, names[i]);
        ck_assert_str_eq(tensor.file, made_path("all.safetensors"));
    }
    EXPECT_OK(clmla_checkpoint_find(&tensor, checkpoint, "deep"));
    ck_assert_int_eq(tensor.type, CLMLA_TYPE_U8);
    ck_assert_uint_eq(tensor.rank, 8);
    ck_assert_uint_eq(tensor.shape[3], 3);
    ck_assert_uint_eq(tensor.element_count, 24);
    check_data(&tensor, 0, 24);
    EXPECT_OK(clmla_checkpoint_find(&tensor, checkpoint, "scalar"));
    ck_assert_uint_eq(tensor.rank, 0);
    ck_assert_uint_eq(tensor.element_count, 1);
    check_data(&tensor, 24, 4);
    EXPECT_OK(clmla_checkpoint_find(&tensor, checkpoint, "b.empty"));
    ck_assert_uint_eq(tensor.shape[1], 9007199254740991u);
    ck_assert_uint_eq(tensor.element_count, 0);
    clmla_checkpoint_close(&checkpoint);
    ck_assert_ptr_null(checkpoint);
}
END_TEST

START_TEST(not_found) {
    clmla_checkpoint *checkpoint = open_made(made_safetensors("all.safetensors", everything, 28));
    clmla_tensor tensor = {.rank = 77};
    EXPECT_REFUSED(clmla_checkpoint_find(&tensor, checkpoint, "dee"), CLMLA_E_TENSOR_MISSING, "dee");
    EXPECT_REFUSED(clmla_checkpoint_find(&tensor, checkpoint, ""), CLMLA_E_TENSOR_MISSING, "all.safetensors");
    EXPECT_REFUSED(clmla_checkpoint_find(&tensor, checkpoint, "__metadata__"), CLMLA_E_TENSOR_MISSING, "__metadata__");
    EXPECT_REFUSED(clmla_checkpoint_find(&tensor, checkpoint, NULL), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_checkpoint_find(NULL, checkpoint, "deep"), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_checkpoint_find(&tensor, NULL, "deep"), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_checkpoint_at(&tensor, checkpoint, 4), CLMLA_E_ARGUMENT, "no tensor 4 of 4");
    EXPECT_REFUSED(clmla_checkpoint_at(&tensor, NULL, 0), CLMLA_E_ARGUMENT, "no tensor");
    EXPECT_REFUSED(clmla_checkpoint_open(NULL, "x", NULL), CLMLA_E_ARGUMENT, "NULL");
    ck_assert_uint_eq(tensor.rank, 77);
    clmla_checkpoint_close(&checkpoint);
    EXPECT_REFUSED(clmla_checkpoint_open(&checkpoint, NULL, NULL), CLMLA_E_ARGUMENT, "NULL");
    clmla_checkpoint_close(&checkpoint);
    clmla_checkpoint_close(NULL);
    ck_assert_uint_eq(clmla_checkpoint_count(NULL), 0);
}
END_TEST

static const struct {
    const char *dtype;
    clmla_type type;
} dtypes[] = {
    {"F32", CLMLA_TYPE_F32},         {"F16", CLMLA_TYPE_F16},         {"BF16", CLMLA_TYPE_BF16},
    {"F8_E4M3", CLMLA_TYPE_F8_E4M3}, {"F8_E5M2", CLMLA_TYPE_F8_E5M2}, {"F64", CLMLA_TYPE_F64},
    {"I64", CLMLA_TYPE_I64},         {"I32", CLMLA_TYPE_I32},         {"I16", CLMLA_TYPE_I16},
    {"I8", CLMLA_TYPE_I8},           {"U64", CLMLA_TYPE_U64},         {"U32", CLMLA_TYPE_U32},
    {"U16", CLMLA_TYPE_U16},         {"U8", CLMLA_TYPE_U8},           {"BOOL", CLMLA_TYPE_BOOL},
};

START_TEST(every_dtype) {
    char header[256];
    clmla_tensor tensor;
    float values[6];
    size_t bytes = 6 * clmla_type_bytes(dtypes[_i].type);
    bool is_float = dtypes[_i].type == CLMLA_TYPE_F32 || dtypes[_i].type == CLMLA_TYPE_F16 ||
                    dtypes[_i].type == CLMLA_TYPE_BF16 || dtypes[_i].type == CLMLA_TYPE_F64;
    snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":[2,3],\"data_offsets\":[0,%zu]}}",
             dtypes[_i].dtype, bytes);
    clmla_checkpoint *checkpoint = open_made(made_safetensors("dtype.safetensors", header, bytes));
    EXPECT_OK(clmla_checkpoint_find(&tensor, checkpoint, "t"));
    ck_assert_int_eq(tensor.type, dtypes[_i].type);
    check_data(&tensor, 0, bytes);
    if (is_float)
        EXPECT_OK(clmla_tensor_to_f32(values, &tensor));
    else
        EXPECT_REFUSED(clmla_tensor_to_f32(values, &tensor), CLMLA_E_TENSOR_TYPE, clmla_type_name(dtypes[_i].type));
    clmla_checkpoint_close(&checkpoint);
}
END_TEST

// Values at odd addresses, as a header of any length leaves them.
START_TEST(converted) {
    const float values[] = {0.0f, -0.0f, 1.0f, -1.5f, 65504.0f, 0x1p-24f, INFINITY, -INFINITY, NAN, 3.140625f};
    enum { COUNT = sizeof values / sizeof *values };
    unsigned char memory[COUNT * 8 + 1];
    float found[COUNT];
    const clmla_type kinds[] = {CLMLA_TYPE_F32, CLMLA_TYPE_F16, CLMLA_TYPE_BF16, CLMLA_TYPE_F64};
    const ref_type references[] = {REF_F32, REF_F16, REF_BF16};
    for (size_t k = 0; k < 4; k++) {
        clmla_tensor tensor = {"t", "f", kinds[k], 1, {COUNT}, COUNT, memory + 1, COUNT * clmla_type_bytes(kinds[k])};
        for (size_t i = 0; i < COUNT; i++) {
            double wide = (double)values[i];
            if (k == 3)
                memcpy(memory + 1 + i * 8, &wide, 8);
            else
                ref_store(references[k], memory + 1, i, values[i]);
        }
        EXPECT_OK(clmla_tensor_to_f32(found, &tensor));
        for (size_t i = 0; i < COUNT; i++) {
            double expected = k == 3 ? (double)values[i] : ref_load(references[k], memory + 1, i);
            ck_assert(isnan(expected) ? isnan(found[i])
                                      : (double)found[i] == expected && !signbit(found[i]) == !signbit(expected));
        }
    }
    clmla_tensor none = {"t", "f", CLMLA_TYPE_F32, 1, {0}, 0, memory, 0},
                 one = {"t", "f", CLMLA_TYPE_F32, 1, {1}, 1, memory, 4};
    EXPECT_OK(clmla_tensor_to_f32(NULL, &none));
    EXPECT_REFUSED(clmla_tensor_to_f32(NULL, &one), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_tensor_to_f32(found, NULL), CLMLA_E_ARGUMENT, "NULL");
}
END_TEST

#define ENTRY(name, begin, end)                                                                                        \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" #end "],\"data_offsets\":[" #begin "," #end "]}"
#define SHARD_1 "{" ENTRY("c", 0, 3) "}"
#define SHARD_2                                                                                                        \
    "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_"     \
    "offsets\":[2,6]}}"
#define INDEX                                                                                                          \
    "{\"metadata\":{\"total_size\":9},\"weight_map\":{\"a\":\"model-2.safetensors\",\"b\":\"model-2.safetensors\","    \
    "\"c\":\"model-1.safetensors\"}}"

static const char *make_shards(void) {
    made_folder("shards");
    made_safetensors("shards/model-1.safetensors", SHARD_1, 3);
    made_safetensors("shards/model-2.safetensors", SHARD_2, 6);
    made_file("shards/model.safetensors.index.json", INDEX, strlen(INDEX));
    return made_path("shards");
}

START_TEST(shards) {
    clmla_checkpoint *checkpoint = open_made(make_shards());
    clmla_tensor tensor;
    ck_assert_uint_eq(clmla_checkpoint_count(checkpoint), 3);
    for (size_t i = 0; i < 3; i++) {
        EXPECT_OK(clmla_checkpoint_at(&tensor, checkpoint, i));
        ck_assert_str_eq(tensor.name, i == 0 ? "a" : i == 1 ? "b" : "c");
    }
    EXPECT_OK(clmla_checkpoint_find(&tensor, checkpoint, "a"));
    check_data(&tensor, 2, 4);
    ck_assert_str_eq(tensor.file, made_path("shards/model-2.safetensors"));
    EXPECT_OK(clmla_checkpoint_find(&tensor, checkpoint, "c"));
    check_data(&tensor, 0, 3);
    ck_assert_str_eq(tensor.file, made_path("shards/model-1.safetensors"));
    clmla_checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(folder_of_one) {
    made_folder("one");
    made_safetensors("one/model.safetensors", SHARD_2, 6);
    clmla_checkpoint *checkpoint = open_made(made_path("one"));
    ck_assert_uint_eq(clmla_checkpoint_count(checkpoint), 2);
    clmla_checkpoint_close(&checkpoint);
    checkpoint = open_made(made_safetensors("none.safetensors", "{}", 0));
    ck_assert_uint_eq(clmla_checkpoint_count(checkpoint), 0);
    clmla_checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(reference_case) {
    clmla_checkpoint *checkpoint = open_made(TEST_DATA "/f_v3_fp8");
    clmla_tensor tensor;
    float scales[64];
    EXPECT_OK(clmla_checkpoint_find(&tensor, checkpoint, "model.layers.0.self_attn.kv_a_proj_with_mqa.weight"));
    ck_assert_int_eq(tensor.type, CLMLA_TYPE_F8_E4M3);
    ck_assert_uint_eq(tensor.rank, 2);
    ck_assert_uint_eq(tensor.shape[0], 160); // L + R
    ck_assert_uint_eq(tensor.shape[1], 320); // hidden
    EXPECT_OK(
        clmla_checkpoint_find(&tensor, checkpoint, "model.layers.0.self_attn.kv_a_proj_with_mqa.weight_scale_inv"));
    ck_assert_uint_eq(tensor.element_count, 6);
    EXPECT_OK(clmla_tensor_to_f32(scales, &tensor));
    for (uint64_t i = 0; i < tensor.element_count; i++) ck_assert(scales[i] > 0.0f && scales[i] < 1.0f);
    clmla_checkpoint_close(&checkpoint);
}
END_TEST

// An allocator that fails at its n-th call, or from then on, and counts what is out.
typedef struct meter {
    size_t calls, fails_at, out;
    bool keeps_failing;
} meter;

static void *meter_allocate(void *payload, size_t bytes) {
    meter *m = payload;
    m->calls++;
    if (m->calls == m->fails_at || (m->calls > m->fails_at && m->keeps_failing)) return NULL;
    m->out++;
    return malloc(bytes);
}

static void meter_release(void *payload, void *memory) {
    meter *m = payload;
    ck_assert_uint_gt(m->out, 0);
    m->out--;
    free(memory);
}

// True if a call failed.
static bool open_with_failure(const char *path, size_t fails_at, bool keeps_failing) {
    meter m = {.fails_at = fails_at, .keeps_failing = keeps_failing};
    clmla_checkpoint *checkpoint = (clmla_checkpoint *)(void *)&m;
    clmla_status status =
        clmla_checkpoint_open(&checkpoint, path, &(clmla_allocator){meter_allocate, meter_release, &m});
    bool failed = m.calls >= fails_at;
    ck_assert_msg(status == (failed ? CLMLA_E_MEMORY : CLMLA_OK), "allocation %zu of %zu: %s", fails_at, m.calls,
                  clmla_status_name(status));
    ck_assert_int_eq(failed, checkpoint == NULL);
    clmla_checkpoint_close(&checkpoint);
    ck_assert_uint_eq(m.out, 0);
    return failed;
}

static void check_every_failure(const char *path) {
    for (int keeps_failing = 0; keeps_failing < 2; keeps_failing++) {
        size_t fails_at = 1;
        while (open_with_failure(path, fails_at, keeps_failing)) ck_assert_uint_lt(fails_at++, 100);
        ck_assert_uint_gt(fails_at, 5);
    }
}

START_TEST(memory_runs_out) {
    check_every_failure(make_shards());
    check_every_failure(made_safetensors("all.safetensors", everything, 28));
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, single_file);
    tcase_add_test(tests, not_found);
    tcase_add_loop_test(tests, every_dtype, 0, sizeof dtypes / sizeof *dtypes);
    tcase_add_test(tests, converted);
    tcase_add_test(tests, shards);
    tcase_add_test(tests, folder_of_one);
    tcase_add_test(tests, reference_case);
    tcase_add_test(tests, memory_runs_out);
}

int main(void) {
    return made_run("check_checkpoint", add_tests);
}
