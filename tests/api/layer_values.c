// SPDX-License-Identifier: Apache-2.0
#include "tests/api/layer_values.h"
#include "lib/layer.h"
#include "tests/ref/ref_number.h"
#include "tests/support/buffer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A tensor copied to aligned memory.
typedef struct values {
    ref_type type;
    size_t columns, count;
    void *data;
} values;

static ref_type as_ref(clmla_type type) {
    switch (type) {
    case CLMLA_TYPE_F32:
        return REF_F32;
    case CLMLA_TYPE_F16:
        return REF_F16;
    case CLMLA_TYPE_BF16:
        return REF_BF16;
    case CLMLA_TYPE_F8_E4M3:
        return REF_F8_E4M3;
    default:
        TEST_ASSERT(false, "type %s", clmla_type_name(type));
        return REF_F32;
    }
}

static bool find(values *out, const clmla_checkpoint *checkpoint, uint32_t index, const char *part,
                 const char *ending) {
    char name[128];
    clmla_tensor tensor;
    *out = (values){.data = NULL};
    snprintf(name, sizeof name, "model.layers.%u.self_attn.%s.%s", index, part, ending);
    if (clmla_checkpoint_find(&tensor, checkpoint, name) != CLMLA_OK) return false;
    *out = (values){as_ref(tensor.type), (size_t)tensor.shape[tensor.rank - 1], (size_t)tensor.element_count,
                    test_allocate((size_t)tensor.bytes, 1)};
    memcpy(out->data, tensor.data, (size_t)tensor.bytes);
    return true;
}

static void *read_back(clmla_buffer buffer, size_t bytes) {
    void *data = test_allocate(bytes, 1);
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, buffer.memory, CL_TRUE, (size_t)buffer.offset, bytes, data, 0,
                                NULL, NULL));
    return data;
}

// The part of a whole matrix a layer should hold.
typedef struct part {
    const char *name;
    size_t first_row, rows, first_column, columns;
    bool bias_elsewhere;
} part;

static float rounded(float value, ref_type type) {
    uint32_t element = 0;
    ref_store(type, &element, 0, value);
    return (float)ref_load(type, &element, 0);
}

// fp8 values times their block's scale in f32, by the window's place in the grid.
static float scaled(float value, const float *scales, size_t stride, size_t row, size_t column) {
    return value * scales[row / 128 * stride + column / 128];
}

static void compare(const clmla_matrix *matrix, const part *of, const values *stored, const values *scales) {
    ref_type type = as_ref(matrix->type);
    size_t elements = (size_t)((matrix->rows - 1) * matrix->row_stride + matrix->columns), wrong = 0;
    void *found = read_back(matrix->values, elements * ref_bytes(type));
    bool fp8 = stored->type == REF_F8_E4M3, kept = type == REF_F8_E4M3;
    size_t scale_rows = (matrix->scale_row + of->rows + 127) / 128;
    float *grid = kept ? read_back(matrix->scales, scale_rows * matrix->scale_stride * sizeof(float)) : NULL;
    for (size_t r = 0; r < of->rows; r++)
        for (size_t c = 0; c < of->columns; c++) {
            size_t row = of->first_row + r, column = of->first_column + c;
            float expected = (float)ref_load(stored->type, stored->data, row * stored->columns + column);
            if (fp8) expected = scaled(expected, scales->data, scales->columns, row, column);
            if (!kept) expected = rounded(expected, type);
            float value = (float)ref_load(type, found, r * (size_t)matrix->row_stride + c);
            if (kept)
                value = scaled(value, grid, matrix->scale_stride, matrix->scale_row + r, matrix->scale_column + c);
            wrong += value != expected;
        }
    TEST_ASSERT(wrong == 0, "%s: %zu of %zu x %zu values differ", of->name, wrong, of->rows, of->columns);
    free(found);
    free(grid);
}

static void check_vector(clmla_buffer buffer, const values *stored, size_t first, size_t count, const char *name) {
    float *found = read_back(buffer, count * sizeof *found);
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) wrong += found[i] != (float)ref_load(stored->type, stored->data, first + i);
    TEST_ASSERT(wrong == 0, "%s: %zu of %zu values differ", name, wrong, count);
    free(found);
}

static void check_matrix(const clmla_matrix *matrix, const part *of, const clmla_checkpoint *checkpoint, uint32_t index,
                         clmla_type weights) {
    values stored, scales, bias;
    TEST_ASSERT(find(&stored, checkpoint, index, of->name, "weight"), "%s", clmla_last_error());
    bool has_scales = find(&scales, checkpoint, index, of->name, "weight_scale_inv");
    bool has_bias = find(&bias, checkpoint, index, of->name, "bias") && !of->bias_elsewhere;
    TEST_ASSERT(has_scales == (stored.type == REF_F8_E4M3), "%s", of->name);
    TEST_ASSERT(as_ref(matrix->type) == (weights ? as_ref(weights) : stored.type), "%s: %s", of->name,
                clmla_type_name(matrix->type));
    TEST_ASSERT(matrix->rows == of->rows && matrix->columns == of->columns, "%s: %u x %u", of->name, matrix->rows,
                matrix->columns);
    TEST_ASSERT(!matrix->bias.memory == !has_bias, "%s", of->name);
    compare(matrix, of, &stored, &scales);
    if (has_bias) check_vector(matrix->bias, &bias, of->first_row, of->rows, of->name);
    free(stored.data);
    free(scales.data);
    free(bias.data);
}

static void check_norm(clmla_buffer buffer, const clmla_checkpoint *checkpoint, uint32_t index, const char *name,
                       size_t width) {
    values stored;
    TEST_ASSERT(find(&stored, checkpoint, index, name, "weight"), "%s", clmla_last_error());
    TEST_ASSERT(stored.count == width, "%s: %zu", name, stored.count);
    check_vector(buffer, &stored, 0, width, name);
    free(stored.data);
}

static void check_bytes(const clmla_layer *layer) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < layer->buffer_count; i++) {
        size_t bytes;
        TEST_CL(clGetMemObjectInfo(layer->buffers[i], CL_MEM_SIZE, sizeof bytes, &bytes, NULL));
        sum += bytes;
    }
    TEST_ASSERT(sum == clmla_layer_bytes(layer), "%llu bytes", (unsigned long long)clmla_layer_bytes(layer));
}

void layer_values_check(const clmla_layer *layer, const clmla_config *c, const clmla_checkpoint *checkpoint,
                        uint32_t index, const clmla_layer_params *params) {
    size_t first = params ? params->first_head : 0,
           heads = params && params->head_count ? params->head_count : c->head_count;
    clmla_type weights = params ? params->weights : CLMLA_TYPE_NONE;
    size_t q_head = (size_t)c->qk_nope_head_dim + c->qk_rope_head_dim,
           kv_head = (size_t)c->qk_nope_head_dim + c->v_head_dim;
    size_t q_columns = c->q_lora_rank ? c->q_lora_rank : c->hidden_size;
    const part q = {c->q_lora_rank ? "q_b_proj" : "q_proj", first * q_head, heads * q_head, 0, q_columns, false};
    const part q_a = {"q_a_proj", 0, c->q_lora_rank, 0, c->hidden_size, false};
    const part kv_a = {"kv_a_proj_with_mqa", 0,    (size_t)c->kv_lora_rank + c->qk_rope_head_dim, 0,
                       c->hidden_size,       false};
    const part kv_b = {"kv_b_proj", first * kv_head, heads * kv_head, 0, c->kv_lora_rank, false};
    const part o = {"o_proj", 0, c->hidden_size, first * c->v_head_dim, heads * c->v_head_dim, first > 0};
    TEST_ASSERT(layer->first_head == first && layer->head_count == heads && layer->cache_layer == index, "%u",
                layer->cache_layer);
    check_matrix(&layer->q, &q, checkpoint, index, weights);
    check_matrix(&layer->kv_a, &kv_a, checkpoint, index, weights);
    check_matrix(&layer->kv_b, &kv_b, checkpoint, index, weights);
    check_matrix(&layer->o, &o, checkpoint, index, weights);
    check_norm(layer->kv_a_norm, checkpoint, index, "kv_a_layernorm", c->kv_lora_rank);
    check_bytes(layer);
    if (c->q_lora_rank == 0) {
        TEST_ASSERT(layer->q_a.rows == 0 && !layer->q_a.values.memory && !layer->q_a_norm.memory, "q_a of %u rows",
                    layer->q_a.rows);
        return;
    }
    check_matrix(&layer->q_a, &q_a, checkpoint, index, weights);
    check_norm(layer->q_a_norm, checkpoint, index, "q_a_layernorm", c->q_lora_rank);
}
