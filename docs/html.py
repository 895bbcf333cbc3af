#!/usr/bin/env python3
"""html.py MANDOC STYLE DIRECTORY PAGE[=NAME,NAME...]...: the manual as HTML.

Formats each PAGE with MANDOC into DIRECTORY and copies STYLE there.  A reference
to another page of the manual, or to one of the other NAMEs of a page, becomes a
link; one to a page of another manual does not.
"""
import pathlib
import re
import shutil
import subprocess
import sys

OPTIONS = ['-Thtml', '-Ostyle={style},man=%N.%S.html,toc']
# A cross-reference as mandoc writes it.
LINK = re.compile(r'<a class="Xr" href="([^"]+)\.html"[^>]*>(.*?)</a>', re.S)


def main():
    mandoc, style, directory, *arguments = sys.argv[1:]
    style, directory = pathlib.Path(style), pathlib.Path(directory)
    names = {}                  # name.section -> page.section
    pages = []
    for argument in arguments:
        page, _, others = argument.partition('=')
        page = pathlib.Path(page)
        pages.append(page)
        for name in [page.stem, *filter(None, others.split(','))]:
            names[name + page.suffix] = page.name
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(style, directory)
    for page in pages:
        done = subprocess.run(
            [mandoc, *(o.format(style=style.name) for o in OPTIONS), page],
            check=True, capture_output=True, encoding='utf-8')
        text = LINK.sub(lambda m: f'<a class="Xr" href="{names[m[1]]}.html">'
                        f'{m[2]}</a>' if m[1] in names else m[2], done.stdout)
        (directory / f'{page.name}.html').write_text(text, encoding='utf-8')


main()
