#!/usr/bin/env python3
"""packages.py SOURCE BUILD: debian/ and the RPM spec make the same packages.

Compared are the packages, what they require and suggest of what has a name in both, what
a build requires, the options of meson, and the package of each file that this build
installs.
"""
import fnmatch
import json
import pathlib
import re
import sys

from lint import Report, must_match, read

RENAMED = {                     # Debian's name -> that in the spec
    'libdaxpin-dev': 'daxpin-devel',
    'nbdkit-plugin-daxpin': 'nbdkit-daxpin-plugin',
    'nbdkit': 'nbdkit-server',
    'libdaxctl-dev': 'daxctl-devel',
    'libibverbs-dev': 'rdma-core-devel',
    'libxxhash-dev': 'xxhash-devel',
    'nbdkit-plugin-dev': 'nbdkit-devel',
    'python3': 'python3-devel',
}
# What only one of them needs, because of its tools, or for the manual as HTML.
ONLY_DEBIAN = {'debhelper-compat', 'dh-python', 'dh-sequence-installsysusers', 'mandoc',
               'pkgconf'}
ONLY_SPEC = {'gcc', 'systemd-rpm-macros'}
MACROS = {
    '_libdir': 'usr/lib/*', '_bindir': 'usr/bin', '_includedir': 'usr/include',
    '_datadir': 'usr/share', '_mandir': 'usr/share/man', '_docdir': 'usr/share/doc',
    '_udevrulesdir': 'usr/lib/udev/rules.d', '_sysusersdir': 'usr/lib/sysusers.d',
    '_unitdir': 'usr/lib/systemd/system', 'python3_sitelib': 'usr/lib/python3/*-packages',
}
# What debhelper installs from debian/PACKAGE.KIND or debian/PACKAGE.NAME.KIND.
KINDS = {'sysusers': 'usr/lib/sysusers.d', 'service': 'usr/lib/systemd/system'}


def spec_name(name):
    """The name that the spec gives to what Debian calls `name`."""
    if name in RENAMED:
        return RENAMED[name]
    if name.startswith('libdaxpin'):
        return re.sub(r'^lib(daxpin.*?)0$', r'\1', name)
    return re.sub('-dev$', '-devel', name)


class Packages:
    """Of each package what it requires and suggests, and patterns of its files."""

    def __init__(self, path):
        self.path = path
        self.needs, self.files, self.build = {}, {}, set()
        self.options = set()

    def package(self, name):
        self.needs.setdefault(name, {'requires': set(), 'suggests': set()})
        self.files.setdefault(name, [])
        return name

    def owners(self, path):
        """A `*` is no part of a directory's name; a pattern may name a directory."""
        parts = path.split('/')
        return {name for name, patterns in self.files.items() for pattern in patterns
                if len(pattern.split('/')) <= len(parts) and
                all(map(fnmatch.fnmatchcase, parts, pattern.split('/')))}


def debian_words(field):
    """The first alternative of each dependency: (name, least version)."""
    for word in field.split(','):
        found = re.match(r'\s*([a-z][-+.a-z0-9]*)(?::\w+)?\s*(?:\(>= (\d[\d.]*)\))?', word)
        if found:
            yield spec_name(found[1]), found[2]


def debian_field(stanza, name):
    found = re.search(rf'^{name}:((?:.*)(?:\n\s+.*)*)', stanza, re.M)
    return found[1] if found else ''


def read_debian(source):
    path = source / 'debian' / 'control'
    debian = Packages(path)
    first, *rest = re.split(r'\n\n+', read(path))
    debian.build = {word for word in debian_words(debian_field(first, 'Build-Depends'))
                    if word[0] not in ONLY_DEBIAN}
    for stanza in rest:
        real = debian_field(stanza, 'Package').strip()
        if not real:
            continue
        name = debian.package(spec_name(real))
        for kind, field in ('requires', 'Depends'), ('suggests', 'Suggests'):
            debian.needs[name][kind] = {
                word for word, _ in debian_words(debian_field(stanza, field))}
        debian.files[name] = list(debian_files(source / 'debian', real))
    debian.options = set(re.findall(r'-D[\w=]+', read(source / 'debian' / 'rules')))
    return debian


def debian_files(directory, package):
    install = directory / f'{package}.install'
    for line in install.read_text().splitlines() if install.exists() else []:
        path, *to = line.split()
        yield f'{to[0]}/{pathlib.Path(path).name}' if to else path
    for path in sorted(directory.glob(f'{package}.*')):
        kind = path.suffix[1:]
        if kind in KINDS:
            yield f'{KINDS[kind]}/*.{kind}'


def spec_package(text):
    """`-n NAME`, or what follows the name of the spec."""
    words = text.split()
    return words[1] if words[:1] == ['-n'] else '-'.join(['daxpin'] + words)


def spec_path(path):
    return re.sub(r'%\{(\w+)\}', lambda found: MACROS.get(found[1], found[0]), path)


def read_spec(source):
    path = source / 'tools' / 'rpm' / 'daxpin.spec'
    spec, files = Packages(path), False
    name = spec.package('daxpin')
    for line in read(path).splitlines():
        section = re.match(r'%(package|files)\b(.*)', line)
        need = re.match(r'(BuildRequires|Requires|Suggests):\s*(\S+)(?: >= (\S+))?', line)
        if section:
            name, files = spec.package(spec_package(section[2])), section[1] == 'files'
        elif need:
            word = re.sub(r'%\{\?_isa\}', '', need[2].replace('%{name}', 'daxpin'))
            if need[1] != 'BuildRequires':
                spec.needs[name][need[1].lower()].add(word)
            elif word not in ONLY_SPEC:
                spec.build.add((word, need[3]))
        elif files and re.match(r'%\{', line):
            spec.files[name].append(spec_path(line))
    spec.options = set(re.findall(r'-D[\w=]+', read(path)))
    return spec


def compare(report, what, debian, spec, paths):
    for word in sorted(debian - spec, key=str):
        report.fault(paths[1], 0, f'{what}: lacks {word}, which {paths[0]} has')
    for word in sorted(spec - debian, key=str):
        report.fault(paths[0], 0, f'{what}: lacks {word}, which {paths[1]} has')


def compare_needs(report, debian, spec, paths):
    """The libraries that programs need are found by the tools of both."""
    for name in sorted(debian.needs.keys() & spec.needs.keys()):
        ours, theirs = debian.needs[name], spec.needs[name]
        compare(report, f'{name} suggests', ours['suggests'], theirs['suggests'], paths)
        # An RPM's dependencies on what its .pc files name are found by its tools, too.
        required = {word for word in ours['requires'] if not word.endswith('-devel')}
        compare(report, f'{name} requires', required, theirs['requires'], paths)


def installed(build):
    """The paths that this build installs, as in a package."""
    info = pathlib.Path(build) / 'meson-info'
    options = {option['name']: option['value'] for option in
               json.loads(read(info / 'intro-buildoptions.json'))}
    for path in json.loads(read(info / 'intro-installed.json')).values():
        path = path.removeprefix(options['prefix']).removeprefix('/usr').lstrip('/')
        library = options['libdir'].rstrip('/') + '/'
        yield 'usr/' + (path.replace(library, 'lib/machine/', 1)
                        if path.startswith(library) else path)


def compare_files(report, paths, debian, spec):
    for path in paths:
        ours, theirs = debian.owners(path), spec.owners(path)
        if len(ours) != 1 or ours != theirs:
            report.fault(debian.path, 0, f'/{path} is in {sorted(ours) or "no package"}, '
                         f'and by {spec.path} in {sorted(theirs) or "no package"}')


def others(packages, paths):
    """Directories of patterns that match no installed file: rules, units, users."""
    return {(name, pattern.rpartition('/')[0])
            for name, patterns in packages.files.items() for pattern in patterns
            if pattern.startswith('usr/lib/') and '*' not in pattern.rpartition('/')[0]
            and not any(fnmatch.fnmatchcase(path, pattern) for path in paths)}


def main():
    source, report = pathlib.Path(sys.argv[1]), Report()
    debian, spec = read_debian(source), read_spec(source)
    both = debian.path, spec.path
    must_match(spec.path, r'%install', read(spec.path))
    paths = sorted(installed(sys.argv[2]))
    compare(report, 'packages', set(debian.needs), set(spec.needs), both)
    compare(report, 'a build requires', debian.build, spec.build, both)
    compare(report, 'options of meson', debian.options, spec.options, both)
    compare_needs(report, debian, spec, both)
    compare_files(report, paths, debian, spec)
    compare(report, 'files besides those of `meson install`', others(debian, paths),
            others(spec, paths), both)
    report.end(f'{len(debian.needs)} packages, {len(paths)} files',
               packages=len(debian.needs), options=len(debian.options),
               files=len(paths), build_requirements=len(debian.build),
               files_besides=len(others(debian, paths)))


main()
