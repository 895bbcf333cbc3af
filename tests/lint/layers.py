#!/usr/bin/env python3
"""layers.py SOURCE: a module includes only modules below it.

The order is the list `modules` in lib/meson.build, in which each folder's
modules stand together; so no folder includes one that comes after it.  Adapters
include only the public headers, util/ and grant/; within each, the lists
`rdma_modules`, `ofi_modules` and `uring_modules` give the order of includes and of calls.  Only one module uses xxhash.
"""
import itertools
import pathlib
import re
import sys

from lint import Report, line_of, must_match, read, without_comments

ADAPTERS = {                    # what they may include between < >
    'uring': {'daxpin-uring.h'},
    'rdma': {'daxpin-rdma.h'},
    'ofi': {'daxpin-ofi.h', 'daxpin-status.h'},     # daxpin_rdma_use()
    'grant': {'daxpin.h'},      # what the adapters for remote access share
}
COMMON = {'util', 'grant'}      # the folders that adapters include, too
ONLY_IN = {                     # a foreign header -> the one file that may include it
    'xxhash.h': 'media/layout.c',
    'emmintrin.h': 'media/lines.c',
    'cpuid.h': 'media/lines.c',
    'daxctl/libdaxctl.h': 'pool/source.c',
    'rdma/rdma_netlink.h': 'owner/netlink.h',
    'sys/sdt.h': 'util/probe.h',
}
# Calls that only lib/os/os.c may make; others use its functions.
SEAM = re.compile(r'(?<![\w>.])(open|openat|close|read|write|pread|pwrite|mmap|'
                  r'munmap|madvise|msync|fsync|fallocate|ftruncate|flock|fcntl|'
                  r'ioctl|syscall|clock_gettime|nanosleep|usleep|sleep|getpid|'
                  r'kill|eventfd|socket|getrandom|getenv|unlink|mkdir|rename|'
                  r'stat|fstat|lstat|statx|printf|fprintf|perror)\s*\(')
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


DEFINED = re.compile(r'^(?!static\b)[\w *]*?\b((?:dp|daxpin)_\w+)\([^;{}]*\)\n\{',
                     re.M)
CALLED = re.compile(r'\b((?:dp|daxpin)_\w+)\s*\(')
# These may make system calls: those of os/, and a file for the adapters, which do not use os/.
CALLS_ITSELF = {'os/os.c', 'os/file_at.c', 'os/process.c', 'util/memlock.c'}


def modules_of(source, which='modules'):
    text = read(source / 'lib' / 'meson.build')
    text = re.sub(r'#.*', '', text)
    found = must_match('lib/meson.build', rf'^{which}\s*=\s*\[(.*?)\]', text,
                       re.M | re.S)
    return re.findall(r"'([\w/]+)'", found[1])


def folder_of(name):
    """Returns a file's folder: util for util/probe.h."""
    return str(name).split('/', 1)[0]


def check_folders(report, modules):
    """The modules of each folder must be together in the list."""
    runs = [folder for folder, _ in itertools.groupby(modules, folder_of)]
    for folder in {f for f in runs if runs.count(f) > 1}:
        report.fault('lib/meson.build', 0,
                     f'{folder}/ is in `modules` in more than one place')
    if not modules:
        report.fault('lib/meson.build', 0, 'names no module')


def check_module(report, lib, path, modules):
    text = without_comments(read(path))
    name_here = path.relative_to(lib)
    mine = modules.index(str(name_here.with_suffix('')))
    for m in INCLUDE.finditer(text):
        line, name = line_of(text, m.start()), m[2]
        if m[1] == '"':
            stem = name.removesuffix('.h')
            if stem not in modules:
                report.fault(path, line, f'"{name}" is no module in the list')
            elif modules.index(stem) > mine:
                report.fault(path, line, f'"{name}" is above {name_here}')
        elif name in ONLY_IN and str(name_here) != ONLY_IN[name]:
            report.fault(path, line, f'<{name}> belongs into {ONLY_IN[name]}')
        elif name.startswith('daxpin-') and name != 'daxpin-status.h':
            report.fault(path, line, f'<{name}> is an adapter\'s header')
    if path.suffix == '.c' and str(name_here) not in CALLS_ITSELF:
        bare = re.sub(r'"(\\.|[^"\\])*"', '""', text)
        for m in SEAM.finditer(bare):
            report.fault(path, line_of(bare, m.start()),
                         f'{m[1]}() goes through os.h')


def definitions(lib, modules):
    """Returns {function that is not static: the adapter's module that defines it}."""
    found = {}
    for module in modules:
        path = lib / (module + '.c')
        if path.exists():
            text = without_comments(read(path))
            found |= {m[1]: module for m in DEFINED.finditer(text)}
    return found


def check_adapter(report, lib, path, name, modules, defined):
    text = without_comments(read(path))
    mine = modules.index(str(path.relative_to(lib).with_suffix('')))
    for m in INCLUDE.finditer(text):
        line, stem = line_of(text, m.start()), m[2].removesuffix('.h')
        if m[1] == '"' and folder_of(m[2]) not in COMMON | {name}:
            report.fault(path, line, f'"{m[2]}": an adapter has include/, '
                         'util/ and grant/ alone')
        elif m[1] == '"' and folder_of(m[2]) == name and stem not in modules:
            report.fault(path, line, f'"{m[2]}" is no module in the list')
        elif stem in modules and modules.index(stem) > mine:
            report.fault(path, line, f'"{m[2]}" is above {path.relative_to(lib)}')
        elif m[2].startswith('daxpin') and m[2] not in ADAPTERS[name]:
            report.fault(path, line, f'<{m[2]}> is not its own header')
    bare = re.sub(r'"(\\.|[^"\\\n])*"', '""', text)
    for m in CALLED.finditer(bare):
        of = defined.get(m[1])
        if of and modules.index(of) > mine:
            report.fault(path, line_of(bare, m.start()),
                         f'{m[1]}() is of {of}, above {path.relative_to(lib)}')


TOOL_HEADERS = {'command.h', 'dead.h', 'json.h', 'doctor.h', 'doctor_ring.h', 'listen.h',
                'names.h', 'remove.h', 'show.h', 'table.h', 'ublk.h'}


def check_tool(report, path):
    """The command may include only the public header, like any program."""
    text = without_comments(read(path))
    for m in INCLUDE.finditer(text):
        if m[1] == '"' and m[2] not in TOOL_HEADERS:
            report.fault(path, line_of(text, m.start()),
                         f'"{m[2]}": the command has the public header alone')


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    lib = source / 'lib'
    modules = modules_of(source)
    headers = (modules_of(source, 'headers') +
               modules_of(source, 'adapter_headers'))
    check_folders(report, modules)
    adapters = {name: modules_of(source, name + '_modules') for name in ADAPTERS}
    defined = {name: definitions(lib, adapters[name]) for name in ADAPTERS}
    files = sorted(p for p in lib.rglob('*') if p.suffix in ('.c', '.h'))
    for path in files:
        name = path.relative_to(lib)
        adapter = folder_of(name)
        if str(name.with_suffix('')) in adapters.get(adapter, []):
            check_adapter(report, lib, path, adapter, adapters[adapter],
                          defined[adapter])
        elif str(name.with_suffix('')) in modules:
            check_module(report, lib, path, modules)
        else:
            report.fault(path, 0, 'is in no list of lib/meson.build')
    tools = sorted((source / 'tools').glob('**/*.[ch]'))
    for path in tools:
        check_tool(report, path)
    includes = {folder: 0 for folder in ['lib', *ADAPTERS, 'tools']}
    for path in files + tools:
        name = path.relative_to(source)
        folder = name.parts[1] if name.parts[1] in ADAPTERS else name.parts[0]
        includes[folder] += len(INCLUDE.findall(read(path)))
    for stem in itertools.chain(modules, *adapters.values()):
        name = stem + ('.h' if stem in headers else '.c')
        if not (source / 'lib' / name).exists():
            report.fault('lib/meson.build', 0, f'{name} is not there')
    count = len(modules) + sum(map(len, adapters.values()))
    report.end(f'{len(files)} files, {count} modules: each below its users',
               files=len(files), modules=len(modules),
               **{f'functions_of_{name}': len(of)
                  for name, of in defined.items()},
               **{f'includes_of_{folder}': count
                  for folder, count in includes.items()})


main()
