// SPDX-License-Identifier: Apache-2.0
#include "host/ptx.h"
#include <string.h>

#define COMMENT "//@sm_90a "
#define TARGET ".target sm_90"

bool host_ptx_is_wanted(const char *source) {
    return strstr(source, COMMENT) != NULL;
}

static char *find(char *from, char *end, const char *what) {
    size_t length = strlen(what);
    for (char *at = from; (size_t)(end - at) >= length; at++) {
        at = memchr(at, what[0], (size_t)(end - at) - length + 1);
        if (!at) return NULL;
        if (memcmp(at, what, length) == 0) return at;
    }
    return NULL;
}

size_t host_ptx_raise(char *text, size_t length) {
    char *end = text + length, *target = find(text, end, TARGET);
    if (!target) return 0;
    target += strlen(TARGET);
    if (target == end || (*target != ',' && *target != '\n' && *target != '\r' && *target != ' ')) return 0;
    memmove(target + 1, target, (size_t)(end - target));
    *target = 'a';
    end++;
    for (char *at = text; (at = find(at, end, COMMENT)); at += strlen(COMMENT)) memset(at, ' ', strlen(COMMENT));
    return (size_t)(end - text);
}
