# SPDX-License-Identifier: BSD-3-Clause
"""seam_wraps.py OS_H [NAMES]: prints a C file with a wrapper for each function of os.h,
for ld's --wrap. A wrapper calls seam_called() first. With NAMES, prints only the names
of the functions."""

import re
import sys

CALL = re.compile(r'^((?:\w+ )+\**)(dp_os_\w+)\((.*?)\);', re.M | re.S)


def arguments(text):
    """The names of a parameter list's parameters."""
    if text.strip() == 'void':
        return []
    parts, depth, part = [], 0, ''
    for c in text:
        depth += (c == '(') - (c == ')')
        if c == ',' and not depth:
            parts.append(part)
            part = ''
        else:
            part += c
    parts.append(part)
    names = []
    for part in parts:
        pointer = re.search(r'\(\*(\w+)\)', part)
        names.append(pointer[1] if pointer else
                     re.search(r'(\w+)(?:\[\d*\])?\s*$', part)[1])
    return names


def main():
    with open(sys.argv[1]) as file:
        text = re.sub(r'/\*.*?\*/', '', file.read(), flags=re.S)
    calls = CALL.findall(text)
    assert len(calls) > 50, f'found only {len(calls)} functions in os.h'
    if len(sys.argv) > 2:
        print('\n'.join(name for _, name, _ in calls))
        return
    print('#include "os/os.h"\n#include "seam_called.h"')
    for result, name, parameters in calls:
        names = ', '.join(arguments(parameters))
        what = '' if result.strip() == 'void' else 'return '
        print(f'{result}__real_{name}({parameters});\n'
              f'{result}__wrap_{name}({parameters});\n'
              f'{result}__wrap_{name}({parameters})\n{{\n'
              f'\tseam_called("{name}");\n'
              f'\t{what}__real_{name}({names});\n}}')


if __name__ == '__main__':
    main()
