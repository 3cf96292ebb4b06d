// SPDX-License-Identifier: Apache-2.0
// Small safetensors files made by the test itself: the tensors of one layer, to be spoiled one at a time.
#ifndef TEST_TENSOR_FILE_H
#define TEST_TENSOR_FILE_H

#include <clmla/clmla.h>

#define TENSOR_FILE_MAX 32

typedef struct file_tensor {
    char name[96];
    const char *dtype; // as safetensors spells it
    uint32_t rank;
    uint64_t shape[3];
} file_tensor;

typedef struct tensor_file {
    file_tensor tensors[TENSOR_FILE_MAX];
    uint32_t count;
} tensor_file;

// The tensors layer 0 of a config needs, all of `dtype` (norms and biases bf16, scales f32), biases as the config says.
tensor_file tensor_file_of_layer(const clmla_config *config, const char *dtype);

// The tensor "model.layers.0.self_attn.<name>"; asserts that it is there.
file_tensor *tensor_file_find(tensor_file *file, const char *name);
void tensor_file_remove(tensor_file *file, const char *name);
file_tensor *tensor_file_add(tensor_file *file, const char *name, const char *dtype, uint64_t rows, uint64_t columns);

// Writes it with seeded values in -2 .. 2. The data begins at an odd offset, so that no tensor is aligned.
void tensor_file_write(const tensor_file *file, const char *path);

#endif
