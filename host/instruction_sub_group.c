// SPDX-License-Identifier: Apache-2.0
#include "host/instruction_sub_group.h"
#include "host/error.h"
#include "host/launch.h"
#include "host/memory.h"
#include "host/source.h"
#include "host/vendors.h"
#include <stdio.h>
#include <string.h>

#define GROUP_WIDE 128u // several sub-groups of any width
#define GROUP_NARROW 32u
#define RESULTS 3 // a work-item's: the sum and two peaks
#define WHAT "a trial of sub-groups"

extern const host_source clmla_source_sub_group_trial;

const char *host_sub_group_options(const clmla_device_facts *facts) {
    if (!facts->has_sub_groups) return NULL;
    // AMD's compiler has cl_khr_subgroups from OpenCL C 2.0 on; with others it extends 1.2, too.
    return facts->vendor_id == VENDOR_AMD ? "-cl-std=CL2.0 -DSUB_GROUPS" : "-cl-std=CL1.2 -DSUB_GROUPS";
}

// Whole numbers, whose sums are exact in any order; no two alike.
static uint32_t value_at(uint32_t item) {
    return (item * 37u + 11u) % 131u;
}

static clmla_status reduce(host_context *context, cl_command_queue queue, cl_mem values, cl_mem results, uint32_t group,
                           uint32_t found[RESULTS * GROUP_WIDE]) {
    host_chain chain;
    char options[96];
    size_t items = group;
    snprintf(options, sizeof options, "%s -DGROUP=%u", host_sub_group_options(&context->facts), group);
    STATUS_OR_RETURN(host_chain_begin(&chain, context, queue, 0, NULL, false));
    host_launch launch =
        host_launch_begin(context, "trial", &clmla_source_sub_group_trial, options, clmla_source_sub_group_trial.name);
    host_arg_buffer(&launch, values);
    host_arg_buffer(&launch, results);
    STATUS_OR_RETURN(host_chain_finish(&chain, host_launch_enqueue(&launch, &chain, 1, &items, &items), NULL));
    cl_int code = context->calls->EnqueueReadBuffer(queue, results, CL_TRUE, 0, RESULTS * group * sizeof *found, found,
                                                    0, NULL, NULL);
    return code == CL_SUCCESS ? CLMLA_OK : host_fail_cl(&context->log, "clEnqueueReadBuffer", code, WHAT);
}

static bool all_right(const uint32_t *found, const uint32_t *values, uint32_t group) {
    uint32_t sum = 0, most = 0, least = UINT32_MAX;
    for (uint32_t i = 0; i < group; i++) {
        sum += values[i];
        most = values[i] > most ? values[i] : most;
        least = values[i] < least ? values[i] : least;
    }
    for (uint32_t i = 0; i < group; i++)
        if (found[RESULTS * i] != sum || found[RESULTS * i + 1] != most || found[RESULTS * i + 2] != ~least)
            return false;
    return true;
}

clmla_status host_sub_group_try(host_context *context, cl_command_queue queue, host_instruction_trial *trial) {
    uint64_t limit = context->facts.max_group_size;
    uint32_t values[GROUP_WIDE], found[RESULTS * GROUP_WIDE] = {0};
    uint32_t group = limit != 0 && limit < GROUP_WIDE ? GROUP_NARROW : GROUP_WIDE;
    cl_mem in = NULL, out = NULL;
    for (uint32_t i = 0; i < GROUP_WIDE; i++) values[i] = value_at(i);
    clmla_status status = host_buffer_create(&in, context, sizeof values, values, WHAT);
    if (status == CLMLA_OK) status = host_buffer_create(&out, context, sizeof found, NULL, WHAT);
    if (status == CLMLA_OK) status = reduce(context, queue, in, out, group, found);
    host_buffer_release(context, &in);
    host_buffer_release(context, &out);
    if (status != CLMLA_OK) return status;
    trial->right = all_right(found, values, group);
    if (!trial->right)
        snprintf(trial->reason, sizeof trial->reason, "a trial of its sub-groups gave wrong sums or peaks");
    return CLMLA_OK;
}
