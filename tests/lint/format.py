#!/usr/bin/env python3
"""format.py SOURCE: docs/format.md has the offsets of lib/media/layout.h.

Each struct of layout.h that is on media has a section `### struct NAME`
whose table gives offset, size and name of every field; the numbers are worked
out here from the declarations. The page's table of slabs is that of
tests/unit/media_slab.c, which compares it with lib/media/slab.c.
"""
import pathlib
import re
import sys

from lint import Report, read, without_comments

SIZES = {'char': 1, 'uint8_t': 1, 'uint16_t': 2, 'uint32_t': 4, 'uint64_t': 8}
NOT_ON_MEDIA = {'dp_word', 'dp_root_word'}      # words in memory, unpacked


def constants(text):
    """Returns the #defines that are numbers, or expressions of numbers."""
    known = {}
    for m in re.finditer(r'^#define (DP_\w+)\s+(.+)$', text, re.M):
        body = re.sub(r'(?<=[0-9a-fA-F])u?ll\b|(?<=\d)u\b', '', m[2])
        body = re.sub(r'DP_\w+', lambda n: str(known.get(n[0], n[0])), body)
        if re.fullmatch(r'[\s\d()<>*+/\-xa-fA-F]+', body):
            known[m[1]] = eval(body, {'__builtins__': {}})
    return known


def structs(text, known):
    """{name: [(offset, size, field)]}"""
    found, sizes = {}, dict(SIZES)
    aligns = dict(SIZES)
    for m in re.finditer(r'^struct (dp_\w+) \{(.*?)^\};', text, re.M | re.S):
        offset, widest, fields = 0, 1, []
        if m[1] in NOT_ON_MEDIA:
            continue
        for f in re.finditer(r'(?:struct )?(\w+) (\w+)((?:\[[^\]]+\])*);', m[2]):
            count = 1
            for dimension in re.findall(r'\[([^\]]+)\]', f[3]):
                body = re.sub(r'DP_\w+', lambda n: str(known[n[0]]), dimension)
                count *= eval(body.replace('/', '//'), {'__builtins__': {}})
            align = aligns[f[1]]
            offset += -offset % align
            widest = max(widest, align)
            fields.append((offset, sizes[f[1]] * count, f[2]))
            offset += sizes[f[1]] * count
        sizes[m[1]], aligns[m[1]] = offset + -offset % widest, widest
        found[m[1]] = fields
    return found


def documented(text):
    found = {}
    for m in re.finditer(r'^### struct (\w+)\n(.*?)(?=^##|\Z)', text,
                         re.M | re.S):
        table = re.search(r'^\| offset .*?(?=\n\n|\Z)', m[2], re.M | re.S)
        found[m[1]] = [(int(a), int(b), c) for a, b, c in re.findall(
            r'^\| (\d+) \| (\d+) \| (\w+) \|', table[0] if table else '',
            re.M)]
    return found


def slabs_of_test(text):
    table = re.search(r'format\[DP_SLAB_CLASSES\] = \{(.*?)^\};', text,
                      re.M | re.S)
    rows = re.findall(r'\{ (\d+), (\d+), (\d+), (\d+) \}',
                      table[1] if table else '')
    return [(str(number),) + row for number, row in enumerate(rows)]


def slabs_of_page(text):
    section = re.search(r'^## Slabs$(.*?)^## ', text, re.M | re.S)
    return re.findall(r'^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$',
                      section[1] if section else '', re.M)


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    text = without_comments(read(source / 'lib' / 'media' / 'layout.h'))
    known = constants(text)
    declared = structs(text, known)
    format_md = read(source / 'docs' / 'format.md')
    page = documented(format_md)
    for name in sorted(set(declared) | set(page)):
        for field in sorted(set(declared.get(name, [])) ^
                            set(page.get(name, []))):
            side = 'layout.h' if field in declared.get(name, []) else 'page'
            report.fault('docs/format.md', 0, f'struct {name}: only the {side} '
                         f'has {field[2]} at {field[0]}, {field[1]} bytes')
    slabs = slabs_of_page(format_md)
    tested = slabs_of_test(read(source / 'tests' / 'unit' / 'media_slab.c'))
    for row in sorted(set(slabs) ^ set(tested)):
        side = 'page' if row in slabs else 'test'
        report.fault('docs/format.md', 0, f'slab class {row[0]}: only the {side} '
                     f'has {", ".join(row[1:])}')
    size = sum(len(fields) for fields in declared.values())
    report.end(f'{len(declared)} structs, {size} fields',
               structs_of_layout_h=len(declared), fields=size,
               structs_of_the_page=len(page), slab_classes=len(slabs))


main()
