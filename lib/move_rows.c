// SPDX-License-Identifier: Apache-2.0
#include "cl/common/row_move_call.h"
#include "host/error.h"
#include "lib/group.h"
#include "lib/operation.h"
#include "lib/row_works.h"

#define WORD 4u
#define COLUMN_PARTS_MOST 8u // a work-item has at least so many
#define PART_WORDS_LEAST 64u // words of a row

static row_move_call call_of(const row_layers *layers) {
    const clmla_row_layout *layout = &layers->layout;
    row_move_call call = {
        .first = (int64_t)(layers->memory.offset / WORD),
        .layer = (int64_t)(layers->layer_stride / WORD),
        .page = (int64_t)(clmla_row_layout_page_bytes(layout, layers->page_tokens) / WORD),
        .row_words = (int32_t)(layout->row_bytes / WORD),
    };
    if (layout->scales_apart) {
        call.scale_offset = (int64_t)layers->page_tokens * call.row_words;
        call.scale_words = (int32_t)(layout->scale_row_bytes / WORD);
    }
    return call;
}

static clmla_status launch_groups(host_launch *launch, host_chain *chain, const row_layers *layers, uint32_t count) {
    size_t group[3] = {group_size(&launch->context->facts), 1, 1};
    size_t runs = ((size_t)layers->page_tokens + ROW_MOVE_AHEAD - 1) / ROW_MOVE_AHEAD;
    size_t global[3] = {group[0] * runs, count, layers->layer_count};
    return host_launch_enqueue(launch, chain, 3, global, group);
}

clmla_status move_rows_enqueue(clmla_context *context, const row_layers *layers, clmla_buffer moves, uint32_t count,
                               const char *variant_name, host_chain *chain) {
    const variant *chosen;
    char options[OPTIONS_MAX];
    clmla_shape shape = {.format = layers->layout.format,
                         .latent_dim = layers->layout.latent_dim,
                         .rope_dim = layers->layout.rope_dim,
                         .row_count = count};
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_MOVE_ROWS, &shape, variant_name));
    row_move_call call = call_of(layers);
    STATUS_OR_RETURN(operation_options(options, context, chosen, NULL, NULL));
    host_launch launch = host_launch_begin(&context->host, "move_rows", chosen->source, options, chosen->source->name);
    host_arg_buffer(&launch, layers->memory.memory);
    host_arg_bytes(&launch, sizeof call, &call);
    operation_argument_elements(&launch, moves, sizeof(int32_t));
    host_arg_int(&launch, (int32_t)count);
    size_t words[3] = {(size_t)(call.row_words + call.scale_words), count, layers->layer_count};
    size_t parts = (size_t)call.row_words / PART_WORDS_LEAST, local[3] = {1, 1, 1};
    if (chosen->method == VARIANT_GROUP) return launch_groups(&launch, chain, layers, count);
    if (chosen->method != VARIANT_VECTOR) return operation_launch_items(&launch, chain, 3, words);
    words[0] = parts < 1 ? 1 : parts > COLUMN_PARTS_MOST ? COLUMN_PARTS_MOST : parts;
    return host_launch_enqueue(&launch, chain, 3, words, local);
}
