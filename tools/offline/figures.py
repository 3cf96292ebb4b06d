# SPDX-License-Identifier: Apache-2.0
"""What a compiler says of one kernel on one target, in the same words for every vendor."""
import typing

HEADER = ('registers', 'width', 'spills', 'scratch', 'lanes', 'local', 'occupancy')


class Figures(typing.NamedTuple):
    registers: int  # of a work-item (AMD: vector registers); Intel: of a hardware thread
    width: int      # work-items that share an instruction: AMD's wave, NVIDIA's warp, Intel's sub-group
    spills: int     # of a work-item, to memory. AMD: registers; the others: bytes
    scratch: int    # bytes of a work-item's private memory outside registers
    lanes: int      # AMD: a wave's scalar registers that were moved to lanes of vector registers, which costs no memory
    local: int      # bytes a group, those of __local arguments aside
    waves: int      # that fit on AMD's SIMD, NVIDIA's SM, Intel's EU, by registers and local memory
    most: int       # that the hardware has room for

    def clean(self):
        return self.spills == 0 and self.scratch == 0

    def cells(self):
        return [str(value) for value in self[:6]] + [f'{self.waves}/{self.most}']

    def worse_than(self, before):
        """Why this is worse, or ''. More registers and lanes at the same occupancy cost next to nothing."""
        grown = [f'{name} {getattr(before, name)} -> {getattr(self, name)}'
                 for name in ('spills', 'scratch', 'local') if getattr(self, name) > getattr(before, name)]
        shrunk = [f'{name} {getattr(before, name)} -> {getattr(self, name)}'
                  for name in ('width', 'waves') if getattr(self, name) < getattr(before, name)]
        if self.lanes and not before.lanes:
            grown.append(f'lanes 0 -> {self.lanes}')
        return ', '.join(grown + shrunk)


def table(rows):
    """Lines of text for rows of cells: the first two columns to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['  '.join(cell.ljust(width) if i < 2 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]


def span(values):
    return '-'.join(str(value) for value in sorted({min(values), max(values)}))


def summary(vendor, found):
    """One row of the table in docs/devices.md for (label, target) -> Figures."""
    every = list(found.values())
    return '| ' + ' | '.join([
        vendor, ', '.join(dict.fromkeys(target for _, target in found)), str(len({label for label, _ in found})),
        span([values.registers for values in every]), span([values.width for values in every]),
        str(sum(values.spills > 0 for values in every)),
        ', '.join(sorted({label.split()[0] for (label, _), values in found.items() if values.scratch})) or 'none',
        f'{min(100 * values.waves // values.most for values in every)} %']) + ' |'
