// SPDX-License-Identifier: Apache-2.0
#include <clmla/status.h>
#include <clmla/version.h>

const char *clmla_version(void) {
    return CLMLA_VERSION_STRING;
}

const char *clmla_status_name(clmla_status status) {
    switch (status) {
#define NAME(value)                                                                                                    \
    case value: return #value;
        NAME(CLMLA_OK) NAME(CLMLA_E_ARGUMENT) NAME(CLMLA_E_LIMIT) NAME(CLMLA_E_MEMORY) NAME(CLMLA_E_OPENCL)
        NAME(CLMLA_E_NO_DEVICE) NAME(CLMLA_E_BUILD) NAME(CLMLA_E_FILE) NAME(CLMLA_E_FORMAT) NAME(CLMLA_E_CONFIG)
        NAME(CLMLA_E_TENSOR_MISSING) NAME(CLMLA_E_TENSOR_SHAPE) NAME(CLMLA_E_TENSOR_TYPE) NAME(CLMLA_E_CACHE_FULL)
        NAME(CLMLA_E_SEQUENCE) NAME(CLMLA_E_UNSUPPORTED)
#undef NAME
    }
    return "CLMLA_E_?";
}
