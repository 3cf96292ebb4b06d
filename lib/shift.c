// SPDX-License-Identifier: Apache-2.0
#include "cl/common/row_shift_call.h"
#include "host/error.h"
#include "lib/group.h"
#include "lib/matrix.h"
#include "lib/operation.h"
#include "lib/row_works.h"
#include "lib/rows.h"

static row_shift_call call_of(const row_layers *layers, uint32_t count) {
    const clmla_row_layout *layout = &layers->layout;
    uint32_t bytes = rows_element_bytes(layout->format);
    return (row_shift_call){
        .first = (int64_t)(layers->memory.offset / bytes),
        .layer = (int64_t)(layers->layer_stride / bytes),
        .page = (int64_t)(clmla_row_layout_page_bytes(layout, layers->page_tokens) / bytes),
        .row = layout->row_bytes / bytes,
        .rope_offset = layout->rope_offset / bytes,
        .rope_dim = (int32_t)layout->rope_dim,
        .halves = layout->rope_order == CLMLA_ROPE_HALVES,
        .shift_count = (int32_t)count,
    };
}

static clmla_status launch_groups(host_launch *launch, host_chain *chain, const row_layers *layers, uint32_t count,
                                  uint32_t most_rows) {
    size_t group[3] = {group_size(&launch->context->facts), 1, 1}, pairs = layers->layout.rope_dim / 2;
    size_t of_group = (pairs < group[0] ? group[0] / pairs : 1) * ROW_SHIFT_EACH; // rows
    size_t global[3] = {group[0] * ((most_rows + of_group - 1) / of_group), count, layers->layer_count};
    return host_launch_enqueue(launch, chain, 3, global, group);
}

clmla_status shift_enqueue(clmla_context *context, const row_layers *layers, clmla_buffer shifts, uint32_t count,
                           uint32_t most_rows, clmla_buffer table, const char *variant_name, host_chain *chain) {
    const variant *chosen;
    char options[OPTIONS_MAX];
    const char *element = rows_element(layers->layout.format);
    clmla_shape shape = {.format = layers->layout.format,
                         .latent_dim = layers->layout.latent_dim,
                         .rope_dim = layers->layout.rope_dim,
                         .row_count = count};
    if (!element)
        return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "shift: %s rows are not rotated where they lie",
                         clmla_row_format_name(layers->layout.format));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_SHIFT, &shape, variant_name));
    row_shift_call call = call_of(layers, count);
    STATUS_OR_RETURN(operation_options(options, context, chosen, element, NULL));
    host_launch launch = host_launch_begin(&context->host, "shift", chosen->source, options, chosen->source->name);
    host_arg_buffer(&launch, layers->memory.memory);
    host_arg_bytes(&launch, sizeof call, &call);
    operation_argument_elements(&launch, shifts, sizeof(int32_t));
    operation_argument_f32(&launch, table);
    size_t pairs[3] = {layers->layout.rope_dim / 2, most_rows, (size_t)count * layers->layer_count};
    size_t rows[2] = {most_rows, (size_t)count * layers->layer_count}, local[2] = {1, 1};
    if (chosen->method == VARIANT_GROUP) return launch_groups(&launch, chain, layers, count, most_rows);
    if (chosen->method == VARIANT_VECTOR) return host_launch_enqueue(&launch, chain, 2, rows, local);
    return operation_launch_items(&launch, chain, 3, pairs);
}
