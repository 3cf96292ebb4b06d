// SPDX-License-Identifier: Apache-2.0
// The text of one kernel program: flattened at build time (all #includes resolved) and embedded as a byte array.
#ifndef HOST_SOURCE_H
#define HOST_SOURCE_H

#include <stddef.h>

typedef struct host_source {
    const char *name; // "attend_naive": the file's name without its ending
    const char *text; // not terminated by what `length` says; a terminating zero follows
    size_t length;
} host_source;

#endif
