// SPDX-License-Identifier: Apache-2.0
#include "svg.h"

void svg_begin(FILE *out, int width, int height, const char *style) {
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n"
            "<style>text{font:12px sans-serif;fill:#222}.title{font-size:16px}.grid{stroke:#ddd}.axis{stroke:#222}%s"
            "</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            width, height, width, height, style);
}

void svg_end(FILE *out) {
    fputs("</svg>\n", out);
}

void svg_text(FILE *out, const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '<')
            fputs("&lt;", out);
        else if (*c == '>')
            fputs("&gt;", out);
        else if (*c == '&')
            fputs("&amp;", out);
        else
            fputc(*c >= 0x20 && *c < 0x7f ? *c : '?', out);
    }
}

void svg_label(FILE *out, double x, double y, const char *anchor, double angle, const char *text) {
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"", x, y, anchor);
    if (angle != 0.0) fprintf(out, " transform=\"rotate(%.1f %.1f %.1f)\"", angle, x, y);
    fputc('>', out);
    svg_text(out, text);
    fputs("</text>\n", out);
}

void svg_line(FILE *out, const char *class, double x1, double y1, double x2, double y2) {
    fprintf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2);
}

const char *svg_colour(size_t index) {
    static const char *const colours[] = {"#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
                                          "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"};
    return colours[index % 10];
}

void svg_mark(FILE *out, const char *class, size_t index, double x, double y) {
    static const char *const shapes[] = {"m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z", "m-4.5 -4.5h9v9h-9z",
                                         "m0 -6l6 6l-6 6l-6 -6z", "m0 -6l5.5 10h-11z", "m0 6l5.5 -10h-11z"};
    fprintf(out, "<path class=\"%s\" fill=\"%s\" d=\"M%.1f %.1f%s\">", class, svg_colour(index), x, y,
            shapes[index % 5]);
}
