// SPDX-License-Identifier: Apache-2.0
// Programs that are raised to a newer architecture after they were compiled, by a driver that is played: it makes PTX
// of any text, takes binaries or not, and stands for an NVIDIA device.
#include "host/program.h"
#include "tests/support/device.h"
#include <string.h>

static const char wanted_text[] = "//@sm_90a \n__kernel void one(__global int *x) { x[0] = 1; }\n";
static const char plain_text[] = "__kernel void one(__global int *x) { x[0] = 1; }\n";
static const host_source wanted = {"wanted", wanted_text, sizeof wanted_text - 1},
                         plain = {"plain", plain_text, sizeof plain_text - 1};

#define PTX(target, line) ".version 8.4\n.target " target "\n" line " ret;\n"
#define OF_COMPILER PTX("sm_90", "//@sm_90a ")
#define RAISED PTX("sm_90a", "          ")

// OpenCL calls carry no payload of ours.
static struct {
    const char *binary; // what the compiler made
    cl_int info, create, of_binary;
    int creates, programs; // binaries that were handed in; programs that live
    char given[256];       // the last binary
} driver;

static cl_int CL_API_CALL program_info(cl_program program, cl_program_info what, size_t bytes, void *out,
                                       size_t *more) {
    (void)program, (void)bytes, (void)more;
    if (driver.info != CL_SUCCESS) return driver.info;
    size_t length = strlen(driver.binary);
    if (what == CL_PROGRAM_BINARY_SIZES)
        memcpy(out, &length, sizeof length);
    else
        memcpy(*(unsigned char **)out, driver.binary, length);
    return CL_SUCCESS;
}

static cl_program CL_API_CALL with_source(cl_context context, cl_uint count, const char **texts, const size_t *lengths,
                                          cl_int *code) {
    driver.programs++;
    return clCreateProgramWithSource(context, count, texts, lengths, code);
}

static cl_program CL_API_CALL with_binary(cl_context context, cl_uint count, const cl_device_id *devices,
                                          const size_t *lengths, const unsigned char **binaries, cl_int *of_binary,
                                          cl_int *code) {
    (void)count, (void)devices;
    driver.creates++;
    ck_assert_uint_lt(*lengths, sizeof driver.given);
    memcpy(driver.given, *binaries, *lengths);
    driver.given[*lengths] = '\0';
    *of_binary = driver.of_binary;
    *code = driver.create;
    if (driver.create != CL_SUCCESS) return NULL;
    driver.programs++;
    return clCreateProgramWithSource(context, 1, (const char *[]){plain_text}, NULL, code);
}

static cl_int CL_API_CALL release_program(cl_program program) {
    driver.programs--;
    return clReleaseProgram(program);
}

static clmla_status acquire(const host_source *source, cl_uint vendor) {
    host_context context;
    host_kernel *kernel = NULL;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id}, .program_folder = ""};
    host_calls calls = *host_calls_default();
    calls.GetProgramInfo = program_info;
    calls.CreateProgramWithSource = with_source;
    calls.CreateProgramWithBinary = with_binary;
    calls.ReleaseProgram = release_program;
    TEST_OK(host_context_init(&context, &params, &calls));
    context.facts.vendor_id = vendor;
    clmla_status status = host_kernel_acquire(&kernel, &context, source, "-DODD", "one");
    ck_assert_int_eq(kernel != NULL, status == CLMLA_OK);
    host_kernel_release(&context, kernel);
    host_context_finish(&context);
    ck_assert_int_eq(driver.programs, 0);
    return status;
}

#define NVIDIA 0x10deu

START_TEST(raised_text_is_the_program) {
    driver.binary = OF_COMPILER;
    driver.creates = 0;
    TEST_OK(acquire(&wanted, NVIDIA));
    ck_assert_int_eq(driver.creates, 1);
    ck_assert_str_eq(driver.given, RAISED);
}
END_TEST

START_TEST(others_stay_as_compiled) {
    driver.binary = OF_COMPILER;
    driver.creates = 0;
    TEST_OK(acquire(&plain, NVIDIA));
    TEST_OK(acquire(&wanted, 0x1002));
    ck_assert_int_eq(driver.creates, 0);
}
END_TEST

// In each place where it may fail: one sentence, and no program left.
START_TEST(says_why_it_cannot_be_raised) {
    static const struct {
        const char *binary;
        cl_int info, create, of_binary;
        const char *says;
    } faults[] = {
        {OF_COMPILER, CL_OUT_OF_RESOURCES, CL_SUCCESS, CL_SUCCESS, "its binary is no PTX for sm_90"},
        {"", CL_SUCCESS, CL_SUCCESS, CL_SUCCESS, "its binary is no PTX for sm_90"},
        {"\x7f"
         "ELF",
         CL_SUCCESS, CL_SUCCESS, CL_SUCCESS, "its binary is no PTX for sm_90"},
        {PTX("sm_80", "//@sm_90a "), CL_SUCCESS, CL_SUCCESS, CL_SUCCESS, "its binary is no PTX for sm_90"},
        {OF_COMPILER, CL_SUCCESS, CL_OUT_OF_HOST_MEMORY, CL_SUCCESS, "CL_OUT_OF_HOST_MEMORY"},
        {OF_COMPILER, CL_SUCCESS, CL_SUCCESS, CL_INVALID_BINARY, "CL_INVALID_BINARY"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        driver.binary = faults[i].binary;
        driver.info = faults[i].info;
        driver.create = faults[i].create;
        driver.of_binary = faults[i].of_binary;
        ck_assert_int_eq(acquire(&wanted, NVIDIA), CLMLA_E_BUILD);
        ck_assert_ptr_nonnull(strstr(clmla_last_error(), "program wanted [-DODD]: its PTX cannot be raised to sm_90a"));
        ck_assert_msg(strstr(clmla_last_error(), faults[i].says) != NULL, "%s", clmla_last_error());
    }
    driver.info = driver.create = driver.of_binary = CL_SUCCESS;
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, raised_text_is_the_program);
    tcase_add_test(tcase, others_stay_as_compiled);
    tcase_add_test(tcase, says_why_it_cannot_be_raised);
}

int main(void) {
    return test_main("check_program_ptx", add_tests);
}
