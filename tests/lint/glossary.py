#!/usr/bin/env python3
"""glossary.py SOURCE: a term that was replaced does not come back.

Each table has the replaced terms, and the term to use instead.  Every text
file is read whole: comments, messages, names of functions, tests and mutants, pages
and documents.  A name is a row of words: `door` is found in door_of() and DOOR_MAX,
and not in `indoors`.  Words that are ordinary English as well are refused in names
only, in the form that they had.
"""
import pathlib
import re
import sys

from lint import Report, files_of_the_tree, line_of

EVERYWHERE = {
    'doors?': 'MR, MW or via',
    'stripes?': 'thread slot',
    'keepers?': 'lock holder',
    'patience': 'wait policy',
    'ladders?|rungs?|climb(?:s|ed|ing)?': 'escalation',
    'leases?': 'extent state',
    'shuts?': 'closed, of a gate',
    'bur(?:y|ies|ied)': 'tombstone',
    'seats?': 'slot state',
}
IN_NAMES = {
    r'\w+_life|life_\w+': 'generation',
    r'(?:enum|struct) \w+_ways?\b|ret_way|\w+_WAY_\w+':
        'job kind, access mode or flush method',
    r'\w+_price|\w+(?:->|\.)price': 'threshold',
    r'\w+->why|char \*why': 'errmsg',
    r'dp_bad_\w+|ret_bad': 'badblocks',
}
# Uses of these words with another meaning.
ALLOWED = re.compile(r'stripe_width|file lease|SHUT_(RD)?WR')
# Files that are not text, or that list the replaced words.
SKIPPED = ('tests/fuzz/seeds/', 'tests/fuzz/regressions/',
           'tests/lint/glossary.py', 'tests/lint/self.py')


def patterns(table, form, flags):
    return [(re.compile(form % pattern, flags), term)
            for pattern, term in table.items()]


# Alone, or between the underscores of a name.
WORDS = patterns(EVERYWHERE, r'(?<![A-Za-z0-9])(?:%s)(?![A-Za-z0-9])', re.I)
NAMES = patterns(IN_NAMES, r'(?<![\w])(?:%s)(?!\w)', 0)


def check(report, path, text):
    text = ALLOWED.sub(lambda m: 'x' * len(m[0]), text)
    for pattern, term in WORDS + NAMES:
        for m in pattern.finditer(text):
            report.fault(path, line_of(text, m.start()),
                         f'{m[0]}: write {term}')


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    files = looked_at = 0
    for path in files_of_the_tree(source):
        if path.as_posix().startswith(SKIPPED):
            continue
        try:
            text = (source / path).read_text(encoding='utf-8')
        except UnicodeDecodeError:
            continue                    # words.py reports it
        check(report, path, text)
        files += 1
        looked_at += len(re.findall(r'[A-Za-z]+', text))
    report.end(f'{files} files, {looked_at} words', files=files,
               words=looked_at)


main()
