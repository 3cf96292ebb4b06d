# SPDX-License-Identifier: Apache-2.0
"""What the checks of the clmla program share: running it, reading its JSON, reading safetensors without numpy."""
import array
import json
import pathlib
import struct
import subprocess
import sys
import unittest

TYPES = {'F32': 'f', 'U8': 'B', 'I64': 'q'}


def read_safetensors(path):
    """Name -> (shape, array) of a file's f32, u8 and i64 tensors."""
    data = pathlib.Path(path).read_bytes()
    length, = struct.unpack_from('<Q', data)
    header = json.loads(data[8:8 + length])
    header.pop('__metadata__', None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry['data_offsets'])
        if entry['dtype'] in TYPES:
            tensors[name] = entry['shape'], array.array(TYPES[entry['dtype']], data[begin:end])
    return tensors


def write_safetensors(path, tensors):
    """Writes what read_safetensors gives."""
    header, body = {}, b''
    codes = {code: name for name, code in TYPES.items()}
    for name, (shape, values) in sorted(tensors.items()):
        data = values.tobytes()
        header[name] = {'dtype': codes[values.typecode], 'shape': shape, 'data_offsets': [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack('<Q', len(text)) + text + body)


class ToolTest(unittest.TestCase):
    """A check: clmla, cases and model come from the command line."""
    clmla = cases = model = None

    def run_tool(self, *arguments, environment=None, timeout=120):
        command = [self.clmla, *(str(argument) for argument in arguments)]
        return subprocess.run(command, capture_output=True, env=environment, timeout=timeout, check=False)

    def run_json(self, *arguments, environment=None, timeout=120):
        """The object --json prints, for a run that must succeed and print nothing else."""
        result = self.run_tool(*arguments, '--json', environment=environment, timeout=timeout)
        self.assertEqual(result.returncode, 0, result.stderr.decode(errors='replace'))
        self.assertEqual(result.stderr, b'')
        return json.loads(result.stdout.decode('utf-8'))

    def assert_refused(self, command, *arguments, says, environment=None):
        """Exit code 2, nothing on stdout, and one line on stderr that names what is wrong."""
        result = self.run_tool(*([command] if command else []), *arguments, environment=environment)
        sentence = result.stderr.decode('utf-8')
        self.assertEqual(result.returncode, 2, sentence)
        self.assertEqual(result.stdout, b'')
        self.assertEqual(sentence.count('\n'), 1, sentence)
        self.assertTrue(sentence.startswith(f'clmla {command}: ' if command else 'clmla: '), sentence)
        for words in [says] if isinstance(says, str) else says:
            self.assertIn(words, sentence)


def main():
    """check_x.py CLMLA CASES MODEL [CLASS.TEST ...]"""
    ToolTest.clmla = sys.argv[1]
    ToolTest.cases = pathlib.Path(sys.argv[2])
    ToolTest.model = pathlib.Path(sys.argv[3])
    unittest.main(module='__main__', argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
