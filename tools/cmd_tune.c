// SPDX-License-Identifier: Apache-2.0
// clmla tune: finds the numbers a device's attention is fastest with, and keeps them in the user's tuning file.
#include "commands.h"
#include "json_output.h"
#include "options.h"
#include "stopwatch.h"
#include "tune.h"
#include <stdio.h>

typedef struct arguments {
    const char *device;
    double seconds;
    bool dry_run, json;
} arguments;

static options_outcome read_arguments(arguments *out, int argc, char **argv, failure *failure) {
    const option table[] = {
        {"--seconds", OPTION_DECIMAL, &out->seconds, "S",
         "time for the search and its last comparison, compiling included (120)", 0, 86400},
        {"--dry-run", OPTION_FLAG, &out->dry_run, NULL, "searches and prints, writes nothing", 0, 0},
        {"--device", OPTION_TEXT, &out->device, "Q", "gpu, cpu, P:D or part of a name", 0, 0},
        {"--json", OPTION_FLAG, &out->json, NULL, "one JSON object on stdout", 0, 0},
    };
    const options known = {
        "tune",
        "Times attention (16 and 128 heads, 4096 tokens) with other tile sizes and schedules than "
        "the present ones, and writes\nthose that are more than 2 % faster to the tuning file, which "
        "contexts on this device and driver read from then on:\nCLMLA_TUNING, or clmla/tuning.txt in "
        "the user's cache folder. Nothing else should use the device meanwhile.\n"
        "The time begins when the programs of the present values are compiled, which may be long the first time.\n"
        "A program is not begun when less time is left than the longest so far took; one that takes longer is "
        "finished.",
        NULL,
        NULL,
        table,
        sizeof table / sizeof table[0]};
    return options_parse(&known, argc, argv, failure);
}

static bool save(const session *session, failure *failure) {
    return clmla_tuning_save(session->context) == CLMLA_OK || failure_library(failure);
}

// Saving what is there changes nothing a reader sees, and tells before the search whether the file can be written.
static bool open_device(session *session, const arguments *arguments, failure *failure) {
    if (!session_open(session, arguments->device, false, failure)) return false;
    const clmla_device_facts *facts = clmla_context_facts(session->context);
    if (facts->is_interpreter)
        return failure_set(failure, "the device \"%s\" interprets kernels: their times say nothing", facts->name);
    return arguments->dry_run || save(session, failure);
}

static size_t changed(const tune *t) {
    size_t count = 0;
    for (size_t i = 0; i < t->number_count; i++) count += t->numbers[i].value != t->numbers[i].tuning.value;
    return count;
}

// Rows that would make this device begin with what is now chosen.
static void print_rows(const tune *t) {
    char row[TUNE_ROW_BYTES];
    bool any = false;
    for (size_t i = 0; i < t->number_count; i++) {
        const tune_number *n = &t->numbers[i];
        if (n->value == n->tuning.initial) continue;
        if (!any) printf("\nAs defaults of this device, for the end of the table in lib/tuning_defaults.c:\n");
        any = true;
        tune_row(row, clmla_context_facts(t->session->context), n->tuning.name, n->value);
        printf("    %s\n", row);
    }
}

static void print_text(const tune *t, const arguments *arguments, double seconds) {
    const clmla_context *context = t->session->context;
    printf("%s: prepared for %.0f s, searched for %.0f s%s\n\n", clmla_context_facts(context)->name, t->prepared,
           seconds, t->out_of_time ? ", then the time was up" : "");
    printf("  %-30s %8s %8s %6s\n", "number", "before", "now", "tried");
    for (size_t i = 0; i < t->number_count; i++) {
        const tune_number *n = &t->numbers[i];
        if (n->used) printf("  %-30s %8u %8u %6u\n", n->tuning.name, n->tuning.value, n->value, n->tried);
    }
    printf("\n  %-34s %10s %10s\n", "attention over 4096 tokens", "before, ms", "now, ms");
    for (size_t s = 0; s < t->shape_count; s++) {
        const tune_shape *shape = &t->shapes[s];
        char name[96];
        snprintf(name, sizeof name, "%u heads, %s, %s%s", shape->bench.heads, clmla_row_format_name(shape->bench.rows),
                 shape->variant, shape->bench.compute == CLMLA_COMPUTE_FAST ? ", fast" : "");
        printf("  %-34s %10.3f %10.3f\n", name, 1e3 * shape->before, 1e3 * shape->after);
    }
    if (t->unconfirmed)
        printf("\nThe time was up before what was found had been compared with what was there: nothing is changed.\n");
    else if (changed(t) == 0)
        printf("\nNothing that is more than 2 %% faster was found.\n");
    if (arguments->dry_run)
        printf("\nNothing was written.\n");
    else
        printf("\nIn %s\n", clmla_tuning_file(context));
    print_rows(t);
}

static cJSON *numbers_json(const tune *t) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < t->number_count; i++) {
        const tune_number *n = &t->numbers[i];
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "name", n->tuning.name);
        cJSON_AddBoolToObject(object, "used", n->used);
        cJSON_AddNumberToObject(object, "initial", n->tuning.initial);
        cJSON_AddNumberToObject(object, "before", n->tuning.value);
        cJSON_AddNumberToObject(object, "now", n->value);
        cJSON_AddNumberToObject(object, "tried", n->tried);
        cJSON_AddItemToArray(list, object);
    }
    return list;
}

static cJSON *rows_json(const tune *t) {
    char row[TUNE_ROW_BYTES];
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < t->number_count; i++) {
        const tune_number *n = &t->numbers[i];
        if (n->value == n->tuning.initial) continue;
        tune_row(row, clmla_context_facts(t->session->context), n->tuning.name, n->value);
        cJSON_AddItemToArray(list, cJSON_CreateString(row));
    }
    return list;
}

static cJSON *shapes_json(const tune *t) {
    cJSON *list = cJSON_CreateArray();
    for (size_t s = 0; s < t->shape_count; s++) {
        const tune_shape *shape = &t->shapes[s];
        cJSON *object = cJSON_CreateObject();
        cJSON_AddNumberToObject(object, "heads", shape->bench.heads);
        cJSON_AddNumberToObject(object, "tokens", shape->bench.tokens);
        cJSON_AddStringToObject(object, "format", clmla_row_format_name(shape->bench.rows));
        cJSON_AddStringToObject(object, "compute", clmla_compute_name(shape->bench.compute));
        cJSON_AddStringToObject(object, "variant", shape->variant);
        cJSON_AddNumberToObject(object, "seconds_before", shape->before);
        cJSON_AddNumberToObject(object, "seconds_now", shape->after);
        cJSON_AddItemToArray(list, object);
    }
    return list;
}

static bool print_json(const tune *t, const arguments *arguments, double seconds, failure *failure) {
    const clmla_device_facts *facts = clmla_context_facts(t->session->context);
    cJSON *object = cJSON_CreateObject();
    json_add_text(object, "device", facts->name);
    json_add_text(object, "driver", facts->driver_version);
    json_add_text(object, "file", clmla_tuning_file(t->session->context));
    cJSON_AddBoolToObject(object, "written", !arguments->dry_run);
    cJSON_AddNumberToObject(object, "seconds_preparing", t->prepared);
    cJSON_AddNumberToObject(object, "seconds", seconds);
    cJSON_AddBoolToObject(object, "out_of_time", t->out_of_time);
    cJSON_AddItemToObject(object, "numbers", numbers_json(t));
    cJSON_AddItemToObject(object, "shapes", shapes_json(t));
    cJSON_AddItemToObject(object, "default_rows", rows_json(t));
    return json_print(object) || failure_memory(failure);
}

static bool search(const session *session, const arguments *arguments, failure *failure) {
    tune t = {.session = session};
    if (!tune_search(&t, arguments->seconds, failure)) return false;
    double seconds = stopwatch_now() - t.began;
    if (!arguments->dry_run && !save(session, failure)) return false;
    if (arguments->json) return print_json(&t, arguments, seconds, failure);
    print_text(&t, arguments, seconds);
    return true;
}

int command_tune(int argc, char **argv) {
    failure failure = {0};
    session session = {0};
    arguments arguments = {.seconds = 120.0};
    options_outcome outcome = read_arguments(&arguments, argc, argv, &failure);
    if (outcome == OPTIONS_HELP) return EXIT_PASS;
    bool done =
        outcome == OPTIONS_GO && open_device(&session, &arguments, &failure) && search(&session, &arguments, &failure);
    session_close(&session);
    return done ? EXIT_PASS : failure_print(&failure, "tune");
}
