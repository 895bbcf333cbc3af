#!/usr/bin/env python3
"""probes.py SOURCE yes|no READELF LIBRARY...: the probes are as documented.

lib/util/probe.h defines each; daxpin(7) lists it with the same arguments; a file of
lib/ uses it; and the built libraries have it with that number of arguments, or have
no probes if the build has no sys/sdt.h.  docs/daxpin.bt names only probes that exist.
"""
import pathlib
import re
import subprocess
import sys

from lint import Report, line_of, read, without_comments

HEADER = 'lib/util/probe.h'
PAGE = 'docs/man7/daxpin.7'
SCRIPT = 'docs/daxpin.bt'


def defined(report, text):
    """{probe: [arguments]} of the header."""
    probes = {}
    for m in re.finditer(r'^#define DP_PROBE_(\w+)\(([^)]*)\)\s*\\\n'
                         r'\s*DP_PROBE(\d)\((\w+), ([^)]*)\)$', text, re.M):
        macro, formal, number, name, actual = m.groups()
        arguments = formal.split(', ')
        if macro.lower() != name or actual != formal or \
           int(number) != len(arguments):
            report.fault(HEADER, line_of(text, m.start()),
                         f'DP_PROBE_{macro} is not {name} with its arguments')
        probes[name] = arguments
    return probes


def documented(text):
    table = re.search(r'^\.\\" probes\n(.*?)^\.El', text, re.M | re.S)
    rows = re.findall(r'^\.It Fn (\w+) (.*)$', table[1] if table else '',
                      re.M)
    return {name: arguments.split() for name, arguments in rows}


def used(source, without=()):
    """Returns the probes that lib/ uses, without those of some adapters."""
    names = set()
    for path in sorted((source / 'lib').glob('*/*.[ch]')):
        if path.stem not in without and path != source / HEADER:
            names |= set(re.findall(r'\bDP_PROBE_(\w+)\(',
                                    without_comments(read(path))))
    return {name.lower() for name in names}


def not_built(source, libraries):
    """Adapters that this build does not have."""
    maps = {path.stem for path in (source / 'lib').glob('libdaxpin-*.map')}
    names = {pathlib.Path(path).name.split('.')[0] for path in libraries}
    return {name.removeprefix('libdaxpin-') for name in maps - names}


def built(readelf, libraries):
    """{probe: {numbers of arguments}} of the notes."""
    probes = {}
    for library in libraries:
        out = subprocess.run([readelf, '-n', library], check=True,
                             capture_output=True, text=True,
                             env={'LC_ALL': 'C'}).stdout
        for m in re.finditer(r'Provider: (\S+)\n\s*Name: (\S+)\n.*\n'
                             r'\s*Arguments: ?(.*)', out):
            if m[1] == 'daxpin':
                probes.setdefault(m[2], set()).add(len(m[3].split()))
    return probes


def check_script(report, text, probes, there):
    text = without_comments(text)
    blocks = re.findall(r'((?:^(?:usdt|interval)\S+\n)+)(.*?\n\})', text,
                        re.M | re.S)
    names = set()
    for heads, body in blocks:
        for name in re.findall(r'^usdt:\*:daxpin:(\w+)$', heads, re.M):
            names.add(name)
            if name not in there:
                report.fault(SCRIPT, 0, f'{name} is no probe of the libraries')
                continue
            for number in re.findall(r'\barg(\d+)', body):
                if int(number) >= len(probes[name]):
                    report.fault(SCRIPT, 0, f'{name} has no arg{number}')
    if not names:
        report.fault(SCRIPT, 0, 'names no probe')
    return names


def main():
    source = pathlib.Path(sys.argv[1])
    enabled, readelf, libraries = sys.argv[2] == 'yes', sys.argv[3], sys.argv[4:]
    report = Report()
    probes = defined(report, read(source / HEADER))
    page = documented(read(source / PAGE))
    for name in sorted(set(probes) | set(page)):
        if probes.get(name) != page.get(name):
            report.fault(PAGE, 0, f'{name}: the page says {page.get(name)}, '
                         f'{HEADER} {probes.get(name)}')
    uses = used(source)
    for name in sorted(set(probes) - uses):
        report.fault(HEADER, 0, f'{name} is used nowhere')
    check_script(report, read(source / SCRIPT), probes, uses)
    if not readelf:
        report.end(f'{len(probes)} probes; no readelf: the libraries were not '
                   'looked at', probes=len(probes), uses=len(uses))
    notes = built(readelf, libraries)
    here = used(source, not_built(source, libraries)) if enabled else set()
    for name in sorted(here | set(notes)):
        numbers = notes.get(name, set())
        if name not in here:
            report.fault('libraries', 0, f'{name} should not be there')
        elif numbers != {len(probes[name])}:
            report.fault('libraries', 0, f'{name} has {sorted(numbers)} '
                         f'arguments, not {len(probes[name])}')
    looked_at = {'libraries': len(libraries), 'probes': len(probes),
                 'rows_of_the_page': len(page), 'uses': len(uses)}
    if enabled:
        looked_at['notes'] = len(notes)
    report.end(f'{len(probes)} probes, {len(notes)} of them built in',
               **looked_at)


main()
