# SPDX-License-Identifier: Apache-2.0
"""Intel: ocloc, the offline form of the GPU driver's own compiler."""
import re

from offline import command
from offline.figures import Figures

# target: hardware threads an EU at 128 registers each; EUs and bytes of local memory that a group's threads share.
TARGETS = {'tgllp': (7, 16, 65536), 'dg2': (8, 16, 65536), 'pvc': (8, 8, 131072)}
REGISTERS = 128  # in the large mode a thread has twice as many, and there are half as many threads


def missing():
    return command.lacking(['ocloc'], [])


def version():
    # ocloc does not tell its compiler's version; where dpkg does not either, figures are compared with no baseline.
    try:
        return 'IGC ' + command.run(['dpkg-query', '-W', '-f', '${Version}', 'libigc1'], None)
    except (command.Failure, OSError):
        return 'IGC of unknown version'


def compile_program(target, program, folder):
    """Kernel name -> Figures."""
    # The newer binary format alone tells the memory that private arrays take.
    said = command.run(['ocloc', 'compile', '-file', 'program.cl', '-device', target,
                        '-options', ' '.join(program.options), '-internal_options', '-ze-allow-zebin',
                        '-output', 'binary', '-output_no_suffix'], folder)
    # Its .ze_info section is a YAML text.
    found = re.search(rb'---\nversion:.*?\n\.\.\.\n', (folder / 'binary').read_bytes(), re.S)
    if not found:
        raise command.Failure('ocloc: a binary without .ze_info\n' + said)
    return read_info(found.group().decode(), program.group, TARGETS[target])


def read_info(text, group, limits):
    threads, units, memory = limits
    kernels = text[text.index('\nkernels:'):].split('\nkernels_misc_info:')[0]
    found = {}
    for part in kernels.split('\n  - name:')[1:]:
        def number(name):
            value = re.search(rf'^ +{name}: +(\d+)$', part, re.M)
            return int(value.group(1)) if value else None
        width = number('simd_size') or 1
        local = number('slm_size') or 0
        spills = scratch = 0
        buffers = re.findall(r'^ +usage: +(\w+)\n +size: +(\d+)(\n +is_simt_thread: +true)?$', part, re.M)
        for usage, size, of_item in buffers:
            size = int(size) if of_item else -(-int(size) // width)
            if usage == 'spill_fill_space':
                spills += size
            elif usage in ('private_space', 'single_space'):  # the latter is both in one
                scratch += size
        registers = number('grf_count')
        most = threads * REGISTERS // max(registers, REGISTERS)
        held = -(-(memory // local * -(-group // width)) // units) if local else most
        name = part.split('\n')[0].strip()
        if name == 'Intel_Symbol_Table_Void_Program':  # stands for what is no kernel: constants of the program
            continue
        found[name] = Figures(registers, width, spills, scratch, 0, local, min(most, held), threads)
    return found
