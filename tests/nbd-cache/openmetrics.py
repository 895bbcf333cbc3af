"""A parser of OpenMetrics text, which refuses what the format does not allow."""
import re

NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
SAMPLE = re.compile(f'({NAME})(?:{{([^}}]*)}})? (\\S+)')
LABEL = re.compile('([a-zA-Z_][a-zA-Z0-9_]*)="([^"\\n]*)"')
SUFFIXES = {'counter': ('_total',), 'gauge': ('',),
            'histogram': ('_bucket', '_count', '_sum')}


class Invalid(AssertionError):
    pass


def require(condition, what):
    if not condition:
        raise Invalid(what)


def parse(text):
    """Returns {name with labels: value}."""
    require(text.endswith('# EOF\n'), 'the text does not end with # EOF')
    kinds, values, metadata, current = {}, {}, set(), None
    for line in text.split('\n')[:-2]:
        if line.startswith('# '):
            _, what, name, value = line.split(' ', 3)
            require(what in ('TYPE', 'UNIT', 'HELP'), line)
            require((what, name) not in metadata, f'twice: {line}')
            metadata.add((what, name))
            require(name == current or name not in {n for _, n in metadata
                                                    - {(what, name)}}, line)
            if what == 'TYPE':
                require(value in SUFFIXES, line)
                kinds[name] = value
            if what == 'UNIT':
                require(name.endswith('_' + value), line)
            current = name
            continue
        match = SAMPLE.fullmatch(line)
        require(match, f'no sample: {line}')
        name, labels, value = match.groups()
        require(current in kinds, f'no type: {line}')
        require(name in [current + suffix for suffix in
                         SUFFIXES[kinds[current]]], f'{current}: {line}')
        for label in (labels or '').split(',') if labels else ():
            require(LABEL.fullmatch(label), f'label: {line}')
        key = name + (f'{{{labels}}}' if labels else '')
        require(key not in values, f'twice: {line}')
        values[key] = float(value)
        require(kinds[current] == 'gauge' or values[key] >= 0, line)
    for name, kind in kinds.items():
        if kind == 'histogram':
            check_histogram(name, values)
    return values


def check_histogram(name, values):
    """Buckets in ascending order and cumulative, the last +Inf and the count."""
    series = {}
    for key, value in values.items():
        match = re.fullmatch(f'{name}_bucket{{(.*),le="(.*)"}}', key)
        if match:
            series.setdefault(match[1], []).append((float(match[2]), value))
    require(series, f'{name} has no buckets')
    for labels, buckets in series.items():
        require(buckets == sorted(buckets), f'{labels}: {buckets}')
        counts = [count for _, count in buckets]
        require(counts == sorted(counts), f'{labels} is not cumulative')
        require(buckets[-1][0] == float('inf'), f'{labels} has no +Inf')
        require(values[f'{name}_count{{{labels}}}'] == counts[-1], labels)
        require(f'{name}_sum{{{labels}}}' in values, labels)
