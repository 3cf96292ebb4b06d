// SPDX-License-Identifier: Apache-2.0
// Which device a query picks, on made-up facts and on the machine's own; contexts by query and from the application.
#include "host/quirk.h"
#include "tests/support/device.h"
#include <stdlib.h>
#include <string.h>

static clmla_device_facts made[6];

static void make_facts(void) {
    const struct {
        const char *platform, *name;
        cl_device_type type;
        uint32_t platform_index, device_index, units, clock;
    } rows[6] = {
        {"Portable Computing", "cpu small", CL_DEVICE_TYPE_CPU, 0, 0, 2, 2000},
        {"Vendor A", "Radiant 90", CL_DEVICE_TYPE_GPU, 1, 0, 40, 1500},
        {"Vendor A", "Radiant 300", CL_DEVICE_TYPE_GPU, 1, 1, 304, 2100},
        {"Vendor B", "Stick", CL_DEVICE_TYPE_ACCELERATOR, 2, 0, 1, 100},
        {"Portable Computing", "cpu large", CL_DEVICE_TYPE_CPU, 0, 1, 64, 3000},
        {"rusticl", "llvmpipe (LLVM)", CL_DEVICE_TYPE_CPU, 3, 0, 400, 9000},
    };
    for (int i = 0; i < 6; i++) {
        made[i] = (clmla_device_facts){.platform_index = rows[i].platform_index,
                                       .device_index = rows[i].device_index,
                                       .type = rows[i].type,
                                       .compute_units = rows[i].units,
                                       .clock_mhz = rows[i].clock};
        strcpy(made[i].platform_name, rows[i].platform);
        strcpy(made[i].name, rows[i].name);
        made[i].quirks = host_quirks_of(&made[i]);
    }
}

START_TEST(queries_on_made_up_devices) {
    const struct {
        const char *query;
        int expected; // -1 = none
    } cases[] = {{NULL, 2},       {"", 2},         {"gpu", 2},  {"GPU", 2},      {"cpu", 4},        {"accelerator", 3},
                 {"1:0", 1},      {"0:0", 0},      {"3:0", 5},  {"radiant", 2},  {"RADIANT 90", 1}, {"vendor b", 3},
                 {"portable", 4}, {"llvmpipe", 5}, {"7:7", -1}, {"no such", -1}, {"1:0x", -1}};
    make_facts();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t index = 99;
        clmla_status status = clmla_device_pick(&index, made, 6, cases[i].query);
        ck_assert_msg(status == (cases[i].expected < 0 ? CLMLA_E_NO_DEVICE : CLMLA_OK), "query %s", cases[i].query);
        ck_assert_msg(index == (cases[i].expected < 0 ? 99 : (size_t)cases[i].expected), "query %s", cases[i].query);
    }
    size_t index;
    ck_assert_int_eq(clmla_device_pick(&index, made, 6, "no such"), CLMLA_E_NO_DEVICE);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "no such"));
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "1:1 Radiant 300"));
    ck_assert_int_eq(clmla_device_pick(&index, NULL, 0, NULL), CLMLA_E_NO_DEVICE);
    ck_assert_int_eq(clmla_device_pick(&index, made + 3, 1, NULL), CLMLA_OK); // an accelerator before nothing
    ck_assert_int_eq(clmla_device_pick(&index, made + 5, 1, NULL), CLMLA_OK); // a faulty one before nothing
    ck_assert_int_eq(clmla_device_pick(NULL, made, 6, NULL), CLMLA_E_ARGUMENT);
}
END_TEST

START_TEST(quirks_have_words) {
    make_facts();
    ck_assert_uint_eq(made[5].quirks, CLMLA_QUIRK_LOOP_LIMIT);
    ck_assert_uint_eq(made[0].quirks, 0);
    ck_assert_str_eq(clmla_quirk_name(made[5].quirks), "loop_limit");
    ck_assert_ptr_nonnull(strstr(clmla_quirk_symptom(made[5].quirks), "65535"));
    ck_assert_ptr_null(clmla_quirk_name(0));
    ck_assert_ptr_null(clmla_quirk_symptom(1u << 31));
}
END_TEST

START_TEST(devices_of_this_machine) {
    size_t count = 0, again = 0;
    TEST_OK(clmla_device_list(NULL, 0, &count));
    ck_assert_uint_ge(count, 1);
    clmla_device_facts *all = calloc(count + 1, sizeof *all);
    TEST_OK(clmla_device_list(all, count - 1, &again)); // too little room: the count is whole, the rest untouched
    ck_assert_uint_eq(again, count);
    ck_assert_str_eq(all[count - 1].name, "");
    TEST_OK(clmla_device_list(all, count, &again));
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_gt(strlen(all[i].name), 0);
        ck_assert_uint_gt(strlen(all[i].driver_version), 0);
        ck_assert_uint_gt(all[i].compute_units, 0);
        ck_assert_uint_gt(all[i].max_group_size, 0);
        ck_assert_uint_ge(all[i].global_bytes, all[i].max_buffer_bytes);
        ck_assert_uint_ge(all[i].opencl_c_major, 1);
    }
    free(all);
    ck_assert_int_eq(clmla_device_list(NULL, 1, &count), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_device_list(NULL, 0, NULL), CLMLA_E_ARGUMENT);
}
END_TEST

static cl_uint references(cl_context context) {
    cl_uint count = 0;
    TEST_CL(clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL));
    return count;
}

START_TEST(application_objects_are_retained_not_owned) {
    const test_device *device = test_device_get();
    clmla_context *context = NULL;
    cl_uint before = references(device->cl);
    TEST_OK(clmla_context_create(&context, &(clmla_context_params){.opencl = {device->cl, device->id}}));
    ck_assert_ptr_eq(clmla_context_opencl(context), device->cl);
    ck_assert_ptr_eq(clmla_context_device(context), device->id);
    ck_assert_str_eq(clmla_context_facts(context)->name, device->facts->name);
    ck_assert_uint_gt(references(device->cl), before);
    clmla_context_destroy(&context);
    ck_assert_ptr_null(context);
    clmla_context_destroy(&context);
    ck_assert_uint_eq(references(device->cl), before);
}
END_TEST

static void check_refused(const clmla_context_params *params, clmla_status expected, const char *word) {
    clmla_context *context = (clmla_context *)(void *)&expected;
    ck_assert_int_eq(clmla_context_create(&context, params), expected);
    ck_assert_ptr_null(context);
    ck_assert_msg(strstr(clmla_last_error(), word) != NULL, "%s", clmla_last_error());
}

static void *no_memory(void *payload, size_t bytes) {
    (void)payload, (void)bytes;
    return NULL;
}

START_TEST(wrong_parameters_are_refused) {
    const test_device *device = test_device_get();
    check_refused(&(clmla_context_params){.opencl = {.context = device->cl}}, CLMLA_E_ARGUMENT, "go together");
    check_refused(&(clmla_context_params){.opencl = {.device = device->id}}, CLMLA_E_ARGUMENT, "go together");
    check_refused(&(clmla_context_params){.device = "no such device"}, CLMLA_E_NO_DEVICE, "no such device");
    check_refused(&(clmla_context_params){.allocator = {.allocate = no_memory}}, CLMLA_E_MEMORY, "no memory");
    check_refused(&(clmla_context_params){.vector_width = 5}, CLMLA_E_ARGUMENT, "vector_width");
    for (uint32_t items = 1; items <= 1024; items *= 2)
        if (items < 32 || items > 256)
            check_refused(&(clmla_context_params){.group_items = items}, CLMLA_E_ARGUMENT, "group_items");
    check_refused(&(clmla_context_params){.group_items = 96}, CLMLA_E_ARGUMENT, "group_items");
    ck_assert_int_eq(clmla_context_create(NULL, NULL), CLMLA_E_ARGUMENT);
}
END_TEST

START_TEST(groups_are_as_asked_for) {
    clmla_context *context;
    TEST_OK(clmla_context_create(&context, &(clmla_context_params){.group_items = 64}));
    ck_assert_uint_eq(clmla_context_facts(context)->group_items, 64);
    clmla_context_destroy(&context);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, queries_on_made_up_devices);
    tcase_add_test(tcase, quirks_have_words);
    tcase_add_test(tcase, devices_of_this_machine);
    tcase_add_test(tcase, application_objects_are_retained_not_owned);
    tcase_add_test(tcase, wrong_parameters_are_refused);
    tcase_add_test(tcase, groups_are_as_asked_for);
}

int main(void) {
    return test_main("check_device", add_tests);
}
