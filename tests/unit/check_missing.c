// SPDX-License-Identifier: Apache-2.0
// Every public call that answers a status, of nothing: it is refused with a sentence, whatever else is given, and out
// parameters stay as they were, or become NULL where objects are made. Calls that destroy accept nothing.
#include "tests/support/suite.h"
#include "tests/unit/made_file.h"
#include <clmla/clmla.h>

#define MISSING(call) EXPECT_REFUSED(call, CLMLA_E_ARGUMENT, "NULL")

static const cl_event *const no_wait = NULL;
static int anything; // what is pointed to is not looked at

START_TEST(devices_and_contexts) {
    clmla_context *context = (clmla_context *)(void *)&anything;
    clmla_variant variant;
    clmla_shape shape = {0};
    clmla_device_facts facts = {0};
    uint32_t value = 7;
    size_t count = 7, index = 7;
    MISSING(clmla_device_list(NULL, 0, NULL));
    MISSING(clmla_device_list(NULL, 1, &count));
    MISSING(clmla_device_pick(NULL, &facts, 1, "gpu"));
    MISSING(clmla_device_pick(&index, NULL, 1, "gpu"));
    MISSING(clmla_context_create(NULL, NULL));
    MISSING(clmla_variant_list(&variant, 1, NULL, &facts, CLMLA_OP_ATTEND, &shape));
    MISSING(clmla_variant_list(&variant, 1, &count, NULL, CLMLA_OP_ATTEND, &shape));
    MISSING(clmla_variant_list(&variant, 1, &count, &facts, CLMLA_OP_ATTEND, NULL));
    MISSING(clmla_variant_list(NULL, 1, &count, &facts, CLMLA_OP_ATTEND, &shape));
    MISSING(clmla_variant_list_tried(&variant, 1, &count, NULL, CLMLA_OP_ATTEND, &shape));
    MISSING(clmla_tuning_list(NULL, 0, &count, NULL));
    MISSING(clmla_tuning_get(&value, NULL, "attend.part_keys"));
    MISSING(clmla_tuning_get(NULL, context, "attend.part_keys"));
    MISSING(clmla_tuning_get(&value, context, NULL));
    MISSING(clmla_tuning_set(NULL, "attend.part_keys", 64));
    MISSING(clmla_tuning_save(NULL));
    ck_assert(value == 7 && count == 7 && index == 7);
    clmla_context_destroy(NULL);
    context = NULL;
    clmla_context_destroy(&context);
}
END_TEST

START_TEST(names) {
    clmla_compute compute = CLMLA_COMPUTE_FAST;
    clmla_prefill prefill = CLMLA_PREFILL_ABSORBED;
    clmla_row_format format = CLMLA_ROWS_Q8;
    MISSING(clmla_compute_parse(NULL, "fast"));
    MISSING(clmla_compute_parse(&compute, NULL));
    MISSING(clmla_prefill_parse(NULL, "auto"));
    MISSING(clmla_prefill_parse(&prefill, NULL));
    MISSING(clmla_row_format_parse(NULL, "f16"));
    MISSING(clmla_row_format_parse(&format, NULL));
    EXPECT_REFUSED(clmla_compute_parse(&compute, "wild"), CLMLA_E_ARGUMENT, "exact, fast");
    EXPECT_REFUSED(clmla_prefill_parse(&prefill, "wild"), CLMLA_E_ARGUMENT, "auto, absorbed, reconstructed");
    EXPECT_REFUSED(clmla_row_format_parse(&format, "f64"), CLMLA_E_ARGUMENT, "q5, q4");
    ck_assert(compute == CLMLA_COMPUTE_FAST && prefill == CLMLA_PREFILL_ABSORBED && format == CLMLA_ROWS_Q8);
    for (int i = 0; i <= CLMLA_COMPUTE_FAST; i++) {
        EXPECT_OK(clmla_compute_parse(&compute, clmla_compute_name((clmla_compute)i)));
        ck_assert_int_eq(compute, i);
    }
    for (int i = 0; i <= CLMLA_PREFILL_RECONSTRUCTED; i++) {
        EXPECT_OK(clmla_prefill_parse(&prefill, clmla_prefill_name((clmla_prefill)i)));
        ck_assert_int_eq(prefill, i);
    }
    ck_assert_str_eq(clmla_compute_name((clmla_compute)99), "?");
    ck_assert_str_eq(clmla_prefill_name((clmla_prefill)99), "?");
    ck_assert_str_eq(clmla_row_format_name((clmla_row_format)99), "?");
    ck_assert_str_eq(clmla_operation_name((clmla_operation)99), "?");
    ck_assert_str_eq(clmla_type_name((clmla_type)99), "?");
    ck_assert_uint_eq(clmla_type_bytes((clmla_type)99), 0);
    ck_assert_str_eq(clmla_status_name((clmla_status)99), "CLMLA_E_?");
    ck_assert_ptr_null(clmla_quirk_name(0));
    ck_assert_ptr_null(clmla_quirk_symptom(1u << 31));
    ck_assert_str_eq(clmla_version(), CLMLA_VERSION_STRING);
}
END_TEST

START_TEST(sequences) {
    clmla_cache *cache = (clmla_cache *)(void *)&anything;
    clmla_config config = {0};
    clmla_cache_params params = {0};
    clmla_batch batch = {0};
    clmla_rows rows;
    clmla_row_layout layout;
    clmla_sequence sequence = 7;
    uint32_t tokens = 7;
    int32_t number;
    int64_t slot;
    size_t count = 7;
    MISSING(clmla_row_layout_make(NULL, CLMLA_ROWS_F16, CLMLA_ROPE_HALVES, 16, 4));
    MISSING(clmla_rows_from_tensor(NULL, &layout, (clmla_buffer){0}, 1, 1));
    MISSING(clmla_rows_from_tensor(&rows, NULL, (clmla_buffer){0}, 1, 1));
    MISSING(clmla_cache_create(NULL, NULL, &config, &params));
    MISSING(clmla_cache_create(&cache, NULL, &config, &params));
    ck_assert_ptr_null(cache);
    MISSING(clmla_cache_sequence_create(&sequence, NULL));
    MISSING(clmla_cache_sequence_drop(NULL, 1));
    MISSING(clmla_cache_keep_only(NULL, &sequence, 1));
    MISSING(clmla_cache_sequence_fork(&sequence, NULL, 1));
    MISSING(clmla_cache_sequence_copy_prefix(NULL, 1, 2, 3));
    MISSING(clmla_cache_sequence_truncate(NULL, 1, 0));
    MISSING(clmla_cache_sequence_remove(NULL, 1, 0, 0));
    MISSING(clmla_cache_sequence_shift(NULL, 1, 0, 0, 1));
    MISSING(clmla_cache_sequence_length(&tokens, NULL, 1));
    MISSING(clmla_cache_sequence_pages(&number, 1, &count, NULL, 1));
    MISSING(clmla_cache_sequence_slots(&slot, NULL, 1, 0, 1));
    MISSING(clmla_cache_sequence_positions(&number, NULL, 1, 0, 1));
    MISSING(clmla_cache_sequence_deltas(&number, NULL, 1, 0, 1));
    MISSING(clmla_cache_reserve(NULL, &batch));
    MISSING(clmla_cache_sequence_create_with_tokens(&sequence, NULL, &number, 1, &tokens));
    MISSING(clmla_cache_commit_tokens(NULL, 1, &number, 1));
    MISSING(clmla_cache_sequence_tokens(&number, 1, &count, NULL, 1));
    MISSING(clmla_cache_flush(NULL, NULL, 0, no_wait, NULL));
    MISSING(clmla_cache_rows(&rows, NULL, 0));
    ck_assert(sequence == 7 && tokens == 7 && count == 7);
    clmla_cache_forget_prefixes(NULL);
    clmla_cache_destroy(NULL);
    clmla_cache_destroy(&cache);
}
END_TEST

START_TEST(files) {
    clmla_cache *cache = NULL;
    clmla_cache_file_info info;
    clmla_sequence sequence = 7;
    size_t count = 7;
    MISSING(clmla_cache_save(cache, NULL, 0, "file", NULL, 0, no_wait));
    MISSING(clmla_cache_save_memory(NULL, 0, &count, cache, NULL, 0, NULL, 0, no_wait));
    MISSING(clmla_cache_save_stream(NULL, NULL, cache, NULL, 0, NULL, 0, no_wait));
    MISSING(clmla_cache_load(&sequence, 1, &count, cache, "file", NULL, 0, no_wait));
    MISSING(clmla_cache_load_memory(&sequence, 1, &count, cache, &info, 1, NULL, 0, no_wait));
    MISSING(clmla_cache_file_examine(NULL, "file"));
    MISSING(clmla_cache_file_examine(&info, NULL));
    MISSING(clmla_cache_file_examine_memory(NULL, &info, 1));
    MISSING(clmla_cache_file_examine_memory(&info, NULL, 1));
    ck_assert(sequence == 7 && count == 7);
}
END_TEST

START_TEST(plans_layers_recordings) {
    clmla_plan *plan = (clmla_plan *)(void *)&anything;
    clmla_layer *layer = (clmla_layer *)(void *)&anything;
    clmla_recording *recording = (clmla_recording *)(void *)&anything;
    clmla_plan_params params = {0};
    clmla_lengths lengths = {0};
    clmla_device_lengths device_lengths = {0};
    clmla_batch batch = {0};
    clmla_config config = {0};
    clmla_layer_tensors tensors = {0};
    clmla_buffer buffer = {0};
    MISSING(clmla_plan_create(NULL, NULL, &params));
    MISSING(clmla_plan_create(&plan, NULL, &params));
    ck_assert_ptr_null(plan);
    MISSING(clmla_plan_create_for_cache(&plan, NULL, NULL));
    MISSING(clmla_plan_update(NULL, NULL, &batch, NULL, 0, no_wait, NULL));
    MISSING(clmla_plan_update_lengths(NULL, &lengths, NULL, 0, no_wait, NULL));
    MISSING(clmla_plan_update_device(NULL, &device_lengths, NULL, 0, no_wait, NULL));
    MISSING(clmla_layer_load(&layer, NULL, &config, "folder", 0, NULL));
    ck_assert_ptr_null(layer);
    MISSING(clmla_layer_load_from(&layer, NULL, &config, NULL, 0, NULL));
    MISSING(clmla_layer_create(&layer, NULL, &config, &tensors, 0, NULL));
    MISSING(clmla_layer_enqueue(NULL, NULL, NULL, buffer, buffer, NULL, 0, no_wait, NULL));
    MISSING(clmla_layer_prepare(NULL, NULL, NULL));
    MISSING(clmla_recording_begin(NULL, NULL, NULL));
    MISSING(clmla_recording_begin(&recording, NULL, NULL));
    ck_assert_ptr_null(recording);
    MISSING(clmla_recording_end(NULL));
    MISSING(clmla_recording_replay(NULL, 0, no_wait, NULL));
    clmla_layer_set_cache_layer(NULL, 3);
    clmla_plan_destroy(NULL), clmla_plan_destroy(&plan);
    clmla_layer_destroy(NULL), clmla_layer_destroy(&layer);
    clmla_recording_destroy(NULL), clmla_recording_destroy(&recording);
}
END_TEST

START_TEST(operations) {
    MISSING(clmla_project(NULL, &(clmla_project_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_rms_norm(NULL, &(clmla_rms_norm_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_rope(NULL, &(clmla_rope_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_absorb(NULL, &(clmla_absorb_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_output(NULL, &(clmla_output_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_append(NULL, &(clmla_append_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_gather(NULL, &(clmla_gather_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_copy_pages(NULL, &(clmla_copy_pages_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_convert_rows(NULL, &(clmla_convert_rows_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_attend(NULL, &(clmla_attend_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_attend_heads(NULL, &(clmla_attend_heads_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_merge(NULL, &(clmla_merge_params){0}, NULL, 0, no_wait, NULL));
    MISSING(clmla_merge_pair(NULL, &(clmla_merge_pair_params){0}, NULL, 0, no_wait, NULL));
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, devices_and_contexts);
    tcase_add_test(tests, names);
    tcase_add_test(tests, sequences);
    tcase_add_test(tests, files);
    tcase_add_test(tests, plans_layers_recordings);
    tcase_add_test(tests, operations);
}

int main(void) {
    return test_run_apart("missing", add_tests);
}
