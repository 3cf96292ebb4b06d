// SPDX-License-Identifier: Apache-2.0
// The public recording is the OpenCL layer's, in memory of its own.
#ifndef LIB_RECORDING_H
#define LIB_RECORDING_H

#include "host/recording.h"
#include <clmla/recording.h>

struct clmla_recording {
    host_recording host;
};

#endif
