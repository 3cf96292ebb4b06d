// SPDX-License-Identifier: Apache-2.0
// Two processes fill one program folder at once; a third compiles nothing. The parent starts copies of this program and
// touches no OpenCL itself: a process that has must not fork.
#include "tests/host/folder.h"
#include "tests/support/suite.h"
#include <clmla/clmla.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_DEVICE 77 // the exit status of a test that could not run

extern char **environ;
static char *program;

// Runs two operations; answers how many programs were built, 77 without a device, 255 on failure.
static int child(const char *folder) {
    clmla_context *context = NULL;
    cl_mem memory = NULL;
    cl_int code;
    float zeros[64] = {0};
    if (clmla_context_create(&context, &(clmla_context_params){.program_folder = folder}) != CLMLA_OK) return NO_DEVICE;
    cl_command_queue queue =
        clCreateCommandQueueWithProperties(clmla_context_opencl(context), clmla_context_device(context), NULL, &code);
    memory = clCreateBuffer(clmla_context_opencl(context), CL_MEM_COPY_HOST_PTR, sizeof zeros, zeros, &code);
    clmla_rms_norm_params norm = {.row_count = 2,
                                  .width = 8,
                                  .input = {memory, 0},
                                  .input_stride = 8,
                                  .weight = {memory, 64},
                                  .output = {memory, 128},
                                  .output_stride = 8};
    clmla_merge_params merge = {.state_count = 2,
                                .token_count = 1,
                                .head_count = 1,
                                .width = 4,
                                .states = {memory, 0},
                                .lse = {memory, 32},
                                .output = {memory, 64}};
    bool right = clmla_rms_norm(context, &norm, queue, 0, NULL, NULL) == CLMLA_OK &&
                 clmla_merge(context, &merge, queue, 0, NULL, NULL) == CLMLA_OK && clFinish(queue) == CL_SUCCESS;
    int built = (int)clmla_context_programs(context).built;
    clReleaseMemObject(memory);
    clReleaseCommandQueue(queue);
    clmla_context_destroy(&context);
    return right ? built : 255;
}

static pid_t start(const char *folder) {
    pid_t id;
    char *arguments[] = {program, (char *)(uintptr_t)folder, NULL};
    ck_assert_int_eq(posix_spawn(&id, program, NULL, NULL, arguments, environ), 0);
    return id;
}

static int finish(pid_t id) {
    int state;
    ck_assert_int_eq(waitpid(id, &state, 0), id);
    ck_assert(WIFEXITED(state));
    return WEXITSTATUS(state);
}

static bool no_device;

START_TEST(processes_share_a_folder) {
    const char *folder = test_folder_make();
    pid_t a = start(folder), b = start(folder);
    int built_a = finish(a), built_b = finish(b);
    no_device = built_a == NO_DEVICE;
    if (!no_device) {
        ck_assert_int_le(built_a, 2);
        ck_assert_int_le(built_b, 2);
        ck_assert_int_ge(built_a + built_b, 2); // each of the two programs by at least one of them
        ck_assert_int_eq(test_folder_files(), 2);
        ck_assert_int_eq(finish(start(folder)), 0);
    }
    test_folder_remove();
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, processes_share_a_folder);
}

int main(int argc, char **argv) {
    if (argc > 1) return child(argv[1]);
    program = argv[0];
    int result = test_run("check_processes", add_tests);
    return result == 0 && no_device ? NO_DEVICE : result;
}
