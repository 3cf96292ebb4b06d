#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Flattens one OpenCL C file and writes it as a C byte array.

#include "..." lines are replaced by the file's text (each file once, but a .inc whenever it is named), full-line comments
and blank lines are dropped, and the result becomes `const host_source clmla_source_<name>`. A kernel name defined twice in one program is an error.

    embed_cl.py INPUT.cl OUTPUT.c [--depfile FILE]
"""
import argparse
import pathlib
import re
import sys

INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')
ATTRIBUTE = re.compile(r'__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)')
KERNEL = re.compile(r'\b__kernel\b\s+void\s+(\w+)\s*\(')


def flatten(path, seen):
    """The lines of `path` with its includes in place; `seen` collects every file read, in order."""
    if path in seen and path.suffix != '.inc':
        return []
    seen.append(path)
    lines = []
    for number, line in enumerate(path.read_text(encoding='ascii').splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            target = (path.parent / match.group(1)).resolve()
            if not target.is_file():
                sys.exit(f'{path}:{number}: no such file: {match.group(1)}')
            lines += flatten(target, seen)
        elif line.strip() and not line.lstrip().startswith('//'):
            lines.append(line.rstrip())
    return lines


def byte_array(text):
    data = text.encode('ascii') + b'\0'
    rows = (data[i:i + 24] for i in range(0, len(data), 24))
    return ',\n'.join('    ' + ','.join(str(byte) for byte in row) for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('input', type=pathlib.Path)
    parser.add_argument('output', type=pathlib.Path)
    parser.add_argument('--depfile', type=pathlib.Path)
    arguments = parser.parse_args()

    seen = []
    text = '\n'.join(flatten(arguments.input.resolve(), seen)) + '\n'
    kernels = KERNEL.findall(ATTRIBUTE.sub('', text))
    doubled = sorted({name for name in kernels if kernels.count(name) > 1})
    if doubled:
        sys.exit(f'{arguments.input}: kernel defined twice: {", ".join(doubled)}')
    if not kernels:
        sys.exit(f'{arguments.input}: no kernel found')

    name = arguments.input.stem
    arguments.output.write_text(
        f'// Made from {arguments.input.name} by embed_cl.py: do not edit.\n'
        '#include "host/source.h"\n\n'
        f'static const char text[] = {{\n{byte_array(text)}}};\n\n'
        f'extern const host_source clmla_source_{name};\n'
        f'const host_source clmla_source_{name} = {{"{name}", text, sizeof text - 1}};\n', encoding='ascii')
    if arguments.depfile:
        arguments.depfile.write_text(f'{arguments.output}: ' + ' '.join(str(p) for p in seen) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
