#!/usr/bin/env python3
"""manual.py SOURCE: a header's comment and the page of section 3 say the same.

A public header lists the errors of a function, one errno a line.  Each of them is
an entry of ERRORS on the function's page, and in the headers of SAME_WORDS each
part of the sentence, between its semicolons, is in that entry word for word.  The
page may say more.  If the comment says that any thread may call the function, the
page does so too.
"""
import collections
import pathlib
import re
import sys

from lint import PUBLIC, Report, line_of, read

SAME_WORDS = ['daxpin.h', 'daxpin-status.h', 'daxpin-uring.h', 'daxpin-rdma.h',
              'daxpin-ofi.h']
INLINE = 'Dv|Er|Fa|Fn|Li|Pa|Va|Vt|Xr|Sx'


def comments(text):
    """{function: (comment, line)}: of all declarations that follow it directly."""
    found = {}
    for m in re.finditer(r'/\*((?:(?!\*/).)*)\*/\n'
                         r'((?:[a-z](?:(?!/\*)[^;{}#])*\);\n)+)', text, re.S):
        body = re.sub(r'^ \* ?', '', m[1], flags=re.M)
        for name in re.findall(r'\b(daxpin_\w+)\s*\(', m[2]):
            found[name] = (body, line_of(text, m.start()))
    return found


def errors(comment):
    """[errno, sentence] of each line of the list, with its continuations."""
    found, last = [], None
    for line in comment.split('\n'):
        m = re.match(r'-(E[A-Z0-9]+)(?:\t+|  +)(\S.*)', line)
        if m:
            last = [m[1], m[2]]
            found.append(last)
        elif last and re.match(r'[\t ]+\S', line):
            last[1] += ' ' + line.strip()
        else:
            last = None
    return found


def entries(page):
    """{errno: the text of its entries under ERRORS}, without macros."""
    found = collections.defaultdict(str)
    body = re.search(r'^\.Sh ERRORS\n(.*?)(?=^\.Sh |\Z)', page, re.S | re.M)
    for m in re.finditer(r'^\.It Er ([^\n]*)\n(.*?)(?=^\.It Er |\Z)',
                         body[1] if body else '', re.S | re.M):
        text = re.sub(r'^\.(?:Bl|El|Pp|It|Bd|Ed)\b.*$', '', m[2], flags=re.M)
        text = re.sub(r'^\.(?:[PDQ]q )?(.*)$', lambda line: re.sub(
            rf'\b(?:{INLINE}) ', '', line[1]), text, flags=re.M)
        for errno in re.findall(r'E[A-Z0-9]+', m[1]):
            found[errno] += ' ' + text
    return found


def words(text):
    """What is compared: small letters, without marks that only a page can set."""
    text = re.sub(r'\s+', ' ', re.sub(r'["`*()]|\\&', '', text))
    text = re.sub(r'\b([a-z_]+) [237](?=[ ,;:.]|$)', r'\1', text)
    return re.sub(r' ([,;:.])', r'\1', text).strip().lower()


def check_errors(report, header, line, name, listed, page):
    for errno, sentence in listed:
        entry = words(page.get(errno, ''))
        if not entry:
            report.fault(header, line, f'{name}: {errno} is not under ERRORS of '
                         'its page')
        elif pathlib.Path(header).name in SAME_WORDS:
            for part in words(sentence).rstrip('.').split(';'):
                if part.strip() not in entry:
                    report.fault(header, line, f'{name}: {errno}: the page does '
                                 f'not say "{part.strip()}"')


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    pages = {}
    for path in sorted((source / 'docs' / 'man3').glob('*.3')):
        text = read(path)
        for name in re.findall(r'^\.Nm (daxpin_\w+)', text, re.M):
            pages[name] = text
    counts = collections.Counter()
    for header in PUBLIC:
        path = f'include/{header}'
        for name, (body, line) in comments(read(source / path)).items():
            if name not in pages:
                continue                # pages.py reports it
            listed = errors(body)
            check_errors(report, path, line, name, listed, entries(pages[name]))
            counts['functions'] += 1
            counts['errors'] += len(listed)
            if 'Any thread.' in body:
                counts['any_thread'] += 1
                if not re.search(r'Any\s+thread\s+may\s+call', pages[name]):
                    report.fault(path, line, f'{name}: its page does not say '
                                 'that any thread may call it')
    report.end(f'{counts["functions"]} functions, {counts["errors"]} errors',
               functions=counts['functions'], errors=counts['errors'],
               functions_of_any_thread=counts['any_thread'])


main()
