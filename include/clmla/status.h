// SPDX-License-Identifier: Apache-2.0
// What a call answers: a status to branch on, a sentence to show, and the driver's own code where there is one.
//
// Every function that can fail returns a clmla_status. On anything but CLMLA_OK the out parameters are untouched
// (or NULL where the function says so), and the calling thread can ask for one sentence that names what is wrong
// and where. The library prints nothing, never exits and never aborts.
#ifndef CLMLA_STATUS_H
#define CLMLA_STATUS_H

#include <clmla/api.h>
#include <stdint.h>

CLMLA_BEGIN

typedef enum clmla_status {
    CLMLA_OK = 0,
    CLMLA_E_ARGUMENT,       // an argument breaks a rule its header states; nothing was done
    CLMLA_E_LIMIT,          // a size is beyond a documented limit of the library or of the device; nothing was done
    CLMLA_E_MEMORY,         // the host allocator answered NULL
    CLMLA_E_OPENCL,         // a driver call failed: clmla_last_cl_error() has its code
    CLMLA_E_NO_DEVICE,      // no OpenCL device matches the query
    CLMLA_E_BUILD,          // a kernel program did not compile: the build log went to the log callback
    CLMLA_E_FILE,           // a file cannot be opened, mapped, read or written
    CLMLA_E_FORMAT,         // a file's bytes are not what its format promises (JSON, safetensors)
    CLMLA_E_CONFIG,         // a config field is missing, out of range, or asks for mathematics clmla does not have
    CLMLA_E_TENSOR_MISSING, // a checkpoint has no tensor of the name a layer needs
    CLMLA_E_TENSOR_SHAPE,   // a tensor's shape is not what the config implies
    CLMLA_E_TENSOR_TYPE,    // a tensor's element type cannot be used where it stands
    CLMLA_E_CACHE_FULL,     // the cache has too few free pages; nothing was changed
    CLMLA_E_SEQUENCE,       // no such sequence in the cache
    CLMLA_E_UNSUPPORTED,    // a valid request that this device or this build cannot serve
    // A saved cache that cannot be loaded (cache_file.h); nothing was changed:
    CLMLA_E_FOREIGN,   // the bytes are no saved cache of clmla's
    CLMLA_E_NEWER,     // saved by a newer version, in a layout this one does not know
    CLMLA_E_TRUNCATED, // it ends before its end
    CLMLA_E_CORRUPTED, // a checksum does not fit, or what it says contradicts itself
    CLMLA_E_MISMATCH   // a good one, of another model or row format; the sentence names the field
} clmla_status;

// The name of a status, e.g. "CLMLA_E_CONFIG"; "CLMLA_E_?" for a number that is none.
// Ownership: a constant, never freed. Threads: any.
CLMLA_API const char *clmla_status_name(clmla_status status);

// One sentence about the last call on this thread that did not answer CLMLA_OK: what is wrong, where (file, tensor,
// field), what was expected and what was found. "" before any failure; a success leaves it as it was.
// Ownership: the library's; valid until the next failing call on the same thread. Threads: any; per thread.
CLMLA_API const char *clmla_last_error(void);

// The OpenCL code (cl_int) behind that failure, or 0 when no driver call was involved. Threads: any; per thread.
CLMLA_API int32_t clmla_last_cl_error(void);

CLMLA_END

#endif
