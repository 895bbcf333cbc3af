#!/usr/bin/env python3
"""layers.py SOURCE: a module includes only modules below it.

The order is the list `modules` in lib/meson.build.  Adapters see the public
headers alone.  Only one module knows what a checksum is, one what libpmem2 is.
"""
import pathlib
import re
import sys

from lint import Report, line_of, read, without_comments

ADAPTERS = {                    # what they may include between < >
    'uring': {'daxpin-uring.h'},
    'rdma': {'daxpin-rdma.h'},
}
COMMON = {'adapter.h', 'probe.h'}       # include nothing of the library
ONLY_IN = {                     # a foreign header -> the one file that has it
    'xxhash.h': 'layout.c',
    'libpmem2.h': 'persist.c',
    'daxctl/libdaxctl.h': 'source.c',
    'rdma/rdma_netlink.h': 'verbs.c',
    'sys/sdt.h': 'probe.h',
}
# Calls that go through the seam, lib/os.c.
SEAM = re.compile(r'(?<![\w>.])(open|openat|close|read|write|pread|pwrite|mmap|'
                  r'munmap|madvise|msync|fsync|fallocate|ftruncate|flock|fcntl|'
                  r'ioctl|syscall|clock_gettime|nanosleep|usleep|sleep|getpid|'
                  r'kill|eventfd|socket|getrandom|getenv|unlink|mkdir|rename|'
                  r'stat|fstat|lstat|statx|printf|fprintf|perror)\s*\(')
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def modules_of(source, which='modules'):
    text = read(source / 'lib' / 'meson.build')
    text = re.sub(r'#.*', '', text)
    found = re.search(rf'^{which}\s*=\s*\[(.*?)\]', text, re.M | re.S)
    return re.findall(r"'(\w+)'", found[1])


def check_module(report, path, modules):
    text = without_comments(read(path))
    mine = modules.index(path.stem)
    for m in INCLUDE.finditer(text):
        line, name = line_of(text, m.start()), m[2]
        if m[1] == '"':
            stem = name.removesuffix('.h')
            if stem not in modules:
                report.fault(path, line, f'"{name}" is no module in the list')
            elif modules.index(stem) > mine:
                report.fault(path, line, f'"{name}" is above {path.stem}')
        elif name in ONLY_IN and path.name != ONLY_IN[name]:
            report.fault(path, line, f'<{name}> belongs into {ONLY_IN[name]}')
        elif name.startswith('daxpin-'):
            report.fault(path, line, f'<{name}> is an adapter\'s header')
    if path.suffix == '.c' and path.stem != 'os':
        bare = re.sub(r'"(\\.|[^"\\])*"', '""', text)
        for m in SEAM.finditer(bare):
            report.fault(path, line_of(bare, m.start()),
                         f'{m[1]}() goes through os.h')


def adapter_of(path):
    """rdma.c, rdma.h and rdma_key.c are one adapter's."""
    name = path.stem.split('_')[0]
    return name if name in ADAPTERS else None


def check_adapter(report, path, name):
    allowed = ADAPTERS.get(name, set())
    text = without_comments(read(path))
    for m in INCLUDE.finditer(text):
        if m[1] == '"' and m[2] not in COMMON and not (
                name and adapter_of(pathlib.Path(m[2])) == name):
            report.fault(path, line_of(text, m.start()),
                         f'"{m[2]}": an adapter has the public header alone')
        elif m[2].startswith('daxpin') and m[2] not in allowed:
            report.fault(path, line_of(text, m.start()),
                         f'<{m[2]}> is not its own header')


TOOL_HEADERS = {'command.h', 'json.h', 'doctor.h', 'doctor_ring.h'}


def check_tool(report, path):
    """The command is a user of the library as any other."""
    text = without_comments(read(path))
    for m in INCLUDE.finditer(text):
        if m[1] == '"' and m[2] not in TOOL_HEADERS:
            report.fault(path, line_of(text, m.start()),
                         f'"{m[2]}": the command has the public header alone')


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    modules = modules_of(source)
    headers = modules_of(source, 'headers')
    files = sorted(p for p in (source / 'lib').iterdir()
                   if p.suffix in ('.c', '.h'))
    for path in files:
        if adapter_of(path) or path.name == 'adapter.h':
            check_adapter(report, path, adapter_of(path))
        elif path.stem in modules:
            check_module(report, path, modules)
        else:
            report.fault(path, 0, 'is in no list of lib/meson.build')
    for path in sorted((source / 'tools').glob('**/*.[ch]')):
        check_tool(report, path)
    for stem in modules:
        name = stem + ('.h' if stem in headers else '.c')
        if not (source / 'lib' / name).exists():
            report.fault('lib/meson.build', 0, f'{name} is not there')
    report.end(f'{len(files)} files, {len(modules)} modules: each below its '
               'users')


main()
