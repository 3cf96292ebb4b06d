#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/device_report.sh: its two files hold every step, with a result or the reason why there is none."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

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
