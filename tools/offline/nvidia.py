# SPDX-License-Identifier: Apache-2.0
"""NVIDIA: clang and libclc to PTX, which is what its driver's compiler makes too, then NVIDIA's own ptxas. Programs with instructions of
sm_90a in comments are raised on the way, as the library does it (host/ptx.h)."""
import pathlib
import re
import shutil

from offline import command
from offline.figures import Figures

LLVM = '19'
# Mesa's OpenCL driver needs libclc 15, and Debian lets one libclc be installed; newer LLVM reads its bitcode.
LIBRARY = pathlib.Path('/usr/lib/clc/nvptx64--nvidiacl.bc')
ROOT = pathlib.Path(__file__).resolve().parents[2]
# target: the newest of LLVM's targets that its PTX can be for, the PTX version that knows that, bytes of local memory and warps of an SM.
TARGETS = {'sm_80': ('sm_80', 'ptx70', 164 * 1024, 64), 'sm_90': ('sm_90', 'ptx78', 228 * 1024, 64)}
# Of programs that name them.
NAMED = {'sm_86': ('sm_86', 'ptx71', 100 * 1024, 48), 'sm_89': ('sm_89', 'ptx78', 100 * 1024, 48),
         'sm_100': ('sm_90', 'ptx78', 228 * 1024, 64), 'sm_120': ('sm_90', 'ptx78', 100 * 1024, 48)}
# A program's comments of so much become instructions of the target they are for; PTX knows them from this version on.
COMMENT, RAISED_FROM, RAISED, RAISED_PTX = '//@sm_90a ', 'sm_90', 'sm_90a', 'ptx80'
WARP, GROUPS, REGISTERS = 32, 32, 65536             # groups and registers of an SM, at most
# ptxas refuses static arrays of more than 48 KiB for targets without an a, but leaves the limit of an object to who links it.
TOO_MUCH, OBJECT = 'uses too much shared data', '-c'
WARP_REGISTERS, GROUP_LOCAL = 256, 1024             # what a warp's registers round up to; local memory a group loses


def ptxas():
    """From the PATH, the CUDA toolkit or PyPI's nvidia-cuda-nvcc-cu12 in .venv-ptxas."""
    places = [shutil.which('ptxas'), '/usr/local/cuda/bin/ptxas']
    places += sorted(ROOT.glob('.venv-ptxas/lib/python3*/site-packages/nvidia/cuda_nvcc/bin/ptxas'))
    return next((str(place) for place in places if place and pathlib.Path(place).exists()), None)


def missing():
    absent = command.lacking([f'{name}-{LLVM}' for name in ('clang', 'llvm-link', 'opt', 'llc')], [LIBRARY])
    return absent or (None if ptxas() else 'not found: ptxas (CUDA toolkit, or PyPI\'s nvidia-cuda-nvcc-cu12)')


def version():
    number = re.search(r'release [\d.]+, (V[\d.]+)', command.run([ptxas(), '--version'], None))
    return command.first_line([f'clang-{LLVM}', '--version']) + ', ptxas ' + (number.group(1) if number else 'unknown')


# libclc has no such function for NVIDIA; the driver's compiler takes it from a kernel's parameters.
OFFSET = 'get_global_offset'
OFFSET_TEXT = f'\nsize_t __attribute__((overloadable)) {OFFSET}(uint dimension) {{ return 0; }}\n'


def compile_program(target, program, folder):
    """Kernel name -> Figures."""
    if OFFSET in program.text:
        with open(folder / 'program.cl', 'a', encoding='utf-8') as text:
            text.write(OFFSET_TEXT)
    processor, ptx, memory, warps = (TARGETS | NAMED)[target]
    raised = target == RAISED_FROM and COMMENT in program.text
    if raised:
        ptx = RAISED_PTX
    kernels = ','.join(program.kernels)
    for line in (
            # Optimised only after the built-in functions are linked in.
            [f'clang-{LLVM}', '-x', 'cl', '-target', 'nvptx64-nvidia-nvcl', '-O1', '-Xclang', '-disable-llvm-passes',
             '-D__OPENCL_VERSION__=300', '-Xclang', '-finclude-default-header', *program.options,
             '-c', '-emit-llvm', 'program.cl', '-o', 'program.bc'],
            [f'llvm-link-{LLVM}', '--suppress-warnings', 'program.bc', '--only-needed', LIBRARY, '-o', 'linked.bc'],
            [f'opt-{LLVM}', '-passes=internalize,default<O3>', f'-internalize-public-api-list={kernels}',
             'linked.bc', '-o', 'optimised.bc'],
            [f'llc-{LLVM}', '-march=nvptx64', f'-mcpu={processor}', f'-mattr=+{ptx}', 'optimised.bc', '-o', 'program.ptx']):
        command.run(line, folder)
    if raised:
        raise_text(folder / 'program.ptx')
    assemble = [ptxas(), f'-arch={RAISED if raised else target}', '-v', 'program.ptx', '-o', 'program.cubin']
    try:
        said = command.run(assemble, folder)
    except command.Failure as failure:
        if TOO_MUCH not in str(failure):
            raise
        said = command.run([*assemble, OBJECT], folder)
    return read_report(said, program.group, memory, warps)


def raise_text(path):
    text = path.read_text(encoding='ascii')
    target = re.search(rf'\.target {RAISED_FROM}(?=[, \r\n])', text)
    if not target or COMMENT not in text:
        raise command.Failure(f'{path.name}: no PTX for {RAISED_FROM} with instructions of {RAISED}')
    text = text[:target.end()] + RAISED[len(RAISED_FROM):] + text[target.end():]
    path.write_text(text.replace(COMMENT, ' ' * len(COMMENT)), encoding='ascii')


def read_report(text, group, memory, warps):
    found = {}
    for part in text.split('Compiling entry function ')[1:]:
        name = re.match(r"'(\w+)'", part).group(1)
        frame, stores, loads = map(int, re.search(
            rf'properties for {name}\n *(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads',
            part).groups())
        used = re.search(r'Used (\d+) registers.*', part)
        registers = int(used.group(1))
        stack = re.search(r'(\d+) bytes cumulative stack', used.group())
        local = re.search(r'(\d+) bytes smem', used.group())
        local = int(local.group(1)) if local else 0
        scratch = max(frame, int(stack.group(1)) if stack else 0)
        held = held_warps(registers, group, local, memory, warps)
        found[name] = Figures(registers, WARP, stores + loads, scratch, 0, local, held, warps)
    return found


def held_warps(registers, group, local, memory, warps):
    a_group = -(-group // WARP)
    a_warp = -(-registers * WARP // WARP_REGISTERS) * WARP_REGISTERS
    groups = min(GROUPS, warps // a_group, REGISTERS // (a_warp * a_group))
    if local:
        groups = min(groups, memory // (local + GROUP_LOCAL))
    return groups * a_group
