// SPDX-License-Identifier: Apache-2.0
// The context: one OpenCL device, its facts, and the kernel programs compiled for it.
//
// Programs are OpenCL C text inside the library, specialised by -D options, compiled when first needed and kept as
// binaries in a folder on disk, so that a second process compiles nothing. An entry is used only if its key (SHA-256
// over text, options, device, driver, platform and library version) and its checksum fit; anything off about an
// entry, or about the folder, costs a rebuild and nothing else. Two processes may use one folder at once.
#ifndef CLMLA_CONTEXT_H
#define CLMLA_CONTEXT_H

#include <clmla/device.h>
#include <clmla/log.h>
#include <clmla/opencl.h>
#include <clmla/status.h>

CLMLA_BEGIN

// Opaque. Thread-safe: any number of threads may create objects and enqueue operations with one context. Must
// outlive every plan, cache, layer and recording made from it.
typedef struct clmla_context clmla_context;

// Whether a variant of attend, attend_heads or plan (the schedule of a step from lengths on the device) must have given
// right results on the device before a plan uses it. A proof runs a small attention, of the plan's own specialisation,
// by the variant and by the naive one, and compares: a variant that differs, or cannot be built or launched, is refused
// with the reason, a warning is logged, and the next one is taken. It takes the paths that the plan takes: causal or
// not, with a window, ranks, a capacity or several kv heads, over pages, and over lists of slots where the plan says
// that it has them (clmla_plan_params.lists). A schedule must be naive's word by word.
// What was found is kept by the context and, except for failures, in the program folder: a second start proves nothing
// anew. A result that differs is looked at once more, and kept in the folder if it differs again.
// Proofs run in clmla_plan_create, clmla_layer_prepare and clmla_variant_list_tried, which then wait for the device and
// build two to five programs, and as many again for lists; never in an enqueue.
// Not proven are the other operations: project, rms_norm, rope, append, absorb, merge, output, gather, copy_pages,
// convert_rows, move_rows and shift. GPUs are given their variants "group" and "tile" by facts alone, which are OpenCL
// C without instructions of its own; where one is suspected, its parameters can name "naive".
typedef enum clmla_proof {
    CLMLA_PROOF_AUTO = 0, // on every device but interpreters, and CPUs under PoCL and Intel's runtime, on which the
                          // library's tests run each variant
    CLMLA_PROOF_ALWAYS,
    CLMLA_PROOF_NEVER
} clmla_proof;

typedef struct clmla_context_params {
    const char *device; // a query as in clmla_device_pick; ignored when opencl.context is set

    // The application's own objects: retained by the clmla context, never owned; both or neither.
    struct {
        cl_context context;
        cl_device_id device;
    } opencl;

    clmla_log log;
    clmla_allocator allocator;
    clmla_profile profile;

    // Where program binaries are kept. NULL: the environment's CLMLA_PROGRAM_CACHE (a folder, or "off"), else
    // clmla/programs in the user's cache folder (XDG_CACHE_HOME or ~/.cache; LOCALAPPDATA on Windows), made with mode
    // 0700. "": no disk cache. A folder that another user owns or may write to is not used.
    const char *program_folder;
    uint64_t program_folder_bytes; // beyond this the longest unused entries go; 0 = 256 MiB

    // The file of tuned numbers (variants.h) that the context reads when it is made. NULL: the environment's
    // CLMLA_TUNING (a file, or "off"), else clmla/tuning.txt in the user's cache folder. "": none. A file that is
    // not there is no fault; one that is off is not used, and a warning in the log names it, the line and the reason.
    const char *tuning_file;

    // Floats in a vector of the kernels for CPUs: 4, 8 or 16; 0 = what the device prefers. It becomes the facts'
    // float_vector_width: a CPU with AVX-512 then runs what one with AVX2 would.
    uint32_t vector_width;

    // Work-items in a group of the kernels that are called "group" (variants.h): 32, 64, 128 or 256; 0 = the library's
    // choice. Fewer are taken where the device has no such groups.
    uint32_t group_items;

    clmla_proof proof;
} clmla_context_params;

// What became of the programs asked for so far.
typedef struct clmla_program_counts {
    uint32_t built;       // compiled from text
    uint32_t loaded;      // made from a binary on disk
    uint32_t stored;      // written to disk
    uint32_t rejected;    // entries on disk that were off and led to a rebuild
    double build_seconds; // spent compiling; the driver's own cache may shorten it
    double load_seconds;  // spent loading binaries
} clmla_program_counts;

// Makes a context. params may be NULL: the default device, no callbacks.
// Out     : *out, to be given to clmla_context_destroy; NULL on failure.
// Errors  : CLMLA_E_NO_DEVICE; CLMLA_E_ARGUMENT (only one of opencl.context and opencl.device, a device that is not
//           the context's, a device without a compiler, another vector_width, group_items or proof); CLMLA_E_OPENCL;
//           CLMLA_E_MEMORY.
CLMLA_API clmla_status clmla_context_create(clmla_context **out, const clmla_context_params *params);

// Releases the context and sets *context to NULL. Accepts NULL and a pointer to NULL. Work that is still enqueued
// finishes: OpenCL keeps what it needs.
CLMLA_API void clmla_context_destroy(clmla_context **context);

// The OpenCL objects behind a context, for making buffers and queues; of NULL they are NULL. Ownership: the context's;
// retain to keep.
CLMLA_API cl_context clmla_context_opencl(const clmla_context *context);
CLMLA_API cl_device_id clmla_context_device(const clmla_context *context);

// A buffer of `bytes` bytes (of 0: one) on the context's device, readable and writable by kernels. What clCreateBuffer
// makes, but of large pages where the device is a CPU, the buffer has 4 MiB or more, and the system has such pages for
// who asks (Linux: "madvise" or "always" in /sys/kernel/mm/transparent_hugepage/enabled): weights and rows that exceed
// the caches are read faster from them. Weights of layers and caches are made alike. Blocks.
// In      : data, `bytes` bytes that the buffer starts with, copied before the call returns; NULL = anything.
// Out     : *out, the caller's, to be given to clReleaseMemObject; on failure NULL.
// Errors  : CLMLA_E_ARGUMENT (no out or no context); CLMLA_E_LIMIT (more than the device allows in one buffer, with both
//           figures); CLMLA_E_OPENCL.
// Threads : any number at a time.
CLMLA_API clmla_status clmla_buffer_create(cl_mem *out, clmla_context *context, uint64_t bytes, const void *data);

// The device's facts. Ownership: the context's, constant while it lives.
CLMLA_API const clmla_device_facts *clmla_context_facts(const clmla_context *context);

// A snapshot of the program counts.
CLMLA_API clmla_program_counts clmla_context_programs(const clmla_context *context);

CLMLA_END

#endif
