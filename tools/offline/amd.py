# SPDX-License-Identifier: Apache-2.0
"""AMD: clang with the ROCm device libraries, which the kernels' built-in functions come from."""
import pathlib
import re

from offline import command
from offline.figures import Figures

CLANG = 'clang-19'
LIBRARIES = pathlib.Path('/usr/lib/x86_64-linux-gnu/amdgcn/bitcode')
# target: the library for its instruction set, whether its wave is 64 wide, waves a SIMD, bytes of local memory that four
# SIMDs share. Debian's libraries are older than gfx942 and gfx1100: those of the nearest predecessor serve, as far as
# built-in functions go.
TARGETS = {
    'gfx90a': ('90a', True, 8, 65536),
    'gfx942': ('90a', True, 8, 65536),
    'gfx1030': ('1030', False, 16, 131072),
    'gfx1100': ('1030', False, 16, 131072),
}
SIMDS = 4
# What a driver's compiler is told by default, and clang's own code object version.
SETTINGS = ['opencl', 'ocml', 'ockl', 'oclc_daz_opt_off', 'oclc_finite_only_off', 'oclc_unsafe_math_off',
            'oclc_correctly_rounded_sqrt_off', 'oclc_abi_version_500']


def missing():
    return command.lacking([CLANG], [LIBRARIES / f'{name}.bc' for name in SETTINGS])


def version():
    return command.first_line([CLANG, '--version'])


def compile_program(target, program, folder):
    """Kernel name -> Figures."""
    isa, wide, most, memory = TARGETS[target]
    libraries = SETTINGS + [f'oclc_isa_version_{isa}', 'oclc_wavefrontsize64_' + ('on' if wide else 'off')]
    line = [CLANG, '-x', 'cl', '-target', 'amdgcn-amd-amdhsa', f'-mcpu={target}', '-O3', '-S', '-nogpulib',
            '-D__OPENCL_VERSION__=200', '-Xclang', '-finclude-default-header']
    for name in libraries:
        line += ['-Xclang', '-mlink-builtin-bitcode', '-Xclang', LIBRARIES / f'{name}.bc']
    command.run(line + program.options + ['program.cl', '-o', 'program.s'], folder)
    return read_assembly((folder / 'program.s').read_text(), program.group, most, memory)


def read_assembly(text, group, most, memory):
    # Counts are in the metadata at the end; the occupancy is in a comment after each kernel's descriptor, for the largest
    # group that the kernel allows.
    waves = dict(re.findall(r'\.amdhsa_kernel (\w+)\n.*?\n; Occupancy: (\d+)', text, re.S))
    found = {}
    for part in re.split(r'^  - (?=\.a)', text[text.index('amdhsa.kernels:'):], flags=re.M)[1:]:
        value = dict(re.findall(r'^ {4}\.(\w+): +(\S+)$', '    ' + part, re.M))
        # A stack whose depth the compiler cannot tell counts as scratch. Scalar registers that found no lane are in it too.
        scratch = int(value['private_segment_fixed_size']) + (value.get('uses_dynamic_stack') == 'true')
        wave, local, held = int(value['wavefront_size']), int(value['group_segment_fixed_size']), int(waves[value['name']])
        if local:
            held = min(held, -(-(memory // local * -(-group // wave)) // SIMDS))
        found[value['name']] = Figures(int(value['vgpr_count']), wave, int(value['vgpr_spill_count']), scratch,
                                       int(value['sgpr_spill_count']), local, held, most)
    return found
