#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A second start compiles nothing: every program of the library comes from the first one's folder."""
import os
import pathlib
import sys
import tempfile

import tool

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / 'tools'))
import figures  # noqa: E402
import start_figures  # noqa: E402


class SecondStart(tool.ToolTest):
    def start(self, environment):
        answer = self.run_json('generate', self.model, '--prompt', start_figures.PROMPT, '-n', 4, '--cache', start_figures.ROWS,
                               environment=environment)
        return answer['programs'], answer['tokens']

    def check(self, folder, environment):
        first, text = self.start(environment)
        self.assertGreater(first['built'], 0)
        self.assertEqual((first['loaded'], first['stored']), (0, first['built']))
        self.assertTrue(any(path.is_file() for path in folder.rglob('*')))
        second, again = self.start(environment)
        self.assertEqual((second['built'], second['stored'], second['rejected']), (0, 0, 0))
        self.assertEqual((second['loaded'], again), (first['built'], text))
        return first['built']

    def test_the_folder_of_the_environment(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'programs'
            self.check_readme(self.check(path, os.environ | {'CLMLA_PROGRAM_CACHE': str(path)}))

    def check_readme(self, built):
        """The programs in README's table of starts, of the OpenCL implementation that this one is, if it has it."""
        text = (ROOT / 'README.md').read_text(encoding='utf-8')
        table = text.split(start_figures.BEGIN)[1].split(start_figures.END)[0].splitlines()
        rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table if line.startswith('| ')][2:]
        self.assertGreaterEqual(len(rows), 2)
        name = figures.implementation(self.run_json('info', '--device', '')['devices'][0])
        for programs in (row[1] for row in rows if row[0] == name):
            self.assertEqual(programs, str(built), f'{name}: run tools/start_figures.py')

    def test_the_users_cache_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {'XDG_CACHE_HOME': folder}
            environment.pop('CLMLA_PROGRAM_CACHE', None)
            programs = pathlib.Path(folder) / 'clmla' / 'programs'
            self.check(programs, environment)
            self.assertEqual(programs.stat().st_mode & 0o777, 0o700)

    def test_off(self):
        environment = os.environ | {'CLMLA_PROGRAM_CACHE': 'off'}
        for _ in range(2):
            counts, _ = self.start(environment)
            self.assertGreater(counts['built'], 0)
            self.assertEqual((counts['loaded'], counts['stored']), (0, 0))


if __name__ == '__main__':
    tool.main()
