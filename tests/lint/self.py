#!/usr/bin/env python3
"""self.py SOURCE PYTHON LINT ARGUMENTS...: each lint fails if it finds nothing to check.

Each is run on a tree without files, and on a copy of this tree in which every
file is empty.  It must exit 1 and say why, in a sentence rather than a traceback.
glossary.py must also find a replaced word in each kind of text, and nothing in the
same text with the field's term; sizes.py must find lines that are one column too long;
layers.py, walls.py and names.py must find what is added to a copy of lib/ and tools/.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

from lint import Report, files_of_the_tree

# A file, its text, and for {} a word that was replaced and the one that is right.
PLANTED = [
    ('lib/x.c', '/* One {} for each thread. */\n', 'stripe', 'slot'),
    ('lib/x.c', 'fail("the {} of the lock is pid 7");\n', 'keeper', 'holder'),
    ('lib/x.c', 'static int {}_of(int grant);\n', 'door', 'via'),
    ('lib/x.c', 'word_next_{}(word);\n', 'life', 'generation'),
    ('include/x.h', 'enum daxpin_flush_{} {{\n', 'way', 'method'),
    ('include/x.h', '#define DAXPIN_{}_MAX\t7\n', 'SEAT', 'SLOT'),
    ('include/x.h', '\tchar *{};\n', 'why', 'errmsg'),
    ('tests/x.c', 'static void the_{}_is_over(void **state)\n', 'ladder',
     'escalation'),
    ('tests/mutants/x.py', '\'{}(view);\'\n', 'dp_bad_fini',
     'dp_badblocks_fini'),
    ('docs/man3/x.3', '.Nd {} for waits\n', 'patience', 'policies'),
    ('docs/x.md', 'While the gate is {}.\n', 'shut', 'closed'),
    ('x.md', 'The state is a {} word.\n', 'lease', 'state'),
]

# What sizes.py needs in a tree, and lines: a short one and one that is too long.
SIZED = ['lib/x/x.c', 'include/x.h', 'examples/x.c', 'tools/x.c', 'tests/x.c']
LINES = [
    ('/* ' + 82 * 'x' + ' */\n', '/* ' + 83 * 'x' + ' */\n'),
    ('\t' + 79 * 'x' + ';\n', '\t' + 80 * 'x' + ';\n'),
    ('fail("' + 90 * 'x' + '", a);\n', 'fail("' + 90 * 'x' + '", ' + 80 * 'a' + ');\n'),
    ('fail("' + 50 * 'x' + '" PRIu64 "' + 50 * 'x' + '", a);\n',
     'fail("' + 38 * 'x' + '", "' + 38 * 'x' + '");\n'),
]

# A lint, a file, and a line that is added to its end.
ADDED = [
    ('layers.py', 'lib/util/util.c', '#include "os/os.h"'),
    ('layers.py', 'lib/media/lane.c', '#include "pool/pool.h"'),
    ('layers.py', 'lib/rdma/mr.c', '#include "rdma/revoke.h"'),
    ('layers.py', 'lib/rdma/mr.c', 'void x(void) { dp_revokes_close(0); }'),
    ('layers.py', 'lib/uring/end.c', '#include "core/handle.h"'),
    ('layers.py', 'lib/pool/pool.c', 'void x(void) { fsync(1); }'),
    ('layers.py', 'tools/daxpin/check.c', '#include "core/handle.h"'),
    ('walls.py', 'lib/core/publish.c',
     'int x(struct dp_lanes *l) { return l->pending_count; }'),
    ('walls.py', 'lib/pool/pool.c',
     'int x(struct dp_state *s) { return s->states.gates; }'),
    ('walls.py', 'lib/rdma/grant.c', 'int x(struct dp_longest l) { return l.group; }'),
    ('names.py', 'lib/pool/pool.c', 'static int lane_apply(void) { return 0; }'),
]


def empty_copy(source, top):
    for path in files_of_the_tree(source):
        copy = top / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()


def lints(arguments):
    """[script, arguments...] of each."""
    found = [[]]
    for word in arguments:
        if word.endswith('.py') and word not in found[-1]:
            found.append([])
        found[-1].append(word)
    return found[1:]


def check(report, python, lint, tree, what):
    script, *arguments = lint
    done = subprocess.run([python, script, tree, *arguments],
                          capture_output=True, text=True)
    name = pathlib.Path(script).name
    output = (done.stdout + done.stderr).strip()
    if done.returncode == 0:
        report.fault(name, 0, f'does not fail on {what}: {output}')
    elif done.returncode != 1 or 'Traceback' in output or not output:
        report.fault(name, 0, f'exits {done.returncode} on {what}: '
                     f'{output[-400:]}')


def check_planted(report, python, lint):
    for path, text, wrong, right in PLANTED:
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            for word, code in (right, 0), (wrong, 1):
                file.write_text(text.format(word))
                done = subprocess.run([python, lint, directory],
                                      capture_output=True, text=True)
                named = f'{path}:1: ' in done.stdout
                if done.returncode != code or named != bool(code):
                    report.fault('glossary.py', 0,
                                 f'exits {done.returncode} on '
                                 f'{text.format(word).strip()}')


def check_lines(report, python, lint):
    """Returns how many lines were tried."""
    for file in SIZED:
        for lines in LINES:
            with tempfile.TemporaryDirectory() as directory:
                top = pathlib.Path(directory)
                for path in SIZED:
                    (top / path).parent.mkdir(parents=True, exist_ok=True)
                    (top / path).write_text('int f(void)\n{\n}\n')
                for code, line in enumerate(lines):
                    (top / file).write_text(line + 'int f(void)\n{\n}\n')
                    done = subprocess.run([python, lint, directory],
                                          capture_output=True, text=True)
                    named = f'{file}:1: ' in done.stdout
                    if done.returncode != code or named != bool(code):
                        report.fault('sizes.py', 0, f'exits {done.returncode} on '
                                     f'{file} with {line.strip()}')
    return 2 * len(SIZED) * len(LINES)


def check_added(report, python, lint):
    """Returns how many lines were added, each to the files as they are."""
    source = pathlib.Path(lint).resolve().parents[2]
    added = [(path, line) for name, path, line in ADDED
             if name == pathlib.Path(lint).name]
    with tempfile.TemporaryDirectory() as directory:
        top = pathlib.Path(directory)
        for folder in ('lib', 'include', 'tools') if added else ():
            shutil.copytree(source / folder, top / folder)
        for path, line in added:
            text = (top / path).read_text()
            (top / path).write_text(text + line + '\n')
            done = subprocess.run([python, lint, directory], capture_output=True,
                                  text=True)
            (top / path).write_text(text)
            place = f'{path}:{text.count(chr(10)) + 1}: '
            if done.returncode != 1 or place not in done.stdout:
                report.fault(pathlib.Path(lint).name, 0,
                             f'exits {done.returncode} on {line} in {path}')
    return len(added)


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    checked = lints(sys.argv[3:])
    planted = lines = added = 0
    with tempfile.TemporaryDirectory() as directory:
        nothing = pathlib.Path(directory) / 'nothing'
        emptied = pathlib.Path(directory) / 'emptied'
        nothing.mkdir()
        empty_copy(source, emptied)
        for lint in checked:
            check(report, sys.argv[2], lint, nothing, 'a tree without files')
            check(report, sys.argv[2], lint, emptied, 'empty files')
            if lint[0].endswith('glossary.py'):
                check_planted(report, sys.argv[2], lint[0])
                planted += len(PLANTED)
            if lint[0].endswith('sizes.py'):
                lines += check_lines(report, sys.argv[2], lint[0])
            added += check_added(report, sys.argv[2], lint[0])
    report.end(f'{len(checked)} lints fail on nothing, one on {planted} planted '
               f'words, one on {lines} lines, three on {added} lines added',
               lints=len(checked), planted_words=planted, lines=lines,
               lines_added=added)


main()
