// SPDX-License-Identifier: Apache-2.0
#include "host/calls.h"

static const host_calls driver = {
#define HOST_CALLS_VALUE(name) .name = cl##name,
    HOST_CALLS_LIST(HOST_CALLS_VALUE)
#undef HOST_CALLS_VALUE
};

const host_calls *host_calls_default(void) {
    return &driver;
}
