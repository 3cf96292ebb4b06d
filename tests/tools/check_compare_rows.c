// SPDX-License-Identifier: Apache-2.0
// What clmla compare measures, row by row: all attentions run, and their results are right. With CLMLA_TEST_GPU=1 so it
// is for GPUs, which the program itself can only be asked for where there is one.
#include "compare.h"
#include "tests/support/device.h"
#include <math.h>
#include <string.h>

static const compare_shape shape = {
    .heads = 16, .nope_dim = 32, .value_dim = 48, .latent_dim = 64, .rope_dim = 16, .hidden = 96, .q_lora = 40};

#define DONE(call)                                                                                                     \
    do {                                                                                                               \
        if (!(call)) test_fail(__FILE__, __LINE__, #call, "%s", why.sentence);                                         \
    } while (0)

static compare_task make_task(const session *session) {
    return (compare_task){.session = session, .shape = shape, .tokens = 300, .effort = {.repeat = 1}};
}

static session open_session(void) {
    const test_device *device = test_device_get();
    return (session){.context = device->context, .queue = device->queue};
}

static void check_row(const compare_row *row, double bar) {
    const char *name = compare_attention_name(row->attention);
    TEST_ASSERT(row->reason[0] == 0, "%s was not run: %s", name, row->reason);
    TEST_ASSERT(row->attention_seconds > 0.0 && row->step_seconds > 0.0, "%s has no times", name);
    TEST_ASSERT(fabs(row->cos_diff) < bar, "%s has a cos_diff of %g, of %g allowed", name, row->cos_diff, bar);
}

START_TEST(heads_run_and_are_right) {
    failure why = {0};
    session session = open_session();
    compare_task task = make_task(&session);
    for (int a = COMPARE_MHA; a <= COMPARE_MQA; a++) {
        compare_row row = {.attention = (compare_attention)a, .format = CLMLA_ROWS_F16, .cos_diff = NAN};
        DONE(compare_heads(&row, &task, &why));
        check_row(&row, 1e-11); // their keys are exact in f16
    }
}
END_TEST

START_TEST(latents_run_and_are_right) {
    failure why = {0};
    session session = open_session();
    compare_task task = make_task(&session);
    latent_data *data = NULL;
    DONE(latent_data_open(&data, &task, &why));
    for (int a = COMPARE_MLA_NAIVE; a <= COMPARE_MLA; a++) {
        compare_row row = {.attention = (compare_attention)a, .format = CLMLA_ROWS_F16, .cos_diff = NAN};
        DONE(compare_latent(&row, data, &why));
        check_row(&row, 5e-6);
    }
    latent_data_close(&data);
}
END_TEST

// Nothing is made for an attention that the device has no room for: this one's keys would be terabytes.
START_TEST(what_has_no_room_says_so) {
    failure why = {0};
    session session = open_session();
    compare_task task = make_task(&session);
    task.tokens = 1u << 31;
    task.shape.heads = 128;
    task.shape.nope_dim = task.shape.value_dim = 1024;
    compare_row row = {.attention = COMPARE_MHA, .format = CLMLA_ROWS_F16, .cos_diff = NAN};
    DONE(compare_heads(&row, &task, &why));
    ck_assert_ptr_nonnull(strstr(row.reason, "it needs"));
    ck_assert(row.attention_seconds == 0.0 && row.step_seconds == 0.0 && isnan(row.cos_diff));
    ck_assert(row.bytes_per_token == 128.0 * 2 * 2 * 1024);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, heads_run_and_are_right);
    tcase_add_test(tcase, latents_run_and_are_right);
    tcase_add_test(tcase, what_has_no_room_says_so);
}

int main(void) {
    return test_main("compare_rows", add_tests);
}
