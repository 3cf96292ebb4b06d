// SPDX-License-Identifier: Apache-2.0
#include "lib/kv_b.h"
#include "host/error.h"
#include "lib/group.h"
#include "lib/matrix.h"
#include "lib/operation.h"

#define TILE_TOKENS 8 // of cl/common/absorb.clh and cl/common/product.clh

clmla_status kv_b_check(clmla_context *context, const clmla_matrix *kv_b, uint32_t token_count, uint32_t head_count,
                        uint32_t nope_dim, uint32_t value_dim, const char *operation) {
    const clmla_log *log = &context->host.log;
    if (head_count == 0 || head_count > CLMLA_MAX_HEADS || value_dim == 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: head_count %u (1 to %d) and value_dim %u (at least 1)",
                         operation, head_count, CLMLA_MAX_HEADS, value_dim);
    uint64_t rows = (uint64_t)head_count * ((uint64_t)nope_dim + value_dim);
    if (kv_b->rows != rows)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: kv_b: %u heads of %u + %u need %llu rows, it has %u", operation,
                         head_count, nope_dim, value_dim, (unsigned long long)rows, kv_b->rows);
    if (kv_b->scale_column != 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: kv_b: scale_column must be 0, not %u", operation,
                         kv_b->scale_column);
    if (kv_b->bias.memory) return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: kv_b: a bias cannot be absorbed", operation);
    STATUS_OR_RETURN(operation_check_count(context, token_count, operation, "token_count"));
    return matrix_check(context, kv_b, operation, "kv_b");
}

void kv_b_arguments(host_launch *launch, const clmla_matrix *kv_b, uint32_t nope_dim, uint32_t value_dim) {
    matrix_arguments_values(launch, kv_b);
    host_arg_int(launch, (int32_t)nope_dim);
    host_arg_int(launch, (int32_t)value_dim);
    host_arg_int(launch, (int32_t)kv_b->columns);
    matrix_arguments_scales(launch, kv_b);
}

clmla_status kv_b_enqueue(host_launch *launch, host_chain *chain, const variant *chosen, uint32_t values,
                          uint32_t head_count, uint32_t token_count) {
    size_t per_value[3] = {values, head_count, token_count};
    // One after the other, all tokens of a head: from the second tile on its weights are in the second-level cache.
    size_t per_head[2] = {(token_count + TILE_TOKENS - 1) / TILE_TOKENS, head_count}, local[2] = {1, 1};
    if (chosen->method == VARIANT_VECTOR) return host_launch_enqueue(launch, chain, 2, per_head, local);
    return operation_launch_items(launch, chain, 3, per_value);
}

clmla_status kv_b_enqueue_groups(host_launch *launch, host_chain *chain, uint32_t pieces, uint32_t head_count,
                                 uint32_t token_count) {
    uint32_t group = group_size(&launch->context->facts), of_group = group_tokens(token_count);
    uint32_t blocks = (token_count + of_group - 1) / of_group;
    size_t global[2] = {(size_t)group * blocks * pieces, head_count}, local[2] = {group, 1};
    host_arg_int(launch, (int32_t)blocks);
    return host_launch_enqueue(launch, chain, 2, global, local);
}
