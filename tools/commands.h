// SPDX-License-Identifier: Apache-2.0
// The commands: each gets the arguments after its name and answers the program's exit code (failure.h).
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include "failure.h"

int command_info(int argc, char **argv);
int command_verify(int argc, char **argv);
int command_generate(int argc, char **argv);
int command_formats(int argc, char **argv);
int command_compare(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_tune(int argc, char **argv);

#endif
