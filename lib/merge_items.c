// SPDX-License-Identifier: Apache-2.0
// The last step of attend: joins the partial states its schedule left, item by item.
#include "host/error.h"
#include "lib/kernels.h"
#include "lib/operation.h"

clmla_status merge_launch(clmla_context *context, const merge_work *work, host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {.latent_dim = work->width, .head_count = work->head_count, .row_count = work->item_count};
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_MERGE, &shape, work->variant));
    if (work->item_count == 0) return CLMLA_OK;

    bool vector = chosen->method == VARIANT_VECTOR;
    const host_source *source = vector ? &clmla_source_merge_items_vector : &clmla_source_merge_items_naive;
    char options[OPTIONS_MAX];
    operation_options(options, context, chosen, NULL, NULL);
    host_launch launch = host_launch_begin(&context->host, "merge", source, options, source->name);
    operation_argument_f32(&launch, work->states);
    operation_argument_f32(&launch, work->lse);
    host_arg_long(&launch, (int64_t)work->state_stride);
    host_arg_int(&launch, (int32_t)work->state_count);
    operation_argument_f32(&launch, work->items);
    operation_argument_f32(&launch, work->output);
    operation_argument_f32(&launch, work->output_lse);
    host_arg_int(&launch, (int32_t)work->width);
    host_arg_int(&launch, (int32_t)work->head_count);
    host_arg_int(&launch, (int32_t)work->item_count);
    size_t per_value[3] = {work->width, work->head_count, work->item_count};
    size_t per_head[2] = {work->head_count, work->item_count}, local[2] = {1, 1};
    if (vector) return host_launch_enqueue(&launch, chain, 2, per_head, local);
    return operation_launch_items(&launch, chain, 3, per_value);
}
