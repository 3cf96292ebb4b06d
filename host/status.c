// SPDX-License-Identifier: Apache-2.0
#include <clmla/status.h>
#include <clmla/version.h>

const char *clmla_version(void) {
    return CLMLA_VERSION_STRING;
}

#define NAME(status) [status] = #status

const char *clmla_status_name(clmla_status status) {
    static const char *const names[] = {
        NAME(CLMLA_OK),
        NAME(CLMLA_E_ARGUMENT),
        NAME(CLMLA_E_LIMIT),
        NAME(CLMLA_E_MEMORY),
        NAME(CLMLA_E_OPENCL),
        NAME(CLMLA_E_NO_DEVICE),
        NAME(CLMLA_E_BUILD),
        NAME(CLMLA_E_FILE),
        NAME(CLMLA_E_FORMAT),
        NAME(CLMLA_E_CONFIG),
        NAME(CLMLA_E_TENSOR_MISSING),
        NAME(CLMLA_E_TENSOR_SHAPE),
        NAME(CLMLA_E_TENSOR_TYPE),
        NAME(CLMLA_E_CACHE_FULL),
        NAME(CLMLA_E_SEQUENCE),
        NAME(CLMLA_E_UNSUPPORTED),
        NAME(CLMLA_E_FOREIGN),
        NAME(CLMLA_E_NEWER),
        NAME(CLMLA_E_TRUNCATED),
        NAME(CLMLA_E_CORRUPTED),
        NAME(CLMLA_E_MISMATCH),
    };
    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "CLMLA_E_?";
}
