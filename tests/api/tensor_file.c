// SPDX-License-Identifier: Apache-2.0
#include "tests/api/tensor_file.h"
#include "tests/ref/ref_number.h"
#include "tests/support/device.h"
#include "tests/support/random.h"
#include <stdio.h>
#include <string.h>

#define PREFIX "model.layers.0.self_attn."
#define HEADER_MAX 8192

file_tensor *tensor_file_add(tensor_file *file, const char *name, const char *dtype, uint64_t rows, uint64_t columns) {
    ck_assert_uint_lt(file->count, TENSOR_FILE_MAX);
    file_tensor *tensor = &file->tensors[file->count++];
    *tensor = (file_tensor){.dtype = dtype, .rank = columns ? 2 : 1, .shape = {rows, columns}};
    snprintf(tensor->name, sizeof tensor->name, PREFIX "%s", name);
    return tensor;
}

static void add_matrix(tensor_file *file, const char *part, const char *dtype, uint64_t rows, uint64_t columns,
                       bool bias) {
    char name[64];
    snprintf(name, sizeof name, "%s.weight", part);
    tensor_file_add(file, name, dtype, rows, columns);
    if (strcmp(dtype, "F8_E4M3") == 0) {
        snprintf(name, sizeof name, "%s.weight_scale_inv", part);
        tensor_file_add(file, name, "F32", (rows + 127) / 128, (columns + 127) / 128);
    }
    if (!bias) return;
    snprintf(name, sizeof name, "%s.bias", part);
    tensor_file_add(file, name, "BF16", rows, 0);
}

tensor_file tensor_file_of_layer(const clmla_config *c, const char *dtype) {
    tensor_file file = {.count = 0};
    uint64_t q_head = (uint64_t)c->qk_nope_head_dim + c->qk_rope_head_dim,
             kv_head = (uint64_t)c->qk_nope_head_dim + c->v_head_dim;
    if (c->q_lora_rank) {
        add_matrix(&file, "q_a_proj", dtype, c->q_lora_rank, c->hidden_size, c->attention_bias);
        add_matrix(&file, "q_b_proj", dtype, c->head_count * q_head, c->q_lora_rank, false);
        tensor_file_add(&file, "q_a_layernorm.weight", "BF16", c->q_lora_rank, 0);
    } else {
        add_matrix(&file, "q_proj", dtype, c->head_count * q_head, c->hidden_size, false);
    }
    add_matrix(&file, "kv_a_proj_with_mqa", dtype, (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim, c->hidden_size,
               c->attention_bias);
    add_matrix(&file, "kv_b_proj", dtype, c->head_count * kv_head, c->kv_lora_rank, false);
    add_matrix(&file, "o_proj", dtype, c->hidden_size, (uint64_t)c->head_count * c->v_head_dim, c->attention_bias);
    tensor_file_add(&file, "kv_a_layernorm.weight", "BF16", c->kv_lora_rank, 0);
    return file;
}

file_tensor *tensor_file_find(tensor_file *file, const char *name) {
    for (uint32_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name + strlen(PREFIX), name) == 0) return &file->tensors[i];
    ck_abort_msg("the file has no %s", name);
    return NULL;
}

void tensor_file_remove(tensor_file *file, const char *name) {
    *tensor_file_find(file, name) = file->tensors[file->count - 1];
    file->count--;
}

static uint64_t element_bytes(const char *dtype) {
    const char *digits = strpbrk(dtype, "123468"); // "BF16": 2, "F8_E4M3": 1
    unsigned bits = 0;
    ck_assert_ptr_nonnull(digits);
    ck_assert_int_eq(sscanf(digits, "%u", &bits), 1);
    return bits / 8;
}

static uint64_t element_count(const file_tensor *tensor) {
    uint64_t count = 1;
    for (uint32_t i = 0; i < tensor->rank; i++) count *= tensor->shape[i];
    return count;
}

static size_t make_header(char out[HEADER_MAX], const tensor_file *file) {
    uint64_t offset = 0;
    size_t used = (size_t)snprintf(out, HEADER_MAX, "{");
    for (uint32_t i = 0; i < file->count; i++) {
        const file_tensor *t = &file->tensors[i];
        uint64_t end = offset + element_count(t) * element_bytes(t->dtype);
        used += (size_t)snprintf(out + used, HEADER_MAX - used, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "",
                                 t->name, t->dtype);
        for (uint32_t d = 0; d < t->rank; d++)
            used += (size_t)snprintf(out + used, HEADER_MAX - used, "%s%llu", d ? "," : "",
                                     (unsigned long long)t->shape[d]);
        used += (size_t)snprintf(out + used, HEADER_MAX - used, "],\"data_offsets\":[%llu,%llu]}",
                                 (unsigned long long)offset, (unsigned long long)end);
        offset = end;
    }
    used += (size_t)snprintf(out + used, HEADER_MAX - used, "}");
    if (used % 2 == 0) out[used++] = ' ';
    ck_assert_uint_lt(used, HEADER_MAX);
    return used;
}

static void write_values(FILE *stream, const char *dtype, uint64_t count, test_random *random) {
    const struct {
        const char *name;
        ref_type type;
    } known[] = {{"F32", REF_F32}, {"F16", REF_F16}, {"BF16", REF_BF16}, {"F8_E4M3", REF_F8_E4M3}};
    unsigned char element[8] = {0};
    for (uint64_t i = 0; i < count; i++) {
        float value = (float)(4.0 * test_random_uniform(random) - 2.0);
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (strcmp(dtype, known[k].name) == 0) ref_store(known[k].type, element, 0, value);
        fwrite(element, element_bytes(dtype), 1, stream);
    }
}

void tensor_file_write(const tensor_file *file, const char *path) {
    char header[HEADER_MAX];
    uint64_t length = make_header(header, file);
    test_random random = test_random_make(7);
    FILE *stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    for (int i = 0; i < 8; i++) fputc((int)(length >> 8 * i & 255), stream);
    fwrite(header, 1, length, stream);
    for (uint32_t i = 0; i < file->count; i++)
        write_values(stream, file->tensors[i].dtype, element_count(&file->tensors[i]), &random);
    ck_assert_int_eq(ferror(stream), 0);
    ck_assert_int_eq(fclose(stream), 0);
}
