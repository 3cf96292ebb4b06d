// SPDX-License-Identifier: Apache-2.0
// clmla: Multi-head Latent Attention decode on any OpenCL device. This header includes all others; read them in this
// order.
#ifndef CLMLA_H
#define CLMLA_H

// The order is one to read in.
// clang-format off
#include <clmla/version.h>
#include <clmla/status.h>     // what calls answer
#include <clmla/log.h>        // callbacks: log lines, host memory, device times
#include <clmla/opencl.h>     // what every enqueue promises
#include <clmla/device.h>     // devices and their facts
#include <clmla/context.h>    // one device and its programs
#include <clmla/types.h>      // element types
#include <clmla/config.h>     // a model's dimensions, rotary embedding and scale
#include <clmla/checkpoint.h> // tensors in safetensors files
#include <clmla/rows.h>       // what a cached row looks like
#include <clmla/cache.h>      // pages and sequences
#include <clmla/cache_file.h> // saved and loaded
#include <clmla/plan.h>       // the schedule of a step
#include <clmla/layer.h>      // a layer's weights and its step
#include <clmla/matrix.h>     // a weight matrix
#include <clmla/operations.h> // the step's parts, on the caller's own memory
#include <clmla/append.h>     // ... rows into and out of a cache
#include <clmla/attend.h>     // ... attention, and the merge of its parts
#include <clmla/attend_heads.h> // ... attention over keys and values of every head
#include <clmla/recording.h>  // steps kept and replayed
#include <clmla/variants.h>   // which kernel, and why
// clang-format on

#endif
