// SPDX-License-Identifier: Apache-2.0
// FlashMLA's call sequence on any OpenCL device, for a runtime that owns its cache: the metadata of a step, the new
// tokens' rows, and decode.   cc decode_step.c $(pkg-config --cflags --libs clmla)
#include <clmla/clmla.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEQUENCES = 3, HEADS = 16, LATENT = 512, ROPE = 64, WIDTH = LATENT + ROPE, PAGE = 64, PAGES = 8 };

static void check(clmla_status status) {
    if (status == CLMLA_OK) return;
    fprintf(stderr, "%s: %s\n", clmla_status_name(status), clmla_last_error());
    exit(1);
}

static clmla_buffer buffer_of(clmla_context *context, size_t bytes, void *data) {
    cl_mem_flags flags = data ? CL_MEM_COPY_HOST_PTR : 0;
    return (clmla_buffer){clCreateBuffer(clmla_context_opencl(context), flags, bytes, data, NULL), 0};
}

int main(void) {
    static float rows[SEQUENCES][WIDTH], query[SEQUENCES][HEADS][WIDTH], output[SEQUENCES][HEADS][LATENT];
    for (int i = 0; i < SEQUENCES * WIDTH; i++) rows[i / WIDTH][i % WIDTH] = (float)(i % 17) * 0.05f - 0.4f;
    uint32_t lengths[SEQUENCES] = {1, 1, 1};                // keys of each sequence, the new one's included
    int32_t table[SEQUENCES][2] = {{3, -1}, {0, -1}, {6}};  // pages in order; unused entries may be anything
    int64_t slots[SEQUENCES] = {3 * PAGE, 0, 6 * PAGE};     // where the new rows go: page * PAGE + row
    clmla_context *context;
    clmla_row_layout layout;
    clmla_rows cache;
    clmla_plan *plan;
    check(clmla_context_create(&context, NULL));
    cl_command_queue queue =
        clCreateCommandQueueWithProperties(clmla_context_opencl(context), clmla_context_device(context), NULL, NULL);
    check(clmla_row_layout_make(&layout, CLMLA_ROWS_BF16, CLMLA_ROPE_HALVES, LATENT, ROPE));
    clmla_buffer memory = buffer_of(context, (size_t)PAGES * PAGE * layout.row_bytes, NULL);
    check(clmla_rows_from_tensor(&cache, &layout, memory, PAGE, PAGES));
    check(clmla_plan_create(&plan, context, &(clmla_plan_params){.head_count = HEADS, .layout = layout}));

    clmla_append_params append = {.token_count = SEQUENCES, .latent_stride = WIDTH, .rows = cache};
    append.rope_stride = WIDTH;
    append.latent = buffer_of(context, sizeof rows, rows);
    append.rope = (clmla_buffer){append.latent.memory, LATENT * sizeof(float)};
    append.places.slots = buffer_of(context, sizeof slots, slots);
    clmla_attend_params attend = {.query_token_stride = HEADS * WIDTH, .query_head_stride = WIDTH, .rows = cache};
    attend.query = buffer_of(context, sizeof query, query);
    attend.page_table = buffer_of(context, sizeof table, table);
    attend.page_table_stride = 2;
    attend.softmax_scale = 0.1147f; // the model's, of the width before absorption: never 1/sqrt(576)
    attend.output = buffer_of(context, sizeof output, NULL);

    clmla_lengths step = {.sequence_count = SEQUENCES, .kv_tokens = lengths};
    check(clmla_plan_update_lengths(plan, &step, queue, 0, NULL, NULL)); // get_mla_metadata: once a step
    check(clmla_append(context, &append, queue, 0, NULL, NULL));         // concat_and_cache_mla: each layer
    check(clmla_attend(plan, &attend, queue, 0, NULL, NULL));            // flash_mla_with_kvcache: each layer
    clEnqueueReadBuffer(queue, attend.output.memory, CL_TRUE, 0, sizeof output, output, 0, NULL, NULL);
    printf("one key a sequence, so the output is its latent: %g is %g\n", output[2][15][9], rows[2][9]);
    clmla_plan_destroy(&plan);
    clmla_context_destroy(&context);
    return 0;
}
