// SPDX-License-Identifier: Apache-2.0
// Instructions of CPUs as kernels use them (cl/common/dot.clh, amx.clh), word by word: their forms in OpenCL C, on
// every CPU, and the instructions themselves where they are, which says whether the forms are what they stand for.
#include "host/instruction.h"
#include "host/launch.h"
#include "lib/context.h"
#include "tests/ref/ref_dot.h"
#include "tests/support/buffer.h"
#include "tests/support/random.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LANES 16
#define TILE (LANES * LANES)
#define WORDS (64 * TILE)
#define EXP2_ERROR 3e-6

extern const host_source clmla_source_dot_forms;

typedef void reference(uint32_t *out, const uint32_t *a, const uint32_t *b, const uint32_t *c);

// --- references

static void expect_dot_bytes(uint32_t *out, const uint32_t *a, const uint32_t *b, const uint32_t *c) {
    *out = ref_vpdpbusd(*c, *a, *b);
}

static void expect_round_product(uint32_t *out, const uint32_t *a, const uint32_t *b, const uint32_t *c) {
    (void)c;
    *out = ref_vpmulhrsw(*a, *b);
}

static void expect_dot_bf16(uint32_t *out, const uint32_t *a, const uint32_t *b, const uint32_t *c) {
    *out = ref_vdpbf16ps(*c, *a, *b);
}

static void expect_pairs(uint32_t *out, const uint32_t *a, const uint32_t *b, const uint32_t *c) {
    (void)c;
    *out = ref_bf16(*a) | (uint32_t)ref_bf16(*b) << 16;
}

static void expect_run(uint32_t *out, const uint32_t *a, const uint32_t *b, const uint32_t *c) {
    (void)c;
    for (int i = 0; i < LANES; i++) {
        const uint32_t *from = (i < LANES / 2 ? a : b) + 2 * i % LANES;
        out[i] = ref_bf16(from[0]) | (uint32_t)ref_bf16(from[1]) << 16;
    }
}

static void expect_exp2(uint32_t *out, const uint32_t *a, const uint32_t *b, const uint32_t *c) {
    float x, power;
    (void)b, (void)c;
    memcpy(&x, a, sizeof x);
    power = x < -126.0f ? 0.0f : (float)exp2((double)x);
    memcpy(out, &power, sizeof power);
}

static void expect_amx(uint32_t *out, const uint32_t *a, const uint32_t *b, const uint32_t *c) {
    memcpy(out, c, TILE * sizeof *out);
    ref_tdpbf16ps(out, a, b);
}

static const struct {
    const char *kernel, *option;
    host_instruction instruction;
    reference *expect;
    int words;
    enum { WHOLE, FLOATS, POWERS, BF16S } operands;
} table[] = {
    {"form_dot_bytes", "-DINT8", HOST_INSTRUCTION_INT8_DOT, expect_dot_bytes, 1, WHOLE},
    {"form_round_product", "-DINT8", HOST_INSTRUCTION_INT8_DOT, expect_round_product, 1, WHOLE},
    {"form_fast_exp2", "-DINT8", HOST_INSTRUCTION_INT8_DOT, expect_exp2, 1, POWERS},
    {"form_dot_bf16", "-DBF16", HOST_INSTRUCTION_BF16_DOT, expect_dot_bf16, 1, BF16S},
    {"form_bf16_run", "-DBF16", HOST_INSTRUCTION_BF16_DOT, expect_run, LANES, FLOATS},
    {"form_bf16_pairs", "-DBF16", HOST_INSTRUCTION_BF16_DOT, expect_pairs, 1, FLOATS},
    {"form_amx", "-DAMX", HOST_INSTRUCTION_AMX_BF16, expect_amx, TILE, BF16S},
};

// --- operands

// Of either sign and all kinds: mostly near 1, a few so small that products or sums are subnormal, or are subnormal
// themselves, or infinite, or no numbers.
static uint32_t float_of(test_random *random) {
    static const uint32_t some[] = {0, 0x80000000u, 1, 0x007fffffu, 0x00800000u, 0x7f800000u, 0xff800000u, 0x7fc00001u};
    uint32_t bits = (uint32_t)test_random_bits(random), kind = test_random_below(random, 64);
    if (kind == 0) return some[test_random_below(random, 8)];
    uint32_t exponent = kind < 4 ? test_random_below(random, 128) : 120 + test_random_below(random, 14);
    return (bits & 0x807fffffu) | exponent << 23;
}

static uint32_t power_of(test_random *random) {
    static const float some[] = {0.0f, -0.0f, -126.0f, -126.00001f, -1.0f, -1e-9f, -1e30f, -INFINITY, NAN};
    float x = test_random_below(random, 16) ? (float)(-140.0 * test_random_uniform(random))
                                            : some[test_random_below(random, 9)];
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void fill(uint32_t *words, test_random *random, int operands) {
    for (int i = 0; i < WORDS; i++)
        words[i] = operands == FLOATS   ? float_of(random)
                   : operands == POWERS ? power_of(random)
                   : operands == BF16S  ? float_of(random) >> 16 | (float_of(random) & 0xffff0000u)
                                        : (uint32_t)test_random_bits(random);
}

// --- the comparison

static bool is_nan(uint32_t bits) {
    return (bits & 0x7fffffffu) > 0x7f800000u;
}

static bool is_near(uint32_t found, uint32_t expected) {
    float x, y;
    memcpy(&x, &found, sizeof x);
    memcpy(&y, &expected, sizeof y);
    return fabsf(x - y) <= (float)EXP2_ERROR * y;
}

// Of floats one NaN is as good as another.
static bool is_same(uint32_t found, uint32_t expected, size_t form) {
    if (found == expected) return true;
    if (table[form].expect == expect_exp2) return is_nan(expected) ? is_nan(found) : is_near(found, expected);
    bool floats = table[form].expect == expect_dot_bf16 || table[form].expect == expect_amx;
    return floats && is_nan(found) && is_nan(expected);
}

static void launch(const test_buffer *buffers, size_t form, const char *option) {
    const test_device *device = test_device_get();
    host_chain chain;
    char options[128];
    size_t one = 1, vectors = WORDS / (table[form].words > LANES ? (size_t)table[form].words : LANES);
    snprintf(options, sizeof options, "-cl-std=CL1.2 -DVECTOR_WIDTH=16 %s%s", table[form].option, option);
    TEST_OK(host_chain_begin(&chain, &device->context->host, device->queue, 0, NULL, false));
    host_launch run =
        host_launch_begin(&device->context->host, "dot", &clmla_source_dot_forms, options, table[form].kernel);
    for (int i = 0; i < 4; i++) host_arg_buffer(&run, buffers[i].view.memory);
    TEST_OK(host_chain_finish(&chain, host_launch_enqueue(&run, &chain, 1, &vectors, &one), NULL));
    TEST_CL(clFinish(device->queue));
}

// Results of a form, with the options of one that is portable or without.
static void check_form(uint32_t *found, uint32_t (*operands)[WORDS], size_t form, const char *option) {
    const test_device *device = test_device_get();
    test_buffer buffers[4];
    uint32_t expected[TILE];
    test_case_begin("dot", (int)form, "%s%s", table[form].kernel, option);
    for (int i = 0; i < 4; i++) {
        cl_int code;
        buffers[i].view.memory = clCreateBuffer(device->cl, CL_MEM_READ_WRITE, WORDS * sizeof(uint32_t), NULL, &code);
        TEST_CL(code);
        if (i == 3) break;
        TEST_CL(clEnqueueWriteBuffer(device->queue, buffers[i].view.memory, CL_TRUE, 0, sizeof operands[i], operands[i],
                                     0, NULL, NULL));
    }
    launch(buffers, form, option);
    TEST_CL(clEnqueueReadBuffer(device->queue, buffers[3].view.memory, CL_TRUE, 0, WORDS * sizeof *found, found, 0,
                                NULL, NULL));
    for (int i = 0; i < 4; i++) clReleaseMemObject(buffers[i].view.memory);
    for (int i = 0; i < WORDS; i += table[form].words) {
        table[form].expect(expected, operands[0] + i, operands[1] + i, operands[2] + i);
        for (int k = 0; k < table[form].words; k++)
            TEST_ASSERT(is_same(found[i + k], expected[k], form), "word %d of %08x, %08x, %08x is %08x, expected %08x",
                        i + k, operands[0][i + k], operands[1][i + k], operands[2][i + k], found[i + k], expected[k]);
    }
}

static bool has(host_instruction instruction) {
    const clmla_device_facts *facts = test_device_get()->facts;
    bool there = instruction == HOST_INSTRUCTION_INT8_DOT   ? facts->has_int8_dot
                 : instruction == HOST_INSTRUCTION_BF16_DOT ? facts->has_bf16_dot
                                                            : facts->has_amx_bf16;
    if (test_device_is_portable()) return false; // its facts are made up
    return there && host_instruction_try(&test_device_get()->context->host, instruction)->right;
}

START_TEST(is_what_it_stands_for) {
    static uint32_t operands[3][WORDS], portable[WORDS], real[WORDS];
    test_random random = test_random_make(70 + (uint64_t)_i);
    host_instruction instruction = table[_i].instruction;
    if (!(test_device_get()->facts->type & CL_DEVICE_TYPE_CPU)) {
        printf("dot: the device is no CPU\n");
        return;
    }
    for (int i = 0; i < 3; i++)
        fill(operands[i], &random, i == 2 && table[_i].operands == BF16S ? FLOATS : (int)table[_i].operands);
    check_form(portable, operands, (size_t)_i, " -DDOT_PORTABLE -DAMX_PORTABLE");
    if (!has(instruction)) {
        printf("dot: %s by OpenCL C alone: the device has no such instruction\n", table[_i].kernel);
        return;
    }
    check_form(real, operands, (size_t)_i, "");
    for (int i = 0; i < WORDS; i++)
        TEST_ASSERT(real[i] == portable[i] || (is_nan(real[i]) && is_nan(portable[i])),
                    "word %d is %08x, by OpenCL C %08x", i, real[i], portable[i]);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, is_what_it_stands_for, 0, sizeof table / sizeof *table);
}

int main(void) {
    return test_main("check_dot", add);
}
