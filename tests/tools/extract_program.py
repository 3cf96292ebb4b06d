#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first C block of a Markdown file, so that the README's program is compiled as it stands.

    extract_program.py README.md OUTPUT.c
"""
import pathlib
import re
import sys

blocks = re.findall(r'^```c\n(.*?)^```$', pathlib.Path(sys.argv[1]).read_text(encoding='utf-8'), re.M | re.S)
if not blocks:
    sys.exit(f'{sys.argv[1]}: no C block')
pathlib.Path(sys.argv[2]).write_text(blocks[0], encoding='utf-8')
