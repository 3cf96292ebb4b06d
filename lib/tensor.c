// SPDX-License-Identifier: Apache-2.0
#include "lib/tensor.h"
#include "host/error.h"
#include "host/memory.h"

static void sort_by_stride(tensor_dim *dims, int count) {
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && dims[j].stride < dims[j - 1].stride; j--) {
            tensor_dim moved = dims[j];
            dims[j] = dims[j - 1];
            dims[j - 1] = moved;
        }
}

clmla_status tensor_check(clmla_context *context, clmla_buffer buffer, uint32_t element_bytes, uint64_t width,
                          const tensor_dim *dims, int dim_count, const char *operation, const char *name) {
    const clmla_log *log = &context->host.log;
    tensor_dim sorted[TENSOR_DIMS_MAX];
    uint64_t extent = width, bytes;
    int used = 0;
    if (width == 0) return CLMLA_OK;
    for (int i = 0; i < dim_count; i++) {
        if (dims[i].count == 0) return CLMLA_OK;
        if (dims[i].count > 1) sorted[used++] = dims[i];
    }
    sort_by_stride(sorted, used);
    for (int i = 0; i < used; i++) {
        const tensor_dim *dim = &sorted[i];
        uint64_t span;
        if (dim->stride < extent)
            return host_fail(log, CLMLA_E_ARGUMENT, 0,
                             "%s: %s: a %s stride of %llu is less than the %llu elements of a %s", operation, name,
                             dim->name, (unsigned long long)dim->stride, (unsigned long long)extent, dim->name);
        if (!host_multiply(&span, dim->count - 1, dim->stride) || !host_add(&extent, span, extent))
            return host_fail(log, CLMLA_E_LIMIT, 0, "%s: %s: %llu %ss %llu elements apart pass 63 bits", operation,
                             name, (unsigned long long)dim->count, dim->name, (unsigned long long)dim->stride);
    }
    if (!host_multiply(&bytes, extent, element_bytes) || bytes > INT64_MAX)
        return host_fail(log, CLMLA_E_LIMIT, 0, "%s: %s: %llu elements of %u bytes pass 63 bits", operation, name,
                         (unsigned long long)extent, element_bytes);
    return host_buffer_check(&context->host, buffer, bytes, element_bytes, operation, name);
}

clmla_status tensor_check_rows(clmla_context *context, clmla_buffer buffer, uint64_t rows, uint64_t stride,
                               uint64_t width, const char *operation, const char *name) {
    tensor_dim dims[] = {{"row", rows, stride}};
    return tensor_check(context, buffer, sizeof(float), width, dims, 1, operation, name);
}

clmla_status tensor_check_heads(clmla_context *context, const tensor_heads *tensor, uint32_t element_bytes,
                                const char *operation, const char *name) {
    tensor_dim dims[] = {{"token", tensor->tokens, tensor->token_stride}, {"head", tensor->heads, tensor->head_stride}};
    return tensor_check(context, tensor->buffer, element_bytes, tensor->width, dims, 2, operation, name);
}

clmla_status tensor_type(clmla_type *out, clmla_context *context, clmla_type type, const char *operation,
                         const char *name) {
    *out = type == CLMLA_TYPE_NONE ? CLMLA_TYPE_F32 : type;
    if (*out == CLMLA_TYPE_F32 || *out == CLMLA_TYPE_F16 || *out == CLMLA_TYPE_BF16) return CLMLA_OK;
    return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "%s: %s must be f32, f16 or bf16, not %s", operation,
                     name, clmla_type_name(type));
}
