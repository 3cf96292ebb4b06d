// SPDX-License-Identifier: Apache-2.0
// The version of these headers, and of the library a program runs with.
#ifndef CLMLA_VERSION_H
#define CLMLA_VERSION_H

#include <clmla/api.h>

#define CLMLA_VERSION_MAJOR 0
#define CLMLA_VERSION_MINOR 1
#define CLMLA_VERSION_PATCH 0
#define CLMLA_VERSION_STRING "0.1.0"

CLMLA_BEGIN

// The version of the library itself, "major.minor.patch". Before 1.0 a program must be compiled with headers of the
// same minor version: parameter structs may grow between minor versions.
// Threads: any.
CLMLA_API const char *clmla_version(void);

CLMLA_END

#endif
