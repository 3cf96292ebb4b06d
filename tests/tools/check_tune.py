#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clmla tune: what it prints and writes, that contexts read it, and that a file it cannot write stops it before the search."""
import os
import pathlib
import tempfile

import tool

NUMBER = {'name', 'used', 'initial', 'before', 'now', 'tried'}
SHAPE = {'heads', 'tokens', 'format', 'compute', 'variant', 'seconds_before', 'seconds_now'}


class Tune(tool.ToolTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.here = pathlib.Path(self.folder.name)
        self.file = self.here / 'tuning.txt'
        self.environment = os.environ | {'CLMLA_TUNING': str(self.file)}

    def tune(self, *arguments, seconds=0.01, environment=None):
        answer = self.run_json('tune', '--seconds', seconds, *arguments, environment=environment or self.environment)
        self.assertEqual(set(answer), {'device', 'driver', 'file', 'written', 'seconds_preparing', 'seconds', 'out_of_time', 'numbers',
                                       'shapes', 'default_rows'})
        for number in answer['numbers']:
            self.assertEqual(set(number), NUMBER)
        # A row for each number that is not the default.
        moved = [number for number in answer['numbers'] if number['now'] != number['initial']]
        self.assertEqual(len(answer['default_rows']), len(moved))
        for row, number in zip(answer['default_rows'], moved):
            self.assertRegex(row, r'^\{CL_DEVICE_TYPE_\w+, .*, TUNING_\w+, ' + str(number['now']) + r'\},$')
        # A program may take longer than those of the present values did, on a busy machine by far.
        self.assertLess(answer['seconds'], float(seconds) + answer['seconds_preparing'] + 20)
        self.assertIn([16, 'f16', 'exact'], [[s['heads'], s['format'], s['compute']] for s in answer['shapes']])
        for shape in answer['shapes']:
            self.assertEqual(set(shape), SHAPE)
            self.assertGreater(shape['seconds_before'], 0)
            self.assertGreater(shape['seconds_now'], 0)
        return answer, {number['name']: number for number in answer['numbers']}

    def test_no_time(self):
        """Nothing is tried, and the file says so: a section without numbers."""
        answer, numbers = self.tune()
        self.assertTrue(answer['written'] and answer['out_of_time'])
        self.assertEqual(answer['file'], str(self.file))
        for number in numbers.values():
            self.assertEqual((number['initial'], number['initial'], 0), (number['before'], number['now'], number['tried']))
        self.assertEqual(self.file.read_text(), f"clmla tuning 1\ndevice {answer['device']}\ndriver {answer['driver']}\n")
        # A number in the file is what the next search begins with, and stays.
        self.file.write_text(self.file.read_text() + 'attend.piece_keys 31\n')
        before = self.file.read_text()
        _, numbers = self.tune()
        self.assertEqual(numbers['attend.piece_keys']['before'], 31)
        self.assertEqual(numbers['attend.piece_keys']['now'], 31)
        self.assertEqual(self.file.read_text(), before)

    def test_search(self):
        """What is chosen is what the file holds."""
        for seconds in (2, 20):  # a busy machine may take two to compile
            self.file.unlink(missing_ok=True)
            answer, numbers = self.tune(seconds=seconds)
            if any(number['tried'] for number in numbers.values()):
                break
        self.assertGreater(sum(number['tried'] for number in numbers.values()), 0)
        lines = self.file.read_text().splitlines()[3:]
        self.assertEqual(lines, [f"{n['name']} {n['now']}" for n in answer['numbers'] if n['now'] != n['initial']])
        for number in numbers.values():
            if not number['used']:
                self.assertEqual((number['tried'], number['now']), (0, number['before']))

    def test_dry_run(self):
        answer, _ = self.tune('--dry-run')
        self.assertFalse(answer['written'])
        self.assertEqual(list(self.here.iterdir()), [])
        answer, _ = self.tune('--dry-run', environment=os.environ | {'CLMLA_TUNING': 'off'})
        self.assertEqual(answer['file'], '')

    def test_default_file(self):
        environment = {name: text for name, text in os.environ.items() if name != 'CLMLA_TUNING'}
        answer, _ = self.tune(environment=environment | {'XDG_CACHE_HOME': str(self.here)})
        self.assertEqual(answer['file'], str(self.here / 'clmla/tuning.txt'))
        self.assertTrue((self.here / 'clmla/tuning.txt').is_file())

    def test_refused(self):
        """Each before the search, which would take a day."""
        day = ['--seconds', '86400']
        self.assert_refused('tune', *day, says='CLMLA_TUNING', environment=os.environ | {'CLMLA_TUNING': 'off'})
        self.assert_refused('tune', *day, says=str(self.here / 'none/a.txt'),
                            environment=os.environ | {'CLMLA_TUNING': str(self.here / 'none/a.txt')})
        self.file.write_text('my letters\n')
        self.assert_refused('tune', *day, says=[str(self.file), 'line 1'], environment=self.environment)
        self.assertEqual(self.file.read_text(), 'my letters\n')
        self.assert_refused('tune', '--device', 'no such thing', says='no such thing')
        self.assert_refused('tune', '--seconds', '0', says='--seconds')
        self.assert_refused('tune', 'x', says="unexpected argument 'x'")


if __name__ == '__main__':
    tool.main()
