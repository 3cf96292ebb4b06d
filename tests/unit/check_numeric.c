// SPDX-License-Identifier: Apache-2.0
// Every code of the narrow types against their definition, and every rounding edge between two codes.
#include "lib/numeric.h"
#include "tests/ref/ref_number.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include <check.h>
#include <clmla/types.h>
#include <float.h>
#include <math.h>
#include <string.h>

// Check reports each assertion to its parent: millions of them take seconds. This one reports failures alone.
#define REQUIRE(condition, ...)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) ck_abort_msg(__VA_ARGS__);                                                                   \
    } while (0)

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void check_widened(float found, double expected, unsigned code) {
    if (isnan(expected)) {
        REQUIRE(isnan(found), "0x%x is %g, not NaN", code, (double)found);
        return;
    }
    REQUIRE((double)found == expected && !signbit(found) == !signbit(expected), "0x%x is %g, not %g", code,
            (double)found, expected);
}

START_TEST(widening) {
    for (uint32_t code = 0; code < 65536; code++) {
        uint16_t bits = (uint16_t)code;
        check_widened(numeric_f16_to_f32(bits), ref_load(REF_F16, &bits, 0), code);
        check_widened(numeric_bf16_to_f32(bits), ref_load(REF_BF16, &bits, 0), code);
    }
    for (uint32_t code = 0; code < 256; code++) {
        uint8_t bits = (uint8_t)code;
        check_widened(numeric_e4m3_to_f32(bits), ref_load(REF_F8_E4M3, &bits, 0), code);
    }
}
END_TEST

START_TEST(known_values) {
    ck_assert(numeric_f16_to_f32(0x3c00) == 1.0f);
    ck_assert(numeric_f16_to_f32(0x7bff) == 65504.0f);
    ck_assert(numeric_f16_to_f32(0x0001) == 0x1p-24f);
    ck_assert(numeric_f16_to_f32(0xfc00) == -INFINITY);
    ck_assert(numeric_bf16_to_f32(0xc040) == -3.0f);
    ck_assert(numeric_e4m3_to_f32(0x38) == 1.0f);
    ck_assert(numeric_e4m3_to_f32(0x7e) == 448.0f); // the largest
    ck_assert(numeric_e4m3_to_f32(0x01) == 0x1p-9f);
    ck_assert(isnan(numeric_e4m3_to_f32(0x7f)) && isnan(numeric_e4m3_to_f32(0xff)));
}
END_TEST

typedef struct narrow {
    const char *name;
    uint16_t (*store)(float);
    float (*load)(uint16_t);
    ref_type type;
    uint16_t infinity;
    double beyond; // what the code of infinity would be, were it a number
} narrow;
static const narrow narrows[] = {
    {"f16", numeric_f32_to_f16, numeric_f16_to_f32, REF_F16, 0x7c00, 0x1p16},
    {"bf16", numeric_f32_to_bf16, numeric_bf16_to_f32, REF_BF16, 0x7f80, 0x1p128},
};

static void check_narrowed(const narrow *n, float value, uint16_t expected) {
    uint16_t found = n->store(value), negative = n->store(-value);
    REQUIRE(found == expected, "%a as %s is 0x%04x, not 0x%04x", (double)value, n->name, found, expected);
    REQUIRE(negative == (expected | 0x8000), "%a as %s is 0x%04x, not 0x%04x", (double)-value, n->name, negative,
            expected | 0x8000);
}

// Between two neighbours: the middle goes to the even one, a hair from it to the nearer.
START_TEST(narrowing_edges) {
    const narrow *n = &narrows[_i];
    for (uint16_t code = 0; code < n->infinity; code++) {
        uint16_t next = (uint16_t)(code + 1);
        double low = (double)n->load(code), high = next == n->infinity ? n->beyond : (double)n->load(next);
        float middle = (float)((low + high) / 2);
        REQUIRE((double)middle == (low + high) / 2, "the middle of 0x%04x is no float", code);
        check_narrowed(n, (float)low, code);
        check_narrowed(n, nextafterf(middle, 0.0f), code);
        check_narrowed(n, middle, code % 2 ? next : code);
        check_narrowed(n, nextafterf(middle, INFINITY), next);
    }
    check_narrowed(n, INFINITY, n->infinity);
    check_narrowed(n, FLT_MAX, n->infinity);
    check_narrowed(n, FLT_TRUE_MIN, 0);
}
END_TEST

START_TEST(narrowing_random) {
    const narrow *n = &narrows[_i];
    test_random random = test_random_make(11);
    for (int i = 0; i < 300000; i++) {
        float value = float_of((uint32_t)test_random_bits(&random));
        uint16_t expected, found = n->store(value);
        ref_store(n->type, &expected, 0, value);
        if (isnan(value))
            REQUIRE(isnan(n->load(found)), "NaN as %s is 0x%04x", n->name, found);
        else
            REQUIRE(found == expected, "%a as %s is 0x%04x, not 0x%04x", (double)value, n->name, found, expected);
    }
}
END_TEST

// Also those NaNs whose bits all lie below the narrow fraction.
START_TEST(not_a_number) {
    const narrow *n = &narrows[_i];
    for (uint32_t bit = 0; bit < 23; bit++) {
        uint16_t positive = n->store(float_of(0x7f800000u | 1u << bit)),
                 negative = n->store(float_of(0xff800000u | 1u << bit));
        ck_assert(isnan(n->load(positive)) && !(positive & 0x8000));
        ck_assert(isnan(n->load(negative)) && (negative & 0x8000));
    }
    for (uint32_t code = n->infinity + 1u; code < 0x8000; code++)
        ck_assert(isnan(n->load(n->store(n->load((uint16_t)code)))));
}
END_TEST

static const struct {
    clmla_type type;
    const char *name;
    size_t bytes;
} types[] = {
    {CLMLA_TYPE_NONE, "none", 0}, {CLMLA_TYPE_F32, "f32", 4},         {CLMLA_TYPE_F16, "f16", 2},
    {CLMLA_TYPE_BF16, "bf16", 2}, {CLMLA_TYPE_F8_E4M3, "f8_e4m3", 1}, {CLMLA_TYPE_F8_E5M2, "f8_e5m2", 1},
    {CLMLA_TYPE_F64, "f64", 8},   {CLMLA_TYPE_I64, "i64", 8},         {CLMLA_TYPE_I32, "i32", 4},
    {CLMLA_TYPE_I16, "i16", 2},   {CLMLA_TYPE_I8, "i8", 1},           {CLMLA_TYPE_U64, "u64", 8},
    {CLMLA_TYPE_U32, "u32", 4},   {CLMLA_TYPE_U16, "u16", 2},         {CLMLA_TYPE_U8, "u8", 1},
    {CLMLA_TYPE_BOOL, "bool", 1}, {(clmla_type)99, "?", 0},           {(clmla_type)-1, "?", 0},
};

START_TEST(element_types) {
    ck_assert_str_eq(clmla_type_name(types[_i].type), types[_i].name);
    ck_assert_uint_eq(clmla_type_bytes(types[_i].type), types[_i].bytes);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, widening);
    tcase_add_test(tests, known_values);
    tcase_add_loop_test(tests, narrowing_edges, 0, 2);
    tcase_add_loop_test(tests, narrowing_random, 0, 2);
    tcase_add_loop_test(tests, not_a_number, 0, 2);
    tcase_add_loop_test(tests, element_types, 0, sizeof types / sizeof *types);
}

int main(void) {
    return test_run_apart("numeric", add_tests);
}
