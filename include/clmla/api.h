// SPDX-License-Identifier: Apache-2.0
// The one export macro. Every function of the public headers carries CLMLA_API; nothing else leaves the library.
#ifndef CLMLA_API_H
#define CLMLA_API_H

#if defined(_WIN32)
#if defined(CLMLA_BUILDING_SHARED)
#define CLMLA_API __declspec(dllexport)
#elif defined(CLMLA_STATIC)
#define CLMLA_API
#else
#define CLMLA_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define CLMLA_API __attribute__((visibility("default")))
#else
#define CLMLA_API
#endif

#ifdef __cplusplus
#define CLMLA_BEGIN extern "C" {
#define CLMLA_END }
#else
#define CLMLA_BEGIN
#define CLMLA_END
#endif

#endif
