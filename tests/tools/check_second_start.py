#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A second start compiles nothing: every program of the library comes from the first one's folder."""
import os
import pathlib
import tempfile

import tool


class SecondStart(tool.ToolTest):
    def start(self, environment):
        answer = self.run_json('generate', self.model, '--prompt', 'And', '-n', 4, environment=environment)
        return answer['programs'], answer['tokens']

    def check(self, folder, environment):
        first, text = self.start(environment)
        self.assertGreater(first['built'], 0)
        self.assertEqual((first['loaded'], first['stored']), (0, first['built']))
        self.assertTrue(any(path.is_file() for path in folder.rglob('*')))
        second, again = self.start(environment)
        self.assertEqual((second['built'], second['stored'], second['rejected']), (0, 0, 0))
        self.assertEqual((second['loaded'], again), (first['built'], text))

    def test_the_folder_of_the_environment(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'programs'
            self.check(path, os.environ | {'CLMLA_PROGRAM_CACHE': str(path)})

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
