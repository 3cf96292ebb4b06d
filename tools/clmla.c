// SPDX-License-Identifier: Apache-2.0
// The clmla program: what the machine has, whether the numbers are right, and a model that talks.
#include "commands.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
    {"info", "devices, and the kernel each operation would use on them", command_info},
    {"verify", "run attention layers and compare them with a reference", command_verify},
    {"formats", "what a token costs in each row format: bytes, and error", command_formats},
    {"generate", "run a whole language model: continue a text, or score a file", command_generate},
    {"bench", "time operations and layer steps beside the device's own limits", command_bench},
    {"compare", "clmla beside other attentions: bytes of cache, seconds a step", command_compare},
    {"tune", "find the numbers this device's attention is fastest with, and keep them", command_tune},
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_usage(FILE *stream) {
    fprintf(stream, "usage: clmla COMMAND ...\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(stream, "  %-10s %s\n\nclmla COMMAND --help lists a command's options.\n", "--version",
            "the library's version");
}

static const command *find_command(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(name, commands[i].name) == 0) return &commands[i];
    return NULL;
}

static int refuse(const char *name) {
    fprintf(stderr, "clmla: unknown command '%s'; see clmla --help\n", name);
    return EXIT_UNUSABLE;
}

static int help(const char *name) {
    char option[] = "--help", *arguments[] = {option, NULL};
    const command *asked = name ? find_command(name) : NULL;
    if (asked) return asked->run(1, arguments);
    if (name) return refuse(name);
    print_usage(stdout);
    return EXIT_PASS;
}

static int run(int argc, char **argv) {
    const char *name = argv[1];
    const command *asked = find_command(name);
    if (asked) return asked->run(argc - 2, argv + 2);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help(argc > 2 ? argv[2] : NULL);
    if (strcmp(name, "--version") != 0) return refuse(name);
    printf("clmla %s\n", clmla_version());
    return EXIT_PASS;
}

// The reason of a write long past is no longer known: one more, behind an output that lacks a part already, tells it.
static const char *lost_reason(void) {
    clearerr(stdout);
    errno = 0;
    bool written = putchar('\n') != EOF && fflush(stdout) == 0;
    return written || !errno ? "a part of it is lost" : strerror(errno);
}

// A result that reached nobody is none: a full disk must not look like a pass.
static int check_output(const char *name, int code) {
    errno = 0;
    const char *reason = fflush(stdout) && errno ? strerror(errno) : NULL;
    if (!reason && !ferror(stdout)) return code;
    if (code == EXIT_UNUSABLE) return code; // it has said its sentence
    fprintf(stderr, "clmla %s: the output cannot be written: %s\n", name, reason ? reason : lost_reason());
    return EXIT_UNUSABLE;
}

int main(int argc, char **argv) {
    if (argc >= 2) return check_output(argv[1], run(argc, argv));
    print_usage(stderr);
    return EXIT_UNUSABLE;
}
