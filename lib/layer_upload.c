// SPDX-License-Identifier: Apache-2.0
// From tensors in host memory to a layer's matrices on the device: the window of its heads, converted where asked for.
#include "host/error.h"
#include "host/memory.h"
#include "lib/layer_parts.h"
#include "lib/numeric.h"
#include <string.h>

// The part of a stored matrix [rows of the whole][stride] that the layer's heads need.
typedef struct window {
    uint64_t first_row, rows, first_column, columns;
    uint64_t whole_rows, stride;
} window;

static window find_window(const clmla_layer *layer, layer_part part) {
    const clmla_config *config = &layer->config;
    uint64_t first = layer->first_head, heads = layer->head_count, of_head = 0;
    window w = {0};
    layer_part_shape(&w.whole_rows, &w.stride, config, part);
    w.rows = w.whole_rows;
    w.columns = w.stride;
    if (part == LAYER_Q_PROJ || part == LAYER_Q_B_PROJ)
        of_head = (uint64_t)config->qk_nope_head_dim + config->qk_rope_head_dim;
    if (part == LAYER_KV_B_PROJ) of_head = (uint64_t)config->qk_nope_head_dim + config->v_head_dim;
    if (of_head > 0) {
        w.first_row = first * of_head;
        w.rows = heads * of_head;
    }
    if (part == LAYER_O_PROJ) {
        w.first_column = first * config->v_head_dim;
        w.columns = heads * config->v_head_dim;
    }
    return w;
}

// Reads count elements from the first-th on as f32. The source may lie at any address.
static void read_elements(float *out, clmla_type type, const void *source, uint64_t first, uint64_t count) {
    const unsigned char *bytes = (const unsigned char *)source + first * clmla_type_bytes(type);
    if (type == CLMLA_TYPE_F32) {
        memcpy(out, bytes, (size_t)count * sizeof *out);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half;
        if (type == CLMLA_TYPE_F8_E4M3) {
            out[i] = numeric_e4m3_to_f32(bytes[i]);
            continue;
        }
        memcpy(&half, bytes + i * sizeof half, sizeof half);
        out[i] = type == CLMLA_TYPE_F16 ? numeric_f16_to_f32(half) : numeric_bf16_to_f32(half);
    }
}

static void write_elements(unsigned char *out, clmla_type type, const float *values, uint64_t count) {
    if (type == CLMLA_TYPE_F32) {
        memcpy(out, values, (size_t)count * sizeof *values);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half = type == CLMLA_TYPE_F16 ? numeric_f32_to_f16(values[i]) : numeric_f32_to_bf16(values[i]);
        memcpy(out + i * sizeof half, &half, sizeof half);
    }
}

static uint64_t blocks(uint64_t count) {
    return (count + FP8_BLOCK - 1) / FP8_BLOCK;
}

// Multiplies one row's values, from `column` on, by their blocks' scales.
static void apply_scales(float *values, const layer_tensor *tensor, const window *w, uint64_t row) {
    const unsigned char *scales =
        (const unsigned char *)tensor->scales + row / FP8_BLOCK * blocks(w->stride) * sizeof(float);
    for (uint64_t c = 0; c < w->columns;) {
        uint64_t block = (w->first_column + c) / FP8_BLOCK, end = (block + 1) * FP8_BLOCK - w->first_column;
        float scale;
        memcpy(&scale, scales + block * sizeof scale, sizeof scale);
        for (; c < end && c < w->columns; c++) values[c] *= scale;
    }
}

// Copies a window row by row into dense memory, converting when the types differ. `row` holds one row.
static void copy_window(unsigned char *out, clmla_type type, const layer_tensor *tensor, const window *w, float *row) {
    uint64_t row_bytes = w->columns * clmla_type_bytes(type), element = clmla_type_bytes(tensor->type);
    for (uint64_t r = 0; r < w->rows; r++, out += row_bytes) {
        uint64_t first = (w->first_row + r) * w->stride + w->first_column;
        if (type == tensor->type) {
            memcpy(out, (const unsigned char *)tensor->values + first * element, (size_t)row_bytes);
            continue;
        }
        read_elements(row, tensor->type, tensor->values, first, w->columns);
        if (tensor->type == CLMLA_TYPE_F8_E4M3) apply_scales(row, tensor, w, w->first_row + r);
        write_elements(out, type, row, w->columns);
    }
}

// A device buffer the layer owns.
static clmla_status keep(clmla_layer *layer, clmla_buffer *out, uint64_t bytes, const void *data, const char *what) {
    cl_mem *memory = &layer->buffers[layer->buffer_count];
    STATUS_OR_RETURN(host_buffer_create_lasting(memory, &layer->context->host, bytes, data, what));
    layer->buffer_count++;
    layer->bytes += bytes;
    *out = (clmla_buffer){*memory, 0};
    return CLMLA_OK;
}

static clmla_status out_of_memory(const clmla_layer *layer, uint64_t bytes, const char *what) {
    return host_fail(&layer->context->host.log, CLMLA_E_MEMORY, 0, "layer: %s: no host memory for %llu bytes", what,
                     (unsigned long long)bytes);
}

static clmla_status upload_values(clmla_layer *layer, clmla_buffer *out, clmla_type type, const layer_tensor *tensor,
                                  const window *w, const char *what) {
    const clmla_allocator *allocator = &layer->context->host.allocator;
    uint64_t element = clmla_type_bytes(type), bytes = w->rows * w->columns * element;
    if (type == tensor->type && w->columns == w->stride) {
        const unsigned char *first = (const unsigned char *)tensor->values + w->first_row * w->stride * element;
        return keep(layer, out, bytes, first, what);
    }
    if (bytes > SIZE_MAX || w->columns > SIZE_MAX / sizeof(float)) return out_of_memory(layer, bytes, what);
    unsigned char *dense = host_allocate(allocator, (size_t)bytes, 1);
    float *row = host_allocate(allocator, (size_t)w->columns, sizeof *row);
    clmla_status status = CLMLA_OK;
    if (!dense || !row) {
        status = out_of_memory(layer, bytes, what);
    } else {
        copy_window(dense, type, tensor, w, row);
        status = keep(layer, out, bytes, dense, what);
    }
    host_release(allocator, row);
    host_release(allocator, dense);
    return status;
}

// Norm weights and biases: always f32.
static clmla_status upload_f32(clmla_layer *layer, clmla_buffer *out, clmla_type type, const void *values,
                               uint64_t first, uint64_t count, const char *what) {
    const clmla_allocator *allocator = &layer->context->host.allocator;
    float *converted = host_allocate(allocator, (size_t)count, sizeof *converted);
    if (!converted) return out_of_memory(layer, count * sizeof *converted, what);
    read_elements(converted, type, values, first, count);
    clmla_status status = keep(layer, out, count * sizeof *converted, converted, what);
    host_release(allocator, converted);
    return status;
}

static clmla_status upload_matrix(clmla_layer *layer, clmla_matrix *out, const layer_tensors *tensors, layer_part part,
                                  clmla_type weights) {
    const char *what = layer_part_name(part);
    const layer_tensor *tensor = &tensors->parts[part];
    const window w = find_window(layer, part);
    if (w.rows == 0) return CLMLA_OK;
    *out = (clmla_matrix){
        .type = weights == CLMLA_TYPE_NONE ? tensor->type : weights,
        .rows = (uint32_t)w.rows,
        .columns = (uint32_t)w.columns,
        .row_stride = w.columns,
    };
    STATUS_OR_RETURN(upload_values(layer, &out->values, out->type, tensor, &w, what));
    if (out->type == CLMLA_TYPE_F8_E4M3) { // the whole matrix's scales, with the window's place in their grid
        out->scale_stride = (uint32_t)blocks(w.stride);
        out->scale_row = (uint32_t)w.first_row;
        out->scale_column = (uint32_t)w.first_column;
        uint64_t bytes = blocks(w.whole_rows) * out->scale_stride * sizeof(float);
        STATUS_OR_RETURN(keep(layer, &out->scales, bytes, tensor->scales, what));
    }
    // Partial outputs are summed over head ranges: only one of them may add o_proj's bias.
    bool of_other_range = part == LAYER_O_PROJ && layer->first_head > 0;
    if (!tensor->bias || of_other_range) return CLMLA_OK;
    return upload_f32(layer, &out->bias, tensor->bias_type, tensor->bias, w.first_row, w.rows, what);
}

static clmla_status upload_norm(clmla_layer *layer, clmla_buffer *out, const layer_tensors *tensors, layer_part part) {
    const layer_tensor *tensor = &tensors->parts[part];
    uint64_t rows, width;
    if (!layer_part_shape(&rows, &width, &layer->config, part)) return CLMLA_OK;
    return upload_f32(layer, out, tensor->type, tensor->values, 0, width, layer_part_name(part));
}

// --- two matrices in one

// Rows of fp8 in blocks of their own: the second matrix's first block must begin below the first's last.
static bool blocks_join(const layer_tensor *first, const window *w) {
    return first->type != CLMLA_TYPE_F8_E4M3 || (w->first_row == 0 && w->rows % FP8_BLOCK == 0);
}

static bool can_join(const clmla_layer *layer, const layer_tensors *tensors, layer_part upper, clmla_type weights) {
    const layer_tensor *a = &tensors->parts[upper], *b = &tensors->parts[LAYER_KV_A_PROJ];
    const window w = find_window(layer, upper), lower = find_window(layer, LAYER_KV_A_PROJ);
    clmla_type type = weights == CLMLA_TYPE_NONE ? a->type : weights;
    uint64_t bytes = (w.rows + lower.rows) * w.columns * clmla_type_bytes(type);
    if (a->bias || b->bias || bytes > layer->context->host.facts.max_buffer_bytes || bytes > SIZE_MAX) return false;
    if (weights != CLMLA_TYPE_NONE) return true;
    return a->type == b->type && blocks_join(a, &w);
}

static clmla_status join_values(clmla_layer *layer, const layer_tensors *tensors, const layer_part parts[2]) {
    const clmla_allocator *allocator = &layer->context->host.allocator;
    clmla_matrix *joint = &layer->joint;
    uint64_t row_bytes = joint->columns * clmla_type_bytes(joint->type), bytes = joint->rows * row_bytes;
    unsigned char *dense = host_allocate(allocator, (size_t)bytes, 1), *end = dense;
    float *row = host_allocate(allocator, joint->columns, sizeof *row);
    clmla_status status = dense && row ? CLMLA_OK : out_of_memory(layer, bytes, layer_part_name(parts[0]));
    for (int i = 0; status == CLMLA_OK && i < 2; i++) {
        const window w = find_window(layer, parts[i]);
        copy_window(end, joint->type, &tensors->parts[parts[i]], &w, row);
        end += w.rows * row_bytes;
    }
    if (status == CLMLA_OK) status = keep(layer, &joint->values, bytes, dense, layer_part_name(parts[0]));
    host_release(allocator, row);
    host_release(allocator, dense);
    return status;
}

static clmla_status join_scales(clmla_layer *layer, const layer_tensors *tensors, const layer_part parts[2]) {
    const clmla_allocator *allocator = &layer->context->host.allocator;
    clmla_matrix *joint = &layer->joint;
    joint->scale_stride = (uint32_t)blocks(joint->columns);
    uint64_t bytes = blocks(joint->rows) * joint->scale_stride * sizeof(float);
    unsigned char *dense = host_allocate(allocator, (size_t)bytes, 1), *end = dense;
    if (!dense) return out_of_memory(layer, bytes, layer_part_name(parts[0]));
    for (int i = 0; i < 2; i++) {
        size_t part = (size_t)(blocks(find_window(layer, parts[i]).rows) * joint->scale_stride * sizeof(float));
        memcpy(end, tensors->parts[parts[i]].scales, part);
        end += part;
    }
    clmla_status status = keep(layer, &joint->scales, bytes, dense, layer_part_name(parts[0]));
    host_release(allocator, dense);
    return status;
}

// `rows` rows of the joint matrix from `first` on, a multiple of a block's in fp8.
static clmla_matrix window_of_joint(const clmla_matrix *joint, uint32_t first, uint32_t rows) {
    clmla_matrix out = *joint;
    out.rows = rows;
    out.values.offset += first * joint->row_stride * clmla_type_bytes(joint->type);
    if (joint->scales.memory) out.scales.offset += (uint64_t)first / FP8_BLOCK * joint->scale_stride * sizeof(float);
    return out;
}

static clmla_status upload_joint(clmla_layer *layer, clmla_matrix *upper, const layer_tensors *tensors, layer_part part,
                                 clmla_type weights) {
    const layer_part parts[2] = {part, LAYER_KV_A_PROJ};
    const window w = find_window(layer, part), lower = find_window(layer, LAYER_KV_A_PROJ);
    clmla_matrix *joint = &layer->joint;
    *joint = (clmla_matrix){
        .type = weights == CLMLA_TYPE_NONE ? tensors->parts[part].type : weights,
        .rows = (uint32_t)(w.rows + lower.rows),
        .columns = (uint32_t)w.columns,
        .row_stride = w.columns,
    };
    STATUS_OR_RETURN(join_values(layer, tensors, parts));
    if (joint->type == CLMLA_TYPE_F8_E4M3) STATUS_OR_RETURN(join_scales(layer, tensors, parts));
    *upper = window_of_joint(joint, 0, (uint32_t)w.rows);
    layer->kv_a = window_of_joint(joint, (uint32_t)w.rows, (uint32_t)lower.rows);
    return CLMLA_OK;
}

// The matrices that take the step's input: one launch instead of two where they can be one.
static clmla_status upload_input(clmla_layer *layer, const layer_tensors *tensors, clmla_type weights) {
    bool lora = layer->config.q_lora_rank > 0;
    layer_part part = lora ? LAYER_Q_A_PROJ : LAYER_Q_PROJ;
    clmla_matrix *upper = lora ? &layer->q_a : &layer->q;
    if (can_join(layer, tensors, part, weights)) return upload_joint(layer, upper, tensors, part, weights);
    STATUS_OR_RETURN(upload_matrix(layer, upper, tensors, part, weights));
    return upload_matrix(layer, &layer->kv_a, tensors, LAYER_KV_A_PROJ, weights);
}

clmla_status layer_upload(clmla_layer *layer, const layer_tensors *tensors, clmla_type weights) {
    STATUS_OR_RETURN(upload_input(layer, tensors, weights));
    if (layer->config.q_lora_rank) STATUS_OR_RETURN(upload_matrix(layer, &layer->q, tensors, LAYER_Q_B_PROJ, weights));
    STATUS_OR_RETURN(upload_matrix(layer, &layer->kv_b, tensors, LAYER_KV_B_PROJ, weights));
    STATUS_OR_RETURN(upload_matrix(layer, &layer->o, tensors, LAYER_O_PROJ, weights));
    STATUS_OR_RETURN(upload_norm(layer, &layer->q_a_norm, tensors, LAYER_Q_A_NORM));
    return upload_norm(layer, &layer->kv_a_norm, tensors, LAYER_KV_A_NORM);
}
