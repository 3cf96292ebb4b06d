// SPDX-License-Identifier: Apache-2.0
// The file of tuned numbers: what a context takes from it, what it says about files that are off, and what saving
// leaves.
#include "lib/tuning_file.h"
#include "tests/host/folder.h"
#include "tests/support/device.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char path[256], warnings[4096];

static void note(void *payload, clmla_log_level level, const char *message) {
    (void)payload;
    size_t used = strlen(warnings);
    if (level <= CLMLA_LOG_WARNING) snprintf(warnings + used, sizeof warnings - used, "%s\n", message);
}

static clmla_context *open_context(const char *file) {
    clmla_context *context;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .log = {.callback = note, .level = CLMLA_LOG_WARNING},
                                   .program_folder = "",
                                   .tuning_file = file};
    warnings[0] = '\0';
    TEST_OK(clmla_context_create(&context, &params));
    return context;
}

static void begin(void) {
    snprintf(path, sizeof path, "%s/tuning.txt", test_folder_make());
}

static uint32_t value(const clmla_context *context, const char *name) {
    uint32_t found = 0;
    TEST_OK(clmla_tuning_get(&found, context, name));
    return found;
}

// A file of `text`, in which D and V stand for the device's name and driver.
static void write_text(const char *text) {
    char all[4096];
    size_t used = 0;
    for (const char *c = text; *c; c++) {
        const char *name = *c == 'D' ? test_device_get()->facts->name : test_device_get()->facts->driver_version;
        char one[2] = {*c, '\0'};
        used += (size_t)snprintf(all + used, sizeof all - used, "%s", *c == 'D' || *c == 'V' ? name : one);
    }
    test_file_write(path, all, used);
}

// A context of a file of `text` has least_split `expected` and warns with all words, or not at all (NULL).
static void check_text(const char *text, uint32_t expected, const char *word, const char *more) {
    write_text(text);
    clmla_context *context = open_context(path);
    ck_assert_uint_eq(value(context, "attend.least_split"), expected);
    if (word) {
        ck_assert_msg(strstr(warnings, path) && strstr(warnings, word) && strstr(warnings, more), "%s\n%s", text,
                      warnings);
        ck_assert_ptr_eq(strchr(warnings, '\n') + 1, warnings + strlen(warnings));
    } else {
        ck_assert_str_eq(warnings, "");
    }
    clmla_context_destroy(&context);
}

#define OWN "clmla tuning 1\ndevice D\ndriver V\n"
#define INITIAL 96

START_TEST(read) {
    begin();
    check_text(OWN "attend.least_split 40\n", 40, NULL, NULL);
    check_text("clmla tuning 1\n\n# ours\r\ndevice D \r\n driver V\r\n\tattend.least_split\t 40", 40, NULL, NULL);
    check_text("clmla tuning 1\n", INITIAL, NULL, NULL);
    check_text("clmla tuning 1\ndevice another\ndriver V\nattend.least_split 40\n", INITIAL, NULL, NULL);
    check_text("clmla tuning 1\ndevice D\ndriver another\nattend.least_split 40\n", INITIAL, NULL, NULL);
    check_text("clmla tuning 1\ndevice a\ndriver b\nattend.least_split 4\ndevice D\ndriver V\nattend.least_split 40\n"
               "device c\ndriver d\nattend.least_split 50\n",
               40, NULL, NULL);
    test_folder_remove();
}
END_TEST

START_TEST(numbers_left_out) {
    begin();
    check_text(OWN "attend.least_split 4\n", INITIAL, "line 4: attend.least_split must be", "from 16 to 65536, not 4");
    check_text(OWN "attend.least_split 40\nattend.vector.block_tokens 25\n", 40, "line 5", "multiple of 24");
    check_text(OWN "attend.other 4\nattend.least_split 40\n", 40, "line 4", "no number is called 'attend.other'");
    test_folder_remove();
}
END_TEST

START_TEST(files_that_are_off) {
    begin();
    static const struct {
        const char *text, *line, *reason;
    } cases[] = {
        {"", "line 1", "first line"},
        {"{\"tuning\": 1}\n", "line 1", "first line"},
        {"clmla tuning 2\n" OWN "attend.least_split 40\n", "line 1", "first line"},
        {"clmla tuning 1\nattend.least_split 40\n", "line 2", "comes before a device"},
        {"clmla tuning 1\ndevice D\nattend.least_split 40\n", "line 3", "comes before a device"},
        {"clmla tuning 1\ndriver V\n", "line 2", "driver does not follow"},
        {"clmla tuning 1\ndevice\ndriver V\n", "line 2", "device has no name"},
        {"clmla tuning 1\ndevice D\ndriver\n", "line 3", "driver has no version"},
        {"clmla tuning 1\ndevice D\n", "line 2", "no driver"},
        {"clmla tuning 1\ndevice D\ndevice a\n", "line 3", "no driver"},
        {OWN "driver V\n", "line 4", "driver does not follow"},
        {OWN "attend.least_split 40\n"
             "device D\ndriver V\n",
         "line 6", "section already"},
        {OWN "attend.least_split 40\nattend.part_keys\n", "line 5", "'' is no number"},
        {OWN "attend.least_split 40\nattend.part_keys 1x\n", "line 5", "'1x' is no number"},
        {OWN "attend.least_split 40\nattend.part_keys -1\n", "line 5", "'-1' is no number"},
        {OWN "attend.least_split 40\nattend.part_keys 4294967296\n", "line 5", "is no number"},
        {OWN "attend.least_split 40\n"
             "device a\ndriver b\nattend.part_keys 99999999999999999999\n",
         "line 7", "is no number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_text(cases[i].text, INITIAL, cases[i].line, cases[i].reason);
    char *large = calloc(1, (1u << 20) + 1);
    ck_assert_ptr_nonnull(large);
    memset(large, '\n', (1u << 20) + 1);
    test_file_write(path, large, (1u << 20) + 1);
    free(large);
    clmla_context *context = open_context(path);
    ck_assert_ptr_nonnull(strstr(warnings, "more than 1048576"));
    clmla_context_destroy(&context);
    context = open_context(".");
    ck_assert_ptr_nonnull(strstr(warnings, "not a regular file"));
    clmla_context_destroy(&context);
    test_folder_remove();
}
END_TEST

START_TEST(no_file) {
    begin();
    clmla_context *context = open_context("");
    ck_assert_str_eq(clmla_tuning_file(context), "");
    ck_assert_int_eq(clmla_tuning_save(context), CLMLA_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "CLMLA_TUNING"));
    clmla_context_destroy(&context);
    ck_assert_int_eq(clmla_tuning_save(NULL), CLMLA_E_ARGUMENT);
    ck_assert_str_eq(clmla_tuning_file(NULL), "");
    context = open_context(path);
    ck_assert_str_eq(clmla_tuning_file(context), path);
    ck_assert_str_eq(warnings, "");
    clmla_context_destroy(&context);
    context = open_context("no such folder/tuning.txt");
    ck_assert_int_eq(clmla_tuning_save(context), CLMLA_E_FILE);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "no such folder"));
    clmla_context_destroy(&context);
    test_folder_remove();
}
END_TEST

static void check_file(const char *expected) {
    size_t bytes;
    char *found = (char *)test_file_read(path, &bytes);
    const clmla_device_facts *facts = test_device_get()->facts;
    char text[2048];
    int length = snprintf(text, sizeof text, expected, facts->name, facts->driver_version);
    ck_assert_uint_eq(bytes, (size_t)length);
    ck_assert_int_eq(memcmp(found, text, bytes), 0);
    free(found);
}

START_TEST(save) {
    begin();
    clmla_context *context = open_context(path);
    TEST_OK(clmla_tuning_save(context));
    check_file("clmla tuning 1\ndevice %s\ndriver %s\n");
    TEST_OK(clmla_tuning_set(context, "attend.least_split", 40));
    TEST_OK(clmla_tuning_set(context, "attend.tile.rows", 8));
    TEST_OK(clmla_tuning_save(context));
    check_file("clmla tuning 1\ndevice %s\ndriver %s\nattend.least_split 40\nattend.tile.rows 8\n");
    clmla_context *second = open_context(path);
    ck_assert_uint_eq(value(second, "attend.least_split"), 40);
    ck_assert_uint_eq(value(second, "attend.tile.rows"), 8);
    clmla_context_destroy(&second);

    // What others have in it stays, byte for byte.
    write_text("clmla tuning 1\n# ours\ndevice a\ndriver b\nx 1\n\ndevice D\ndriver V\nattend.part_keys 99\n\ndevice "
               "c\n driver  d\ny 2");
    TEST_OK(clmla_tuning_save(context));
    check_file("clmla tuning 1\n# ours\ndevice a\ndriver b\nx 1\n\ndevice %s\ndriver %s\nattend.least_split "
               "40\nattend.tile.rows 8\n"
               "device c\n driver  d\ny 2");
    write_text("clmla tuning 1\ndevice a\ndriver b\nx 1");
    TEST_OK(clmla_tuning_save(context));
    check_file(
        "clmla tuning 1\ndevice a\ndriver b\nx 1\ndevice %s\ndriver %s\nattend.least_split 40\nattend.tile.rows 8\n");

    // What is no tuning file is not written over.
    test_file_write(path, "my letters\n", 11);
    ck_assert_int_eq(clmla_tuning_save(context), CLMLA_E_FILE);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "line 1"));
    check_file("my letters\n");
    ck_assert_int_eq(test_folder_files(), 1); // no temporary is left
    clmla_context_destroy(&context);
    test_folder_remove();
}
END_TEST

// Made-up devices: names a driver may give, and defaults for every type.
START_TEST(names_and_defaults) {
    static const cl_device_type types[] = {0, CL_DEVICE_TYPE_CPU, CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_ACCELERATOR};
    static const char *const vendors[] = {"", "NVIDIA Corporation", "Advanced Micro Devices, Inc.",
                                          "Intel(R) Corporation"};
    for (int t = 0; t < 4; t++)
        for (int v = 0; v < 4; v++) {
            clmla_device_facts facts = {.type = types[t]};
            uint32_t values[TUNING_COUNT];
            memset(values, 0xff, sizeof values);
            strcpy(facts.vendor, vendors[v]);
            tuning_defaults(values, &facts);
            for (int i = 0; i < TUNING_COUNT; i++) ck_assert(tuning_allowed((tuning_index)i, values[i]));
        }
    static const char *const names[][2] = {
        {" Blank ", "Blank"}, {"two\nlines", "two?lines"}, {"", "?"}, {"a  b", "a  b"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        clmla_device_facts facts = {.type = 0};
        tuning_section section;
        tuning_fault fault;
        char text[256];
        snprintf(facts.name, sizeof facts.name, "%s", names[i][0]);
        int bytes =
            snprintf(text, sizeof text, "clmla tuning 1\ndevice %s\ndriver ?\nattend.part_keys 20\n", names[i][1]);
        ck_assert(tuning_file_parse(&section, &fault, text, (size_t)bytes, &facts, "made up", NULL));
        ck_assert(section.given[TUNING_ATTEND_PART_KEYS] && section.end == (size_t)bytes);
    }
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, read);
    tcase_add_test(tcase, numbers_left_out);
    tcase_add_test(tcase, files_that_are_off);
    tcase_add_test(tcase, no_file);
    tcase_add_test(tcase, save);
    tcase_add_test(tcase, names_and_defaults);
}

int main(void) {
    return test_main("check_tuning_file", add_tests);
}
