#!/usr/bin/env python3
"""pages.py SOURCE: the manual pages and the headers have the same declarations.

Every public function is in the SYNOPSIS of one page of section 3, with the
header's prototype, in that page's NAME and, unless the page has its name, in
the table of aliases of docs/meson.build.  Every public constant and every
member of a public struct is on some page, and every constant on a page is in a
header.  Each page has all its sections.
"""
import pathlib
import re
import sys

from lint import PUBLIC, Report, all_prototypes, line_of, normal, read, \
    without_comments

SECTIONS = ['NAME', 'SYNOPSIS', 'DESCRIPTION', 'RETURN VALUES', 'EXAMPLES',
            'ERRORS', 'SEE ALSO']
HOUSEKEEPING = {'DAXPIN_H', 'DAXPIN_STATUS_H', 'DAXPIN_URING_H', 'DAXPIN_RDMA_H',
                'DAXPIN_OFI_H'}


def section(text, name):
    found = re.search(r'^\.Sh ' + name + r'\n(.*?)(?=^\.Sh |\Z)', text,
                      re.M | re.S)
    return (found[1], found.start(1)) if found else ('', 0)


def arguments(line):
    """An mdoc macro's arguments."""
    return [quoted or plain
            for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', line)]


def synopsis(text):
    """{name: (prototype, line)} as a page's SYNOPSIS has them."""
    body, start = section(text, 'SYNOPSIS')
    found, kind, name, args = {}, '', None, []
    for number, line in enumerate(body.splitlines(), line_of(text, start)):
        macro, _, rest = line.partition(' ')
        if macro == '.Ft':
            kind = rest.strip('"')
        elif macro == '.Fo':
            name, args = rest.strip(), []
        elif macro == '.Fa' and name:
            args += arguments(rest)
        elif macro == '.Fc':
            found[name] = (normal(f'{kind} {name}({", ".join(args)})'), number)
            name = None
        elif macro == '.Fn':
            given = arguments(rest)
            found[given[0]] = (normal(
                f'{kind} {given[0]}({", ".join(given[1:])})'), number)
    return found


def page_names(text):
    body, _ = section(text, 'NAME')
    return [name for line in re.findall(r'^\.Nm (.*)$', body, re.M)
            for name in re.findall(r'daxpin\w*', line)]


def aliases(source):
    """{page: [other names]} of docs/meson.build."""
    text = re.sub(r'#.*', '', read(source / 'docs' / 'meson.build'))
    return {m[1]: re.findall(r"'(\w+)'", m[2])
            for m in re.finditer(r"'(daxpin_\w+)'\s*:\s*\[(.*?)\]", text, re.S)}


def check_sections(report, path, text):
    has = re.findall(r'^\.Sh (.*)$', text, re.M)
    wanted = [name for name in has if name in SECTIONS]
    for name in SECTIONS:
        if name not in has:
            report.fault(path, 0, f'has no section {name}')
    if wanted != [name for name in SECTIONS if name in wanted]:
        report.fault(path, 0, 'sections in an unusual order')


def check_functions(report, source, pages):
    declared = all_prototypes(source)
    table = aliases(source)
    where = {}
    for path, text in pages.items():
        own = path.stem
        shown = synopsis(text)
        for name, (prototype, line) in shown.items():
            if name not in declared:
                report.fault(path, line, f'{name} is in no header')
                continue
            if name in where:
                report.fault(path, line, f'{name} is in {where[name]} too')
            where[name] = path.name
            if prototype != declared[name][0]:
                report.fault(path, line, f'{prototype}\n    but the header: '
                             f'{declared[name][0]}')
            header = declared[name][1]
            if not re.search(rf'^\.In {header}$', text, re.M):
                report.fault(path, line, f'{name} needs .In {header}')
        if sorted(page_names(text)) != sorted(shown):
            report.fault(path, 0, 'NAME and SYNOPSIS differ: '
                         f'{set(page_names(text)) ^ set(shown)}')
        if own not in shown:
            report.fault(path, 0, f'does not show {own}')
        if sorted(table.get(own, [])) != sorted(set(shown) - {own}):
            report.fault('docs/meson.build', 0, f'aliases of {own}: '
                         f'{set(table.get(own, [])) ^ (set(shown) - {own})}')
    for name in sorted(set(table) - {path.stem for path in pages}):
        report.fault('docs/meson.build', 0, f'there is no page {name}')
    for name, (_, header, line) in declared.items():
        if name not in where:
            report.fault(f'include/{header}', line, f'{name} has no page')
    return len(declared)


def check_names(report, source, text):
    """Constants, and members as `struct s { ... type member; }` has them."""
    count = 0
    words = set(re.findall(r'\w+', text))
    for header in PUBLIC:
        code = without_comments(read(source / 'include' / header))
        names = re.findall(r'^#define (DAXPIN_\w+)', code, re.M)
        for m in re.finditer(r'^enum \w+ \{(.*?)\}', code, re.M | re.S):
            names += re.findall(r'DAXPIN_\w+', m[1])
        for m in re.finditer(r'^struct (\w+) \{(.*?)^\};', code, re.M | re.S):
            names.append(m[1])
            names += re.findall(r'(\w+)(?:\[\w+\])?;', m[2])
            names += re.findall(r'\(\*(\w+)\)', m[2])
        for name in names:
            count += 1
            if name not in words and name not in HOUSEKEEPING:
                report.fault(f'include/{header}', 0, f'{name} is on no page')
    return count


def check_constants(report, source, pages):
    """Each constant on a page must be in a header: a rename must reach the pages."""
    declared = set()
    for header in PUBLIC:
        declared |= set(re.findall(r'DAXPIN_\w+',
                                   read(source / 'include' / header)))
    for path, text in pages.items():
        for m in re.finditer(r'\bDv (DAXPIN_\w+)', text):
            if m[1] not in declared:
                report.fault(path, line_of(text, m.start()),
                             f'{m[1]} is in no header')


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    pages = {path: read(path)
             for path in sorted((source / 'docs' / 'man3').glob('*.3'))}
    concepts = {path: read(path)
                for path in sorted((source / 'docs' / 'man7').glob('*.7'))}
    for path, text in pages.items():
        check_sections(report, path, text)
    functions = check_functions(report, source, pages)
    names = check_names(report, source, '\n'.join([*pages.values(),
                                                   *concepts.values()]))
    check_constants(report, source, {**pages, **concepts})
    report.end(f'{functions} functions on {len(pages)} pages; '
               f'{names} constants and members', pages=len(pages),
               pages_of_section_7=len(concepts), functions=functions,
               constants_and_members=names)


main()
