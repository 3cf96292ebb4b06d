// SPDX-License-Identifier: Apache-2.0
// The devices a machine's OpenCL drivers expose, and the facts clmla reads from them, once each.
#ifndef CLMLA_DEVICE_H
#define CLMLA_DEVICE_H

#include <clmla/opencl.h>
#include <clmla/status.h>
#include <stdbool.h>
#include <stddef.h>

CLMLA_BEGIN

// Known faults of drivers that no fact tells, matched by platform, device and driver: bits of
// clmla_device_facts.quirks. A device with one is picked only when nothing else matches, and a context on it logs a
// warning.
typedef enum clmla_quirk {
    CLMLA_QUIRK_LOOP_LIMIT = 1 << 0 // loops end early without an error: results of long rows or contexts are wrong
} clmla_quirk;

// What a kernel choice can depend on. 0 or false = the device does not say or does not have it. Plain data: tests
// fill it by hand to ask what a device that is not there would get.
typedef struct clmla_device_facts {
    uint32_t platform_index, device_index; // as in the query "0:1"; both 0 for an imported device
    char platform_name[128], platform_version[128];
    char name[256], vendor[128], driver_version[128], device_version[128];
    uint32_t vendor_id;
    cl_device_type type; // CL_DEVICE_TYPE_GPU, _CPU, _ACCELERATOR; a device may claim several

    uint32_t compute_units;
    uint32_t clock_mhz;
    uint64_t global_bytes;
    uint64_t max_buffer_bytes; // CL_DEVICE_MAX_MEM_ALLOC_SIZE: no single cl_mem may be larger
    uint64_t cache_bytes;      // global memory cache
    uint64_t local_bytes;      // per work-group
    bool local_is_dedicated;   // false on CPUs: local memory is ordinary memory
    uint64_t max_group_size;
    uint64_t max_group_dims[3];
    uint32_t group_items; // that a context was asked to use in kernels of groups (context.h); 0: the library's choice
    uint64_t max_constant_bytes;
    uint32_t float_vector_width; // native: 16 with AVX-512, 8 with AVX2, 1 on most GPUs
    uint32_t address_bits;
    uint32_t base_address_align_bits;

    uint32_t opencl_c_major, opencl_c_minor;
    bool little_endian;
    bool has_half;                   // cl_khr_fp16: arithmetic; loads and stores of half need no extension
    bool has_double;                 // cl_khr_fp64
    bool has_sub_groups;             // cl_khr_subgroups, cl_intel_subgroups or OpenCL C 3.0's feature
    uint32_t least_sub_group;        // of the widths that a kernel can ask for (cl_intel_required_subgroup_size)
    uint32_t compute_capability;     // of NVIDIA's GPUs, 10 times major + minor: 90 = sm_90; 0: not told
    bool has_sub_group_matrix;       // cl_intel_subgroup_matrix_multiply_accumulate
    bool has_command_buffer;         // cl_khr_command_buffer, any version
    bool unified_memory;             // host and device share memory
    bool is_interpreter;             // Oclgrind: correct, and some thousand times slower than a device
    bool has_denormals;              // CL_FP_DENORM for float
    bool has_int16_dot, has_int8_dot, has_bf16_dot; // an x86 CPU with vpmaddwd of AVX2, vpdpbusd, vdpbf16ps, and a
                                                    // driver that takes inline assembly. A context tries them before
                                                    // it uses them
    bool has_amx_bf16; // the same of AMX tiles of bf16 values, on a system that has a process ask for them (Linux). The
                       // trial asks once: from then on all threads of the process may use them, and a thread's signal
                       // frames are some 11 KiB larger, which an alternate signal stack must have room for
    uint32_t quirks;                 // bits of clmla_quirk
} clmla_device_facts;

// Lists every device of every platform in platform order.
// Out     : *count the number there is; facts[0 .. min(capacity, *count)) filled. facts may be NULL with capacity 0.
// Errors  : CLMLA_E_OPENCL if the loader itself fails. No platform at all is CLMLA_OK with *count 0.
// Threads : any.
CLMLA_API clmla_status clmla_device_list(clmla_device_facts *facts, size_t capacity, size_t *count);

// Which of `count` facts a query picks: the same rule clmla_context_create follows, on plain data.
//   NULL, ""    the best GPU, else the best accelerator, else the best CPU ("best": compute units × clock, then order);
//               a device with a known fault (clmla_quirk) only when there is no other
//   "gpu" "cpu" "accelerator"   the best of that type
//   "P:D"       device D of platform P, as clmla_device_list numbers them
//   other text  the best device whose platform name or device name contains it, ignoring case
// Errors  : CLMLA_E_NO_DEVICE, with a sentence that lists what there is.
// Threads : any.
CLMLA_API clmla_status clmla_device_pick(size_t *index, const clmla_device_facts *facts, size_t count,
                                         const char *query);

// The quirk of the lowest bit set: its name ("loop_limit") and one sentence on what goes wrong and where it was seen;
// NULL for 0 and for bits that are none. Ownership: constants. Threads: any.
CLMLA_API const char *clmla_quirk_name(uint32_t quirks);
CLMLA_API const char *clmla_quirk_symptom(uint32_t quirks);

CLMLA_END

#endif
