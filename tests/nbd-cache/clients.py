"""Tests of examples/nbd-cache with clients that nobody here wrote."""
import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import time

from server import MIB, Skip, expect, needs


def there_and_back(m, size, image, *parameters, **options):
    needs('nbdcopy')
    m.start(*parameters, **options).close()
    subprocess.run(['nbdcopy', image, m.uri()], check=True)
    m.stop()
    m.start(*parameters, **options).close()
    back = m.top / 'back'
    subprocess.run(['nbdcopy', m.uri(), back], check=True)
    m.stop()
    expect(back.read_bytes() == image.read_bytes(), 'the copies differ')


def test_nbdcopy_with_a_disk(m):
    image = m.top / 'image'
    image.write_bytes(os.urandom(40 * MIB) + bytes(4 * MIB) + os.urandom(2560))
    m.make_disk(image.stat().st_size)
    m.block = None
    there_and_back(m, image.stat().st_size, image, 'low=0', 'high=10')
    expect(pathlib.Path(m.disk).read_bytes() == image.read_bytes(),
           'low=0, but the disk is not complete after the end of the server')


def test_nbdcopy_without_a_disk(m):
    image = m.top / 'image'
    image.write_bytes(os.urandom(9 * MIB) + bytes(7 * MIB) + os.urandom(4000))
    size = image.stat().st_size
    there_and_back(m, size, image, f'size={size}', 'block=16K', disk=False)


def program(m, *words):
    """Runs a client, which must succeed. Returns its output."""
    done = subprocess.run(words, capture_output=True, text=True, cwd=m.top,
                          env={**os.environ, 'HOME': str(m.top),
                               'PATH': os.environ['PATH'] + ':/usr/sbin:/sbin'})
    expect(not done.returncode, f'{words}: {done.stdout}{done.stderr}')
    return done.stdout


def test_qemu_img(m):
    """As a raw volume, and as one with an image of a format that can be checked."""
    needs('qemu-img')
    image = m.top / 'image'
    image.write_bytes(os.urandom(24 * MIB) + bytes(24 * MIB))
    m.block = None
    m.make_disk(50 * MIB)
    m.start('high=20', 'low=10').close()
    for form in ('raw', 'qcow2'):
        program(m, 'qemu-img', 'create', '-q', '-f', form, m.uri(), '48M')
        program(m, 'qemu-img', 'convert', '-n', '-f', 'raw', '-O', form, image,
                m.uri())
        if form == 'qcow2':
            program(m, 'qemu-img', 'check', '-f', form, m.uri())
        program(m, 'qemu-img', 'compare', '-f', 'raw', '-F', form, image, m.uri())
    m.stop()


# ---------------------------------------------------------------------------- fio

def fio(m, *options):
    done = subprocess.run(
        ['fio', '--name=mix', '--ioengine=nbd', '--uri=' + m.uri(),
         f'--size={48 * MIB}', '--iodepth=16', '--randrepeat=1',
         '--serialize_overlap=1', '--output-format=terse', *options],
        capture_output=True, text=True, cwd=m.top)
    if 'engine nbd not loadable' in done.stderr:
        raise Skip('this fio has no nbd engine')
    expect(not done.returncode, f'fio {options}: {done.stdout}{done.stderr}')


def fio_size(m):
    return f'--io_size={(2000 if m.long else 64) * MIB}'


def test_fio_verifies(m):
    needs('fio')
    m.block = None
    m.make_disk(48 * MIB)
    m.start('high=20', 'low=10').close()
    fio(m, '--rw=randrw', '--bsrange=4k-256k', '--verify=crc32c', fio_size(m))
    m.stop()


def test_fio_trims_and_verifies(m):
    """Each part is trimmed, written and verified; then trims alone."""
    needs('fio')
    m.make_disk(48 * MIB)
    m.start('high=20', 'low=10', 'block=16K').close()
    fio(m, '--rw=randtrimwrite', '--bs=16k', '--verify=crc32c', fio_size(m))
    fio(m, '--rw=randtrim', '--bsrange=4k-256k', fio_size(m))
    m.stop()


# ------------------------------------------------------------------- a filesystem

@contextlib.contextmanager
def exported(m):
    """The volume as a file, by nbdfuse. Yields its path."""
    needs('nbdfuse')
    point = m.top / 'fuse'
    point.mkdir(exist_ok=True)
    with open(m.top / 'fuse.log', 'wb') as log:
        server = subprocess.Popen(['nbdfuse', point / 'image', m.uri()],
                                  stdin=subprocess.DEVNULL, stderr=log)
    try:
        while not (point / 'image').exists():
            if server.poll() is not None:
                words = (m.top / 'fuse.log').read_text().strip()
                raise Skip(f'nbdfuse cannot mount here: {words}')
            time.sleep(0.005)
        yield point / 'image'
    finally:
        server.terminate()	# unmounts
        server.wait()


def checksum(tree):
    """Of the names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(tree.rglob('*')):
        if path.is_file():
            digest.update(f'{path.relative_to(tree)} '.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def cloned(m):
    """The clone of a repository with a few hundred files in ten commits."""
    needs('git')
    tree = m.top / 'origin'
    tree.mkdir()
    program(m, 'git', 'init', '-q', tree)
    for commit in range(10):
        for file in range(20):
            path = tree / f'{commit}' / f'{file}'
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(os.urandom(17 << file % 11))
        program(m, 'git', '-C', tree, 'add', '.')
        program(m, 'git', '-C', tree, '-c', 'user.name=a', '-c', 'user.email=a',
                'commit', '-q', '-m', f'{commit}')
    program(m, 'git', 'clone', '-q', '--no-hardlinks', tree, m.top / 'clone')
    return m.top / 'clone'


def test_ext4_in_a_file(m):
    """nbdfuse exports the volume; mkfs fills it; the server is killed; fsck and debugfs
    then read what it has."""
    needs('git')
    m.block = None
    m.make_disk(64 * MIB)
    m.start('high=20', 'low=10').close()
    clone = cloned(m)
    with exported(m) as image:
        program(m, 'mkfs.ext4', '-q', '-F', '-b', '4096', '-d', clone, image)
        program(m, 'e2fsck', '-f', '-n', image)
    m.kill()
    m.start('high=20', 'low=10').close()
    back = m.top / 'back'
    back.mkdir()
    with exported(m) as image:
        program(m, 'e2fsck', '-f', '-n', image)
        program(m, 'debugfs', '-R', f'rdump / {back}', image)
    m.stop()
    (back / 'lost+found').rmdir()
    expect(checksum(back) == checksum(clone), 'the tree differs')
    program(m, 'git', '-C', back, 'fsck', '--strict')


def test_ext4_mounted(m):
    """The kernel is the client, and git clones into the filesystem. DAXPIN_TEST_NBD is
    the device: tests/lab/lab --fs ext4 has it."""
    device = os.environ.get('DAXPIN_TEST_NBD')
    if not device:
        raise Skip('needs DAXPIN_TEST_NBD, a free device of nbd.ko, and root')
    needs('git', 'nbd-client')
    if 'ext4' not in pathlib.Path('/proc/filesystems').read_text().split():
        raise Skip('this kernel has no ext4 loaded')
    clone = cloned(m)
    point = m.top / 'mounted'
    point.mkdir()
    m.make_disk(64 * MIB)
    m.start('high=20', 'low=10').close()
    program(m, 'nbd-client', '-unix', m.socket, device, '-b', '4096')
    try:
        program(m, 'mkfs.ext4', '-q', device)
        program(m, 'mount', device, point)
        program(m, 'git', 'clone', '-q', '--no-hardlinks', clone, point / 'back')
        program(m, 'umount', point)
        program(m, 'e2fsck', '-f', '-n', device)
        program(m, 'nbd-client', '-d', device)
        m.kill()
        m.start('high=20', 'low=10').close()
        program(m, 'nbd-client', '-unix', m.socket, device, '-b', '4096')
        program(m, 'e2fsck', '-f', '-n', device)
        program(m, 'mount', device, point)
        program(m, 'git', '-C', point / 'back', 'fsck', '--strict')
        shutil.rmtree(clone / '.git')	# the two differ
        shutil.rmtree(point / 'back' / '.git')
        expect(checksum(point / 'back') == checksum(clone), 'the tree differs')
    finally:
        subprocess.run(['umount', point], stderr=subprocess.DEVNULL)
        subprocess.run(['nbd-client', '-d', device], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    m.stop()
