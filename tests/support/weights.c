// SPDX-License-Identifier: Apache-2.0
#include "tests/support/weights.h"
#include <math.h>
#include <stdlib.h>

#define BLOCK 128u

clmla_type test_type_of(ref_type type) {
    static const clmla_type types[] = {CLMLA_TYPE_F32, CLMLA_TYPE_F16, CLMLA_TYPE_BF16, CLMLA_TYPE_F8_E4M3};
    return types[type];
}

ref_type test_ref_type_of(clmla_row_format format) {
    return format == CLMLA_ROWS_F32 ? REF_F32 : format == CLMLA_ROWS_F16 ? REF_F16 : REF_BF16;
}

const char *test_type_name(ref_type type) {
    return clmla_type_name(test_type_of(type));
}

// Below the smallest normal number of each type, and above its smallest subnormal.
static double subnormal(ref_type type, test_random *random) {
    static const double least_normal[] = {0x1p-126, 0x1p-14, 0x1p-126, 0x1p-6};
    return least_normal[type] * (test_random_uniform(random) - 0.5);
}

static float special_value(uint32_t row, uint32_t column, uint32_t columns, float ordinary, ref_type type,
                           test_random *random) {
    uint32_t marked = row * 7 % columns;
    switch (row % 5) {
    case 0: return column == marked ? NAN : ordinary;
    case 1: return column == marked ? INFINITY : ordinary;
    case 2: return (float)subnormal(type, random);
    case 3: return 0.0f;
    default: return ordinary;
    }
}

static void make_values(test_weights *out, const test_weights_shape *shape, uint64_t stride, test_random *random) {
    size_t elements = (size_t)(shape->rows * stride), bytes = elements * ref_bytes(shape->type);
    void *values = test_nan_bytes(bytes); // what lies outside the window is NaN
    for (uint32_t r = 0; r < shape->rows; r++)
        for (uint32_t c = 0; c < shape->columns; c++) {
            float value = (float)(shape->mean + shape->deviation * test_random_normal(random));
            if (shape->special) value = special_value(r, c, shape->columns, value, shape->type, random);
            ref_store(shape->type, values, r * stride + c, value);
        }
    test_buffer_make(&out->values, bytes, values);
    free(values);
}

static void make_scales(test_weights *out, const test_weights_shape *shape, test_random *random) {
    uint32_t row = shape->window ? 100 : 0, column = shape->window ? 77 : 0;
    uint32_t block_rows = (row + shape->rows + BLOCK - 1) / BLOCK;
    uint32_t stride = (column + shape->columns + BLOCK - 1) / BLOCK + (shape->window ? 1 : 0);
    float *scales = test_allocate((size_t)block_rows * stride, sizeof *scales);
    for (uint32_t i = 0; i < block_rows * stride; i++) scales[i] = (float)(0.25 + test_random_uniform(random));
    test_buffer_make(&out->scales, (size_t)block_rows * stride * sizeof *scales, scales);
    free(scales);
    out->matrix.scales = out->scales.view;
    out->matrix.scale_stride = stride;
    out->matrix.scale_row = row;
    out->matrix.scale_column = column;
}

void test_weights_make(test_weights *out, const test_weights_shape *shape, test_random *random) {
    uint64_t stride = shape->columns + (shape->window ? 3u : 0u);
    *out = (test_weights){.matrix = {.type = test_type_of(shape->type), .rows = shape->rows, .columns = shape->columns,
                                     .row_stride = stride}};
    make_values(out, shape, stride, random);
    out->matrix.values = out->values.view;
    if (shape->type == REF_F8_E4M3) make_scales(out, shape, random);
    if (shape->bias) {
        float *bias = test_allocate(shape->rows, sizeof *bias);
        test_random_fill(random, bias, shape->rows, shape->mean, shape->deviation);
        test_buffer_make(&out->bias, shape->rows * sizeof *bias, bias);
        free(bias);
        out->matrix.bias = out->bias.view;
    }
    out->reference = (ref_matrix){
        .type = shape->type,
        .values = out->values.initial,
        .rows = shape->rows,
        .columns = shape->columns,
        .row_stride = (size_t)stride,
        .scales = (const float *)(const void *)out->scales.initial,
        .scale_stride = out->matrix.scale_stride,
        .scale_row = out->matrix.scale_row,
        .scale_column = out->matrix.scale_column,
        .bias = shape->bias ? (const float *)(const void *)out->bias.initial : NULL,
    };
}

void test_weights_free(test_weights *weights) {
    test_buffer_free(&weights->values);
    test_buffer_free(&weights->scales);
    test_buffer_free(&weights->bias);
}

int test_weights_inputs(test_buffer **list, test_weights *weights) {
    int count = 0;
    if (weights->values.view.memory) list[count++] = &weights->values;
    if (weights->scales.view.memory) list[count++] = &weights->scales;
    if (weights->bias.view.memory) list[count++] = &weights->bias;
    return count;
}
