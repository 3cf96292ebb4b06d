#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/device_report.sh: its two files hold every step, with a result or the reason why there is none."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import tool

SCRIPT = pathlib.Path(__file__).parents[2] / 'tools/device_report.sh'
FIELDS = {'format', 'date', 'query', 'quick', 'revision', 'host', 'device', 'steps', 'tests', 'test_counts'}


class DeviceReport(tool.ToolTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.here = pathlib.Path(self.folder.name)

    def run_script(self, *arguments, environment=None):
        command = [SCRIPT, '--build', pathlib.Path(self.clmla).parents[1], '--out', self.here, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)

    def report(self):
        (path,) = self.here.glob('clmla-report-*.json')
        self.assertTrue(path.with_suffix('.txt').is_file())
        answer = json.loads(path.read_text(encoding='utf-8'))
        self.assertEqual(set(answer), FIELDS)
        self.assertEqual(answer['format'], 'clmla device report 1')
        return answer, path.with_suffix('.txt').read_text(encoding='utf-8')

    def test_quick(self):
        result = self.run_script('--quick', '--only', 'info,verify,bench,compare')
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        answer, text = self.report()
        steps = {step['name']: step for step in answer['steps']}
        self.assertEqual(set(steps), {'setup packages', 'setup build', 'info', 'tests', 'verify a_v2_tiny', 'bench', 'compare',
                                      'tune'})
        for name in ('info', 'verify a_v2_tiny', 'bench', 'compare'):
            self.assertEqual((steps[name]['outcome'], steps[name]['exit_code']), ('passed', 0))
        for name in ('setup build', 'tests', 'tune'):
            self.assertEqual((steps[name]['outcome'], steps[name]['reason']), ('not run', 'left out by --only'))
        self.assertEqual(steps['bench']['result']['device'], answer['device']['name'])
        self.assertIsInstance(answer['device']['proofs'], list) # the quick form asks for none, devices may
        self.assertTrue(steps['verify a_v2_tiny']['result']['pass'])
        for words in (answer['device']['name'], 'bench: fma_gflops', 'compare: 256 tokens, 16 heads', 'mla_unfused', 'tune: not run: left out by --only'):
            self.assertIn(words, text)

    def test_proofs(self):
        """Variants that were proven and refused on the device are counted and told."""
        sys.path.insert(0, str(SCRIPT.parent))
        import device_report
        sentences = ["D: attend 'tile' of f16 rows is proven: within bounds", "D: attend 'matrix' of f16 rows is not used: differed"]
        lines = device_report.proof_lines({'proofs': sentences})
        self.assertIn('variants tried beside the naive ones: 1 proven, 1 refused', lines)
        self.assertEqual(lines[-2:], ['  ' + sentence for sentence in sentences])
        self.assertEqual(device_report.proof_lines({}), [])

    def copy_script(self, setup):
        """A copy of the script beside a setup.sh of the test's own, and the command that runs it over a build folder alone."""
        tools = self.here / 'copy/tools'
        tools.mkdir(parents=True)
        for name in ('device_report.sh', 'device_report.py'):
            shutil.copy(SCRIPT.parent / name, tools)
        (tools / 'setup.sh').write_text('#!/bin/sh\n' + setup, encoding='utf-8')
        (tools / 'setup.sh').chmod(0o755)
        (self.here / 'build').mkdir()
        return [tools / 'device_report.sh', '--quick', '--build', self.here / 'build', '--out', self.here]

    def interrupt(self, number, setup):
        command = self.copy_script(f'echo $$ >{self.here}/begun.new; mv {self.here}/begun.new {self.here}/begun; echo words\n' + setup)
        # Whoever runs the test may ignore the signal, which the script would inherit.
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)) as script:
            while not (self.here / 'begun').is_file() and script.poll() is None:
                time.sleep(0.05)
            time.sleep(0.2)
            begin = time.monotonic()
            script.send_signal(number)
            output, errors = script.communicate(timeout=60)
        self.assertEqual((script.returncode, errors), (1, ''), output)
        self.assertLess(time.monotonic() - begin, 50)
        # Nothing goes on; a container's first process may leave it defunct.
        state = subprocess.run(['ps', '-o', 'stat=', '-p', (self.here / 'begun').read_text().strip()], capture_output=True, text=True, check=False)
        self.assertIn(state.stdout.strip()[:1], ('', 'Z'))
        return output

    def test_interrupted(self):
        """What ran until then is reported, the step that was ended with the rest of what it had printed."""
        for number, setup in ((signal.SIGTERM, 'sleep 100'), (signal.SIGINT, 'sleep 100'), (signal.SIGHUP, 'sleep 100'),
                              (signal.SIGTERM, "trap '' TERM\nsleep 100\nsleep 100")):
            with self.subTest(signal=number, setup=setup):
                self.setUp()
                output = self.interrupt(number, setup)
                answer, text = self.report()
                self.assertEqual([step['name'] for step in answer['steps']], ['setup packages'])
                step = answer['steps'][0]
                self.assertEqual((step['outcome'], step['output']), ('interrupted', 'words\n'))
                self.assertEqual(step['reason'], f'interrupted by {number.name}: the steps after it did not run')
                self.assertIn(step['reason'], text)
                if number != signal.SIGHUP:
                    self.assertIn('clmla-report-unknown-', output)

    def test_build_fails(self):
        """The text has the ends of what meson and ninja printed."""
        command = self.copy_script('exit 0')
        for file, name, words in ((self.here / 'copy/meson.build', 'setup build folder', "project('p', 'no such language')"),
                                  (self.here / 'build/build.ninja', 'setup build', 'rule r\n  command = echo a compiler says; false\nbuild x: r\n')):
            with self.subTest(step=name):
                file.write_text(words, encoding='utf-8')
                result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
                self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
                answer, text = self.report()
                step, = (step for step in answer['steps'] if step['name'] == name)
                self.assertEqual(step['outcome'], 'failed')
                self.assertNotIn('A full log can be found', step['reason'])
                quoted = text.split(f'--- {name}: failed, the last lines\n')[1].splitlines()
                self.assertIn({'setup build': 'a compiler says', 'setup build folder': step['reason']}[name], quoted)
                for path in self.here.glob('clmla-report-*'):
                    path.unlink()

    def test_no_device(self):
        """Refusals are outcomes: the files still come, with the program's sentence."""
        result = self.run_script('--quick', '--only', 'info,bench,compare', environment=os.environ | {'OCL_ICD_VENDORS': str(self.here)})
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        answer, text = self.report()
        self.assertEqual(answer['device'], {})
        for step in answer['steps']:
            if step['name'] in ('info', 'bench', 'compare'):
                self.assertEqual(step['outcome'], 'refused', step)
                self.assertRegex(step['reason'], rf"^clmla {step['name']}: .*device")
                self.assertIn(step['reason'], text)

    def test_device_that_is_not_there(self):
        """One asked for by name: nothing to report on, and the sentence is on the terminal."""
        result = self.run_script('--quick', '--only', 'info', '--device', 'no such device')
        self.assertEqual(result.returncode, 2, result.stdout + result.stderr)
        self.assertIn("no OpenCL device matches 'no such device'", result.stderr)
        self.assertEqual(list(self.here.iterdir()), [])

    def test_bad_arguments(self):
        for arguments, words in ((['--dance'], "unknown option '--dance'"), (['--only', 'info,dance'], "'dance' is none of"),
                                 (['--device'], '--device needs a value')):
            result = self.run_script(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ''))
            self.assertIn(words, result.stderr)
        self.assertEqual(list(self.here.iterdir()), [])


if __name__ == '__main__':
    tool.main()
