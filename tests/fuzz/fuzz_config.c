// SPDX-License-Identifier: Apache-2.0
// Any bytes as a config.json: refused, or a config whose values can be derived.
#include <clmla/config.h>
#include <stddef.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clmla_config config;
    clmla_config_values values;
    if (clmla_config_parse(&config, (const char *)data, size, "fuzz") == CLMLA_OK &&
        clmla_config_derive(&values, &config) != CLMLA_OK)
        abort();
    return 0;
}
