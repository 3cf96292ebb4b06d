#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules between folders, read from the sources: who includes whom, who calls what.

    check_layers.py SOURCE_ROOT
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.M)
COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/', re.S)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
OPERATIONS = ['project', 'rms_norm', 'rope', 'append', 'absorb', 'attend', 'attend_heads', 'merge', 'output', 'gather', 'copy_pages',
              'convert_rows', 'move_rows', 'shift']
faults = []


def sources(folder, *endings):
    return sorted(p for p in (ROOT / folder).rglob('*') if p.suffix in endings)


def code(path):
    return STRING.sub('""', COMMENT.sub('', path.read_text(encoding='utf-8')))


def fault(path, what):
    faults.append(f'{path.relative_to(ROOT)}: {what}')


def check_includes():
    for path in sources('include', '.h'):
        for name in INCLUDE.findall(path.read_text(encoding='utf-8')):
            if name.startswith(('lib/', 'host/')):
                fault(path, f'a public header includes {name}')
            if name.startswith('CL/') and path.name != 'opencl.h':
                fault(path, f'includes {name}: opencl.h alone does')
    for path in sources('host', '.c', '.h'):
        for name in INCLUDE.findall(path.read_text(encoding='utf-8')):
            if name.startswith('lib/') or name in ('clmla/config.h', 'clmla/cache.h', 'clmla/plan.h', 'clmla/layer.h', 'clmla/rows.h',
                                                    'clmla/operations.h', 'clmla/clmla.h'):
                fault(path, f'the OpenCL layer includes {name}')
            if name == 'clblast_c.h' and path.name != 'gemm.c':
                fault(path, 'includes clblast_c.h: gemm.c alone does')
    for path in sources('tools', '.c', '.h'):
        for name in INCLUDE.findall(path.read_text(encoding='utf-8')):
            if name.startswith(('lib/', 'host/')):
                fault(path, f'a program includes {name}')
    for path in sources('tests/ref', '.c', '.h'):
        for name in INCLUDE.findall(path.read_text(encoding='utf-8')):
            if name.startswith(('lib/', 'host/', 'clmla/', 'CL/')):
                fault(path, f'a reference includes {name}')


def check_calls():
    for path in sources('lib', '.c', '.h'):
        for name in re.findall(r'\b(cl[A-Z]\w+)\s*\(', code(path)):
            fault(path, f'calls {name}')
    for path in sources('lib', '.c') + sources('host', '.c'):
        text = code(path)
        for name in re.findall(r'\b(printf|fprintf|puts|putchar|perror|exit|abort|_Exit|assert)\s*\(', text):
            fault(path, f'calls {name}')
        if re.search(r'\bgetenv\b', text) and path.name != 'env.c':
            fault(path, 'reads the environment: env.c alone does')
    for path in sources('host', '.c', '.h'):
        for word in re.findall(r'\b[A-Za-z_]\w*', code(path)):
            if {'latent', 'rope', 'absorb', 'lora', 'mla', 'kv'} & set(word.lower().split('_')):
                fault(path, f'knows a word of MLA: {word}')


def check_names():
    """One name walks through all folders."""
    for operation in OPERATIONS:
        for place in (f'cl/{operation}_naive.cl', f'cl/{operation}_vector.cl', f'lib/{operation}.c', f'tests/ref/ref_{operation}.c',
                      f'tests/kernel/check_{operation}.c'):
            if not (ROOT / place).is_file():
                faults.append(f'{place}: missing for operation {operation}')
    for path in sources('include', '.h') + sources('lib', '.c', '.h') + sources('host', '.c', '.h') + sources('cl', '.cl', '.clh'):
        if not path.read_text(encoding='utf-8').startswith('// SPDX-License-Identifier: Apache-2.0\n'):
            fault(path, 'does not begin with its licence')


check_includes()
check_calls()
check_names()
print('\n'.join(faults) if faults else 'the folders keep their rules')
sys.exit(1 if faults else 0)
