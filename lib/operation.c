// SPDX-License-Identifier: Apache-2.0
#include "lib/operation.h"
#include "host/error.h"
#include "host/instruction_sub_group.h"
#include "host/memory.h"
#include "lib/group.h"
#include "lib/matrix.h"
#include "lib/rows.h"
#include <stdio.h>
#include <string.h>

#define GROUP_WIDE 64 // work-items; a multiple or divisor of every GPU's wave
#define GROUP_NARROW 8

clmla_status operation_begin(host_chain *chain, clmla_context *context, const void *params, const char *operation,
                             cl_command_queue queue, cl_uint wait_count, const cl_event *wait, const cl_event *event) {
    if (!context) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "%s: context is NULL", operation);
    STATUS_OR_RETURN(host_chain_begin(chain, &context->host, queue, wait_count, wait, event != NULL));
    if (params) return CLMLA_OK;
    clmla_status status = host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "%s: params is NULL", operation);
    return host_chain_finish(chain, status, NULL);
}

clmla_status operation_check_count(clmla_context *context, uint64_t count, const char *operation, const char *name) {
    if (count <= INT32_MAX) return CLMLA_OK;
    return host_fail(&context->host.log, CLMLA_E_LIMIT, 0, "%s: %s: %llu is over the limit of 2147483647", operation,
                     name, (unsigned long long)count);
}

clmla_status operation_check_row_count(clmla_context *context, uint32_t token_count, const clmla_rows *rows,
                                       const char *operation) {
    STATUS_OR_RETURN(operation_check_count(context, token_count, operation, "token_count"));
    return operation_check_count(context, (uint64_t)token_count * rows_kv_heads(rows), operation,
                                 "token_count x kv_head_count");
}

// The language, and whether reductions go through sub-groups: where a trial found them right.
static const char *language(clmla_context *context, const variant *chosen) {
    const char *sub_groups = variant_reduces(chosen) ? host_sub_group_options(&context->host.facts) : NULL;
    bool right = sub_groups && host_instruction_try(&context->host, HOST_INSTRUCTION_SUB_GROUPS)->right;
    return right ? sub_groups : "-cl-std=CL1.2";
}

clmla_status operation_options(char out[OPTIONS_MAX], clmla_context *context, const variant *chosen,
                               const char *element, const char *more) {
    char width[80] = "";
    const clmla_device_facts *facts = &context->host.facts;
    if (chosen->method == VARIANT_GROUP) {
        width[0] = ' ';
        group_options(width + 1, sizeof width - 1, facts, group_size(facts));
        // Where sub-groups are wide, 8 tokens by fp8 weights take more registers than a work-item has in the small mode.
        if (element && strcmp(element, matrix_element(CLMLA_TYPE_F8_E4M3)) == 0 && group_sub_group(facts))
            strcat(width, " -cl-intel-256-GRF-per-thread");
    }
    if (variant_has_vectors(chosen))
        snprintf(width, sizeof width, " -DVECTOR_WIDTH=%u%s", variant_vector_width(facts),
                 facts->is_interpreter ? " -DINTERPRETED" : "");
    int length = snprintf(out, OPTIONS_MAX, "%s%s%s%s%s%s", language(context, chosen), element ? " -D" : "",
                          element ? element : "", width, more ? " " : "", more ? more : "");
    if (length >= 0 && length < OPTIONS_MAX) return CLMLA_OK;
    return host_fail(&context->host.log, CLMLA_E_LIMIT, 0, "%s: options of %d characters: the limit is %d",
                     chosen->source->name, length, OPTIONS_MAX - 1);
}

void operation_product_kernel(char out[KERNEL_NAME_MAX], const variant *chosen, uint32_t tokens) {
    if (chosen->method == VARIANT_GROUP)
        snprintf(out, KERNEL_NAME_MAX, "%s_%u", chosen->source->name, group_tokens(tokens));
    else
        snprintf(out, KERNEL_NAME_MAX, "%s", chosen->source->name);
}

void operation_argument_elements(host_launch *launch, clmla_buffer buffer, uint32_t element_bytes) {
    host_arg_buffer(launch, buffer.memory);
    host_arg_long(launch, (int64_t)(buffer.offset / element_bytes));
}

void operation_argument_f32(host_launch *launch, clmla_buffer buffer) {
    operation_argument_elements(launch, buffer, sizeof(float));
}

clmla_status operation_launch_items(host_launch *launch, host_chain *chain, cl_uint dimensions, const size_t *global) {
    size_t padded[3] = {0}, local[3] = {1, 1, 1};
    uint64_t most = launch->context->facts.max_group_size;
    local[0] = global[0] >= GROUP_WIDE / 2 ? GROUP_WIDE : GROUP_NARROW;
    if (most > 0 && most < local[0]) local[0] = (size_t)most;
    for (cl_uint i = 0; i < dimensions; i++) padded[i] = (global[i] + local[i] - 1) / local[i] * local[i];
    return host_launch_enqueue(launch, chain, dimensions, padded, local);
}
