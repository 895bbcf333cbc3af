#!/usr/bin/env python3
"""symbols.py SOURCE NM LIBRARY...: headers, symbol maps and libraries agree.

Every function of a public header is in that library's map and in no other,
every name of a map is in the header, and a built library exports just these.
"""
import pathlib
import re
import subprocess
import sys

from lint import PUBLIC, Report, prototypes, read, skip


def map_names(path):
    text = re.sub(r'/\*.*?\*/', ' ', read(path), flags=re.S)
    names = []
    for node in re.finditer(r'([A-Z][A-Z0-9_.]*)\s*\{(.*?)\}', text, re.S):
        exported = re.search(r'global:(.*?)(local:|$)', node[2], re.S)
        if exported:
            names += re.findall(r'([\w*]+)\s*;', exported[1])
    return names


def exported(nm, library):
    out = subprocess.run([nm, '-D', '--defined-only', library], check=True,
                         capture_output=True, text=True).stdout
    found = set()
    for line in out.splitlines():
        kind, name = line.split()[-2:]
        if kind != 'A':         # the version nodes themselves
            found.add(name.split('@')[0])
    return found


def main():
    if len(sys.argv) < 4:
        skip('no nm here: install binutils')
    source, nm = pathlib.Path(sys.argv[1]), sys.argv[2]
    libraries = {pathlib.Path(p).name.split('.')[0]: p for p in sys.argv[3:]}
    report = Report()
    seen, checked = {}, []
    for library in dict.fromkeys(PUBLIC.values()):
        declared = {name: (header, line) for header, of in PUBLIC.items()
                    if of == library for name, (_, line) in
                    prototypes(source / 'include' / header).items()}
        path = source / 'lib' / f'{library}.map'
        mapped = map_names(path)
        for name in sorted(set(mapped)):
            if mapped.count(name) > 1:
                report.fault(path, 0, f'{name} is in it twice')
            if name in seen:
                report.fault(path, 0, f'{name} is in {seen[name]} too')
            seen[name] = path
            if name not in declared:
                report.fault(path, 0, f'{name} is in no header of {library}')
        for name, (header, line) in declared.items():
            if name not in mapped:
                report.fault(source / 'include' / header, line,
                             f'{name} is not in {path.name}')
        if mapped != sorted(mapped):
            report.fault(path, 0, 'is not in alphabetical order')
        if library not in libraries:
            continue
        checked.append(library)
        has = exported(nm, libraries[library])
        for name in sorted(has - set(mapped)):
            report.fault(libraries[library], 0, f'{name} is exported as well')
        for name in sorted(set(mapped) - has):
            report.fault(libraries[library], 0, f'{name} is not exported')
    report.end(f'{len(seen)} functions in {len(set(PUBLIC.values()))} maps; '
               f'built: {", ".join(checked)}', functions=len(seen),
               built_libraries=len(checked))


main()
