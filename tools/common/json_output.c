// SPDX-License-Identifier: Apache-2.0
#include "json_output.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Bytes of the UTF-8 character at `at`, or 0 if there is none (RFC 3629: no overlong forms, no surrogates).
static size_t utf8_length(const unsigned char *at, size_t left) {
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80             ? 1
                    : (at[0] & 0xe0) == 0xc0 ? 2
                    : (at[0] & 0xf0) == 0xe0 ? 3
                    : (at[0] & 0xf8) == 0xf0 ? 4
                                             : 0;
    if (length == 0 || length > left) return 0;
    if (at[0] == 0) return 0; // it would end a C string
    uint32_t value = length == 1 ? at[0] : at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | (at[i] & 0x3f);
    }
    bool surrogate = value >= 0xd800 && value <= 0xdfff;
    return value < least[length] || value > 0x10ffff || surrogate ? 0 : length;
}

bool json_add_bytes(cJSON *object, const char *name, const void *bytes, size_t length) {
    static const char replacement[] = "\xef\xbf\xbd";
    const unsigned char *from = bytes;
    char *text = length < SIZE_MAX / 3 ? malloc(length * 3 + 1) : NULL, *to = text;
    if (!text) return false;
    for (size_t i = 0; i < length;) {
        size_t step = utf8_length(from + i, length - i);
        const void *source = step ? (const void *)(from + i) : replacement;
        size_t count = step ? step : 3;
        memcpy(to, source, count);
        to += count;
        i += step ? step : 1;
    }
    *to = '\0';
    bool added = cJSON_AddStringToObject(object, name, text) != NULL;
    free(text);
    return added;
}

bool json_add_text(cJSON *object, const char *name, const char *text) {
    return json_add_bytes(object, name, text, strlen(text));
}

bool json_print(cJSON *object) {
    char *text = object ? cJSON_Print(object) : NULL;
    if (text) printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(object);
    return text != NULL;
}
