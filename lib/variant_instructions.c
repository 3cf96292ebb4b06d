// SPDX-License-Identifier: Apache-2.0
// What variants are made of beyond OpenCL C: whether the device has it, whether its trial went right, and whether it
// pays.
#include "lib/attend_matrix.h"
#include "lib/attend_matrix_ring.h"
#include "lib/attend_wgmma.h"
#include "lib/rows.h"
#include "lib/variant_parts.h"
#include <stdio.h>

// An instruction by inline assembly that gives less than this is not worth its rounding: CPUs' were seen to give 1.3
// and more in quiet trials, 1.2 beside other work. Tiles have more around them that is no product.
#define INSTRUCTION_LEAST_GAIN 1.15f
#define AMX_LEAST_GAIN 3.0f
// What of a gain is left beside others': rows become 16-bit codes first.
#define INT16_GAIN_LEFT 0.85f
// From so many heads times new tokens on, codes take less time than they save: measured over f32, f16 and fp8 rows.
#define INT16_LEAST_ROWS_LONG 24
// Of q8 rows: measured even at 64 heads, and not for several new tokens.
#define AMX_Q8_LEAST_HEADS 64

// Dot products and tiles of CPUs are so in contexts of tests.
#define PORTABLE_DOT "the context makes its products by OpenCL C, which is for tests alone"
// Matrix products in OpenCL C are for tests, which ask for them by name.
#define PORTABLE_MATRIX "the device has no matrix units known here: in OpenCL C its products are for tests alone"

const char *variant_refuse_portable(const variant *variant, const clmla_device_facts *facts) {
    if (variant->method == VARIANT_MATRIX_RING && host_ring_find(facts) == HOST_INSTRUCTION_RING_PORTABLE)
        return "its ring is of NVIDIA's GPUs from sm_80 on: in OpenCL C it is for tests alone";
    bool portable = variant->method == VARIANT_WGMMA
                        ? host_wgmma_find(facts) == HOST_INSTRUCTION_WGMMA_PORTABLE
                        : variant->method == VARIANT_MATRIX &&
                              host_matrix_find(facts)->instruction == HOST_INSTRUCTION_MATRIX_PORTABLE;
    return portable ? PORTABLE_MATRIX : NULL;
}

static float least_gain(const variant *variant) {
    return variant->method == VARIANT_AMX ? AMX_LEAST_GAIN : INSTRUCTION_LEAST_GAIN;
}

static bool pays(const variant *variant, const host_instruction_trial *trial) {
    return trial->gain >= least_gain(variant);
}

static bool is_small_q8(const clmla_shape *shape) {
    return shape->format == CLMLA_ROWS_Q8 && shape->head_count != 0 && shape->head_count < AMX_Q8_LEAST_HEADS;
}

// Whether rows take longer to become 16-bit codes than the products save: in vectors of 16 floats, where f32
// multiply-adds are at eight to nine tenths of what they can be. Quantised rows are codes almost.
static bool is_sooner_exact(const clmla_device_facts *facts, const clmla_shape *shape) {
    return variant_has_long_vectors(facts) && !rows_are_quantised(shape->format) && shape->format != CLMLA_ROWS_BF16 &&
           shape->head_count != 0 && attend_rows_of(shape->head_count, shape->query_tokens) < INT16_LEAST_ROWS_LONG;
}

// What a variant's kernel is made of on the context's device.
static host_instruction instruction_of(const clmla_context *context, const variant *variant) {
    if (variant->method == VARIANT_WGMMA) return host_wgmma_find(&context->host.facts);
    if (variant->method == VARIANT_MATRIX_RING) return host_ring_find(&context->host.facts);
    if (variant->method == VARIANT_MATRIX) return host_matrix_find(&context->host.facts)->instruction;
    return host_instruction_form(&context->host, variant->instruction);
}

// What a trial's gain is worth beside those of other variants.
static float weigh(const variant *variant, float gain) {
    return variant->method == VARIANT_INT16_DOT ? INT16_GAIN_LEFT * gain : gain;
}

// Whether the library leaves a variant to those who ask for it, whatever its trial gave.
static bool is_left(const variant *variant, const clmla_context *context, const clmla_shape *shape) {
    return (variant->method == VARIANT_AMX && is_small_q8(shape)) ||
           (variant->method == VARIANT_INT16_DOT && is_sooner_exact(&context->host.facts, shape));
}

// Of a list, another variant for the shape whose instruction is right, pays and is worth more than `gain`; or NULL.
static const variant *find_faster(const variant *list, const variant *than, float gain, clmla_context *context,
                                  const clmla_shape *shape) {
    for (int i = 0; i < VARIANTS_MAX && list[i].name; i++) {
        host_instruction instruction = instruction_of(context, &list[i]);
        if (&list[i] == than || !host_instruction_is_timed(instruction) || list[i].refusal(&context->host.facts, shape))
            continue;
        if (is_left(&list[i], context, shape)) continue;
        const host_instruction_trial *trial = host_instruction_try(&context->host, instruction);
        if (trial->right && pays(&list[i], trial) && weigh(&list[i], trial->gain) > gain) return &list[i];
    }
    return NULL;
}

const char *variant_refuse_instruction(char reason[VARIANT_REASON_MAX], clmla_context *context, const variant *list,
                                       const variant *variant, const clmla_shape *shape, bool unasked) {
    host_instruction instruction = instruction_of(context, variant);
    if (instruction == HOST_INSTRUCTION_NONE) return NULL;
    const host_instruction_trial *trial = host_instruction_try(&context->host, instruction);
    if (!trial->right) return trial->reason;
    if (variant_has_matrix_units(variant) && shape->compute == CLMLA_COMPUTE_EXACT && shape->format == CLMLA_ROWS_F16 &&
        !trial->keeps_subnormals)
        return "its products take f16 values below 2^-14 for zeros, which exact compute may not";
    if (unasked && host_instruction_is_portable_dot(instruction)) return PORTABLE_DOT;
    if (!unasked || !host_instruction_is_timed(instruction)) return NULL;
    int length =
        snprintf(reason, VARIANT_REASON_MAX,
                 "in a trial its products gave %.2f times the products of f32 multiply-adds", (double)trial->gain);
    if (!pays(variant, trial)) {
        snprintf(reason + length, VARIANT_REASON_MAX - (size_t)length, ": less than %.2f, which they must to pay",
                 (double)least_gain(variant));
        return reason;
    }
    if (variant->method == VARIANT_AMX && is_small_q8(shape) && find_faster(list, variant, 0.0f, context, shape))
        return "q8 rows become bf16 first, which takes longer than products of their bytes below 64 heads";
    if (variant->method == VARIANT_INT16_DOT && is_sooner_exact(&context->host.facts, shape))
        return "its rows become 16-bit codes first, which takes longer than exact products below 24 heads times new "
               "tokens";
    const struct variant *faster = find_faster(list, variant, weigh(variant, trial->gain), context, shape);
    if (!faster) return NULL;
    snprintf(reason + length, VARIANT_REASON_MAX - (size_t)length, ", those of %s more", faster->name);
    return reason;
}
