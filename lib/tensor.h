// SPDX-License-Identifier: Apache-2.0
// Strided tensors of the caller's, in f32, f16 or bf16, as operations check them.
#ifndef LIB_TENSOR_H
#define LIB_TENSOR_H

#include "lib/context.h"
#include <clmla/operations.h>

// One dimension: `count` pieces, `stride` elements from one to the next.
typedef struct tensor_dim {
    const char *name; // of one piece: "token", "head"
    uint64_t count, stride;
} tensor_dim;

#define TENSOR_DIMS_MAX 3

// Checks that `width` elements at every index lie inside the buffer, and that no two pieces overlap: the dimensions,
// put in order of their strides, must nest. A dimension of one piece has no stride, one of none makes everything right.
// Errors: CLMLA_E_ARGUMENT, CLMLA_E_LIMIT, naming operation, tensor and dimension.
clmla_status tensor_check(clmla_context *context, clmla_buffer buffer, uint32_t element_bytes, uint64_t width,
                          const tensor_dim *dims, int dim_count, const char *operation, const char *name);

// The same of f32 rows, `width` values every `stride`.
clmla_status tensor_check_rows(clmla_context *context, clmla_buffer buffer, uint64_t rows, uint64_t stride,
                               uint64_t width, const char *operation, const char *name);

// And of heads: `width` values at token · token_stride + head · head_stride, token by token or head by head.
typedef struct tensor_heads {
    clmla_buffer buffer;
    uint64_t tokens, token_stride, heads, head_stride, width;
} tensor_heads;
clmla_status tensor_check_heads(clmla_context *context, const tensor_heads *tensor, uint32_t element_bytes,
                                const char *operation, const char *name);

// *out = type, f32 for CLMLA_TYPE_NONE. Errors: CLMLA_E_ARGUMENT: neither f32, f16 nor bf16; `name` is the field's.
clmla_status tensor_type(clmla_type *out, clmla_context *context, clmla_type type, const char *operation,
                         const char *name);

#endif
