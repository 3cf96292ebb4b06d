// SPDX-License-Identifier: Apache-2.0
#include "host/env.h"
#include <stdlib.h>

static const char *read(const char *name) {
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

const char *host_env_program_cache(void) {
    return read("CLMLA_PROGRAM_CACHE");
}

const char *host_env_tuning(void) {
    return read("CLMLA_TUNING");
}

const char *host_env_xdg_cache_home(void) {
    return read("XDG_CACHE_HOME");
}

const char *host_env_home(void) {
    return read("HOME");
}

const char *host_env_local_app_data(void) {
    return read("LOCALAPPDATA");
}
