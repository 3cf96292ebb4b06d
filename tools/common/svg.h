// SPDX-License-Identifier: Apache-2.0
// The little SVG that the programs' pictures are made of. Write errors show by ferror.
#ifndef TOOLS_SVG_H
#define TOOLS_SVG_H

#include <stdio.h>

// The document's beginning, on white, with `style` (CSS) beside the common one: text 12 px, .title 16 px.
void svg_begin(FILE *out, int width, int height, const char *style);
void svg_end(FILE *out);

// A text whatever bytes it holds: markup is escaped, what is not printable ASCII shows as '?'.
void svg_text(FILE *out, const char *text);
// anchor: "start", "middle", "end"; angle in degrees.
void svg_label(FILE *out, double x, double y, const char *anchor, double angle, const char *text);
void svg_line(FILE *out, const char *class, double x1, double y1, double x2, double y2);

// Colours and shapes that are told apart without colours, too. Opens a <path>: the caller ends it.
const char *svg_colour(size_t index);
void svg_mark(FILE *out, const char *class, size_t index, double x, double y);

#endif
