# SPDX-License-Identifier: Apache-2.0
"""The programs to compile: tests/offline/specialisations.txt, with each kernel file's text flattened as in the library."""
import fnmatch
import pathlib
import re
import sys

import embed_cl

GROUP = 64  # work-items, unless a line says otherwise: what the library launches naive kernels with


class Program:
    def __init__(self, path, options, group=GROUP, targets=None, reason=None, after=None):
        seen = []
        self.text = ''.join('\n'.join(embed_cl.flatten(part.resolve(), seen)) + '\n' for part in (after, path) if part)
        self.kernels = embed_cl.KERNEL.findall(embed_cl.ATTRIBUTE.sub('', self.text))
        self.name = path.stem
        self.options = options if any(o.startswith('-cl-std=') for o in options) else ['-cl-std=CL1.2'] + options
        self.group, self.targets, self.reason = group, targets, reason

    def label(self, kernel):
        return ' '.join([kernel] + [o[2:] for o in self.options if o.startswith('-D')])

    def wants(self, vendor, target, named=()):
        """named: targets that are for those alone who name them."""
        if target in named:
            return target in (self.targets or ())
        return not self.targets or vendor in self.targets or target in self.targets


def read(listing, folder, *others):
    """All programs, and which kernel files are for CPUs alone with the reason. Every file of `folder` must be listed."""
    programs, cpu, listed = [], [], set()
    for number, line in enumerate(listing.read_text(encoding='ascii').splitlines(), 1):
        line, _, reason = line.split('#')[0].partition('!')
        fields = line.split()
        if not fields:
            continue
        name, options, reason = fields[0], fields[1:], reason.strip()
        paths = [path for where in (folder, *others) for path in sorted(where.glob('*.cl')) if fnmatch.fnmatch(path.stem, name)]
        if not paths:
            sys.exit(f'{listing}:{number}: no kernel file {name}')
        listed.update(path.stem for path in paths)
        if options == ['cpu']:
            cpu += [(path.stem, reason) for path in paths]
        else:
            for path in paths:
                programs += specialise(path, options, reason, f'{listing}:{number}')
    forgotten = sorted(path.name for path in folder.glob('*.cl') if path.stem not in listed)
    if forgotten:
        sys.exit(f'{listing}: not listed: ' + ', '.join(forgotten))
    return programs, cpu


def specialise(path, fields, reason, where):
    options, settings = [], {}
    for field in fields:
        if field.startswith('group='):
            settings['group'] = int(field[len('group='):])
        elif field.startswith('on='):
            settings['targets'] = field[len('on='):].split(',')
        elif field.startswith('after='):
            settings['after'] = path.with_name(field[len('after='):] + '.cl')
        elif field.startswith('-'):
            options.append(field)
        else:
            sys.exit(f'{where}: neither an option, nor group=, nor on=, nor after=: {field}')
    wild = [o for o in options if o.endswith('_*')]
    if not wild:
        return [Program(path, options, reason=reason, **settings)]
    # -DROWS_*: every name of the "one of ... is missing" that the sources say when none is given.
    prefix = wild[0][2:-1]
    names = re.search(rf'#error "one of ({prefix}\w+(?:, {prefix}\w+)*) is missing"', Program(path, options).text)
    if not names:
        sys.exit(f'{where}: {path.name} names no {wild[0][2:]}')
    return [Program(path, [f'-D{name}' if o == wild[0] else o for o in options], reason=reason, **settings)
            for name in names.group(1).split(', ')]
