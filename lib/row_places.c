// SPDX-License-Identifier: Apache-2.0
#include "lib/row_places.h"
#include "cl/common/place_call.h"
#include "host/error.h"
#include "host/memory.h"

static clmla_status check_ints(clmla_context *context, clmla_buffer buffer, uint64_t count, const char *operation,
                               const char *name) {
    uint64_t bytes;
    if (!host_multiply(&bytes, count, sizeof(int32_t)))
        return host_fail(&context->host.log, CLMLA_E_LIMIT, 0, "%s: %s: %llu entries pass 64 bits", operation, name,
                         (unsigned long long)count);
    return host_buffer_check(&context->host, buffer, bytes, sizeof(int32_t), operation, name);
}

// A table of nothing, all of whose tokens would be skipped without a word, is a field that was forgotten.
static clmla_status check_sizes(clmla_context *context, const clmla_row_places *places, const char *operation) {
    bool csr = places->page_indptr.memory != NULL;
    uint64_t entries = csr ? places->page_table_count : places->page_table_stride;
    if (!csr && !places->page_table.memory) return CLMLA_OK;
    if (places->sequence_count > 0 && entries > 0) return CLMLA_OK;
    return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0,
                     "%s: places.page_table is given, places.sequence_count is %u and places.%s %llu: both are needed",
                     operation, places->sequence_count, csr ? "page_table_count" : "page_table_stride",
                     (unsigned long long)entries);
}

static clmla_status check_table(clmla_context *context, const clmla_row_places *places, const char *operation) {
    uint64_t entries = places->page_table_count;
    if (places->sequence_count >= INT32_MAX)
        return host_fail(&context->host.log, CLMLA_E_LIMIT, 0, "%s: places.sequence_count %u is over the limit",
                         operation, places->sequence_count);
    if (places->page_indptr.memory) {
        STATUS_OR_RETURN(check_ints(context, places->page_indptr, (uint64_t)places->sequence_count + 1, operation,
                                    "places.page_indptr"));
        return check_ints(context, places->page_table, entries, operation, "places.page_table");
    }
    if (!places->page_table.memory) return CLMLA_OK;
    if (!host_multiply(&entries, places->sequence_count, places->page_table_stride))
        return host_fail(&context->host.log, CLMLA_E_LIMIT, 0,
                         "%s: places.page_table: %u sequences of %llu pages pass 64 bits", operation,
                         places->sequence_count, (unsigned long long)places->page_table_stride);
    return check_ints(context, places->page_table, entries, operation, "places.page_table");
}

clmla_status row_places_check(clmla_context *context, const clmla_row_places *places, uint32_t token_count,
                              const char *operation) {
    bool by_index = places->sequences.memory || places->indices.memory;
    if (places->slots.memory && by_index)
        return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0,
                         "%s: places.slots and places.%s are both given: one of them says where rows are", operation,
                         places->sequences.memory ? "sequences" : "indices");
    if (!by_index)
        return host_buffer_check(&context->host, places->slots, token_count * (uint64_t)sizeof(int64_t),
                                 sizeof(int64_t), operation, "places.slots");
    STATUS_OR_RETURN(check_ints(context, places->sequences, token_count, operation, "places.sequences"));
    STATUS_OR_RETURN(check_ints(context, places->indices, token_count, operation, "places.indices"));
    if (token_count > 0) STATUS_OR_RETURN(check_sizes(context, places, operation));
    return check_table(context, places, operation);
}

void row_places_set(host_launch *launch, const clmla_row_places *places) {
    place_call call = {
        .slots = (int64_t)(places->slots.offset / sizeof(int64_t)),
        .sequences = (int64_t)(places->sequences.offset / sizeof(int32_t)),
        .indices = (int64_t)(places->indices.offset / sizeof(int32_t)),
        .table = (int64_t)(places->page_table.offset / sizeof(int32_t)),
        .indptr = (int64_t)(places->page_indptr.offset / sizeof(int32_t)),
        .table_stride = (int64_t)places->page_table_stride,
        .table_count = (int64_t)places->page_table_count,
        .sequence_count = (int32_t)places->sequence_count,
    };
    host_arg_buffer(launch, places->slots.memory);
    host_arg_buffer(launch, places->sequences.memory);
    host_arg_buffer(launch, places->indices.memory);
    host_arg_buffer(launch, places->page_table.memory);
    host_arg_buffer(launch, places->page_indptr.memory);
    host_arg_bytes(launch, sizeof call, &call);
}
