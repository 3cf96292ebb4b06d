// SPDX-License-Identifier: Apache-2.0
#ifndef TOOLS_STOPWATCH_H
#define TOOLS_STOPWATCH_H

// Seconds on a clock that only goes forward.
double stopwatch_now(void);

#endif
