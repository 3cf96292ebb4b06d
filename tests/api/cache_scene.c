// SPDX-License-Identifier: Apache-2.0
#include "tests/api/cache_scene.h"
#include "tests/support/buffer.h"
#include <stdlib.h>
#include <string.h>

void scene_config(clmla_config *out) {
    clmla_config_init(out);
    out->hidden_size = 64;
    out->head_count = SCENE_HEADS;
    out->layer_count = SCENE_LAYERS;
    out->kv_lora_rank = SCENE_LATENT;
    out->qk_nope_head_dim = 8;
    out->qk_rope_head_dim = SCENE_ROPE;
    out->v_head_dim = 8;
    out->context_tokens = 4096;
}

clmla_cache *scene_cache_of(clmla_context *context, const clmla_config *config, const clmla_cache_params *params) {
    clmla_cache *cache = NULL;
    clmla_rows rows;
    size_t bytes = 0;
    unsigned char zero = 0; // padding of rows is nobody's: here it is the same everywhere
    TEST_OK(clmla_cache_create(&cache, context, config, params));
    TEST_OK(clmla_cache_rows(&rows, cache, 0)); // all layers are in one buffer
    TEST_CL(clGetMemObjectInfo(rows.latent.memory, CL_MEM_SIZE, sizeof bytes, &bytes, NULL));
    cl_command_queue queue = test_device_get()->queue;
    TEST_CL(clEnqueueFillBuffer(queue, rows.latent.memory, &zero, 1, 0, bytes, 0, NULL, NULL));
    TEST_CL(clFinish(queue));
    return cache;
}

clmla_cache *scene_cache(clmla_context *context, clmla_row_format format, uint32_t page_tokens, uint64_t pages,
                         bool share_prefixes) {
    clmla_config config;
    scene_config(&config);
    clmla_cache_params params = {
        .format = format, .page_tokens = page_tokens, .page_count = pages, .share_prefixes = share_prefixes};
    return scene_cache_of(context, &config, &params);
}

clmla_sequence scene_create(clmla_cache *cache) {
    clmla_sequence sequence = 0;
    TEST_OK(clmla_cache_sequence_create(&sequence, cache));
    return sequence;
}

static void write_rows(clmla_context *context, const clmla_cache *cache, uint32_t layer, const int64_t *slots,
                       uint32_t count, test_random *random) {
    enum { WIDTH = SCENE_LATENT + SCENE_ROPE };
    cl_command_queue queue = test_device_get()->queue;
    test_buffer places, values;
    float *random_values = test_allocate((size_t)count * WIDTH, sizeof *random_values);
    test_random_fill(random, random_values, (size_t)count * WIDTH, 0.0, 1.0);
    test_buffer_make(&places, count * sizeof *slots, slots);
    test_buffer_make(&values, (size_t)count * WIDTH * sizeof *random_values, random_values);
    clmla_append_params params = {.token_count = count,
                                  .latent = values.view,
                                  .latent_stride = WIDTH,
                                  .rope = {values.view.memory, values.view.offset + SCENE_LATENT * sizeof(float)},
                                  .rope_stride = WIDTH,
                                  .places = {.slots = places.view}};
    TEST_OK(clmla_cache_rows(&params.rows, cache, layer));
    TEST_OK(clmla_append(context, &params, queue, 0, NULL, NULL));
    TEST_CL(clFinish(queue));
    test_buffer_free(&places);
    test_buffer_free(&values);
    free(random_values);
}

void scene_append(clmla_context *context, clmla_cache *cache, clmla_sequence sequence, uint32_t count,
                  test_random *random) {
    uint32_t first = 0;
    int64_t slots[SCENE_TOKENS];
    TEST_OK(clmla_cache_sequence_length(&first, cache, sequence));
    TEST_OK(clmla_cache_reserve(cache, &(clmla_batch){1, &sequence, &count, NULL}));
    TEST_OK(clmla_cache_flush(cache, test_device_get()->queue, 0, NULL, NULL));
    TEST_OK(clmla_cache_sequence_slots(slots, cache, sequence, first, count));
    for (uint32_t layer = 0; layer < SCENE_LAYERS; layer++) write_rows(context, cache, layer, slots, count, random);
}

static unsigned char *fetch(unsigned char *out, cl_mem memory, uint64_t offset, size_t bytes) {
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, memory, CL_TRUE, (size_t)offset, bytes, out, 0, NULL, NULL));
    return out + bytes;
}

void scene_read(scene_rows *out, clmla_cache *cache, clmla_sequence sequence) {
    int64_t slots[SCENE_TOKENS];
    clmla_rows rows;
    *out = (scene_rows){0};
    TEST_OK(clmla_cache_flush(cache, test_device_get()->queue, 0, NULL, NULL));
    TEST_CL(clFinish(test_device_get()->queue));
    TEST_OK(clmla_cache_sequence_length(&out->tokens, cache, sequence));
    TEST_OK(clmla_cache_sequence_positions(out->positions, cache, sequence, 0, out->tokens));
    TEST_OK(clmla_cache_sequence_tokens(out->ids, SCENE_TOKENS, &out->known, cache, sequence));
    TEST_OK(clmla_cache_sequence_slots(slots, cache, sequence, 0, out->tokens));
    TEST_OK(clmla_cache_rows(&rows, cache, 0));
    size_t scales = rows.layout.scales_apart ? rows.layout.scale_row_bytes : 0;
    out->bytes = (rows.layout.row_bytes + scales) * out->tokens * SCENE_LAYERS;
    unsigned char *at = out->rows = test_allocate(out->bytes, 1);
    for (uint32_t layer = 0; layer < SCENE_LAYERS; layer++) {
        TEST_OK(clmla_cache_rows(&rows, cache, layer));
        for (uint32_t i = 0; i < out->tokens; i++) {
            uint64_t page = (uint64_t)slots[i] / rows.page_tokens, row = (uint64_t)slots[i] % rows.page_tokens;
            at = fetch(at, rows.latent.memory,
                       rows.latent.offset + page * rows.latent_page_stride + row * rows.latent_row_stride,
                       rows.layout.row_bytes);
            if (scales)
                at = fetch(at, rows.scales.memory,
                           rows.scales.offset + page * rows.scale_page_stride + row * rows.scale_row_stride, scales);
        }
    }
}

void scene_rows_free(scene_rows *rows) {
    free(rows->rows);
    *rows = (scene_rows){0};
}

void scene_expect_equal(const scene_rows *found, const scene_rows *expected) {
    ck_assert_uint_eq(found->tokens, expected->tokens);
    ck_assert_uint_eq(found->bytes, expected->bytes);
    ck_assert_int_eq(memcmp(found->positions, expected->positions, found->tokens * sizeof *found->positions), 0);
    ck_assert_int_eq(memcmp(found->rows, expected->rows, found->bytes), 0);
}

void scene_attend(float *out, clmla_context *context, clmla_cache *cache, clmla_sequence sequence) {
    enum { QUERY = SCENE_HEADS * (SCENE_LATENT + SCENE_ROPE) };
    cl_command_queue queue = test_device_get()->queue;
    test_random random = test_random_make(77);
    test_buffer query, table, output, lse;
    float values[QUERY];
    int32_t pages[SCENE_TOKENS];
    size_t page_count = 0;
    uint32_t tokens = 0;
    clmla_plan *plan = NULL;
    clmla_rows rows;
    test_random_fill(&random, values, QUERY, 0.0, 1.0);
    TEST_OK(clmla_cache_sequence_pages(pages, SCENE_TOKENS, &page_count, cache, sequence));
    TEST_OK(clmla_cache_sequence_length(&tokens, cache, sequence));
    TEST_OK(clmla_cache_rows(&rows, cache, SCENE_LAYERS - 1));
    test_buffer_make(&query, sizeof values, values);
    test_buffer_make(&table, page_count * sizeof *pages, pages);
    test_buffer_make(&output, SCENE_HEADS * SCENE_LATENT * sizeof(float), NULL);
    test_buffer_make(&lse, SCENE_HEADS * sizeof(float), NULL);
    TEST_OK(clmla_plan_create_for_cache(&plan, context, cache));
    TEST_OK(clmla_plan_update_lengths(plan, &(clmla_lengths){.sequence_count = 1, .kv_tokens = &tokens}, queue, 0, NULL,
                                      NULL));
    clmla_attend_params params = {.query = query.view,
                                  .rows = rows,
                                  .page_table = table.view,
                                  .page_table_stride = page_count,
                                  .softmax_scale = 0.3f,
                                  .output = output.view,
                                  .lse = lse.view};
    TEST_OK(clmla_attend(plan, &params, queue, 0, NULL, NULL));
    TEST_CL(clFinish(queue));
    memcpy(out, test_buffer_fetch(&output), output.bytes);
    memcpy(out + SCENE_HEADS * SCENE_LATENT, test_buffer_fetch(&lse), lse.bytes);
    clmla_plan_destroy(&plan);
    test_buffer_free(&query);
    test_buffer_free(&table);
    test_buffer_free(&output);
    test_buffer_free(&lse);
}

void scene_expect_same_usage(const clmla_cache *cache, const clmla_cache_usage *before) {
    clmla_cache_usage now = clmla_cache_usage_get(cache);
    bool same = now.pages_free == before->pages_free && now.pages_used == before->pages_used &&
                now.pages_shared == before->pages_shared && now.pages_kept == before->pages_kept &&
                now.tokens == before->tokens && now.sequences == before->sequences &&
                now.longest_sequence == before->longest_sequence;
    TEST_ASSERT(same,
                "free %llu, used %llu, shared %llu, kept %llu pages, %llu tokens, %u sequences; before %llu, %llu, "
                "%llu, %llu, %llu, %u",
                (unsigned long long)now.pages_free, (unsigned long long)now.pages_used,
                (unsigned long long)now.pages_shared, (unsigned long long)now.pages_kept,
                (unsigned long long)now.tokens, now.sequences, (unsigned long long)before->pages_free,
                (unsigned long long)before->pages_used, (unsigned long long)before->pages_shared,
                (unsigned long long)before->pages_kept, (unsigned long long)before->tokens, before->sequences);
}

unsigned char *scene_save(size_t *bytes, clmla_cache *cache, const clmla_sequence *sequences, uint32_t count) {
    size_t again = 0;
    TEST_OK(clmla_cache_save_memory(NULL, 0, bytes, cache, sequences, count, NULL, 0, NULL));
    unsigned char *memory = test_allocate(*bytes, 1);
    TEST_OK(
        clmla_cache_save_memory(memory, *bytes, &again, cache, sequences, count, test_device_get()->queue, 0, NULL));
    ck_assert_uint_eq(again, *bytes);
    return memory;
}
