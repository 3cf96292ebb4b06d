#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shared library exports what the public headers declare with CLMLA_API, and nothing else.

    check_symbols.py SOURCE_ROOT SHARED_LIBRARY
"""
import pathlib
import re
import subprocess
import sys

headers = pathlib.Path(sys.argv[1], 'include/clmla').glob('*.h')
declared = set()
for header in headers:
    text = re.sub(r'//[^\n]*', '', header.read_text(encoding='utf-8'))
    declared |= set(re.findall(r'\bCLMLA_API\b[^;(]*?\b(clmla_\w+)\s*\(', text))
table = subprocess.run(['nm', '-D', '--defined-only', sys.argv[2]], check=True, capture_output=True, text=True).stdout
exported = {line.split()[-1].split('@')[0] for line in table.splitlines() if line.split()[-2] in 'TDBRV'}
for name in sorted(declared - exported):
    print(f'declared and not exported: {name}')
for name in sorted(exported - declared):
    print(f'exported and not declared: {name}')
print(f'{len(declared)} functions declared, {len(exported)} exported')
sys.exit(0 if declared == exported and declared else 1)
