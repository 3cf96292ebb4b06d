// SPDX-License-Identifier: Apache-2.0
#include "lib/tuning_file.h"
#include "host/env.h"
#include "host/error.h"
#include "host/memory.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_LINE "clmla tuning 1"
#define FILE_MOST (1u << 20) // bytes: far more than all devices of a machine take
#define NAME_BYTES 256

// --- text -----------------------------------------------------------------------------------------------------------

typedef struct span {
    const char *at;
    size_t length;
} span;

typedef struct reader {
    const char *text;
    size_t bytes, next; // where the next line begins
    unsigned line;      // number of the present one
} reader;

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static span trim(span s) {
    while (s.length > 0 && is_blank(s.at[0])) s = (span){s.at + 1, s.length - 1};
    while (s.length > 0 && is_blank(s.at[s.length - 1])) s.length--;
    return s;
}

static bool next_line(span *out, reader *r) {
    if (r->next >= r->bytes) return false;
    const char *from = r->text + r->next, *newline = memchr(from, '\n', r->bytes - r->next);
    size_t length = newline ? (size_t)(newline - from) : r->bytes - r->next;
    r->next += length + (newline ? 1 : 0);
    r->line++;
    *out = trim((span){from, length});
    return true;
}

// "a b c" becomes "a" and "b c".
static void split(span *word, span *rest, span line) {
    size_t length = 0;
    while (length < line.length && !is_blank(line.at[length])) length++;
    *word = (span){line.at, length};
    *rest = trim((span){line.at + length, line.length - length});
}

static bool equal(span s, const char *text) {
    return strlen(text) == s.length && memcmp(s.at, text, s.length) == 0;
}

// A driver's text as it lies in the file: one line without blanks around it, never empty.
static void file_name(char out[NAME_BYTES], const char *text) {
    span s = trim((span){text, strlen(text)});
    size_t length = s.length < NAME_BYTES ? s.length : NAME_BYTES - 1;
    for (size_t i = 0; i < length; i++) out[i] = (unsigned char)s.at[i] < ' ' ? '?' : s.at[i];
    out[length] = '\0';
    if (length == 0) memcpy(out, "?", 2);
}

static bool number(uint32_t *out, span s) {
    uint64_t value = 0;
    if (s.length == 0 || s.length > 10) return false;
    for (size_t i = 0; i < s.length; i++) {
        if (s.at[i] < '0' || s.at[i] > '9') return false;
        value = 10 * value + (uint64_t)(s.at[i] - '0');
    }
    *out = (uint32_t)value;
    return value <= UINT32_MAX;
}

// --- sections -------------------------------------------------------------------------------------------------------

typedef struct parser {
    reader reader;
    tuning_section *out;
    tuning_fault *fault;
    char device[NAME_BYTES], driver[NAME_BYTES]; // the context's
    const char *path;
    const clmla_log *log;
    size_t section; // where the present one begins
    enum { NO_SECTION, NEEDS_DRIVER, OTHER_DEVICE, OWN_DEVICE } state;
    bool own_name; // the section's device is the context's
} parser;

static bool off(parser *p, const char *format, ...) HOST_PRINTF(2, 3);

static bool off(parser *p, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(p->fault->reason, sizeof p->fault->reason, format, list);
    va_end(list);
    p->fault->line = p->reader.line;
    return false;
}

// `at`: where the line begins.
static bool begin_section(parser *p, span name, size_t at) {
    if (p->state == NEEDS_DRIVER) return off(p, "the device before has no driver");
    if (p->state == OWN_DEVICE) p->out->end = at;
    if (name.length == 0) return off(p, "device has no name");
    p->section = at;
    p->own_name = equal(name, p->device);
    p->state = NEEDS_DRIVER;
    return true;
}

static bool take_driver(parser *p, span version) {
    if (p->state != NEEDS_DRIVER) return off(p, "driver does not follow a device");
    if (version.length == 0) return off(p, "driver has no version");
    p->state = OTHER_DEVICE;
    if (!p->own_name || !equal(version, p->driver)) return true;
    if (p->out->end > 0) return off(p, "this device and driver have a section already");
    p->out->begin = p->section;
    p->state = OWN_DEVICE;
    return true;
}

static void warn(const parser *p, const char *what) {
    host_log(p->log, CLMLA_LOG_WARNING, "tuning file %s, line %u: %s: left out", p->path, p->reader.line, what);
}

static bool take_number(parser *p, span name, span value) {
    uint32_t given = 0;
    char what[192], range[128];
    if (p->state == NO_SECTION || p->state == NEEDS_DRIVER)
        return off(p, "'%.*s' comes before a device and its driver", (int)(name.length < 64 ? name.length : 64),
                   name.at);
    if (!number(&given, value))
        return off(p, "'%.*s' is no number", (int)(value.length < 64 ? value.length : 64), value.at);
    if (p->state != OWN_DEVICE) return true;
    int index = tuning_find(name.at, name.length);
    if (index < 0) {
        snprintf(what, sizeof what, "no number is called '%.*s'", (int)(name.length < 64 ? name.length : 64), name.at);
        warn(p, what);
    } else if (!tuning_allowed((tuning_index)index, given)) {
        tuning_range_text(range, sizeof range, (tuning_index)index);
        snprintf(what, sizeof what, "%s, not %u", range, given);
        warn(p, what);
    } else {
        p->out->values[index] = given;
        p->out->given[index] = true;
    }
    return true;
}

static bool parse_lines(parser *p) {
    span line, word, rest;
    if (!next_line(&line, &p->reader) || !equal(line, FIRST_LINE)) {
        p->reader.line = 1;
        return off(p, "the first line is not '" FIRST_LINE "'");
    }
    for (size_t at = p->reader.next; next_line(&line, &p->reader); at = p->reader.next) {
        if (line.length == 0 || line.at[0] == '#') continue;
        split(&word, &rest, line);
        bool taken = equal(word, "device")   ? begin_section(p, rest, at)
                     : equal(word, "driver") ? take_driver(p, rest)
                                             : take_number(p, word, rest);
        if (!taken) return false;
    }
    if (p->state == NEEDS_DRIVER) return off(p, "the device has no driver");
    if (p->state == OWN_DEVICE) p->out->end = p->reader.bytes;
    return true;
}

bool tuning_file_parse(tuning_section *out, tuning_fault *fault, const char *text, size_t bytes,
                       const clmla_device_facts *facts, const char *path, const clmla_log *log) {
    parser p = {.reader = {.text = text, .bytes = bytes}, .out = out, .fault = fault, .path = path, .log = log};
    memset(out, 0, sizeof *out);
    file_name(p.device, facts->name);
    file_name(p.driver, facts->driver_version);
    if (bytes > FILE_MOST) return off(&p, "it has %zu bytes, more than %u", bytes, FILE_MOST);
    return parse_lines(&p);
}

// --- reading --------------------------------------------------------------------------------------------------------

// The folder of the default file. False if the user has no cache folder.
static bool default_folder(char *out, size_t size) {
    char base[HOST_FILE_PATH - 64];
    if (!host_cache_folder(base, sizeof base)) return false;
    return (size_t)snprintf(out, size, "%s/clmla", base) < size;
}

static void settle_path(char out[HOST_FILE_PATH], const char *path, const clmla_log *log) {
    char folder[HOST_FILE_PATH - 32];
    out[0] = '\0';
    if (!path) path = host_env_tuning();
    if (path && (path[0] == '\0' || strcmp(path, "off") == 0)) return;
    if (path && strlen(path) < HOST_FILE_PATH)
        snprintf(out, HOST_FILE_PATH, "%s", path);
    else if (path)
        host_log(log, CLMLA_LOG_WARNING, "tuning file %.64s...: the path is too long: it is not used", path);
    else if (default_folder(folder, sizeof folder))
        snprintf(out, HOST_FILE_PATH, "%s/tuning.txt", folder);
}

static void take_over(clmla_context *context, const tuning_section *section) {
    int count = 0;
    for (int i = 0; i < TUNING_COUNT; i++) {
        if (!section->given[i]) continue;
        context->tuning[i] = section->values[i];
        count++;
    }
    host_log(&context->host.log, CLMLA_LOG_INFO, "tuning file %s: %d numbers for %s", context->tuning_file, count,
             context->host.facts.name);
}

void tuning_file_read(clmla_context *context, const char *path) {
    const clmla_log *log = &context->host.log;
    host_map map;
    tuning_section section;
    tuning_fault fault;
    host_last_failure kept;
    settle_path(context->tuning_file, path, log);
    if (context->tuning_file[0] == '\0' || host_path_what(context->tuning_file) == HOST_PATH_MISSING) return;
    host_last_failure_keep(&kept);
    if (host_map_open(&map, context->tuning_file) != CLMLA_OK)
        host_log(log, CLMLA_LOG_WARNING, "tuning file %s: it is not used", clmla_last_error());
    else if (!tuning_file_parse(&section, &fault, map.data, (size_t)map.bytes, &context->host.facts,
                                context->tuning_file, log))
        host_log(log, CLMLA_LOG_WARNING, "tuning file %s, line %u: %s: the file is not used", context->tuning_file,
                 fault.line, fault.reason);
    else
        take_over(context, &section);
    host_map_close(&map);
    host_last_failure_restore(&kept);
}

const char *clmla_tuning_file(const clmla_context *context) {
    return context ? context->tuning_file : "";
}

// --- writing --------------------------------------------------------------------------------------------------------

// What is in the file, in memory: a file that is mapped cannot be replaced everywhere.
static clmla_status load(char **text, size_t *bytes, const clmla_context *context) {
    host_map map;
    *text = NULL;
    *bytes = 0;
    if (host_path_what(context->tuning_file) == HOST_PATH_MISSING) return CLMLA_OK;
    STATUS_OR_RETURN(host_map_open(&map, context->tuning_file));
    clmla_status status = CLMLA_OK;
    *text = host_allocate(&context->host.allocator, (size_t)map.bytes + 1, 1);
    if (!*text)
        status = host_fail(NULL, CLMLA_E_MEMORY, 0, "tuning: no memory for %llu bytes", (unsigned long long)map.bytes);
    else if (map.bytes > 0)
        memcpy(*text, map.data, (size_t)map.bytes);
    *bytes = (size_t)map.bytes;
    host_map_close(&map);
    return status;
}

#define SECTION_BYTES (2 * NAME_BYTES + TUNING_COUNT * 64 + 64)

static size_t write_section(char out[SECTION_BYTES], const clmla_context *context) {
    char device[NAME_BYTES], driver[NAME_BYTES];
    uint32_t initial[TUNING_COUNT];
    const clmla_device_facts *facts = &context->host.facts;
    file_name(device, facts->name);
    file_name(driver, facts->driver_version);
    tuning_defaults(initial, facts);
    int at = snprintf(out, SECTION_BYTES, "device %s\ndriver %s\n", device, driver);
    for (int i = 0; i < TUNING_COUNT; i++) {
        uint32_t value = tuning_value((clmla_context *)context, (tuning_index)i);
        if (value != initial[i])
            at += snprintf(out + at, SECTION_BYTES - (size_t)at, "%s %u\n", tuning_name((tuning_index)i), value);
    }
    return (size_t)at;
}

static clmla_status write_file(const clmla_context *context, const char *text, size_t bytes,
                               const tuning_section *old) {
    static const char first[] = FIRST_LINE "\n";
    char section[SECTION_BYTES];
    host_new_file file;
    size_t before = old->end > 0 ? old->begin : bytes, after = old->end > 0 ? bytes - old->end : 0;
    STATUS_OR_RETURN(host_new_file_begin(&file, context->tuning_file));
    clmla_status status = CLMLA_OK;
    STATUS_OR_OUT(bytes > 0 ? host_new_file_write(&file, text, before)
                            : host_new_file_write(&file, first, sizeof first - 1));
    if (before > 0 && text[before - 1] != '\n') STATUS_OR_OUT(host_new_file_write(&file, "\n", 1));
    STATUS_OR_OUT(host_new_file_write(&file, section, write_section(section, context)));
    if (after > 0) STATUS_OR_OUT(host_new_file_write(&file, text + old->end, after));
    STATUS_OR_OUT(host_new_file_commit(&file));
out:
    host_new_file_abandon(&file);
    return status;
}

// Makes the default file's folder; another file's folder is the user's.
static clmla_status make_folder(const clmla_context *context) {
    char folder[HOST_FILE_PATH - 32], file[HOST_FILE_PATH];
    if (!default_folder(folder, sizeof folder)) return CLMLA_OK;
    snprintf(file, sizeof file, "%s/tuning.txt", folder);
    if (strcmp(file, context->tuning_file) != 0 || host_private_folder(folder)) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_FILE, 0, "tuning: '%s' is not a folder of this user alone", folder);
}

static clmla_status save(const clmla_context *context, char **text) {
    size_t bytes = 0;
    tuning_section old = {.end = 0};
    tuning_fault fault;
    STATUS_OR_RETURN(make_folder(context));
    STATUS_OR_RETURN(load(text, &bytes, context));
    if (*text && !tuning_file_parse(&old, &fault, *text, bytes, &context->host.facts, context->tuning_file, NULL))
        return host_fail(NULL, CLMLA_E_FILE, 0, "tuning file %s, line %u: %s: it is not written over",
                         context->tuning_file, fault.line, fault.reason);
    return write_file(context, *text, bytes, &old);
}

clmla_status clmla_tuning_save(const clmla_context *context) {
    char *text = NULL;
    if (!context) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "tuning: context is NULL");
    const clmla_log *log = &context->host.log;
    if (context->tuning_file[0] == '\0')
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "tuning: the context has no tuning file (clmla_context_params.tuning_file, CLMLA_TUNING)");
    clmla_status status = host_log_failure(log, save(context, &text));
    host_release(&context->host.allocator, text);
    return status;
}
