#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of what the peers offer (docs/peers.md) names tests that there are, and every row has a test or a reason.

    check_readme.py SOURCE_ROOT
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
section = (ROOT / 'docs/peers.md').read_text(encoding='utf-8')
rows = [line.split('|')[1:-1] for line in section.splitlines() if line.startswith('| ')][2:]
there = {path.stem.removeprefix('check_') for path in (ROOT / 'tests').glob('*/check_*.c')}
faults = []
for feature, answer, tests in rows:
    names = re.findall(r'\w+', re.sub(r'\([^)]*\)', '', tests))
    faults += [f'{feature.strip()}: there is no test "{name}"' for name in names if name not in there]
    if not names and not re.search(r'\bout:|not yet:', answer):
        faults.append(f'{feature.strip()}: neither a test nor a reason')
for fault in faults:
    print(fault)
print(f'{len(rows)} rows read')
sys.exit(bool(faults) or len(rows) < 20)
