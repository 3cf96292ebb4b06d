// SPDX-License-Identifier: Apache-2.0
// What trials of matrix products multiply: 1, 2, 4 or 8, of either sign, so that sums of a few hundred products are
// exact; as f32 for the host, and as the f16 or bf16 value a device gets.
#ifndef HOST_TRIAL_VALUES_H
#define HOST_TRIAL_VALUES_H

#include "host/instruction.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static inline uint32_t host_trial_noise(uint32_t i) {
    uint32_t x = (i + 1) * 2654435761u;
    return (x ^ x >> 15) * 2246822519u >> 8;
}

static inline float host_trial_value(uint32_t i) {
    float value = (float)(1u << (host_trial_noise(i) & 3u));
    return host_trial_noise(i) >> 2 & 1u ? -value : value;
}

static inline uint16_t host_trial_code(uint32_t i, bool bf16) {
    uint32_t power = host_trial_noise(i) & 3u, sign = host_trial_noise(i) >> 2 & 1u;
    return (uint16_t)(sign << 15 | (bf16 ? 0x3f80u + power * 0x80u : 0x3c00u + power * 0x400u));
}

// A trial's runs: values of both formats, and f16 values of the second operand, the rows of a cache, that are
// subnormal: the same times HOST_TRIAL_SMALLEST.
typedef enum host_trial_kind {
    HOST_TRIAL_F16,
    HOST_TRIAL_BF16,
    HOST_TRIAL_SUBNORMAL,
    HOST_TRIAL_KINDS
} host_trial_kind;
#define HOST_TRIAL_SMALLEST 0x1p-24f

static inline uint16_t host_trial_subnormal(uint32_t i) {
    return (uint16_t)((host_trial_noise(i) >> 2 & 1u) << 15 | 1u << (host_trial_noise(i) & 3u));
}

// Of value i, when the second operand begins with value `second`.
static inline uint16_t host_trial_operand(uint32_t i, uint32_t second, host_trial_kind kind) {
    if (kind == HOST_TRIAL_SUBNORMAL && i >= second) return host_trial_subnormal(i);
    return host_trial_code(i, kind == HOST_TRIAL_BF16);
}

static inline float host_trial_unit(host_trial_kind kind) {
    return kind == HOST_TRIAL_SUBNORMAL ? HOST_TRIAL_SMALLEST : 1.0f;
}

// What a kind's sums say of the instruction; `what` names its products.
static inline void host_trial_judge(host_instruction_trial *trial, host_trial_kind kind, bool right, const char *what) {
    if (kind == HOST_TRIAL_SUBNORMAL) {
        trial->keeps_subnormals = right;
        return;
    }
    trial->right = right;
    if (!right)
        snprintf(trial->reason, sizeof trial->reason, "a trial of its %s products of %s values gave wrong sums", what,
                 kind == HOST_TRIAL_BF16 ? "bf16" : "f16");
}

#endif
